// @ts-check
// The panel between photograph and map: window × kernel = products, or bars that add up.

import { numberOf, productsOf } from "./arithmetic.js";
import { cssColour } from "./colour.js";
import { html, svg } from "./drawing.js";
import { ZERO_LEVEL } from "./levels.js";
import { cellText, counted, powerText, sharedPower, shortText, valueText } from "./numbers.js";

/** @import { Unit } from "./arithmetic.js" */

/**
 * What the panel shows beside the numbers: `names` are those of the input channels, `address` leads to the map of an input
 * channel (null if its layer is not known), `largest` is the largest size an input can have (null if not known), `digits`
 * whether cells of large kernels have digits.
 * @typedef {{kernel: [number, number], cells: Uint8Array, channel: number, inputName: (channel: number) => string,
 *   address: (channel: number) => string | null, largest: number | null, digits: boolean, onDigits: () => void}} SumLook
 */

const MOST_GRIDS = 3;
const FLAT = 2; // rows of a kernel of which three of its grids fit below each other
const SIDE_BY_SIDE = 4; // columns of a kernel whose digits fit beside those of window and products
const DIGITS_ON_DEMAND = 7;
const DIGITS_UP_TO = 6; // columns of a kernel whose digits are always there

/**
 * Fill the panel with a unit.
 * @param {HTMLElement} panel
 * @param {Unit} unit
 * @param {SumLook} look
 */
export function showSum(panel, unit, look) {
  const [rows, columns] = look.kernel;
  const bars = rows * columns === 1 && unit.of > MOST_GRIDS;
  const body = bars ? barsOf(unit, look) : gridsOf(unit, look);
  panel.replaceChildren(body, totalOf(unit));
  panel.dataset.kind = bars ? "bars" : body.classList.contains("under") ? "under" : "rows";
}

/** @param {Unit} unit */
function totalOf(unit) {
  const bias = unit.bias === null ? "no bias" : `bias ${shortText(unit.bias, true)}`;
  const value = html("strong", "value", valueText(numberOf(unit.value)));
  value.dataset.value = String(unit.value); // with all digits
  return html("div", "total", html("span", "quiet", bias), value);
}

/**
 * @param {Unit} unit
 * @param {SumLook} look
 */
function gridsOf(unit, look) {
  const [rows, columns] = look.kernel;
  const digits = columns <= DIGITS_UP_TO || (look.digits && columns <= DIGITS_ON_DEMAND);
  const under = columns > SIDE_BY_SIDE && digits; // three grids of digits are too wide
  const terms = unit.terms.slice(0, under && rows > FLAT && unit.of > MOST_GRIDS ? 1 : MOST_GRIDS);
  const all = unit.of;
  const products = terms.map(productsOf);
  const limits = {
    window: look.largest ?? largest(terms.flatMap((term) => term.window)),
    kernel: largest(terms.flatMap((term) => term.kernel)),
    products: largest(products.flat()),
  };
  const powers = {
    window: sharedPower(limits.window),
    kernel: sharedPower(limits.kernel),
    products: sharedPower(limits.products),
  };
  const body = html(
    "div",
    `terms${digits ? "" : " plain"}${under ? " under" : ""}${all > 1 ? "" : " single"}${columns > 3 ? " four" : ""}${columns > DIGITS_UP_TO ? " seven" : ""}`,
  );
  for (const [at, term] of terms.entries()) {
    const name = look.inputName(term.n);
    const row = html("div", "term");
    const cells = (
      /** @type {"window" | "kernel" | "products"} */ kind,
      /** @type {Array<number | null>} */ values,
    ) => {
      const heading = html("div", "heading", kind === "kernel" ? "kernel " : kind);
      if (kind === "kernel") heading.append(html("b", "", String(look.channel)));
      if (powers[kind]) heading.append(` × ${powerText(powers[kind])}`);
      const taps = kind === "window" ? unit.taps : null;
      const grid = cellsOf(values, columns, limits[kind], powers[kind], taps, look.cells, digits);
      grid.setAttribute(
        "aria-label",
        `${kind}${all > 1 ? ` of ${name}` : ""}: ${spoken(values, powers[kind], columns)}`,
      );
      const part = html("div", kind, grid);
      if (at === 0 || under) part.prepend(heading);
      return part;
    };
    row.append(cells("window", term.window), html("span", "operator", "×"), cells("kernel", term.kernel));
    const equals = html("span", "operator equals", "=");
    if (under)
      equals.prepend(
        html(
          "span",
          "quiet",
          `${term.window.length} products${powers.products ? ` × ${powerText(powers.products)}` : ""}, added up `,
        ),
      );
    row.append(equals, cells("products", products[at] ?? []));
    if (all > 1)
      row.append(
        html(
          "div",
          "part",
          named(/^\d/.test(name) ? `map ${name}` : name, term.n, look),
          html("span", "", valueText(numberOf(term.sum))),
        ),
      );
    body.append(row);
  }
  const hidden = unit.terms.slice(terms.length).reduce((sum, term) => sum + numberOf(term.sum), numberOf(unit.rest));
  if (all > terms.length) {
    const text = `${counted(all - terms.length, "other input map")}`;
    body.append(html("div", "others", html("span", "quiet", text), html("span", "", valueText(hidden))));
  }
  if (columns > DIGITS_UP_TO) body.append(readout(look, columns <= DIGITS_ON_DEMAND));
  return body;
}

/**
 * The line that reads the cell under the pointer, and the button for all digits where they fit.
 * @param {SumLook} look
 * @param {boolean} fitting
 */
function readout(look, fitting) {
  const line = html("output", "readout quiet", look.digits && fitting ? "" : "Point at a cell to read it.");
  if (!fitting) return html("div", "digits-row", line);
  const button = html("button", "plain-button", look.digits ? "Hide the digits" : "Show the digits");
  button.setAttribute("type", "button");
  button.id = "digits";
  button.addEventListener("click", look.onDigits);
  return html("div", "digits-row", line, button);
}

/**
 * The name of an input map, as a link if the layer that made it is in the page.
 * @param {string} name
 * @param {number} channel
 * @param {SumLook} look
 */
function named(name, channel, look) {
  const address = look.address(channel);
  if (!address) return html("span", "quiet", name);
  const link = html("a", "", name);
  link.setAttribute("href", address);
  return link;
}

/**
 * Cells with colours and digits.
 * @param {Array<number | null>} values
 * @param {number} columns
 * @param {number} limit
 * @param {number} power
 * @param {number[] | null} taps
 * @param {Uint8Array} palette
 * @param {boolean} digits
 */
function cellsOf(values, columns, limit, power, taps, palette, digits) {
  const grid = html("div", `cells${columns > DIGITS_UP_TO ? " many" : ""}`);
  grid.setAttribute("role", "img");
  grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  for (const [at, value] of values.entries()) {
    const number = numberOf(value);
    const kind = Number.isFinite(number) ? (taps?.[at] ? "padding" : "") : "not-finite";
    const cell = html("span", kind, digits ? cellText(number, power) : "");
    if (!kind) cell.style.backgroundColor = cssColour(palette, levelOf(number, limit));
    if (!digits) cell.dataset.value = valueText(number);
    grid.append(cell);
  }
  return grid;
}

/**
 * @param {number} value
 * @param {number} limit
 */
function levelOf(value, limit) {
  if (!(limit > 0)) return ZERO_LEVEL;
  return Math.round(ZERO_LEVEL + ZERO_LEVEL * Math.max(-1, Math.min(1, value / limit)));
}

/**
 * @param {Array<number | null>} values
 * @param {number} power
 * @param {number} columns
 */
function spoken(values, power, columns) {
  const texts = values.map((value) => cellText(numberOf(value), power));
  const rows = [];
  for (let at = 0; at < texts.length; at += columns) rows.push(texts.slice(at, at + columns).join(" "));
  return rows.join("; ") + (power ? `; times ${powerText(power)}` : "");
}

/** @param {Array<number | null>} values */
function largest(values) {
  let result = 0;
  for (const value of values) if (value !== null && Number.isFinite(value)) result = Math.max(result, Math.abs(value));
  return result;
}

/**
 * The terms of a 1 × 1 convolution as bars, each of which begins where the one before it ends.
 * @param {Unit} unit
 * @param {SumLook} look
 */
function barsOf(unit, look) {
  const rows = unit.terms.map((term) => ({ term, sum: numberOf(term.sum) }));
  const others = unit.of - unit.terms.length;
  const sums = [...rows.map((row) => row.sum), ...(others ? [numberOf(unit.rest)] : [])];
  const ends = [0];
  for (const sum of sums) ends.push((ends.at(-1) ?? 0) + (Number.isFinite(sum) ? sum : 0));
  const low = Math.min(...ends);
  const span = Math.max(...ends) - low || 1;
  const body = html("div", "bars");
  body.append(...["input map", "value", "", "weight", "product", ""].map((text) => html("span", "heading", text)));
  const percent = (/** @type {number} */ value) => `${(100 * (value - low)) / span}%`;
  for (const [at, sum] of sums.entries()) {
    const term = rows[at]?.term;
    const cells = term
      ? [
          named(look.inputName(term.n), term.n, look),
          shortText(numberOf(term.window[0])),
          "×",
          shortText(numberOf(term.kernel[0])),
        ]
      : [counted(others, "other")];
    for (const [column, content] of cells.entries()) {
      body.append(html("span", term ? (column === 2 ? "quiet" : "number") : "number others-name quiet", content));
    }
    const chart = svg("svg", { class: "bar", "aria-hidden": "true" });
    const [from, to] = [ends[at] ?? 0, ends[at + 1] ?? 0];
    chart.append(
      svg("line", { x1: percent(0), x2: percent(0), y1: 0, y2: "100%", class: "zero" }),
      svg("rect", {
        x: percent(Math.min(from, to)),
        width: `${(100 * Math.abs(to - from)) / span}%`,
        y: "20%",
        height: "60%",
        class: sum < 0 ? "negative" : "positive",
      }),
    );
    body.append(chart, html("span", "number", shortText(sum)));
  }
  return body;
}

/**
 * Show the numbers of the cell under the pointer where cells have no digits.
 * @param {HTMLElement} panel
 */
export function listenForCells(panel) {
  panel.addEventListener("pointerover", (event) => {
    const cell = /** @type {HTMLElement} */ (event.target);
    const line = panel.querySelector(".readout");
    const grid = cell.parentElement;
    const term = grid?.closest(".term");
    if (!line || !grid || !term || cell.dataset.value === undefined) return;
    const at = [...grid.children].indexOf(cell);
    const [window, kernel, product] = [".window", ".kernel", ".products"].map(
      (kind) =>
        /** @type {HTMLElement | undefined} */ (term.querySelectorAll(`${kind} .cells > span`)[at])?.dataset.value ??
        "",
    );
    line.textContent = `${window} × ${kernel} = ${product}`;
  });
}
