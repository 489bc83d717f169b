// @ts-check
// Which layers a search finds.

/** @import { Layer } from "./data.js" */

/**
 * Whether each word of a query is in the name or the kind of a layer, or is the size of its kernel or map. `5x5`, `5×5` and
 * `5 × 5` are one word, which is no part of `15 × 15`.
 * @param {string} query
 * @param {Pick<Layer, "name" | "kind" | "conv" | "map">} layer
 * @param {string} sentence of which the first part names kernel and kind
 */
export function isFound(query, layer, sentence) {
  const described = sentence.split(". ")[0] ?? "";
  const text = joined([layer.name, layer.kind, layer.conv ?? "", described, layer.map.join("×")].join(" "));
  return joined(query)
    .split(/\s+/)
    .every((word) => (/^\d+×[\d×]*$/.test(word) ? sizeIn(word, text) : text.includes(word)));
}

/** @param {string} text */
function joined(text) {
  return text.toLowerCase().replace(/(?<=\d)\s*[x×](?:\s*(?=\d)|\s*$)/g, "×");
}

/**
 * @param {string} size
 * @param {string} text
 */
function sizeIn(size, text) {
  return new RegExp(`(?<![\\d×])${size}${size.endsWith("×") ? "" : "(?![\\d×])"}`).test(text);
}
