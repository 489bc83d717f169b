// @ts-check
// Colour levels: how a byte stands for a value, and how maps are made larger or smaller before they get colours.

/** Levels 0 … 200 are values; level 100 is zero where values are signed. */
export const LEVELS = 201;
export const ZERO_LEVEL = 100;
/** The byte of a value that is not finite. */
export const NOT_FINITE = 255;

/**
 * The value that a level stands for, to half a level.
 * @param {number} level
 * @param {number} limit the value with full colour
 * @param {boolean} signed
 * @returns {number} NaN if the value is not finite
 */
export function valueOfLevel(level, limit, signed) {
  if (level === NOT_FINITE) return Number.NaN;
  return signed ? ((level - ZERO_LEVEL) / ZERO_LEVEL) * limit : (level / (LEVELS - 1)) * limit;
}

/**
 * The level of each level on the scale of the whole layer.
 * @param {number} limit the limit of the tile
 * @param {number} whole the limit of the layer
 * @param {boolean} signed
 * @returns {Uint8Array} 256 bytes; a byte that is no level stays
 */
export function levelsOnScale(limit, whole, signed) {
  const table = new Uint8Array(256);
  const share = whole > 0 ? Math.min(1, limit / whole) : 0;
  for (let level = 0; level < 256; level++) {
    if (level >= LEVELS) table[level] = level;
    else table[level] = signed ? Math.round(ZERO_LEVEL + (level - ZERO_LEVEL) * share) : Math.round(level * share);
  }
  return table;
}

/**
 * Levels in another size: the nearest level where it is larger, else the mean of the levels, so that no colour appears
 * that the bar does not have. A mean over a value that is not finite is not finite.
 * @param {Uint8Array} levels (rows, columns)
 * @param {number} rows
 * @param {number} columns
 * @param {number} height
 * @param {number} width
 * @returns {Uint8Array} (height, width)
 */
export function resized(levels, rows, columns, height, width) {
  if (height === rows && width === columns) return levels;
  const result = new Uint8Array(height * width);
  const down = cuts(rows, height);
  const across = cuts(columns, width);
  for (let y = 0; y < height; y++) {
    const [top, bottom] = [down[2 * y] ?? 0, down[2 * y + 1] ?? 1];
    if (y > 0 && top === down[2 * y - 2] && bottom === down[2 * y - 1]) {
      result.copyWithin(y * width, (y - 1) * width, y * width); // repeated rows are most of an enlarged map
      continue;
    }
    for (let x = 0; x < width; x++) {
      const [left, right] = [across[2 * x] ?? 0, across[2 * x + 1] ?? 1];
      result[y * width + x] = mean(levels, columns, top, bottom, left, right);
    }
  }
  return result;
}

/**
 * The first cell and the cell after the last one that each pixel shows.
 * @param {number} cells
 * @param {number} pixels
 * @returns {Int32Array}
 */
function cuts(cells, pixels) {
  const result = new Int32Array(2 * pixels);
  for (let at = 0; at < pixels; at++) {
    const first = Math.floor((at * cells) / pixels);
    result[2 * at] = first;
    result[2 * at + 1] = pixels >= cells ? first + 1 : Math.max(first + 1, Math.floor(((at + 1) * cells) / pixels));
  }
  return result;
}

/**
 * @param {Uint8Array} levels
 * @param {number} columns
 * @param {number} top
 * @param {number} bottom
 * @param {number} left
 * @param {number} right
 */
function mean(levels, columns, top, bottom, left, right) {
  let sum = 0;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const level = levels[row * columns + column] ?? NOT_FINITE;
      if (level === NOT_FINITE) return NOT_FINITE;
      sum += level;
    }
  }
  return Math.round(sum / ((bottom - top) * (right - left)));
}

/**
 * The spread (standard deviation) of a map.
 * @param {Uint8Array} levels
 * @param {number} limit
 * @param {boolean} signed
 * @returns {number} −1 without finite values
 */
export function spread(levels, limit, signed) {
  let count = 0;
  let sum = 0;
  let squares = 0;
  for (const level of levels) {
    if (level === NOT_FINITE) continue;
    count++;
    sum += level;
    squares += level * level;
  }
  if (!count) return -1;
  const variance = Math.max(0, squares / count - (sum / count) ** 2);
  return (Math.sqrt(variance) / (signed ? ZERO_LEVEL : LEVELS - 1)) * limit;
}

/**
 * The row and the column of the value with the largest size, between the first and the last of both.
 * @param {Uint8Array} levels
 * @param {number} columns
 * @param {boolean} signed
 * @param {[number, number]} rows
 * @param {[number, number]} across
 * @returns {[number, number]} the first place without finite values
 */
export function strongest(levels, columns, signed, rows, across) {
  const zero = signed ? ZERO_LEVEL : 0;
  /** @type {[number, number]} */
  let best = [rows[0], across[0]];
  let size = -1;
  for (let row = rows[0]; row <= rows[1]; row++) {
    for (let column = across[0]; column <= across[1]; column++) {
      const level = levels[row * columns + column] ?? NOT_FINITE;
      if (level === NOT_FINITE || Math.abs(level - zero) <= size) continue;
      size = Math.abs(level - zero);
      best = [row, column];
    }
  }
  return best;
}
