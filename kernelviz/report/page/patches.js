// @ts-check
// The patches of a channel: what its strongest units read, in their order, and where that is.

import { inflated } from "./data.js";
import { boxMarks, html, svg } from "./drawing.js";
import { areaOf, isWhole, rangeText } from "./geometry.js";
import { counted, rangesText, shortText } from "./numbers.js";
import { writeAddress } from "./state.js";
import { element } from "./theme.js";

/** @import { Index, Layer, PatchFacts, PatchImage, PatchNumbers, Unpacked } from "./data.js" */
/** @import { Box } from "./geometry.js" */

/**
 * A patch: its value, its image, its unit, what the unit reads as if the image had no border, the part of that inside the
 * image, and the box that is drawn.
 * @typedef {{rank: number, at: number, value: number, image: PatchImage, place: [number, number], field: Box, inside: Box,
 *   drawn: Box}} Patch
 */

/**
 * Pixels (rows, columns, 3), each of `scale` pixels of the image, of which the first is at `top` and `left`; or the part of
 * a decoded picture of the whole image that is there.
 * @typedef {{pixels: Uint8Array | null, picture: HTMLImageElement | null, rows: number, columns: number, top: number,
 *   left: number, scale: number}} Part
 */

/**
 * What the page shows: a layer and its data, the channel, and the chosen unit.
 * @typedef {{layer: Layer, data: Unpacked, channel: number, image: number, chosen: {channel: number, place: [number, number]}}} Shown
 */

const KEPT_PICTURES = 24;
const VEILED_FROM = 0.004;

/**
 * The part of a box inside an image.
 * @param {Box} box
 * @param {[number, number]} size rows and columns
 * @returns {Box}
 */
export function insideOf(box, size) {
  return {
    top: Math.max(0, box.top),
    bottom: Math.min(size[0] - 1, box.bottom),
    left: Math.max(0, box.left),
    right: Math.min(size[1] - 1, box.right),
  };
}

/**
 * The cells of a patch with pixels of its own: where the first one is, and how many there are. A cell is `by` × `by` pixels
 * of the box that is drawn.
 * @param {Box} drawn
 * @param {Box} inside
 * @param {number} by
 */
export function patchCells(drawn, inside, by) {
  const [down, across] = [Math.floor((inside.top - drawn.top) / by), Math.floor((inside.left - drawn.left) / by)];
  const rows = Math.floor((inside.bottom - drawn.top) / by) - down + 1;
  const columns = Math.floor((inside.right - drawn.left) / by) - across + 1;
  const none = inside.bottom < inside.top || inside.right < inside.left;
  return {
    rows: none ? 0 : rows,
    columns: none ? 0 : columns,
    top: drawn.top + down * by,
    left: drawn.left + across * by,
    scale: by,
  };
}

/**
 * Pixels of which each was stored minus that on its left.
 * @param {Uint8Array} differences
 * @param {number} columns
 */
export function withoutDifferences(differences, columns) {
  const pixels = new Uint8Array(differences);
  for (let row = 0; row < pixels.length; row += 3 * columns) {
    for (let at = row + 3; at < row + 3 * columns; at++) pixels[at] = (pixels[at] ?? 0) + (pixels[at - 3] ?? 0);
  }
  return pixels;
}

/**
 * The patches of a channel, the best first.
 * @param {PatchFacts} facts
 * @param {PatchNumbers} numbers
 * @param {PatchImage[]} images
 * @param {number} channel
 * @returns {Patch[]}
 */
export function patchesOf(facts, numbers, images, channel) {
  const found = [];
  const first = facts.channels.indexOf(channel) * facts.most;
  for (let rank = 0; first >= 0 && rank < facts.most; rank++) {
    const at = first + rank;
    const image = images[numbers.places[3 * at] ?? -1];
    if (!image) break;
    const [top = 0, bottom = 0, left = 0, right = 0] = numbers.boxes.subarray(4 * at, 4 * at + 4);
    const field = { top, bottom, left, right };
    const inside = insideOf(field, image.size);
    found.push({
      rank,
      at,
      value: numbers.values[at] ?? Number.NaN,
      image,
      place: /** @type {[number, number]} */ ([numbers.places[3 * at + 1] ?? 0, numbers.places[3 * at + 2] ?? 0]),
      field,
      inside,
      drawn: facts.clipped ? inside : field,
    });
  }
  return found;
}

/** The patches under the chosen channel. */
export class PatchList {
  /** @param {Index} index */
  constructor(index) {
    this.index = index;
    this.images = index.patches?.images ?? [];
    /** @type {Map<string, Promise<Part>>} */
    this.pictures = new Map();
    this.turn = 0;
    this.key = "";
    /** @type {Patch[]} */
    this.patches = [];
    this.selected = 0;
    /** @type {Shown | null} */
    this.shown = null;
    /** @type {WeakMap<PatchNumbers, Int32Array>} */
    this.starts = new WeakMap();
    this.listen();
  }

  /** @param {Shown} shown */
  async show(shown) {
    const { layer, channel } = shown;
    const key = `${layer.name}/${channel}`;
    const fresh = key !== this.key;
    this.shown = shown;
    if (!fresh) {
      this.mark();
      this.showPlace(this.selected);
      return;
    }
    this.key = key;
    const turn = ++this.turn;
    const { patches: facts, without } = layer;
    const numbers = shown.data.patches;
    const patches = facts && numbers ? patchesOf(facts, numbers, this.images, channel) : [];
    const parts = await Promise.all(patches.map((patch) => this.partOf(patch, shown)));
    if (turn !== this.turn) return;
    this.patches = patches;
    this.selected = 0;
    element("patches-head").textContent = `What excites channel ${channel}`;
    element("patches-body").hidden = !facts;
    element("patches-choice").textContent = facts ? this.choiceText(facts, channel) : "";
    element("patches-notes").textContent = facts
      ? facts.notes.map((note) => `${note}.`).join(" ")
      : `No patches: ${without || "there are none of this layer"}${/[.]$/.test(without) ? "" : "."}`;
    const ties = shown.data.patches?.ties[channel] ?? "";
    element("patches-ties").textContent = ties;
    if (facts) this.fill(facts, parts);
    const elsewhere = facts && this.images.some((image) => image.shown === null);
    element("patch-place").hidden = !elsewhere;
    element("patches-body").classList.toggle("alone", !elsewhere);
    this.mark();
    this.showPlace(0);
    element("patches").dataset.shown = key;
  }

  /**
   * @param {PatchFacts} facts
   * @param {number} channel
   */
  choiceText(facts, channel) {
    if (!facts.channels.includes(channel))
      return `The patches of this channel are not in this page, which has those of ${rangesText(facts.channels)}.`;
    const among = counted(this.index.patches?.set ?? 0, "image");
    return `${facts.choice}, of ${among}; each below the receptive field of its unit.`;
  }

  /**
   * @param {PatchFacts} facts
   * @param {Part[]} parts
   */
  fill(facts, parts) {
    const largest = Math.max(1, ...this.patches.map(({ drawn }) => Math.max(...sidesOf(drawn))));
    const items = this.patches.map((patch, rank) => html("li", "", this.link(patch, facts, parts[rank], largest)));
    const channel = this.shown?.channel ?? 0;
    const end = this.shown?.data.patches?.ends[channel];
    if (end && items.length < facts.most) {
      const cell = html("span", "patch-cell", html("span", facts.dead.includes(channel) ? "dead-mark" : ""));
      items.push(html("li", "end", cell, html("span", "quiet", end)));
    }
    while (items.length < facts.most) {
      const empty = html("li", "empty", html("span", "patch-cell"), html("span", "", "\u00a0"));
      empty.setAttribute("aria-hidden", "true");
      items.push(empty); // so that what is below does not move
    }
    element("patch-list").replaceChildren(...items);
  }

  /**
   * @param {Patch} patch
   * @param {PatchFacts} facts
   * @param {Part | undefined} part
   * @param {number} largest side of the patches of this channel
   */
  link(patch, facts, part, largest) {
    const { drawn } = patch;
    const [high, wide] = sidesOf(drawn);
    const tile = html("span", "patch");
    tile.style.width = `${(100 * wide) / largest}%`;
    tile.style.aspectRatio = `${wide} / ${high}`;
    if (part && part.rows > 0) {
      const canvas = canvasOf(part);
      canvas.style.left = `${(100 * (part.left - drawn.left)) / wide}%`;
      canvas.style.top = `${(100 * (part.top - drawn.top)) / high}%`;
      canvas.style.width = `${(100 * part.columns * part.scale) / wide}%`;
      canvas.style.height = `${(100 * part.rows * part.scale) / high}%`;
      canvas.classList.toggle("fine", part.columns > 168);
      tile.append(canvas);
    }
    tile.append(...this.marksIn(patch, facts));
    const value = html("span", "patch-value", shortText(patch.value, true));
    const cell = html("span", "patch-cell", tile);
    const { shown } = patch.image;
    const link = html(shown === null ? "button" : "a", "patch-link", cell, value);
    if (shown === null) link.setAttribute("type", "button");
    else {
      const address = writeAddress(this.shown?.layer.name ?? "", this.shown?.channel ?? 0, patch.place, shown);
      link.setAttribute("href", shown === 0 ? `${address}/0` : address);
    }
    link.dataset.rank = String(patch.rank);
    link.setAttribute("aria-label", `${value.textContent}, patch ${patch.rank + 1}: ${this.placeText(patch)}`);
    return link;
  }

  /**
   * The cross at the centre of a field that is larger than the image, or the frame around the unit's share of it.
   * @param {Patch} patch
   * @param {PatchFacts} facts
   */
  marksIn(patch, facts) {
    const { drawn } = patch;
    const [high, wide] = sidesOf(drawn);
    let path = "";
    if (facts.framed) {
      const share = this.shareOf(patch);
      path = `M${share.x - drawn.left} ${share.y - drawn.top}h${share.width}v${share.height}h${-share.width}z`;
    } else if (facts.clipped) {
      const centre = centreOf(patch);
      if (!centre) return [];
      const arm = Math.max(high, wide) / 18;
      path = crossPath(centre.x - drawn.left, centre.y - drawn.top, arm);
    } else return [];
    const marks = svg("svg", { class: "marks", viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none" });
    marks.append(svg("path", { class: "ring-halo", d: path }), svg("path", { class: "ring-line", d: path }));
    return [marks];
  }

  /**
   * The share of the image that a unit has if all of them cover it evenly, in pixels of the image.
   * @param {Patch} patch
   */
  shareOf(patch) {
    const [rows, columns] = this.shown?.layer.map ?? [1, 1];
    const [height, width] = patch.image.size;
    return {
      x: (patch.place[1] * width) / columns,
      y: (patch.place[0] * height) / rows,
      width: width / columns,
      height: height / rows,
    };
  }

  /**
   * What a patch shows.
   * @param {Patch} patch
   * @param {Shown} shown
   * @returns {Promise<Part>}
   */
  async partOf(patch, shown) {
    const { patches: facts } = shown.layer;
    const { patches: numbers } = shown.data;
    const { drawn, inside } = patch;
    if (facts && numbers && facts.reduced > 0) {
      const cells = patchCells(drawn, inside, facts.reduced);
      const start = this.startsOf(facts, numbers)[patch.at] ?? 0;
      const stored = numbers.crops.subarray(start, start + 3 * cells.rows * cells.columns);
      return { ...cells, pixels: withoutDifferences(stored, cells.columns), picture: null };
    }
    const { scale } = patch.image;
    const cells = patchCells({ top: 0, left: 0, bottom: 0, right: 0 }, inside, scale);
    const whole = await this.pictureOf(patch.image);
    if (!whole.pixels) return { ...cells, pixels: null, picture: whole.picture };
    const pixels = new Uint8Array(3 * cells.rows * cells.columns);
    for (let row = 0; row < cells.rows; row++) {
      const from = 3 * ((cells.top / scale + row) * whole.columns + cells.left / scale);
      pixels.set(whole.pixels.subarray(from, from + 3 * cells.columns), 3 * row * cells.columns);
    }
    return { ...cells, pixels, picture: null };
  }

  /**
   * Where the pixels of each patch of a layer begin.
   * @param {PatchFacts} facts
   * @param {PatchNumbers} numbers
   */
  startsOf(facts, numbers) {
    const known = this.starts.get(numbers);
    if (known) return known;
    const starts = new Int32Array(numbers.values.length);
    let at = 0;
    for (const channel of facts.channels) {
      for (const patch of patchesOf(facts, numbers, this.images, channel)) {
        starts[patch.at] = at;
        const { rows, columns } = patchCells(patch.drawn, patch.inside, facts.reduced);
        at += 3 * rows * columns;
      }
    }
    this.starts.set(numbers, starts);
    return starts;
  }

  /**
   * The picture of an image, reduced or as the network saw it; the latest ones are kept.
   * @param {PatchImage} image
   * @returns {Promise<Part>}
   */
  pictureOf(image) {
    const found = this.pictures.get(image.block) ?? this.unpacked(image);
    this.pictures.delete(image.block);
    this.pictures.set(image.block, found);
    const oldest = this.pictures.keys().next().value;
    if (this.pictures.size > KEPT_PICTURES && oldest !== undefined) this.pictures.delete(oldest);
    return found;
  }

  /**
   * @param {PatchImage} image
   * @returns {Promise<Part>}
   */
  async unpacked(image) {
    const [rows, columns] = image.picture ?? image.size;
    const facts = { rows, columns, top: 0, left: 0, scale: image.scale };
    const text = element(image.block).textContent ?? "";
    if (image.jpeg) {
      const picture = new Image();
      picture.src = `data:image/jpeg;base64,${text}`;
      await picture.decode();
      return { ...facts, pixels: null, picture };
    }
    const bytes = await inflated(text);
    return { ...facts, pixels: image.picture ? withoutDifferences(bytes, columns) : bytes, picture: null };
  }

  // ---------------------------------------------------------------- the place

  /** @param {Patch} patch */
  placeText(patch) {
    const { inside, image } = patch;
    if (inside.top > inside.bottom || inside.left > inside.right)
      return `${image.name}, of which the unit reads nothing`;
    const all = isWhole(inside, image.size[0], image.size[1]);
    const part = all
      ? "the whole image"
      : `${rangeText("row", inside.top, inside.bottom)}, ${rangeText("column", inside.left, inside.right)}`;
    return `${image.name}, ${part}`;
  }

  /**
   * Show where a patch is in its image.
   * @param {number} rank
   */
  async showPlace(rank) {
    const patch = this.patches[rank];
    const figure = element("patch-place");
    figure.classList.toggle("none", !patch);
    if (!patch || figure.hidden) {
      element("place-text").textContent = "";
      return;
    }
    const { image } = patch;
    const canvas = /** @type {HTMLCanvasElement} */ (element("place-picture"));
    if (canvas.dataset.block !== image.block) {
      canvas.dataset.block = image.block;
      const picture = await this.pictureOf(image);
      if (canvas.dataset.block !== image.block) return;
      paintPart(canvas, picture);
      canvas.classList.toggle("small", picture.columns < 112);
      canvas.style.aspectRatio = `${image.size[1]} / ${image.size[0]}`;
    }
    canvas.setAttribute("aria-label", `${image.name}, as the network saw it`);
    this.showBox(patch, canvas);
    const [row, column] = patch.place;
    const where = this.placeText(patch).slice(image.name.length + 2);
    const name = html("b", "", image.name);
    element("place-text").replaceChildren(
      name,
      html("span", "", `${shortText(patch.value, true)} at row ${row}, column ${column} of the map: ${where}`),
    );
  }

  /**
   * @param {Patch} patch
   * @param {HTMLCanvasElement} canvas
   */
  showBox(patch, canvas) {
    const { inside, image } = patch;
    const [width, height] = [canvas.clientWidth || 336, canvas.clientHeight || 336];
    const [down, across] = [height / image.size[0], width / image.size[1]];
    const framed = this.shown?.layer.patches?.framed;
    const whole = isWhole(inside, image.size[0], image.size[1]);
    const marks = element("place-marks");
    marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const clipped = this.shown?.layer.patches?.clipped ? centreOf(patch) : null;
    if (clipped) {
      const d = crossPath(clipped.x * across, clipped.y * down, 12);
      marks.replaceChildren(svg("path", { class: "place-halo", d }), svg("path", { class: "place-line", d }));
      return;
    }
    if ((whole && !framed) || inside.top > inside.bottom || inside.left > inside.right) {
      marks.replaceChildren();
      return;
    }
    const box = framed
      ? this.shareOf(patch)
      : {
          x: inside.left,
          y: inside.top,
          width: inside.right - inside.left + 1,
          height: inside.bottom - inside.top + 1,
        };
    const drawn = { x: box.x * across, y: box.y * down, width: box.width * across, height: box.height * down };
    const hole = `M${drawn.x} ${drawn.y}h${drawn.width}v${drawn.height}h${-drawn.width}z`;
    const veil = svg("path", { class: "veil", d: `M0 0h${width}v${height}h${-width}z${hole}`, "fill-rule": "evenodd" });
    const large = !framed && areaOf(inside) >= VEILED_FROM * image.size[0] * image.size[1];
    const lines = boxMarks(drawn, 40);
    lines[0]?.setAttribute("class", "place-halo");
    lines[1]?.setAttribute("class", "place-line");
    marks.replaceChildren(...(large ? [veil] : []), ...lines);
  }

  /** Mark the patch whose place is shown, and the one that is the chosen unit. */
  mark() {
    const { shown } = this;
    const links = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#patch-list .patch-link"));
    for (const [rank, link] of links.entries()) {
      const patch = this.patches[rank];
      const chosen =
        shown && patch && patch.image.shown === shown.image && shown.channel === shown.chosen.channel
          ? patch.place.join() === shown.chosen.place.join()
          : false;
      if (chosen) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
      link.tabIndex = rank === this.selected ? 0 : -1;
      link.classList.toggle("selected", rank === this.selected && !element("patch-place").hidden);
    }
  }

  /** @param {number} rank */
  select(rank) {
    this.selected = rank;
    this.mark();
    this.showPlace(rank);
  }

  listen() {
    const list = element("patch-list");
    /** @param {Event} event */
    const rankOf = (event) => {
      const link = event.target instanceof Element ? event.target.closest(".patch-link") : null;
      return link instanceof HTMLElement ? Number(link.dataset.rank) : -1;
    };
    list.addEventListener("click", (event) => {
      const patch = this.patches[rankOf(event)];
      if (!patch) return;
      this.select(patch.rank);
      if (patch.image.shown !== null)
        element("photograph").scrollIntoView({ block: "nearest" }); // the link leads to the unit
      else element("said").textContent = `${shortText(patch.value, true)}: ${this.placeText(patch)}`;
    });
    list.addEventListener("pointerover", (event) => {
      const rank = rankOf(event);
      if (rank >= 0 && event.pointerType !== "touch") this.showPlace(rank);
    });
    list.addEventListener("pointerleave", () => this.showPlace(this.selected));
    list.addEventListener("keydown", (event) => {
      const rank = rankOf(event);
      if (rank < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
      const last = this.patches.length - 1;
      const next = { ArrowLeft: rank - 1, ArrowRight: rank + 1, Home: 0, End: last }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      this.select(Math.max(0, Math.min(last, next)));
      /** @type {HTMLElement | null} */ (list.querySelector(`[data-rank="${this.selected}"]`))?.focus();
    });
  }
}

/**
 * The centre of a field in pixels of the image; null if it is not inside the image.
 * @param {Patch} patch
 */
function centreOf({ field, inside }) {
  const [y, x] = [(field.top + field.bottom + 1) / 2, (field.left + field.right + 1) / 2];
  return y > inside.top && y <= inside.bottom && x > inside.left && x <= inside.right ? { x, y } : null;
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} arm
 */
function crossPath(x, y, arm) {
  return `M${x - arm} ${y}h${2 * arm}M${x} ${y - arm}v${2 * arm}`;
}

/**
 * Rows and columns of a box.
 * @param {Box} box
 * @returns {[number, number]}
 */
function sidesOf(box) {
  return [Math.max(1, box.bottom - box.top + 1), Math.max(1, box.right - box.left + 1)];
}

/** @param {Part} part */
function canvasOf(part) {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  paintPart(canvas, part);
  return canvas;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Part} part
 */
function paintPart(canvas, part) {
  const { pixels, picture, rows, columns, scale } = part;
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  if (picture) context?.drawImage(picture, part.left / scale, part.top / scale, columns, rows, 0, 0, columns, rows);
  if (!pixels) return;
  const image = new ImageData(columns, rows);
  const { data } = image;
  for (let from = 0, to = 0; to < data.length; from += 3, to += 4) {
    data[to] = pixels[from] ?? 0;
    data[to + 1] = pixels[from + 1] ?? 0;
    data[to + 2] = pixels[from + 2] ?? 0;
    data[to + 3] = 255;
  }
  context?.putImageData(image, 0, 0);
}
