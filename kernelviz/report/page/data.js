// @ts-check
// The data in the page: an index, and a block for each layer and image that is unpacked when it is visited.

/** @import { Unit } from "./arithmetic.js" */
/** @import { Field } from "./geometry.js" */

/**
 * The maps of a layer for one image; `extent` is the range of all of its maps.
 * @typedef {{signed: boolean, limits: number[], extent: [number, number], dead: number[],
 *   nonfinite: Record<string, number>}} MapFacts
 */

/**
 * The layer of the list that made some input channels: the first of them, how many, the layer, its first channel, and
 * whether they are sums of that layer's channels and others.
 * @typedef {[number, number, number, number, 0 | 1]} Maker
 */

/**
 * @typedef {{view: "rgb" | "sum" | "inputs", tile: [number, number], limits: number[], zero: number[], faint: number[],
 *   nonfinite: Record<string, number>, notes: string[]}} KernelFacts
 */

/**
 * @typedef {{stride: [number, number], dilation: [number, number], kernel: [number, number], around: number[],
 *   bias: boolean}} LiveFacts
 */

/**
 * Which patches of a layer are in the page: those of some channels, `most` of each. With `reduced` above 0 they have pixels
 * of their own, each of so many rows and columns; else they are cut out of the images.
 * @typedef {{channels: number[], most: number, choice: string, dead: number[], reduced: number, clipped: boolean,
 *   framed: boolean, notes: string[]}} PatchFacts
 */

/**
 * The patches of a layer unpacked, channel by channel: `places` are image, row and column, `boxes` the first and the last
 * row, the first and the last column; −1 where there is no further patch.
 * @typedef {{values: Float32Array, places: Int32Array, boxes: Int32Array, ties: Record<string, string>,
 *   ends: Record<string, string>, crops: Uint8Array}} PatchNumbers
 */

/**
 * An image with patches: `shown` is its number among the images of the page, null if it is none of them; `picture` are rows
 * and columns of its pixels, which are those of the image of the page where it is null. With `jpeg` its block is a JPEG.
 * @typedef {{name: string, size: [number, number], picture: [number, number] | null, scale: number, shown: number | null,
 *   jpeg: boolean, block: string}} PatchImage
 */

/**
 * @typedef {{name: string, kind: string, kernel: number[] | null, conv: "dense" | "depthwise" | "pointwise" | "grouped" | "transposed" | null,
 *   in: number | null, out: number, map: [number, number], slices: number, field: Field | null, lost: string,
 *   unknown: string, shown: number[], kernels: KernelFacts | null, maps: MapFacts[], live: LiveFacts | null,
 *   makers: Maker[], units: boolean, reads: boolean, patches: PatchFacts | null, without: string, block: string,
 *   parts: Array<[string, number]>, notes: string[]}} Layer
 */

/**
 * @typedef {{name: string, size: [number, number], exact: boolean, block: string, notes: string[],
 *   top: Array<{index: number, label: string | null, probability: number}>}} ImageFacts
 */

/**
 * @typedef {{input: {size: number[], mean: number[], std: number[]}, images: ImageFacts[], layers: Layer[],
 *   patches: {set: number, images: PatchImage[]} | null}} Index
 */

/**
 * A layer unpacked: levels of kernels (in the view rgb colours), of maps for each image, traced units, and the weights of
 * a layer that reads the image.
 * @typedef {{kernels: Uint8Array | null, maps: Uint8Array[], units: Unit[], weights: Float32Array | null,
 *   bias: Float32Array | null, patches: PatchNumbers | null}} Unpacked
 */

/**
 * The JSON in an element of the page.
 * @param {string} id
 */
export function readJson(id) {
  return JSON.parse(document.getElementById(id)?.textContent ?? "null");
}

/**
 * The bytes of a block: base64, inflated.
 * @param {string} text
 * @returns {Promise<Uint8Array>}
 */
export async function inflated(text) {
  const packed = bytesOfBase64(text.trim());
  const stream = new Blob([/** @type {BlobPart} */ (packed)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** @param {string} text */
function bytesOfBase64(text) {
  const native = /** @type {{fromBase64?: (text: string) => Uint8Array}} */ (/** @type {unknown} */ (Uint8Array));
  if (native.fromBase64) return native.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/**
 * The parts of a block of a layer.
 * @param {Uint8Array} bytes
 * @param {Array<[string, number]>} parts names and lengths, in order
 * @returns {Unpacked}
 */
export function splitBlock(bytes, parts) {
  /** @type {Unpacked} */
  const result = { kernels: null, maps: [], units: [], weights: null, bias: null, patches: null };
  /** @type {PatchNumbers} */
  const patches = {
    values: new Float32Array(),
    places: new Int32Array(),
    boxes: new Int32Array(),
    ties: {},
    ends: {},
    crops: new Uint8Array(),
  };
  let at = 0;
  for (const [name, length] of parts) {
    const part = bytes.subarray(at, at + length);
    at += length;
    if (name === "kernels") result.kernels = part;
    else if (name === "maps") result.maps.push(part);
    else if (name === "units") result.units = JSON.parse(new TextDecoder().decode(part));
    else if (name === "weights") result.weights = floats(part);
    else if (name === "bias") result.bias = floats(part);
    else if (name === "patch-places") patches.places = integers(part);
    else if (name === "patch-boxes") patches.boxes = integers(part);
    else if (name === "patch-texts") Object.assign(patches, JSON.parse(new TextDecoder().decode(part)));
    else if (name === "patch-crops") patches.crops = part;
    else if (name === "patch-values") {
      patches.values = floats(part);
      result.patches = patches;
    }
  }
  return result;
}

/** @param {Uint8Array} bytes int32, little-endian */
function integers(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int32Array.from({ length: bytes.byteLength / 4 }, (_, at) => view.getInt32(4 * at, true));
}

/** @param {Uint8Array} bytes float32, little-endian */
function floats(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, at) => view.getFloat32(4 * at, true));
}

/**
 * Unpacks blocks of the page, and keeps the latest ones.
 */
export class Blocks {
  /** @param {number} kept */
  constructor(kept) {
    this.kept = kept;
    /** @type {Map<string, Promise<Uint8Array>>} */
    this.latest = new Map();
  }

  /**
   * @param {string} id
   * @returns {Promise<Uint8Array>}
   */
  read(id) {
    const found = this.latest.get(id) ?? inflated(document.getElementById(id)?.textContent ?? "");
    this.latest.delete(id);
    this.latest.set(id, found);
    const oldest = this.latest.keys().next().value;
    if (this.latest.size > this.kept && oldest !== undefined) this.latest.delete(oldest);
    return found;
  }
}
