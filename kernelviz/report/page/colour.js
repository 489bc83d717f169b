// @ts-check
// Colours of levels. The tables are in the page, as Python computed them; there is no palette here.

import { LEVELS, NOT_FINITE } from "./levels.js";

/**
 * The palettes of one look: `signed` and `positive` for maps and kernels, `cells` for cells with digits.
 * Each is (n, 3) bytes: 201 levels, then paper, outline, dark mark, light mark, chequer dark, chequer light, not finite.
 * @typedef {{signed: Uint8Array, positive: Uint8Array, cells: Uint8Array}} Palettes
 */

const INKS = { outline: 202, darkMark: 203, lightMark: 204, chequerDark: 205, chequerLight: 206, frame: 207 };

/**
 * @param {Record<string, string>} encoded base64 by name
 * @returns {Palettes}
 */
export function readPalettes(encoded) {
  const table = (/** @type {string} */ name) =>
    Uint8Array.from(atob(encoded[name] ?? ""), (each) => each.charCodeAt(0));
  return { signed: table("signed"), positive: table("positive"), cells: table("cells") };
}

/**
 * A colour as CSS writes it.
 * @param {Uint8Array} palette
 * @param {number} level
 */
export function cssColour(palette, level) {
  return `rgb(${palette[3 * level]} ${palette[3 * level + 1]} ${palette[3 * level + 2]})`;
}

/**
 * The colour of an ink: outline, darkMark, lightMark, chequerDark, chequerLight or frame.
 * @param {Uint8Array} palette
 * @param {keyof typeof INKS} ink
 */
export function inkColour(palette, ink) {
  return cssColour(palette, INKS[ink]);
}

/**
 * The palette as whole pixels of a canvas (alpha 255), one for each byte.
 * @param {Uint8Array} palette
 * @returns {Uint32Array} 256 pixels
 */
export function pixelTable(palette) {
  const bytes = new Uint8ClampedArray(1024);
  for (let level = 0; level < 256; level++) {
    const from = 3 * (level < LEVELS ? level : INKS.chequerDark);
    bytes.set([palette[from] ?? 0, palette[from + 1] ?? 0, palette[from + 2] ?? 0, 255], 4 * level);
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * The ink of a line that is visible on a colour, as in the pictures of mosaics.
 * @param {Uint8Array} palette
 * @param {number} level
 * @returns {"darkMark" | "lightMark"}
 */
export function markOn(palette, level) {
  const at = 3 * (level === NOT_FINITE ? INKS.chequerDark : level);
  const luma = 0.299 * (palette[at] ?? 0) + 0.587 * (palette[at + 1] ?? 0) + 0.114 * (palette[at + 2] ?? 0);
  return luma > 140 ? "darkMark" : "lightMark";
}
