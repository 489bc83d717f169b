// @ts-check
// What the page shows, and its address.

/**
 * What an address names; parts may be missing.
 * @typedef {{layer: string | null, channel: number | null, place: [number, number] | null, image: number | null}} Address
 */

/**
 * @param {string} hash with or without its number sign
 * @returns {Address}
 */
export function readAddress(hash) {
  const [layer = "", channel = "", place = "", image = ""] = hash.replace(/^#/, "").split("/");
  const pair = /^(\d+),(\d+)$/.exec(place);
  return {
    layer: layer ? decoded(layer) : null,
    channel: wholeNumber(channel),
    place: pair ? [Number(pair[1]), Number(pair[2])] : null,
    image: wholeNumber(image),
  };
}

/**
 * @param {string} layer
 * @param {number} channel
 * @param {[number, number]} place
 * @param {number} image left out if it is the first
 */
export function writeAddress(layer, channel, place, image) {
  return `#${encodeURIComponent(layer)}/${channel}/${place[0]},${place[1]}${image ? `/${image}` : ""}`;
}

/** @param {string} text */
function wholeNumber(text) {
  return /^\d{1,9}$/.test(text) ? Number(text) : null;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a lone percent sign
  }
}
