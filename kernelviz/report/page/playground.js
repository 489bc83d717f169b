// @ts-check
// The playground: a convolution whose numbers and settings can be changed, with its window, sum and output.

import { isAnswer, isTelling, mistakeBehind, outputShape, outputSize, pairsAt, valueAt } from "./arithmetic.js";
import { cssColour, readPalettes } from "./colour.js";
import { readJson } from "./data.js";
import { ZERO_LEVEL } from "./levels.js";
import { exactText, numberOfText, shortText } from "./numbers.js";
import { element, isDark, setUpTheme } from "./theme.js";

/** @import { Settings } from "./arithmetic.js" */

/** @typedef {"stride" | "padding" | "dilation" | "input" | "kernel"} Setting */

const SETTINGS = /** @type {Setting[]} */ (["stride", "padding", "dilation", "input", "kernel"]);
const LARGEST = 1e6;
const FITTING = 8; // characters in a cell
const REASONS = {
  turned: "is the result with a flipped kernel (rotated by 180°). Here the kernel is not flipped.",
  signs: "is the result without the signs of the kernel.",
  neighbour: "is the value of the window before or after this one.",
};

/**
 * What a cell can hold of a text: six significant digits below a million, null for anything else.
 * @param {string} text
 */
function cellOfText(text) {
  const value = Number((numberOfText(text) ?? Number.NaN).toPrecision(6));
  return Math.abs(value) < LARGEST ? value : null;
}

/**
 * Numbers in another size: those that are there or were there stay, the others are made up from their place.
 * @param {number[][]} values
 * @param {number[][]} earlier
 * @param {number} side
 * @param {number} least
 * @param {number} count of different numbers
 */
function grown(values, earlier, side, least, count) {
  return Array.from({ length: side }, (_, row) =>
    Array.from(
      { length: side },
      (_, column) =>
        values[row]?.[column] ?? earlier[row]?.[column] ?? ((row * 7 + column * 5 + row * column) % count) + least,
    ),
  );
}

class Playground {
  constructor() {
    /** @type {{palettes: Record<string, Record<string, string>>, settings: Settings, at: [number, number]}} */
    const texts = readJson("page");
    this.palettes = {
      light: readPalettes(texts.palettes.light ?? {}).cells,
      dark: readPalettes(texts.palettes.dark ?? {}).cells,
    };
    /** @type {Settings} */
    this.settings = texts.settings;
    /** @type {{input: number[][], kernel: number[][]}} the numbers in the largest size, which a smaller one only hides */
    this.boards = { input: [], kernel: [] };
    /** @type {[number, number]} */
    this.at = texts.at;
    this.guessing = false;
    this.answered = false;
    this.readAddress();
  }

  // ---------------------------------------------------------------- address

  readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const size = (/** @type {string} */ name) => /^(\d{1,2})x(\d{1,2})$/.exec(given.get(name) ?? "");
    const [input, kernel] = [size("i"), size("k")];
    const whole = (/** @type {string} */ name, /** @type {number} */ least, /** @type {number} */ most) => {
      const text = given.get(name) ?? "";
      return /^\d{1,2}$/.test(text) ? Math.max(least, Math.min(most, Number(text))) : null;
    };
    const next = {
      ...this.settings,
      stride: whole("s", 1, 6) ?? this.settings.stride,
      padding: whole("p", 0, 6) ?? this.settings.padding,
      dilation: whole("d", 1, 4) ?? this.settings.dilation,
      input: input ? this.sized("input", Number(input[1]), Number(input[2])) : this.settings.input,
      kernel: kernel ? this.sized("kernel", Number(kernel[1]), Number(kernel[2])) : this.settings.kernel,
    };
    if (outputShape(next).every((side) => side > 0)) this.settings = next;
    const place = /^(\d{1,2}),(\d{1,2})$/.exec(given.get("at") ?? "");
    this.at = this.bounded(place ? [Number(place[1]), Number(place[2])] : this.at);
  }

  rememberAddress() {
    const { stride, padding, dilation, input, kernel } = this.settings;
    const size = (/** @type {number[][]} */ values) => `${values.length}x${values[0]?.length}`;
    const sizes = `i=${size(input)}&k=${size(kernel)}`;
    try {
      history.replaceState(null, "", `#s=${stride}&p=${padding}&d=${dilation}&${sizes}&at=${this.at.join()}`);
    } catch {
      // a page in a frame without an address of its own
    }
  }

  /**
   * @param {"input" | "kernel"} name
   * @param {number} rows
   * @param {number} columns
   */
  sized(name, rows, columns) {
    const most = name === "input" ? 12 : 7;
    const side = (/** @type {number} */ length) => Math.max(1, Math.min(most, length));
    const made = /** @type {[number, number]} */ (name === "input" ? [0, 4] : [-1, 3]);
    this.boards[name] = grown(this.settings[name], this.boards[name], most, ...made);
    return this.boards[name].slice(0, side(rows)).map((line) => line.slice(0, side(columns)));
  }

  /**
   * @param {[number, number]} place
   * @returns {[number, number]}
   */
  bounded(place) {
    const [rows, columns] = outputShape(this.settings);
    return [Math.max(0, Math.min(rows - 1, place[0])), Math.max(0, Math.min(columns - 1, place[1]))];
  }

  // ---------------------------------------------------------------- drawing

  /** Build the boards anew: their sizes changed. */
  build() {
    const { input, kernel, padding } = this.settings;
    const [rows, columns] = [input.length + 2 * padding, (input[0]?.length ?? 0) + 2 * padding];
    const board = this.board("input", rows, columns);
    for (let row = -padding; row < rows - padding; row++) {
      for (let column = -padding; column < columns - padding; column++) {
        const inside = input[row]?.[column] !== undefined;
        board.append(inside ? this.field("input", row, column) : this.zero());
      }
    }
    const edge = document.createElement("div");
    edge.className = "edge";
    place(edge, padding, padding, input.length, input[0]?.length ?? 0);
    const frame = document.createElement("div");
    frame.className = "frame-box";
    frame.id = "window";
    const grip = document.createElement("button");
    grip.type = "button";
    grip.className = "grip";
    grip.id = "grip";
    frame.append(grip);
    board.append(edge, frame);
    this.listenToGrip(grip, board);
    const weights = this.board("kernel", kernel.length, kernel[0]?.length ?? 0);
    for (const [row, values] of kernel.entries()) {
      for (const column of values.keys()) weights.append(this.field("kernel", row, column));
    }
    const [tall, wide] = outputShape(this.settings);
    const output = this.board("output", tall, wide);
    for (let row = 0; row < tall; row++) {
      for (let column = 0; column < wide; column++) {
        const cell = document.createElement("span");
        cell.className = "cell";
        cell.addEventListener("click", () => this.move([row, column]));
        output.append(cell);
      }
    }
    const mark = document.createElement("div");
    mark.className = "frame-box";
    mark.id = "mark";
    output.append(mark);
    element("main").style.setProperty("--across", String(columns));
    element("main").style.setProperty("--total", String(columns + (kernel[0]?.length ?? 0) + wide));
    this.refresh();
  }

  /**
   * @param {"input" | "kernel" | "output"} name
   * @param {number} rows
   * @param {number} columns
   */
  board(name, rows, columns) {
    const board = element(`${name}-board`);
    board.replaceChildren();
    board.style.gridTemplateColumns = `repeat(${columns}, var(--cell))`;
    board.style.gridTemplateRows = `repeat(${rows}, var(--cell))`;
    return board;
  }

  zero() {
    const cell = document.createElement("span");
    cell.className = "cell around";
    cell.textContent = "0";
    return cell;
  }

  /**
   * A cell to type into.
   * @param {"input" | "kernel"} name
   * @param {number} row
   * @param {number} column
   */
  field(name, row, column) {
    const cell = document.createElement("input");
    cell.type = "text";
    cell.inputMode = "decimal";
    cell.autocomplete = "off";
    cell.className = "cell";
    cell.setAttribute("aria-label", `${name}, row ${row}, column ${column}`);
    const values = this.settings[name];
    cell.value = exactText(values[row]?.[column] ?? 0);
    cell.addEventListener("input", () => {
      const number = cellOfText(cell.value);
      cell.classList.toggle("bad", number === null);
      cell.setAttribute("aria-invalid", String(number === null));
      const line = values[row];
      if (number === null || !line) return;
      line[column] = number;
      this.answered = false;
      this.refresh();
    });
    cell.addEventListener("blur", () => {
      cell.value = exactText(values[row]?.[column] ?? 0);
      cell.classList.remove("bad");
      cell.removeAttribute("aria-invalid");
    });
    cell.addEventListener("focus", () => cell.select());
    return cell;
  }

  /** Show what follows from the numbers: colours, window, output, sum and formula. */
  refresh() {
    const { settings } = this;
    const { stride, padding, dilation, input, kernel } = settings;
    const [row, column] = this.at;
    const [rows, columns] = outputShape(settings);
    const hidden = this.guessing && !this.answered;
    this.showInput();
    this.paint("kernel", kernel.flat());
    for (const cell of element("kernel-board").querySelectorAll(".cell")) cell.classList.add("read");
    const values = [];
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) values.push(valueAt(settings, y, x));
    const reached = row * columns + column;
    const shown = values.map((value, at) => (at < reached || (at === reached && !hidden) ? value : null));
    const limit = Math.max(...values.map(Math.abs));
    for (const [at, cell] of [...element("output-board").querySelectorAll(".cell")].entries()) {
      const value = shown[at] ?? null;
      const text = value === null ? (at === reached ? "?" : "") : exactText(value);
      const brief = text.length > FITTING && value !== null ? shortText(value) : text; // the sum below has all digits
      cell.textContent = brief;
      cell.classList.toggle("long", brief.length > 4);
      cell.classList.toggle("longer", brief.length > 6);
      cell.classList.toggle("framed", at === reached);
      /** @type {HTMLElement} */ (cell).style.backgroundColor = value === null ? "" : this.colour(value, limit);
    }
    const lines = Array.from({ length: rows }, (_, y) =>
      shown
        .slice(y * columns, (y + 1) * columns)
        .map((value) => (value === null ? "empty" : exactText(value)))
        .join(" "),
    );
    element("output-board").setAttribute("aria-label", `output: ${lines.join("; ")}`);
    place(element("mark"), row, column, 1, 1);
    place(element("window"), row * stride, column * stride, ...this.spans());
    const grip = element("grip");
    grip.setAttribute("aria-label", `window at row ${row}, column ${column} of the output; the arrow keys move it`);
    element("settings").textContent = `stride ${stride}, padding ${padding}, dilation ${dilation}`;
    const size = (/** @type {number[][]} */ each) => `${each.length} × ${each[0]?.length}`;
    const padded = `${input.length + 2 * padding} × ${(input[0]?.length ?? 0) + 2 * padding}`;
    element("input-size").textContent = padding ? `${size(input)}, padded to ${padded}` : size(input);
    element("kernel-size").textContent = size(kernel);
    element("output-size").textContent = `${rows} × ${columns}`;
    element("cell-head").textContent = `the framed cell, row ${row}, column ${column}`;
    element("terms").textContent = pairsAt(settings, row, column)
      .map((pairs) => pairs.map(([value, weight]) => `${exactText(value)}×${bracketed(weight)}`).join(" + "))
      .join(" +\n");
    element("result").textContent = hidden ? "?" : exactText(values[reached] ?? 0);
    /** @type {HTMLElement} */ (element("result").parentElement).hidden = hidden;
    element("answer-form").hidden = !hidden;
    this.showFormula();
    this.showSliders();
    this.rememberAddress();
    document.documentElement.dataset.ready = "playground";
  }

  /** @returns {[number, number]} the rows and columns that the window covers */
  spans() {
    const { kernel, dilation } = this.settings;
    return [(kernel.length - 1) * dilation + 1, ((kernel[0]?.length ?? 1) - 1) * dilation + 1];
  }

  showInput() {
    const { input, kernel, stride, padding, dilation } = this.settings;
    const columns = (input[0]?.length ?? 0) + 2 * padding;
    const lines = (/** @type {number} */ count, /** @type {number} */ taps) =>
      new Set(
        Array.from({ length: count }, (_, at) =>
          Array.from({ length: taps }, (_, tap) => at * stride + tap * dilation),
        ).flat(),
      );
    const [rows, wide] = outputShape(this.settings);
    const [high, across] = [kernel.length, kernel[0]?.length ?? 0];
    const read = { rows: lines(rows, high), columns: lines(wide, across) };
    const now = { rows: lines(1, high), columns: lines(1, across) };
    this.paint("input", input.flat());
    for (const [at, cell] of [...element("input-board").querySelectorAll(".cell")].entries()) {
      const [y, x] = [Math.floor(at / columns), at % columns];
      cell.classList.toggle("unread", !read.rows.has(y) || !read.columns.has(x));
      const under = now.rows.has(y - this.at[0] * stride) && now.columns.has(x - this.at[1] * stride);
      cell.classList.toggle("read", under);
    }
    const left = (/** @type {number} */ all, /** @type {Set<number>} */ seen) => all - seen.size;
    const parts = [
      [left(input.length + 2 * padding, read.rows), "row"],
      [left(columns, read.columns), "column"],
    ].filter(([count]) => count);
    const texts = parts.map(([count, noun]) => `${count} ${noun}${count === 1 ? "" : "s"}`);
    element("hatched").textContent = texts.length ? `Hatched: ${texts.join(" and ")}, in no window` : "";
  }

  /**
   * @param {"input" | "kernel"} name
   * @param {number[]} values
   */
  paint(name, values) {
    const limit = Math.max(...values.map(Math.abs));
    for (const [at, cell] of [...element(`${name}-board`).querySelectorAll("input.cell")].entries()) {
      const value = values[at] ?? 0;
      const field = /** @type {HTMLInputElement} */ (cell);
      field.style.backgroundColor = this.colour(value, limit);
      field.classList.toggle("long", field.value.length > 4);
      field.classList.toggle("longer", field.value.length > 6);
    }
  }

  /**
   * @param {number} value
   * @param {number} limit
   */
  colour(value, limit) {
    if (!value || !limit) return "";
    const palette = isDark() ? this.palettes.dark : this.palettes.light;
    return cssColour(palette, Math.round(ZERO_LEVEL + (ZERO_LEVEL * value) / limit));
  }

  showFormula() {
    const { input, kernel, stride, padding, dilation } = this.settings;
    const axes = [[input.length, kernel.length]];
    if (input.length !== input[0]?.length || kernel.length !== kernel[0]?.length) {
      axes.push([input[0]?.length ?? 0, kernel[0]?.length ?? 0]);
    }
    element("formula").replaceChildren(
      ...axes.map(([cells = 0, taps = 0], axis) => {
        const line = document.createElement("div");
        line.className = "floor";
        const fraction = document.createElement("span");
        fraction.className = "fraction";
        const above = document.createElement("span");
        above.textContent = `${cells} + 2·${padding} − ${dilation}·(${taps} − 1) − 1`;
        const below = document.createElement("span");
        below.textContent = String(stride);
        fraction.append(above, below);
        const result = document.createElement("strong");
        result.textContent = String(outputSize(cells, taps, stride, padding, dilation));
        line.append(fraction, "+ 1  = ", result);
        if (axes.length > 1) line.append(axis ? "columns" : "rows");
        return line;
      }),
    );
  }

  showSliders() {
    const { settings } = this;
    for (const name of SETTINGS) {
      const value = settings[name];
      const slider = /** @type {HTMLInputElement} */ (element(name));
      slider.value = String(typeof value === "number" ? value : value.length);
      const square = typeof value === "number" || value.length === value[0]?.length;
      element(`${name}-value`).textContent = square ? slider.value : `${value.length} × ${value[0]?.length}`;
    }
  }

  // ---------------------------------------------------------------- hands

  /** @param {[number, number]} place */
  move(place) {
    const next = this.bounded(place);
    if (next.join() !== this.at.join()) {
      this.answered = false;
      element("verdict").textContent = "";
    }
    this.at = next;
    this.refresh();
  }

  /**
   * Change a setting; where there would be no output it stops before.
   * @param {Setting} name
   * @param {number} wanted
   */
  set(name, wanted) {
    const { settings } = this;
    const changed = (/** @type {number} */ value) => ({
      ...settings,
      [name]: name === "input" || name === "kernel" ? this.sized(name, value, value) : value,
    });
    const now = typeof settings[name] === "number" ? settings[name] : settings[name].length;
    let value = wanted;
    while (value !== now && outputShape(changed(value)).some((side) => side < 1)) value += value > now ? -1 : 1;
    if (value !== now || wanted === now) this.settings = changed(value);
    const reached = (settings.kernel.length - 1) * settings.dilation + 1;
    element("stopped").textContent =
      value === wanted
        ? ""
        : `The kernel does not fit: it spans ${reached} rows, and beyond ${name} ${value} there is no output.`;
    this.at = this.bounded(this.at);
    this.answered = false;
    element("verdict").textContent = "";
    this.build();
  }

  /**
   * @param {HTMLElement} grip
   * @param {HTMLElement} board
   */
  listenToGrip(grip, board) {
    grip.addEventListener("pointerdown", (event) => grip.setPointerCapture(event.pointerId));
    grip.addEventListener("pointermove", (event) => {
      if (!grip.hasPointerCapture(event.pointerId)) return;
      const box = board.getBoundingClientRect();
      const cell = /** @type {HTMLElement} */ (board.firstElementChild).offsetWidth;
      const [rows, columns] = this.spans();
      const { stride } = this.settings;
      this.move([
        Math.round(((event.clientY - box.top) / cell - rows) / stride),
        Math.round(((event.clientX - box.left) / cell - columns) / stride),
      ]);
    });
  }

  listen() {
    for (const name of SETTINGS) {
      const slider = /** @type {HTMLInputElement} */ (element(name));
      slider.addEventListener("input", () => this.set(name, Number(slider.value)));
    }
    document.addEventListener("keydown", (event) => {
      if (event.target instanceof HTMLInputElement && event.target.id !== "guess") return;
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const steps = /** @type {Record<string, [number, number]>} */ ({
        ArrowLeft: [0, -1],
        ArrowRight: [0, 1],
        ArrowUp: [-1, 0],
        ArrowDown: [1, 0],
      });
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      this.move([this.at[0] + step[0], this.at[1] + step[1]]);
    });
    const guess = /** @type {HTMLInputElement} */ (element("guess"));
    guess.addEventListener("change", () => {
      this.guessing = guess.checked;
      this.answered = false;
      element("verdict").textContent = "";
      if (this.guessing) this.at = this.tellingPlace();
      this.refresh();
    });
    element("answer-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.answer();
    });
    setUpTheme(() => this.refresh());
    const wide = matchMedia("(min-width: 1024px)");
    const more = /** @type {HTMLDetailsElement} */ (document.querySelector(".more"));
    more.open = wide.matches;
    wide.addEventListener("change", () => {
      more.open = wide.matches;
    });
    addEventListener("hashchange", () => {
      this.readAddress();
      this.build();
    });
  }

  /**
   * A cell in which no usual mistake leads to the right number: the framed one, else the first after it.
   * @returns {[number, number]}
   */
  tellingPlace() {
    const [rows, columns] = outputShape(this.settings);
    const start = this.at[0] * columns + this.at[1];
    for (let step = 0; step < rows * columns; step++) {
      const at = (start + step) % (rows * columns);
      const [row, column] = [Math.floor(at / columns), at % columns];
      if (isTelling(this.settings, row, column)) return [row, column];
    }
    return this.at;
  }

  answer() {
    const field = /** @type {HTMLInputElement} */ (element("answer"));
    const given = numberOfText(field.value);
    const verdict = element("verdict");
    if (given === null) {
      verdict.textContent = "Enter a number.";
      return;
    }
    const right = valueAt(this.settings, ...this.at);
    if (isAnswer(given, right)) {
      this.answered = true;
      field.value = "";
      this.refresh();
      verdict.textContent = `${exactText(right)} is right.`;
      element("grip").focus();
      return;
    }
    const mistake = mistakeBehind(this.settings, this.at[0], this.at[1], given);
    verdict.textContent = mistake
      ? `${exactText(given)} ${REASONS[mistake]}`
      : `${exactText(given)} is not correct. Multiply cell by cell, then add.`;
    field.select();
  }
}

/** @param {number} weight */
function bracketed(weight) {
  return weight < 0 ? `(${exactText(weight)})` : exactText(weight);
}

/**
 * Put a box over cells of a board.
 * @param {HTMLElement} box
 * @param {number} row
 * @param {number} column
 * @param {number} rows
 * @param {number} columns
 */
function place(box, row, column, rows, columns) {
  box.style.top = `calc(var(--cell) * ${row})`;
  box.style.left = `calc(var(--cell) * ${column})`;
  box.style.height = `calc(var(--cell) * ${rows})`;
  box.style.width = `calc(var(--cell) * ${columns})`;
}

function startPlaying() {
  for (const part of document.querySelectorAll(".scripted")) part.removeAttribute("hidden");
  for (const part of document.querySelectorAll(".static")) part.setAttribute("hidden", "");
  const page = new Playground();
  page.listen();
  page.build();
}

startPlaying();
