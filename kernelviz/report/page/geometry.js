// @ts-check
// Where things are: receptive fields, windows, tiles, positions under a pointer. Rows before columns.

/**
 * A box of pixels; the last row and the last column belong to it.
 * @typedef {{top: number, bottom: number, left: number, right: number}} Box
 */

/**
 * Where the fields of all units along one axis begin and end, one by one or by a rule.
 * @typedef {{first: number[], last: number[]} | {start: number, jump: number, size: number}} AxisField
 */

/**
 * @typedef {{size: [number | null, number | null], rows: AxisField, columns: AxisField, global: boolean}} Field
 */

/**
 * The pixels along one axis that a unit sees, inside of the image; none if the first is beyond the last.
 * @param {AxisField} axis
 * @param {number} at
 * @param {number} length of the image
 * @returns {[number, number]}
 */
export function seenAlong(axis, at, length) {
  let first;
  let last;
  if ("first" in axis) {
    first = axis.first[at] ?? 0;
    last = axis.last[at] ?? length - 1;
  } else {
    first = axis.start + axis.jump * at;
    last = first + axis.size - 1;
  }
  return [Math.max(0, first), Math.min(length - 1, last)];
}

/**
 * The part of the image that a unit sees.
 * @param {Field} field
 * @param {number} row
 * @param {number} column
 * @param {number} height of the image
 * @param {number} width
 * @returns {Box}
 */
export function fieldBox(field, row, column, height, width) {
  const [top, bottom] = seenAlong(field.rows, row, height);
  const [left, right] = seenAlong(field.columns, column, width);
  return { top, bottom, left, right };
}

/**
 * @param {Box} box
 * @param {number} height
 * @param {number} width
 */
export function isWhole(box, height, width) {
  return box.top === 0 && box.left === 0 && box.bottom === height - 1 && box.right === width - 1;
}

/**
 * Whether a box is no larger than the field of any one unit is stated to be.
 * @param {Box} box
 * @param {Field} field
 */
export function isWithin(box, field) {
  const [rows, columns] = field.size;
  return box.bottom - box.top < (rows ?? Infinity) && box.right - box.left < (columns ?? Infinity);
}

/**
 * The first and the last unit along one axis whose window contains no padding, those of all units if there is none.
 * @param {number} before the padding before the first pixel
 * @param {number} stride
 * @param {number} reach the pixels that a window covers
 * @param {number} length of the image
 * @param {number} count of units
 * @returns {[number, number]}
 */
export function unpaddedAlong(before, stride, reach, length, count) {
  const first = Math.ceil(before / stride);
  const last = Math.min(count - 1, Math.floor((length + before - reach) / stride));
  return first <= last ? [first, last] : [0, count - 1];
}

/** @param {Box} box */
export function areaOf(box) {
  return (box.bottom - box.top + 1) * (box.right - box.left + 1);
}

/**
 * Rows or columns in text: `rows 138–140`, `row 7`.
 * @param {"row" | "column"} noun
 * @param {number} first
 * @param {number} last
 */
export function rangeText(noun, first, last) {
  return first === last ? `${noun} ${first}` : `${noun}s ${first}–${last}`;
}

/**
 * The width and height of a map in a frame, whole pixels where it is a strip.
 * @param {number} rows
 * @param {number} columns
 * @param {number} frame the width of the frame
 */
export function frameSize(rows, columns, frame) {
  const tallest = 1.5 * frame;
  const thinnest = frame / 8;
  let width = frame;
  let height = (frame * rows) / columns;
  if (height > tallest) {
    height = tallest;
    width = Math.max(thinnest, (tallest * columns) / rows);
  }
  return { width: Math.round(width), height: Math.round(Math.max(thinnest, height)) };
}

/**
 * A grid of equal tiles. Numbers are at the left of each row where tiles are consecutive, else above each tile.
 * @typedef {{columns: number, rows: number, width: number, height: number, gap: number, left: number, above: number,
 *   total: {width: number, height: number}}} Grid
 */

const NUMBER = 18; // height of the number above a tile, clear of the ring around the tile
const EDGE = 3;

/**
 * @param {number} count
 * @param {number} columns
 * @param {number} available width
 * @param {number} aspect height of a tile divided by its width
 * @param {boolean} own whether each tile has a number of its own
 * @param {number} largest the largest width of a tile
 * @param {number} cells columns of values in a tile, which are whole pixels where that costs little
 * @returns {Grid}
 */
export function gridOf(count, columns, available, aspect, own, largest, cells = 1) {
  const left = own ? 0 : 36;
  const above = own ? NUMBER : 0;
  const gap = available < 360 ? 4 : Math.max(5, Math.min(8, Math.round(available / 120)));
  const widest = Math.max(6, Math.min(largest, Math.floor((available - left - 2 * EDGE + gap) / columns) - gap));
  const width = widest % cells < 0.15 * widest && cells <= widest ? widest - (widest % cells) : widest;
  const height = Math.max(6, Math.round(width * aspect));
  const rows = Math.ceil(count / columns);
  return {
    columns,
    rows,
    width,
    height,
    gap,
    left: left + EDGE,
    above: above + EDGE,
    total: {
      width: left + 2 * EDGE + columns * (width + gap) - gap,
      height: 2 * EDGE + rows * (height + gap + above) - gap,
    },
  };
}

/**
 * The upper left corner of a tile.
 * @param {Grid} grid
 * @param {number} tile
 */
export function tileAt(grid, tile) {
  const row = Math.floor(tile / grid.columns);
  const pitch = grid.height + grid.gap + grid.above - EDGE;
  return { x: grid.left + (tile % grid.columns) * (grid.width + grid.gap), y: grid.above + row * pitch };
}

/**
 * The tile under a point, -1 beside all; gaps belong to the tile before them.
 * @param {Grid} grid
 * @param {number} count
 * @param {number} x
 * @param {number} y
 */
export function tileUnder(grid, count, x, y) {
  const column = Math.floor((x - grid.left) / (grid.width + grid.gap));
  const own = grid.above - EDGE;
  const row = Math.floor((y - EDGE) / (grid.height + grid.gap + own));
  if (column < 0 || column >= grid.columns || row < 0 || row >= grid.rows) return -1;
  const tile = row * grid.columns + column;
  return tile < count ? tile : -1;
}

/**
 * The tile that an arrow key, Home or End leads to from another; null for other keys.
 * @param {string} key
 * @param {number} tile
 * @param {number} count
 * @param {number} columns
 */
export function tileAfterKey(key, tile, count, columns) {
  const steps = /** @type {Record<string, number>} */ ({
    ArrowLeft: -1,
    ArrowRight: 1,
    ArrowUp: -columns,
    ArrowDown: columns,
  });
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  const step = steps[key];
  if (step === undefined) return null;
  const next = tile + step;
  return next < 0 || next >= count ? tile : next;
}

/**
 * The unit under a point of the large map; within `reach` of a traced unit it is that one.
 * @param {number} x
 * @param {number} y
 * @param {{width: number, height: number}} size of the picture
 * @param {number} rows
 * @param {number} columns
 * @param {Array<[number, number]>} traced rows and columns
 * @param {number} reach
 * @returns {[number, number]}
 */
export function unitUnder(x, y, size, rows, columns, traced, reach) {
  const near = traced
    .map(([row, column]) => ({
      place: /** @type {[number, number]} */ ([row, column]),
      distance: Math.hypot(x - ((column + 0.5) * size.width) / columns, y - ((row + 0.5) * size.height) / rows),
    }))
    .filter((each) => each.distance <= reach)
    .sort((one, other) => one.distance - other.distance)[0];
  if (near) return near.place;
  const bounded = (/** @type {number} */ share, /** @type {number} */ count) =>
    Math.max(0, Math.min(count - 1, Math.floor(share * count)));
  return [bounded(y / size.height, rows), bounded(x / size.width, columns)];
}
