// @ts-check
// How numbers are written: a true minus, a power of ten outside 10⁻³ … 10⁵.

const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** @param {number} power */
export function powerText(power) {
  const digits = String(Math.abs(power)).replace(/\d/g, (digit) => SUPERSCRIPT[Number(digit)] ?? "");
  return `10${power < 0 ? "⁻" : ""}${digits}`;
}

/** @param {number} value */
function special(value) {
  return Number.isNaN(value) ? "not finite" : value > 0 ? "∞" : "−∞";
}

/**
 * @param {number} value
 * @param {(size: number) => string} plain how its size is written where it needs no power
 */
function written(value, plain) {
  if (!Number.isFinite(value)) return special(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size >= 1e-3 && size < 1e5) return sign + plain(size);
  const [mantissa = "", power = ""] = size.toExponential(2).split("e");
  return `${sign}${mantissa}×${powerText(Number(power))}`;
}

/**
 * A value of a map or a sum: three decimals, fewer where the number is large, three significant digits where it is small.
 * @param {number} value
 */
export function valueText(value) {
  if (Math.abs(value) < 0.1) return shortText(value);
  return written(value, (size) => size.toFixed(size < 1000 ? 3 : size < 10000 ? 2 : 1));
}

/**
 * Three significant digits.
 * @param {number} value
 * @param {boolean} plus whether positive numbers have a sign
 */
export function shortText(value, plus = false) {
  const text = written(value, (size) => {
    const power = Math.floor(Math.log10(Number(size.toPrecision(3))));
    return Number(size.toPrecision(3)).toFixed(Math.max(0, 2 - power));
  });
  return plus && value > 0 ? `+${text}` : text;
}

/**
 * The power of ten that the numbers of one grid share, so that two decimals show them; 0 for those between 0.1 and 1000.
 * @param {number} limit the largest size among them
 */
export function sharedPower(limit) {
  if (!(limit > 0) || !Number.isFinite(limit) || (limit >= 0.1 && limit < 1000)) return 0;
  return Math.floor(Math.log10(limit));
}

/**
 * The number in a cell, at most six characters.
 * @param {number} value
 * @param {number} power the shared power of ten
 */
export function cellText(value, power = 0) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value) / 10 ** power;
  const text = size.toFixed(size < 9.995 ? 2 : size < 99.95 ? 1 : 0);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/**
 * A number with its whole part and at most six significant digits, and a true minus.
 * @param {number} value
 */
export function exactText(value) {
  const digits = Math.max(6, Math.trunc(Math.abs(value)).toFixed().length);
  return String(Number(value.toPrecision(Math.min(digits, 17)))).replace("-", "−");
}

/**
 * The number that a text stands for; null if it is none.
 * @param {string} text
 */
export function numberOfText(text) {
  const plain = text.trim().replace("−", "-");
  return /^[-+]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : null;
}

/**
 * Ascending numbers as text, in runs: `0–2, 5, 7–9`.
 * @param {number[]} numbers
 */
export function rangesText(numbers) {
  /** @type {Array<[number, number]>} */
  const runs = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}–${last}`)).join(", ");
}

/**
 * A count with its noun.
 * @param {number} count
 * @param {string} noun
 */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}
