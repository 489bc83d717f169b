// @ts-check
// Canvases of maps and kernels, and marks over pictures. Canvases are written and never read.

import { inkColour, markOn, pixelTable } from "./colour.js";
import { tileAt } from "./geometry.js";
import { LEVELS, levelsOnScale, NOT_FINITE, resized } from "./levels.js";

/** @import { Grid } from "./geometry.js" */

/**
 * A tile: its levels, or its colours (rows, columns, 3). `whole` is the limit of the scale of all tiles, null if the tile
 * has its own. `mark` is a diagonal for a dead map and a kernel that is as good as zero, `frame` surrounds values that are
 * not finite.
 * @typedef {{bytes: Uint8Array, rows: number, columns: number, colours: boolean, limit: number, whole: number | null,
 *   signed: boolean, mark: boolean, frame: boolean}} Tile
 */

/**
 * Paint tiles into a canvas.
 * @param {HTMLCanvasElement} canvas
 * @param {Grid} grid
 * @param {Tile[]} tiles
 * @param {{palette: Uint8Array, numbers: string[] | null, ink: string, font: string, scale: number, outlined: boolean}} look
 */
export function paintTiles(canvas, grid, tiles, look) {
  const scale = look.scale;
  const size = (/** @type {number} */ length) => Math.max(1, Math.round(length * scale));
  canvas.width = size(grid.total.width);
  canvas.height = size(grid.total.height);
  const context = canvas.getContext("2d", { willReadFrequently: false });
  if (!context) return;
  const [width, height] = [size(grid.width), size(grid.height)];
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const table = pixelTable(look.palette);
  const line = Math.max(1, Math.round(scale));
  for (const [number, tile] of tiles.entries()) {
    const { x, y } = tileAt(grid, number);
    const [left, top] = [Math.round(x * scale), Math.round(y * scale)];
    if (tile.colours) colourPixels(pixels, tile, width, height);
    else levelPixels(pixels, tile, width, height, table, look.palette, line);
    if (look.outlined) {
      context.fillStyle = inkColour(look.palette, tile.frame ? "frame" : "outline");
      const border = tile.frame ? 2 * line : line;
      context.fillRect(left - border, top - border, width + 2 * border, height + 2 * border);
    }
    context.putImageData(image, left, top);
    if (tile.mark) {
      context.strokeStyle = inkColour(look.palette, markOn(look.palette, tile.colours ? 100 : (tile.bytes[0] ?? 0)));
      context.lineWidth = line;
      context.beginPath();
      context.moveTo(left, top + height);
      context.lineTo(left + width, top);
      context.stroke();
    }
  }
  if (look.numbers) paintNumbers(context, grid, look.numbers, look.ink, look.font, scale);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Grid} grid
 * @param {string[]} numbers one for each tile, or one for each row
 * @param {string} ink
 * @param {string} font
 * @param {number} scale
 */
function paintNumbers(context, grid, numbers, ink, font, scale) {
  const own = grid.above > 3;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.fillStyle = ink;
  context.font = font;
  context.textAlign = own ? "left" : "right";
  context.textBaseline = own ? "alphabetic" : "middle";
  for (const [at, text] of numbers.entries()) {
    const { x, y } = tileAt(grid, own ? at : at * grid.columns);
    if (own) context.fillText(text, x, y - 6);
    else context.fillText(text, x - 12, y + grid.height / 2);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
}

/**
 * @param {Uint32Array} pixels
 * @param {Tile} tile
 * @param {number} width
 * @param {number} height
 * @param {Uint32Array} table
 * @param {Uint8Array} palette
 * @param {number} unit the side of a square of the chequer
 */
function levelPixels(pixels, tile, width, height, table, palette, unit) {
  const scale = tile.whole === null ? null : levelsOnScale(tile.limit, tile.whole, tile.signed);
  const colours = Uint32Array.from({ length: 256 }, (_, level) =>
    level < LEVELS ? (table[scale ? (scale[level] ?? level) : level] ?? 0) : 0,
  );
  if (width >= tile.columns && height >= tile.rows) enlarge(pixels, tile, width, height, colours);
  else {
    const shown = resized(tile.bytes, tile.rows, tile.columns, height, width);
    for (let at = 0; at < shown.length; at++) pixels[at] = colours[shown[at] ?? NOT_FINITE] ?? 0;
  }
  if (!tile.bytes.includes(NOT_FINITE)) return; // 254 is no cell: the page shows
  const shown = resized(tile.bytes, tile.rows, tile.columns, height, width);
  const inks = pixelTable(chequered(palette));
  for (let at = 0; at < shown.length; at++) {
    if (shown[at] !== NOT_FINITE) continue;
    const odd = (Math.floor((at % width) / (2 * unit)) + Math.floor(at / width / (2 * unit))) % 2;
    pixels[at] = inks[odd] ?? 0;
  }
}

/**
 * The nearest value for each pixel; rows that repeat are copied.
 * @param {Uint32Array} pixels
 * @param {Tile} tile
 * @param {number} width
 * @param {number} height
 * @param {Uint32Array} colours
 */
function enlarge(pixels, tile, width, height, colours) {
  const columns = Int32Array.from({ length: width }, (_, x) => Math.floor((x * tile.columns) / width));
  let before = -1;
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * tile.rows) / height);
    if (row === before) pixels.copyWithin(y * width, (y - 1) * width, y * width);
    else {
      const from = row * tile.columns;
      for (let x = 0; x < width; x++) {
        pixels[y * width + x] = colours[tile.bytes[from + (columns[x] ?? 0)] ?? NOT_FINITE] ?? 0;
      }
    }
    before = row;
  }
}

/**
 * A palette whose first two colours are those of the chequer.
 * @param {Uint8Array} palette
 */
function chequered(palette) {
  const result = new Uint8Array(palette.length);
  result.set(palette.subarray(3 * 205, 3 * 207));
  return result;
}

/**
 * @param {Uint32Array} pixels
 * @param {Tile} tile
 * @param {number} width
 * @param {number} height
 */
function colourPixels(pixels, tile, width, height) {
  const bytes = new Uint8ClampedArray(pixels.buffer);
  const plane = tile.rows * tile.columns;
  for (let colour = 0; colour < 3; colour++) {
    const one = new Uint8Array(plane);
    for (let at = 0; at < plane; at++) one[at] = tile.bytes[3 * at + colour] ?? 0;
    const shown = nearest(one, tile.rows, tile.columns, height, width);
    for (let at = 0; at < shown.length; at++) bytes[4 * at + colour] = shown[at] ?? 0;
  }
  for (let at = 0; at < pixels.length; at++) bytes[4 * at + 3] = 255;
}

/**
 * @param {Uint8Array} bytes
 * @param {number} rows
 * @param {number} columns
 * @param {number} height
 * @param {number} width
 */
function nearest(bytes, rows, columns, height, width) {
  const result = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * rows) / height) * columns;
    for (let x = 0; x < width; x++) result[y * width + x] = bytes[row + Math.floor((x * columns) / width)] ?? 0;
  }
  return result;
}

/**
 * Paint the colours from the first to the last level as a bar.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} palette
 */
export function paintBar(canvas, palette) {
  canvas.width = LEVELS;
  canvas.height = 1;
  const image = new ImageData(LEVELS, 1);
  new Uint32Array(image.data.buffer).set(pixelTable(palette).subarray(0, LEVELS));
  canvas.getContext("2d")?.putImageData(image, 0, 0);
}

/**
 * An SVG element with attributes.
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @returns {SVGElement}
 */
export function svg(name, attributes) {
  const { namespaceURI } = /** @type {SVGElement} */ (document.querySelector("svg")); // so that no address is in the file
  const element = /** @type {SVGElement} */ (document.createElementNS(namespaceURI, name));
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/**
 * An HTML element with a class and content.
 * @param {string} name
 * @param {string} className
 * @param {...(Node | string)} content
 * @returns {HTMLElement}
 */
export function html(name, className, ...content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/**
 * A name that is broken after its dots, slashes and underscores where it is too long for a line.
 * @param {string} name
 * @returns {Array<Node | string>}
 */
export function breakable(name) {
  const parts = name.split(/(?<=[._/])(?=.)/);
  return parts.flatMap((part, at) => (at ? [document.createElement("wbr"), part] : [part]));
}

/**
 * A box with ticks where it is too small to be found, an outline in two colours, in pixels of the picture.
 * @param {{x: number, y: number, width: number, height: number}} box
 * @param {number} small the largest side that gets ticks
 * @returns {SVGElement[]}
 */
export function boxMarks(box, small) {
  const least = 7;
  const width = Math.max(box.width, least);
  const height = Math.max(box.height, least);
  const x = box.x + (box.width - width) / 2;
  const y = box.y + (box.height - height) / 2;
  const middle = { x: x + width / 2, y: y + height / 2 };
  let path = `M${x} ${y}h${width}v${height}h${-width}z`;
  if (Math.max(width, height) <= small) {
    path += `M${middle.x} ${y - 9}v9M${middle.x} ${y + height}v9M${x - 9} ${middle.y}h9M${x + width} ${middle.y}h9`;
  }
  return [svg("path", { class: "halo", d: path }), svg("path", { class: "chosen", d: path })];
}
