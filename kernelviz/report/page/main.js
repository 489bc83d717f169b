// @ts-check
// The report page: what is chosen, what the pointer previews, and what shows it.

import { liveUnit } from "./arithmetic.js";
import { readPalettes } from "./colour.js";
import { Blocks, readJson, splitBlock } from "./data.js";
import { boxMarks, breakable, html, paintBar, paintTiles, svg } from "./drawing.js";
import { isFound } from "./finding.js";
import {
  areaOf,
  fieldBox,
  frameSize,
  gridOf,
  isWhole,
  isWithin,
  rangeText,
  tileAfterKey,
  tileAt,
  tileUnder,
  unitUnder,
  unpaddedAlong,
} from "./geometry.js";
import { isApple, shortcutOf } from "./keys.js";
import { NOT_FINITE, spread, strongest, valueOfLevel } from "./levels.js";
import { counted, rangesText, shortText, valueText } from "./numbers.js";
import { PatchList } from "./patches.js";
import { readAddress, writeAddress } from "./state.js";
import { listenForCells, showSum } from "./sum.js";
import { element, isDark, onPrint, setUpTheme } from "./theme.js";

/** @import { Pixels, Unit } from "./arithmetic.js" */
/** @import { Palettes } from "./colour.js" */
/** @import { Index, Layer, Unpacked } from "./data.js" */
/** @import { Tile } from "./drawing.js" */
/** @import { Grid } from "./geometry.js" */
/** @import { Address } from "./state.js" */

/** @typedef {[number, number]} Place */
/** @typedef {{channel: number, place: Place}} View */

const FRAME = 336;
const COLUMNS = 8;
const SNAP = 10;
const SINGLE = 44; // the largest tile of a map of one value
const VEIL_FROM = 0.004;

class ReportPage {
  constructor() {
    /** @type {Index} */
    this.index = readJson("kernelviz");
    /** @type {{palettes: Record<string, Record<string, string>>, sentences: string[], thing: string}} */
    this.texts = readJson("page");
    this.thing = this.texts.thing;
    this.palettes = {
      light: readPalettes(this.texts.palettes.light ?? {}),
      dark: readPalettes(this.texts.palettes.dark ?? {}),
    };
    this.blocks = new Blocks(this.index.images.length + 3);
    this.numbers = new Map(this.index.layers.map((layer, number) => [layer.name, number]));
    this.layerNumber = -1;
    this.wanted = 0; // the layer of the latest call of go, which may still be unpacked
    this.image = 0;
    /** @type {View} */
    this.chosen = { channel: 0, place: [0, 0] };
    /** @type {Partial<View>} */
    this.preview = {};
    this.whole = false;
    this.digits = false;
    this.printing = false;
    /** @type {Unpacked} */
    this.data = { kernels: null, maps: [], units: [], weights: null, bias: null, patches: null };
    this.patches = this.index.patches ? new PatchList(this.index) : null;
    /** @type {Pixels | null} */
    this.pixels = null;
    /** @type {Map<string, Unit>} */
    this.units = new Map();
    /** @type {{kernels: Grid | null, maps: Grid | null}} */
    this.grids = { kernels: null, maps: null };
    this.frame = { width: FRAME, height: FRAME };
    this.scheduled = false;
    this.loading = 0;
  }

  /** @returns {Layer} */
  get layer() {
    return /** @type {Layer} */ (this.index.layers[this.layerNumber]);
  }

  /** @returns {View} */
  get view() {
    return { ...this.chosen, ...this.preview };
  }

  /** @returns {Palettes} */
  get look() {
    return isDark() && !this.printing ? this.palettes.dark : this.palettes.light;
  }

  get facts() {
    return /** @type {import("./data.js").MapFacts} */ (this.layer.maps[this.image]);
  }

  // ---------------------------------------------------------------- going somewhere

  /**
   * Show what an address names; parts that are missing are chosen.
   * @param {Address} address
   */
  async go(address) {
    const number = address.layer === null ? 0 : (this.numbers.get(address.layer) ?? 0);
    const known = (address.image ?? 0) < this.index.images.length;
    const image = known ? (address.image ?? this.image) : 0;
    const turn = ++this.loading;
    this.wanted = number;
    if (number !== this.layerNumber || image !== this.image || !this.pixels) {
      const layer = /** @type {Layer} */ (this.index.layers[number]);
      const facts = this.index.images[image];
      const [bytes, pixels] = await Promise.all([this.blocks.read(layer.block), this.blocks.read(facts?.block ?? "")]);
      if (turn !== this.loading) return;
      const [rows, columns] = facts?.size ?? [1, 1];
      this.data = splitBlock(bytes, layer.parts);
      this.pixels = { pixels, rows, columns };
      this.units = new Map(this.data.units.map((unit) => [unit.at.join(), unit]));
      this.layerNumber = number;
      this.image = image;
      this.preview = {};
      this.showLayer();
    }
    const { shown } = this.layer;
    const kept = address.channel !== null && shown.includes(address.channel);
    const channel = kept ? /** @type {number} */ (address.channel) : this.widest();
    const [rows, columns] = this.layer.map;
    const inside = address.place && address.place[0] < rows && address.place[1] < columns;
    this.chosen = { channel, place: inside ? /** @type {Place} */ (address.place) : this.strongestPlace(channel) };
    this.preview = {};
    this.show();
    this.rememberAddress();
    const lacking = [];
    if (address.layer !== null && !this.numbers.has(address.layer))
      lacking.push(`There is no layer ${address.layer} in this page; the first one is shown.`);
    else if (address.channel !== null && !kept) lacking.push(notKept(address.channel, this.layer, channel));
    if (!known) lacking.push(`There is no image ${address.image} in this page; the first one is shown.`);
    element("not-kept").textContent = lacking.join(" ");
    document.documentElement.dataset.ready = this.layer.name;
    performance.mark("alive");
  }

  rememberAddress() {
    const address = writeAddress(this.layer.name, this.chosen.channel, this.chosen.place, this.image);
    try {
      history.replaceState(null, "", address);
    } catch {
      // a page in a frame without an address of its own
    }
  }

  /**
   * @param {number} step
   */
  step(step) {
    const next = this.index.layers[this.wanted + step];
    if (next) this.go({ layer: next.name, channel: null, place: null, image: null });
  }

  /**
   * The channel whose map has the largest spread, of maps of one value the largest value.
   */
  widest() {
    const [rows, columns] = this.layer.map;
    let best = 0;
    let largest = -2;
    for (const position of this.layer.shown.keys()) {
      const levels = this.levelsAt(position, rows * columns);
      const limit = this.facts.limits[position] ?? 0;
      const wide = this.isSingle ? limit : spread(levels, limit, this.facts.signed);
      if (wide > largest) {
        largest = wide;
        best = position;
      }
    }
    return this.layer.shown[best] ?? 0;
  }

  /**
   * @param {number} position
   * @param {number} size
   */
  levelsAt(position, size) {
    const maps = this.data.maps[this.image] ?? new Uint8Array();
    return maps.subarray(position * size, (position + 1) * size);
  }

  /**
   * Where a map is strongest: the first traced unit, else the largest level whose window contains no padding.
   * @param {number} channel
   * @returns {Place}
   */
  strongestPlace(channel) {
    const traced = this.tracedUnits(channel)[0];
    if (traced) return [traced.at[2], traced.at[3]];
    const [rows, columns] = this.layer.map;
    const levels = this.levelsAt(this.layer.shown.indexOf(channel), rows * columns);
    return strongest(levels, columns, this.facts.signed, this.unpadded(0), this.unpadded(1));
  }

  /**
   * The first and the last row or column at which a layer that reads the image reads no padding.
   * @param {0 | 1} axis
   * @returns {[number, number]}
   */
  unpadded(axis) {
    const { live, map } = this.layer;
    const size = this.index.images[this.image]?.size;
    if (!live || !size) return [0, map[axis] - 1];
    const reach = (live.kernel[axis] - 1) * live.dilation[axis] + 1;
    return unpaddedAlong(live.around[2 * axis] ?? 0, live.stride[axis], reach, size[axis], map[axis]);
  }

  /**
   * @param {number} channel
   */
  tracedUnits(channel) {
    return this.data.units
      .filter((unit) => unit.at[0] === this.image && unit.at[1] === channel)
      .sort((one, other) => Math.abs(other.value ?? 0) - Math.abs(one.value ?? 0));
  }

  /** Whether each map is one value, whose own scale would show its sign alone. */
  get isSingle() {
    const [rows, columns] = this.layer.map;
    return rows * columns === 1;
  }

  get isWhole() {
    return this.whole || this.isSingle;
  }

  get isLive() {
    const facts = this.index.images[this.image];
    return Boolean(this.layer.live && this.data.weights && facts?.exact && this.index.input.mean.length);
  }

  /**
   * The unit worked out, or null if its sum is not known.
   * @param {View} view
   * @returns {Unit | null}
   */
  unitOf(view) {
    const { live } = this.layer;
    const { weights, bias } = this.data;
    /** @type {[number, number, number, number]} */
    const at = [this.image, view.channel, view.place[0], view.place[1]];
    if (!this.isLive || !live || !weights || !this.pixels) return this.units.get(at.join()) ?? null;
    const { shown } = this.layer;
    const inputs = weights.length / (shown.length * live.kernel[0] * live.kernel[1]);
    const { mean, std } = this.index.input;
    const facts = { ...live, bias, weights, inputs, mean, std };
    return liveUnit(facts, this.pixels, shown.indexOf(view.channel), at);
  }

  /**
   * @param {View} view
   */
  valueText(view) {
    const unit = this.unitOf(view);
    if (unit) return valueText(unit.value ?? Number.NaN);
    const value = this.approximate(view);
    return Number.isNaN(value) ? "not finite" : `≈ ${shortText(value)}`;
  }

  /**
   * @param {View} view
   */
  approximate(view) {
    const [rows, columns] = this.layer.map;
    const position = this.layer.shown.indexOf(view.channel);
    const level = this.levelsAt(position, rows * columns)[view.place[0] * columns + view.place[1]] ?? NOT_FINITE;
    return valueOfLevel(level, this.facts.limits[position] ?? 0, this.facts.signed);
  }

  // ---------------------------------------------------------------- the layer

  showLayer() {
    const { layer } = this;
    element("layer-name").replaceChildren(...breakable(layer.name));
    const sentence = this.texts.sentences[this.layerNumber] ?? "";
    element("layer-text").textContent = sentence.replaceAll(" × ", "\u00a0×\u00a0");
    element("layer-notes").textContent = layer.notes.join(" ");
    for (const link of document.querySelectorAll("#skyline a")) {
      const current = /** @type {SVGElement} */ (link).dataset.layer === String(this.layerNumber);
      link.toggleAttribute("aria-current", current);
      if (current) link.setAttribute("aria-current", "true");
      link.setAttribute("tabindex", current ? "0" : "-1");
      if (current) this.placeDot(/** @type {SVGElement} */ (link));
    }
    for (const row of document.querySelectorAll("#table tbody tr")) {
      const current = /** @type {HTMLElement} */ (row).dataset.layer === String(this.layerNumber);
      if (current) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    /** @type {HTMLButtonElement} */ (element("previous")).disabled = this.layerNumber === 0;
    /** @type {HTMLButtonElement} */ (element("next")).disabled = this.layerNumber === this.index.layers.length - 1;
    this.showImage();
    this.paintGrids();
  }

  /** @param {SVGElement} link */
  placeDot(link) {
    const dot = element("skyline-dot");
    dot.setAttribute("cx", link.dataset.x ?? "0");
    dot.setAttribute("cy", link.dataset.y ?? "0");
    dot.toggleAttribute("hidden", !link.dataset.y);
    dot.style.display = link.dataset.y ? "" : "none";
    const strip = element("skyline");
    const [outer, inner] = [strip.getBoundingClientRect(), link.getBoundingClientRect()];
    if (inner.left < outer.left || inner.right > outer.right) {
      strip.scrollLeft += inner.left - outer.left - outer.width / 2;
    }
  }

  showImage() {
    const facts = this.index.images[this.image];
    if (!facts) return;
    const [rows, columns] = facts.size;
    element("seen-size").textContent = `${rows} × ${columns}`;
    const picture = /** @type {HTMLImageElement} */ (element("photograph").querySelector("img"));
    const source = document.querySelector(`[data-image="${this.image}"] img`);
    if (source instanceof HTMLImageElement) picture.src = source.src;
    picture.alt = `${facts.name}, as the network saw it`;
    picture.classList.toggle("small", columns < 112);
    const size = frameSize(rows, columns, FRAME);
    element("photograph").style.width = `${(100 * size.width) / FRAME}%`;
    picture.style.aspectRatio = `${size.width} / ${size.height}`;
    picture.width = columns;
    picture.height = rows;
    for (const link of document.querySelectorAll("#thumbnails a")) {
      if (/** @type {HTMLElement} */ (link).dataset.image === String(this.image))
        link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    for (const part of document.querySelectorAll(".classes")) {
      /** @type {HTMLElement} */ (part).hidden =
        /** @type {HTMLElement} */ (part).dataset.classes !== String(this.image);
    }
  }

  /**
   * One tile for each shown map, in the scale of the page.
   * @returns {Tile[]}
   */
  mapTiles() {
    const { facts, layer } = this;
    const [rows, columns] = layer.map;
    return layer.shown.map((channel, position) => ({
      bytes: this.levelsAt(position, rows * columns),
      rows,
      columns,
      colours: false,
      limit: facts.limits[position] ?? 0,
      whole: this.isWhole ? this.wholeLimit : null,
      signed: facts.signed,
      mark: facts.dead.includes(channel),
      frame: String(channel) in facts.nonfinite,
    }));
  }

  get wholeLimit() {
    const [low, high] = this.facts.extent;
    return Math.max(Math.abs(low), Math.abs(high));
  }

  get mapPalette() {
    return this.facts.signed ? this.look.signed : this.look.positive;
  }

  /**
   * @returns {Tile[]}
   */
  kernelTiles() {
    const { kernels, shown } = this.layer;
    const { kernels: bytes } = this.data;
    if (!kernels || !bytes) return [];
    const [rows, columns] = kernels.tile;
    const colours = kernels.view === "rgb";
    const size = rows * columns * (colours ? 3 : 1);
    return shown.map((channel, position) => ({
      bytes: bytes.subarray(position * size, (position + 1) * size),
      rows,
      columns,
      colours,
      limit: kernels.limits[position] ?? 0,
      whole: null,
      signed: true,
      mark: kernels.zero.includes(channel),
      frame: String(channel) in kernels.nonfinite,
    }));
  }

  paintGrids() {
    const { layer } = this;
    const { shown, kernels } = layer;
    const consecutive = shown.every((channel, at) => channel === at);
    const columns = Math.min(COLUMNS, shown.length);
    const style = getComputedStyle(document.documentElement);
    const numbers = consecutive
      ? Array.from({ length: Math.ceil(shown.length / columns) }, (_, row) => String(row * columns))
      : shown.map(String);
    const look = {
      numbers,
      ink: this.printing ? "#595f66" : style.getPropertyValue("--quiet").trim(),
      font: `12px ${getComputedStyle(document.body).fontFamily}`,
      scale: this.printing ? 2 : Math.min(3, window.devicePixelRatio || 1),
      outlined: true,
    };
    element("kernels-part").hidden = !kernels;
    element("grids").classList.toggle("alone", !kernels);
    if (kernels) {
      const [rows, wide] = kernels.tile;
      const room = element("kernels-part").clientWidth;
      const grid = gridOf(shown.length, columns, room, rows / wide, !consecutive, wide <= 8 ? 64 : 96, wide);
      this.grids.kernels = grid;
      this.sizeCanvas("kernels", grid);
      paintTiles(this.canvas("kernels"), grid, this.kernelTiles(), { ...look, palette: this.look.signed });
      element("kernels-head").textContent = kernelsHeading(layer);
      element("kernels-note").textContent = kernelsNote(layer);
      const bar = this.canvas("kernels-bar");
      /** @type {HTMLElement} */ (bar.parentElement).hidden = kernels.view === "rgb";
      paintBar(bar, this.look.signed);
    } else this.grids.kernels = null;
    const [rows, wide] = layer.map;
    const aspect = Math.max(0.12, Math.min(3, rows / wide));
    const room = element("maps-part").clientWidth;
    const grid = gridOf(shown.length, columns, room, aspect, !consecutive, this.isSingle ? SINGLE : 128, wide);
    this.grids.maps = grid;
    this.sizeCanvas("maps", grid);
    paintTiles(this.canvas("maps"), grid, this.mapTiles(), { ...look, palette: this.mapPalette });
    const all = shown.length === layer.out;
    element("maps-head").textContent = all
      ? counted(layer.out, "feature map")
      : `${shown.length} of ${counted(layer.out, "feature map")}, the most varied`;
    element("scale").hidden = this.isSingle;
    element("maps-note").textContent = mapsNote(this.facts, layer);
    paintBar(this.canvas("maps-bar"), this.mapPalette);
    element("bar-low").textContent = this.facts.signed ? "−" : "0";
    element("bar-text").textContent = this.barText();
    this.canvas("maps").setAttribute("aria-valuemax", String(shown.length - 1));
  }

  barText() {
    const { signed } = this.facts;
    if (!this.isWhole)
      return `One scale per map, ${signed ? "−max" : "0"} to ${signed ? "+" : ""}max: colours are not comparable between maps.`;
    const limit = this.wholeLimit;
    return `One scale for the whole layer: ${signed ? shortText(-limit) : "0"} to ${shortText(limit, signed)}.`;
  }

  /** @param {string} id */
  canvas(id) {
    return /** @type {HTMLCanvasElement} */ (element(id));
  }

  /**
   * @param {string} id
   * @param {Grid} grid
   */
  sizeCanvas(id, grid) {
    const { style } = this.canvas(id);
    style.width = `${grid.total.width}px`;
    style.aspectRatio = `${grid.total.width} / ${grid.total.height}`;
  }

  // ---------------------------------------------------------------- the unit

  /** Show soon what the pointer is on: once a frame at most. */
  later() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.show();
    });
  }

  show() {
    const { view } = this;
    const unit = this.unitOf(view);
    this.showRings(view);
    this.showMap(view);
    this.showField(view);
    this.showPanel(view, unit);
    this.showTies();
    const { layer, data, image, chosen } = this;
    this.patches?.show({ layer, data, channel: view.channel, image, chosen });
  }

  /** @param {View} view */
  showRings(view) {
    for (const name of /** @type {const} */ (["kernels", "maps"])) {
      const grid = this.grids[name];
      if (!grid) continue;
      this.placeRing(`${name}-ring`, grid, this.layer.shown.indexOf(this.chosen.channel));
      const other = view.channel === this.chosen.channel ? -1 : this.layer.shown.indexOf(view.channel);
      this.placeRing(`${name}-hover`, grid, other);
    }
    const slider = this.canvas("maps");
    slider.setAttribute("aria-valuenow", String(this.layer.shown.indexOf(this.chosen.channel)));
    slider.setAttribute("aria-valuetext", this.channelText());
  }

  /** The chosen channel in words, with its largest value. */
  channelText() {
    const position = this.layer.shown.indexOf(this.chosen.channel);
    const limit = shortText(this.facts.limits[position] ?? 0);
    return `channel ${this.chosen.channel} of ${this.layer.name}, largest absolute value ${limit}`;
  }

  /**
   * @param {string} id
   * @param {Grid} grid
   * @param {number} tile
   */
  placeRing(id, grid, tile) {
    const ring = element(id);
    ring.hidden = tile < 0;
    if (tile < 0) return;
    const { x, y } = tileAt(grid, tile);
    const { style } = ring;
    style.left = `${(100 * (x - 2)) / grid.total.width}%`;
    style.top = `${(100 * (y - 2)) / grid.total.height}%`;
    style.width = `${(100 * (grid.width + 4)) / grid.total.width}%`;
    style.height = `${(100 * (grid.height + 4)) / grid.total.height}%`;
  }

  /** @param {View} view */
  showMap(view) {
    const { layer } = this;
    const [rows, columns] = layer.map;
    const position = layer.shown.indexOf(view.channel);
    const tile = this.mapTiles()[position];
    const canvas = this.canvas("map");
    const size = frameSize(rows, columns, FRAME);
    this.frame = size;
    canvas.style.width = `${(100 * size.width) / FRAME}%`;
    canvas.style.aspectRatio = `${size.width} / ${size.height}`;
    const key = [layer.name, this.image, position, this.whole, isDark(), this.printing, canvas.clientWidth].join();
    if (tile && canvas.dataset.key !== key) {
      canvas.dataset.key = key;
      const shown = canvas.clientWidth || size.width;
      const scale = (shown / size.width) * Math.min(3, window.devicePixelRatio || 1);
      const grid = {
        columns: 1,
        rows: 1,
        width: size.width,
        height: size.height,
        gap: 0,
        left: 0,
        above: 0,
        total: size,
      };
      const look = { palette: this.mapPalette, numbers: null, ink: "", font: "", scale, outlined: false };
      paintTiles(canvas, grid, [tile], look);
    }
    element("map-name").textContent = String(view.channel);
    element("map-size").textContent = `${rows} × ${columns}`;
    canvas.setAttribute(
      "aria-label",
      `feature map ${view.channel} of ${layer.name}; the arrow keys move the unit, which is at row ${view.place[0]}, column ${view.place[1]}`,
    );
    const width = canvas.clientWidth || size.width;
    const height = canvas.clientHeight || size.height;
    const [row, column] = view.place;
    const cell = {
      x: (column * width) / columns,
      y: (row * height) / rows,
      width: width / columns,
      height: height / rows,
    };
    const rings = this.tracedUnits(view.channel).flatMap((unit) => {
      const middle = { cx: ((unit.at[3] + 0.5) * width) / columns, cy: ((unit.at[2] + 0.5) * height) / rows };
      return [
        svg("circle", { ...middle, r: 6, class: "ring-halo" }),
        svg("circle", { ...middle, r: 6, class: "ring-line" }),
      ];
    });
    const marks = element("map-marks");
    marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    marks.style.width = canvas.style.width;
    marks.style.aspectRatio = canvas.style.aspectRatio;
    marks.replaceChildren(...(this.isLive ? [] : rings), ...boxMarks(cell, 40));
    const rowField = /** @type {HTMLInputElement} */ (element("row"));
    const columnField = /** @type {HTMLInputElement} */ (element("column"));
    rowField.value = String(row);
    columnField.value = String(column);
    rowField.max = String(rows - 1);
    columnField.max = String(columns - 1);
    element("is").textContent = this.valueText(view);
  }

  /** @param {View} view */
  showField(view) {
    const { field, lost } = this.layer;
    const marks = element("photo-marks");
    const [rows, columns] = this.index.images[this.image]?.size ?? [1, 1];
    const text = element("field-text");
    if (!field || field.size.includes(null)) {
      marks.replaceChildren();
      text.textContent = `Receptive field unknown${lost ? `: ${lost}` : ""}.${this.sliceText(view)}`;
      return;
    }
    const box = fieldBox(field, view.place[0], view.place[1], rows, columns);
    const sure = isWithin(box, field); // else the network's parts together read more than any one unit
    if (box.top > box.bottom || box.left > box.right) {
      marks.replaceChildren();
      text.textContent = `The unit reads nothing of the ${this.thing}.`;
      return;
    }
    const picture = element("photograph");
    const [width, height] = [picture.clientWidth || FRAME, picture.clientHeight || FRAME];
    marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (isWhole(box, rows, columns)) {
      marks.replaceChildren();
      text.textContent = `The unit reads ${sure ? "" : "at most "}the whole ${this.thing}.`;
      return;
    }
    const drawn = {
      x: (box.left * width) / columns,
      y: (box.top * height) / rows,
      width: ((box.right - box.left + 1) * width) / columns,
      height: ((box.bottom - box.top + 1) * height) / rows,
    };
    const outside = `M0 0h${width}v${height}h${-width}z`;
    const hole = `M${drawn.x} ${drawn.y}h${drawn.width}v${drawn.height}h${-drawn.width}z`;
    const veil = svg("path", { class: "veil", d: outside + hole, "fill-rule": "evenodd" });
    const large = areaOf(box) >= VEIL_FROM * rows * columns;
    marks.replaceChildren(...(large ? [veil] : []), ...boxMarks(drawn, 40));
    const seen = `${rangeText("row", box.top, box.bottom)}, ${rangeText("column", box.left, box.right)}`;
    text.textContent = `The unit reads ${sure ? "" : "at most "}${seen}${field.global ? "; a gate, a mean or attention mixes in the rest" : ""}.`;
  }

  /**
   * The slice that a unit is in, where the slices of a map are below each other.
   * @param {View} view
   */
  sliceText(view) {
    const { slices, map } = this.layer;
    const high = map[0] / slices;
    const [row] = view.place;
    return slices > 1 ? ` Row ${row} is row ${row % high} of slice ${Math.floor(row / high)}.` : "";
  }

  /**
   * @param {View} view
   * @param {Unit | null} unit
   */
  showPanel(view, unit) {
    const { layer } = this;
    const panel = element("sum");
    const note = element("sum-note");
    const traced = this.tracedUnits(view.channel);
    const shown = unit ?? this.units.get(panel.dataset.unit ?? "") ?? null;
    const own = shown?.at[1] === view.channel ? shown : (traced[0] ?? null);
    panel.hidden = !own;
    element("figure").classList.toggle("bare", !own);
    panel.classList.toggle("faint", !unit && own !== null);
    panel.setAttribute("aria-disabled", String(!unit)); // it belongs to another unit
    if (own) {
      panel.dataset.unit = own.at.join();
      showSum(panel, own, {
        kernel: this.kernelSize(),
        cells: this.look.cells,
        channel: view.channel,
        inputName: (channel) => this.inputName(channel),
        address: (channel) => this.makerAddress(channel),
        largest: this.isLive ? this.largestInput() : null,
        digits: this.digits,
        onDigits: () => {
          this.digits = !this.digits;
          this.show();
          element("digits").focus();
        },
      });
    }
    note.replaceChildren();
    note.classList.toggle("over", own !== null && !this.isLive);
    if (unit) return;
    if (!own) {
      note.textContent =
        layer.unknown ||
        (layer.conv
          ? "This page does not contain the sums of this layer."
          : `A layer of the kind ${layer.kind} has no kernels.`);
      return;
    }
    const value = this.approximate(view);
    const places = traced.length > 1 ? "the two ringed positions, the extremes of the map" : "the ringed position";
    note.append(
      Number.isNaN(value) ? "Not finite" : "About ",
      html("b", "", Number.isNaN(value) ? "" : shortText(value)),
      ` at row ${view.place[0]}, column ${view.place[1]}. Sums are shown for ${places}; this one is of row ${own.at[2]}, column ${own.at[3]}.`,
    );
  }

  /** @returns {[number, number]} */
  kernelSize() {
    const { live, kernel } = this.layer;
    if (live) return live.kernel;
    const [rows = 1, columns] = kernel ?? [1, 1];
    return columns === undefined ? [1, rows] : [rows, columns];
  }

  /** The largest size of a number that enters the network. */
  largestInput() {
    const { mean, std } = this.index.input;
    return Math.max(...mean.map((each, at) => Math.max(each, 1 - each) / (std[at] ?? 1)));
  }

  /** @param {number} channel */
  inputName(channel) {
    if (!this.layer.reads) return String(channel);
    const colours = this.thing === "photograph" && this.index.input.size[0] === 3 ? ["red", "green", "blue"] : [];
    return colours[channel] ?? `input ${channel}`;
  }

  /**
   * The address of the map that is an input channel of this layer.
   * @param {number} channel
   */
  makerAddress(channel) {
    const maker = this.layer.makers.find(([first, count]) => channel >= first && channel < first + count);
    const layer = maker && this.index.layers[maker[2]];
    if (!maker || !layer) return null;
    return `#${encodeURIComponent(layer.name)}/${maker[3] + channel - maker[0]}`;
  }

  /** Hairlines that tie the box to the window and the value to its cell, where the three are side by side. */
  showTies() {
    const ties = element("ties");
    ties.replaceChildren();
    if (!matchMedia("(min-width: 1240px)").matches || this.printing || element("sum").hidden) return;
    const origin = element("figure").getBoundingClientRect();
    ties.setAttribute("viewBox", `0 0 ${origin.width} ${origin.height}`);
    /** @param {Element | null} from @param {Element | null} to */
    const tie = (from, to) => {
      if (!from || !to) return;
      const [one, other] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const [x, y] = [one.right - origin.left + 5, one.top + one.height / 2 - origin.top];
      const [right, end] = [other.left - origin.left - 5, other.top + other.height / 2 - origin.top];
      const frame = to.closest(".map-part .frame")?.getBoundingClientRect();
      const lane = (frame?.left ?? 0) - origin.left - 12;
      const middle = (x + right) / 2;
      const below = frame && y > frame.bottom - origin.top; // there the words under the map are in between
      const bend = Math.min(14, (y - end) / 2);
      const d = below
        ? `M${x} ${y}Q${lane} ${y} ${lane} ${y - bend}V${end + bend}Q${lane} ${end} ${lane + bend} ${end}H${right}`
        : `M${x} ${y}C${middle} ${y} ${middle} ${end} ${right} ${end}`;
      ties.append(svg("path", { d, class: "tie-halo" }), svg("path", { d, class: "tie" }));
    };
    if (element("sum").classList.contains("faint")) return;
    tie(element("photo-marks").querySelector(".chosen"), element("sum").querySelector(".window .cells"));
    const below =
      (element("sum").querySelector(".value")?.getBoundingClientRect().top ?? 0) -
      this.canvas("map").getBoundingClientRect().bottom;
    if (below < 160) tie(element("sum").querySelector(".value"), element("map-marks").querySelector(".chosen"));
  }

  // ---------------------------------------------------------------- hands

  /** @param {number} channel */
  choose(channel) {
    if (!this.layer.shown.includes(channel)) return;
    const place = this.isLive ? this.chosen.place : this.strongestPlace(channel);
    this.chosen = { channel, place };
    this.preview = {};
    element("not-kept").textContent = "";
    this.show();
    this.rememberAddress();
    element("said").textContent = this.channelText();
  }

  /** @param {Place} place */
  fix(place) {
    const channel = this.view.channel;
    this.chosen = { channel, place };
    this.preview = {};
    this.show();
    this.rememberAddress();
    element("said").textContent = `row ${place[0]}, column ${place[1]}: ${this.valueText(this.chosen)}`;
  }

  /** @param {number} channel */
  peek(channel) {
    if (channel === this.preview.channel) return;
    this.preview = { channel };
    if (!this.isLive) this.preview.place = this.strongestPlace(channel);
    this.later();
  }

  leave() {
    this.preview = {};
    this.later();
  }

  listen() {
    for (const name of /** @type {const} */ (["kernels", "maps"])) this.listenToGrid(name);
    this.listenToMap();
    this.listenToFields();
    this.listenToLinks();
    this.listenToFind();
    this.listenToKeys();
    listenForCells(element("sum"));
    element("previous").addEventListener("click", () => this.step(-1));
    element("next").addEventListener("click", () => this.step(1));
    for (const option of document.querySelectorAll('input[name="scale"]')) {
      option.addEventListener("change", () =>
        this.setScale(/** @type {HTMLInputElement} */ (option).value === "whole"),
      );
    }
    addEventListener("hashchange", () => {
      const address = readAddress(location.hash);
      this.go({ ...address, image: address.image ?? 0 }); // as in a page that is opened there
    });
    setUpTheme(() => this.repaint());
    onPrint((printing) => {
      this.printing = printing;
      const table = /** @type {HTMLDetailsElement} */ (element("table"));
      if (printing) this.wasOpen = table.open;
      table.open = printing || Boolean(this.wasOpen);
      this.repaint();
    });
    let width = 0;
    new ResizeObserver(() => {
      const now = element("main").clientWidth;
      if (now === width || this.printing || this.layerNumber < 0) return;
      width = now;
      requestAnimationFrame(() => this.repaint());
    }).observe(element("main"));
  }

  repaint() {
    if (this.layerNumber < 0) return;
    this.paintGrids();
    this.show();
  }

  /** @param {boolean} whole */
  setScale(whole) {
    if (this.isSingle) return;
    this.whole = whole;
    const value = whole ? "whole" : "own";
    const option = document.querySelector(`input[name="scale"][value="${value}"]`);
    /** @type {HTMLInputElement} */ (option).checked = true;
    this.repaint();
  }

  /** @param {"kernels" | "maps"} name */
  listenToGrid(name) {
    const canvas = this.canvas(name);
    /** @param {MouseEvent} event */
    const channelAt = (event) => {
      const grid = this.grids[name];
      const box = canvas.getBoundingClientRect();
      if (!grid) return undefined;
      const scale = grid.total.width / box.width;
      const { shown } = this.layer;
      return shown[
        tileUnder(grid, shown.length, (event.clientX - box.left) * scale, (event.clientY - box.top) * scale)
      ];
    };
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      const channel = channelAt(event);
      if (channel === undefined) this.leave();
      else this.peek(channel);
    });
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("click", (event) => {
      const channel = channelAt(event);
      if (channel !== undefined) this.choose(channel);
    });
    if (name === "kernels") return;
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const { shown } = this.layer;
      const columns = this.grids.maps?.columns ?? COLUMNS;
      const next = tileAfterKey(event.key, shown.indexOf(this.chosen.channel), shown.length, columns);
      if (next === null) return;
      event.preventDefault();
      this.choose(shown[next] ?? 0);
    });
  }

  listenToMap() {
    const canvas = this.canvas("map");
    /** @param {MouseEvent} event @param {number} reach @returns {Place} */
    const placeAt = (event, reach) => {
      const box = canvas.getBoundingClientRect();
      const traced = this.isLive
        ? []
        : this.tracedUnits(this.view.channel).map((unit) => /** @type {Place} */ ([unit.at[2], unit.at[3]]));
      const [rows, columns] = this.layer.map;
      return unitUnder(event.clientX - box.left, event.clientY - box.top, box, rows, columns, traced, reach);
    };
    canvas.addEventListener("pointermove", (event) => {
      this.preview = { place: placeAt(event, 0) };
      this.later();
    });
    canvas.addEventListener("pointerleave", () => this.leave());
    canvas.addEventListener("pointercancel", () => this.leave());
    canvas.addEventListener("click", (event) => this.fix(placeAt(event, SNAP)));
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const steps = /** @type {Record<string, Place>} */ ({
        ArrowLeft: [0, -1],
        ArrowRight: [0, 1],
        ArrowUp: [-1, 0],
        ArrowDown: [1, 0],
      });
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const far = event.shiftKey ? 8 : 1;
      this.fix(this.bounded([this.chosen.place[0] + far * step[0], this.chosen.place[1] + far * step[1]]));
    });
  }

  /**
   * @param {Place} place
   * @returns {Place}
   */
  bounded(place) {
    const [rows, columns] = this.layer.map;
    return [Math.max(0, Math.min(rows - 1, place[0])), Math.max(0, Math.min(columns - 1, place[1]))];
  }

  listenToFields() {
    const row = /** @type {HTMLInputElement} */ (element("row"));
    const column = /** @type {HTMLInputElement} */ (element("column"));
    for (const field of [row, column]) {
      field.addEventListener("change", () => {
        const [down, across] = [Math.trunc(row.valueAsNumber), Math.trunc(column.valueAsNumber)];
        if (Number.isNaN(down) || Number.isNaN(across)) this.show();
        else this.fix(this.bounded([down, across]));
      });
    }
  }

  listenToLinks() {
    document.addEventListener("click", (event) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      const address = link?.getAttribute("href") ?? "";
      if (!address.startsWith("#") || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault(); // in a frame without an address of its own the link would leave the page
      const image = link?.dataset.image;
      if (image !== undefined) {
        const { channel } = this.chosen;
        const place = this.isLive ? this.chosen.place : null;
        this.go({ layer: this.layer.name, channel, place, image: Number(image) });
      } else this.go(readAddress(address));
    });
    element("skyline").addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      const next = Math.max(0, Math.min(this.index.layers.length - 1, this.wanted + step));
      const link = document.querySelector(`#skyline a[data-layer="${next}"]`);
      if (link instanceof SVGElement) link.focus({ preventScroll: true });
      this.go({ layer: this.index.layers[next]?.name ?? "", channel: null, place: null, image: null });
    });
  }

  listenToFind() {
    const field = /** @type {HTMLInputElement} */ (element("find"));
    const matching = () => {
      const query = field.value;
      /** @type {number[]} */
      const found = [];
      for (const row of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#table tbody tr"))) {
        const number = Number(row.dataset.layer);
        const layer = /** @type {Layer} */ (this.index.layers[number]);
        row.hidden = !isFound(query, layer, this.texts.sentences[number] ?? "");
        if (!row.hidden) found.push(number);
      }
      for (const link of /** @type {NodeListOf<SVGElement>} */ (document.querySelectorAll("#skyline a"))) {
        link.classList.toggle("dim", !found.includes(Number(link.dataset.layer)));
      }
      element("found").textContent = query.trim()
        ? `${found.length} of ${counted(this.index.layers.length, "layer")}`
        : "";
      return found;
    };
    field.addEventListener("input", matching);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        field.value = "";
        matching();
      } else if (event.key === "Enter") {
        event.preventDefault();
        const first = this.index.layers[matching()[0] ?? -1];
        if (first) this.go({ layer: first.name, channel: null, place: null, image: null });
      }
    });
  }

  listenToKeys() {
    const dialog = /** @type {HTMLDialogElement} */ (element("keys"));
    element("keys-button").addEventListener("click", () => dialog.showModal());
    element("keys-close").addEventListener("click", () => dialog.close());
    document.addEventListener("keydown", (event) => {
      const field =
        event.target instanceof Element && event.target.closest("input:not([type=radio]), textarea, select");
      const shortcut = field || dialog.open ? null : shortcutOf(event, isApple());
      if (!shortcut) return;
      event.preventDefault();
      if (shortcut === "previous") this.step(-1);
      else if (shortcut === "next") this.step(1);
      else if (shortcut === "scale") this.setScale(!this.whole);
      else if (shortcut === "keys") dialog.showModal();
      else element("find").focus();
    });
  }
}

/** @param {Layer} layer */
function kernelsHeading(layer) {
  const { shown, out, kernels } = layer;
  const count = shown.length === out ? counted(out, "kernel") : `${shown.length} of ${counted(out, "kernel")}`;
  if (kernels?.view === "rgb") return `${count}, as colour; grey is zero`;
  const inputs = layer.in === null ? "" : counted(layer.in, "input");
  if (kernels?.view === "inputs") return `${count}, one cell for each of ${inputs}`;
  if (layer.conv === "depthwise" || layer.in === 1) return count;
  return layer.conv === "grouped"
    ? `${count}, summed over the inputs of their group`
    : `${count}, summed over ${inputs}`;
}

/** @param {Layer} layer */
function kernelsNote(layer) {
  const { kernels } = layer;
  if (!kernels) return "";
  const limit = Math.max(...kernels.limits);
  const notes = [
    kernels.view === "rgb"
      ? "One scale per kernel."
      : `One scale for all kernels: ${shortText(-limit)} to ${shortText(limit, true)}.`,
  ];
  if (kernels.zero.length) notes.push(`As good as zero, struck through: ${listed(kernels.zero)}.`);
  if (kernels.faint.length) notes.push(`Faint, below 5 % of the scale: ${listed(kernels.faint)}.`);
  const broken = Object.keys(kernels.nonfinite).map(Number);
  if (broken.length) notes.push(`With values that are not finite, framed: ${listed(broken)}.`);
  return [...notes, ...kernels.notes].join(" ");
}

/**
 * @param {import("./data.js").MapFacts} facts
 * @param {Layer} layer
 */
function mapsNote(facts, layer) {
  const notes = [];
  if (layer.slices > 1) notes.push(`The ${layer.slices} slices of each map are below each other.`);
  if (facts.dead.length) notes.push(`The same value everywhere, struck through: ${listed(facts.dead)}.`);
  const broken = Object.keys(facts.nonfinite).map(Number);
  if (broken.length) notes.push(`With values that are not finite, chequered: ${listed(broken)}.`);
  return notes.join(" ");
}

/**
 * Why another channel is shown than the one of an address.
 * @param {number} wanted
 * @param {Layer} layer
 * @param {number} channel
 */
function notKept(wanted, layer, channel) {
  if (wanted >= layer.out)
    return `This layer has ${counted(layer.out, "map")}, and none is ${wanted}; map ${channel} is shown.`;
  return `Map ${wanted} is not in this page, which has the maps ${rangesText(layer.shown)}; map ${channel} is shown.`;
}

/** @param {number[]} numbers */
function listed(numbers) {
  const first = numbers.slice(0, 12).join(", ");
  return numbers.length > 12 ? `${first} and ${numbers.length - 12} more` : first;
}

/** Make the page alive: show what only the script shows, and go where the address leads. */
async function start() {
  for (const part of document.querySelectorAll(".scripted")) part.removeAttribute("hidden");
  for (const part of document.querySelectorAll(".static")) part.setAttribute("hidden", "");
  /** @type {HTMLDetailsElement} */ (element("table")).open = false;
  const page = new ReportPage();
  page.listen();
  try {
    await page.go(readAddress(location.hash));
  } catch (error) {
    element("sum-note").textContent =
      `The data of this page cannot be unpacked here: ${error instanceof Error ? error.message : error}`;
    document.documentElement.dataset.ready = "";
  }
}

start();
