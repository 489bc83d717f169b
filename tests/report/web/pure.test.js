// @ts-check
// The pure modules of the page.

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  isAnswer,
  isTelling,
  liveUnit,
  mistakeBehind,
  outputShape,
  outputSize,
  pairsAt,
  productsOf,
  valueAt,
} from "../../../kernelviz/report/page/arithmetic.js";
import { splitBlock } from "../../../kernelviz/report/page/data.js";
import { isFound } from "../../../kernelviz/report/page/finding.js";
import {
  fieldBox,
  frameSize,
  gridOf,
  isWithin,
  tileAfterKey,
  tileAt,
  tileUnder,
  unitUnder,
  unpaddedAlong,
} from "../../../kernelviz/report/page/geometry.js";
import { shortcutOf } from "../../../kernelviz/report/page/keys.js";
import {
  levelsOnScale,
  NOT_FINITE,
  resized,
  spread,
  strongest,
  valueOfLevel,
} from "../../../kernelviz/report/page/levels.js";
import {
  cellText,
  exactText,
  numberOfText,
  powerText,
  rangesText,
  sharedPower,
  shortText,
  valueText,
} from "../../../kernelviz/report/page/numbers.js";
import { insideOf, patchCells, patchesOf, withoutDifferences } from "../../../kernelviz/report/page/patches.js";
import { readAddress, writeAddress } from "../../../kernelviz/report/page/state.js";

test("a level stands for a share of the limit", () => {
  assert.equal(valueOfLevel(200, 3, true), 3);
  assert.equal(valueOfLevel(100, 3, true), 0);
  assert.equal(valueOfLevel(0, 3, true), -3);
  assert.equal(valueOfLevel(100, 3, false), 1.5);
  assert.ok(Number.isNaN(valueOfLevel(NOT_FINITE, 3, true)));
});

test("on the scale of the layer a tile with half its limit has half its colours", () => {
  const signed = levelsOnScale(1, 2, true);
  assert.deepEqual([signed[0], signed[100], signed[200], signed[255]], [50, 100, 150, 255]);
  const positive = levelsOnScale(1, 2, false);
  assert.deepEqual([positive[0], positive[200]], [0, 100]);
});

test("a map is enlarged by its nearest value and reduced by the mean of levels", () => {
  const map = Uint8Array.of(0, 100, 200, NOT_FINITE);
  assert.deepEqual([...resized(map, 2, 2, 4, 2)], [0, 100, 0, 100, 200, 255, 200, 255]);
  assert.deepEqual([...resized(Uint8Array.of(0, 100, 200, 200), 2, 2, 1, 1)], [125]);
  assert.deepEqual([...resized(map, 2, 2, 1, 1)], [255]);
  assert.equal(resized(map, 2, 2, 2, 2), map);
});

test("the widest map has the largest spread, and the strongest value is the farthest from zero", () => {
  assert.equal(spread(Uint8Array.of(100, 100), 5, true), 0);
  assert.equal(spread(Uint8Array.of(0, 200), 5, true), 5);
  assert.equal(spread(Uint8Array.of(255), 5, true), -1);
  const row = Uint8Array.of(110, 20, 255);
  assert.deepEqual(strongest(row, 3, true, [0, 0], [0, 2]), [0, 1]);
  assert.deepEqual(strongest(row, 3, false, [0, 0], [0, 2]), [0, 0]);
  assert.deepEqual(strongest(Uint8Array.of(9, 3, 0, 0, 5, 8), 2, false, [1, 2], [0, 0]), [2, 0]);
});

test("numbers have a true minus, and a power of ten where they need one", () => {
  assert.equal(valueText(6.8964), "6.896");
  assert.equal(valueText(-18.6471), "−18.647");
  assert.equal(valueText(1.5e-7), "1.50×10⁻⁷");
  assert.equal(valueText(-0.00882), "−0.00882"); // as exact as the terms that add up to it
  assert.equal(valueText(Number.NaN), "not finite");
  assert.equal(shortText(0.7484, true), "+0.748");
  assert.equal(shortText(0.9999), "1.00");
  assert.equal(cellText(-3.449), "−3.45");
  assert.equal(cellText(-0.001), "0.00");
  assert.equal(cellText(-0.012, -2), "−1.20");
  assert.equal(sharedPower(0.03), -2);
  assert.equal(sharedPower(3), 0);
  assert.equal(powerText(-12), "10⁻¹²");
});

test("an address names layer, channel, unit and image, with any layer name", () => {
  for (const layer of ["conv_stem", "a/b#c", "100 %", "'\"<b>", "blocks.1#2"]) {
    assert.deepEqual(readAddress(writeAddress(layer, 3, [4, 5], 1)), { layer, channel: 3, place: [4, 5], image: 1 });
  }
  assert.deepEqual(readAddress(""), { layer: null, channel: null, place: null, image: null });
  assert.deepEqual(readAddress("#stem/x/1,2,3"), { layer: "stem", channel: null, place: null, image: null });
  assert.equal(readAddress("#%").layer, "%");
  assert.deepEqual(readAddress("#///1"), { layer: null, channel: null, place: null, image: 1 });
});

test("a search finds a layer by name, kind and whole sizes, however a size is written", () => {
  const layer = { name: "blocks.1.0.conv_dw", kind: "Conv2d", conv: /** @type {const} */ ("depthwise") };
  const small = { ...layer, map: /** @type {[number, number]} */ ([15, 15]) };
  const sentence = "3 × 3 depthwise convolution, stride 2. 5 → 5 channels of 15 × 15. Receptive field 5 × 5 pixels.";
  for (const query of ["", " conv_dw 3 × 3", "3x3", "3×3", "3 ×", "DEPTHWISE", "stride 2", "15 x 15"]) {
    assert.ok(isFound(query, small, sentence), query);
  }
  for (const query of ["5 × 5", "conv_dw 5x5", "5×", "pixels", "15 × 1"]) {
    assert.ok(!isFound(query, small, sentence), query);
  }
});

test("a box is inside of the image", () => {
  /** @type {import("../../../kernelviz/report/page/geometry.js").Field} */
  const field = {
    size: [5, 3],
    rows: { start: -2, jump: 4, size: 5 },
    columns: { first: [0, 9], last: [1, 12] },
    global: false,
  };
  assert.deepEqual(fieldBox(field, 0, 1, 20, 11), { top: 0, bottom: 2, left: 9, right: 10 });
  const beyond = fieldBox({ ...field, rows: { start: -9, jump: 4, size: 5 } }, 0, 0, 20, 11);
  assert.ok(beyond.top > beyond.bottom); // it reads padding alone
});

test("a box larger than the stated field of a unit is only an upper bound", () => {
  /** @type {import("../../../kernelviz/report/page/geometry.js").Field} */
  const field = { size: [5, null], rows: { first: [0], last: [9] }, columns: { first: [0], last: [9] }, global: false };
  assert.ok(isWithin({ top: 1, bottom: 5, left: 0, right: 9 }, field));
  assert.ok(!isWithin(fieldBox(field, 0, 0, 20, 20), field));
});

test("numbers in a row are one range", () => {
  assert.equal(rangesText([0, 1, 2, 5, 7, 8]), "0–2, 5, 7–8");
});

test("each tile is found under its own middle, and keys stay among the tiles", () => {
  for (const own of [true, false]) {
    const grid = gridOf(21, 8, 400, 0.5, own, 64);
    for (let tile = 0; tile < 21; tile++) {
      const { x, y } = tileAt(grid, tile);
      assert.equal(tileUnder(grid, 21, x + grid.width / 2, y + grid.height / 2), tile);
      assert.ok(x + grid.width <= grid.total.width && y + grid.height <= grid.total.height);
    }
  }
  assert.equal(tileAfterKey("ArrowDown", 3, 21, 8), 11);
  assert.equal(tileAfterKey("ArrowDown", 15, 21, 8), 15);
  assert.equal(tileAfterKey("End", 3, 21, 8), 20);
  assert.equal(tileAfterKey("x", 3, 21, 8), null);
});

test("the places without padding are those whose window is inside of the image", () => {
  assert.deepEqual(unpaddedAlong(3, 2, 7, 224, 112), [2, 110]);
  assert.deepEqual(unpaddedAlong(0, 4, 4, 224, 56), [0, 55]);
  assert.deepEqual(unpaddedAlong(2, 1, 5, 3, 3), [0, 2]); // none: every window contains padding
});

test("a key is a shortcut on every layout that types its character", () => {
  /** @param {Partial<KeyboardEvent> & {graph?: boolean}} press */
  const shortcut = (press, apple = false) => {
    const plain = { key: "", code: "", altKey: false, ctrlKey: false, metaKey: false };
    return shortcutOf({ ...plain, ...press, getModifierState: () => press.graph ?? false }, apple);
  };
  assert.equal(shortcut({ key: "[", code: "BracketLeft" }), "previous");
  assert.equal(shortcut({ key: "[", code: "BracketRight" }), "previous"); // Japanese
  assert.equal(shortcut({ key: "]", code: "Digit9", graph: true }), "next"); // German, AltGr
  assert.equal(shortcut({ key: "]", code: "Digit9", graph: true, ctrlKey: true, altKey: true }), "next"); // on Windows
  assert.equal(shortcut({ key: "]", code: "Digit6", altKey: true }, true), "next"); // German, Option on a Mac
  assert.equal(shortcut({ key: "“", code: "BracketLeft", altKey: true }, true), null); // Option+[ types a quotation mark
  assert.equal(shortcut({ key: "[", code: "BracketLeft", metaKey: true }, true), null); // back, in a browser on a Mac
  assert.equal(shortcut({ key: "]", code: "BracketRight", altKey: true }), null);
  assert.equal(shortcut({ key: "ß", code: "KeyS", altKey: true }, true), null);
  assert.equal(shortcut({ key: "N", code: "KeyN" }), "next"); // caps lock
  assert.equal(shortcut({ key: "ы", code: "KeyS" }), "scale"); // Russian
  assert.equal(shortcut({ key: "ö", code: "Semicolon" }), null);
  assert.equal(shortcut({ key: "p", code: "KeyP", ctrlKey: true }), null);
  assert.equal(shortcut({ key: "Enter", code: "Enter" }), null);
});

test("a click near a traced unit leads to it", () => {
  const size = { width: 100, height: 100 };
  assert.deepEqual(unitUnder(52, 48, size, 10, 10, [[5, 5]], 10), [5, 5]);
  assert.deepEqual(unitUnder(52, 48, size, 10, 10, [], 10), [4, 5]);
  assert.deepEqual(unitUnder(100, 100, size, 10, 10, [], 0), [9, 9]);
});

test("a strip of one row is high enough to be seen, and a column is no wider than the frame", () => {
  assert.deepEqual(frameSize(1, 100, 336), { width: 336, height: 42 });
  assert.ok(frameSize(400, 10, 336).height <= 504);
});

test("a unit is the sum of window × weight and bias, with zeros outside of the image", () => {
  const image = { pixels: Uint8Array.from({ length: 27 }, (_, at) => at * 9), rows: 3, columns: 3 };
  /** @type {import("../../../kernelviz/report/page/arithmetic.js").Live} */
  const live = {
    weights: Float32Array.from({ length: 12 }, (_, at) => at - 5),
    bias: Float32Array.of(0.5),
    inputs: 3,
    kernel: [2, 2],
    stride: [2, 2],
    dilation: [1, 1],
    around: [1, 0, 1, 0],
    mean: [0.5, 0.4, 0.3],
    std: [0.2, 0.3, 0.4],
  };
  const unit = liveUnit(live, image, 0, [0, 0, 0, 0]);
  const corner = [0, 9, 18].map((pixel, at) => (pixel / 255 - (live.mean[at] ?? 0)) / (live.std[at] ?? 1));
  const expected = corner.reduce((sum, value, at) => sum + value * (4 * at + 3 - 5), 0.5);
  assert.ok(Math.abs((unit.value ?? 0) - expected) < 1e-12);
  assert.deepEqual(unit.taps, [1, 1, 1, 0]);
  assert.equal(unit.terms.flatMap(productsOf).length, 12);
});

test("the size of an output", () => {
  assert.equal(outputSize(6, 3, 2, 1, 1), 3);
  assert.equal(outputSize(3, 5, 1, 0, 1), 0);
});

test("a block is split into its parts", () => {
  const text = new TextEncoder().encode("[]");
  const floats = new Uint8Array(new Float32Array([1.5]).buffer);
  const bytes = Uint8Array.from([1, 2, 3, ...text, ...floats]);
  const parts = splitBlock(bytes, [
    ["kernels", 1],
    ["maps", 2],
    ["units", 2],
    ["weights", 4],
  ]);
  assert.deepEqual([...(parts.kernels ?? [])], [1]);
  assert.deepEqual(
    parts.maps.map((each) => [...each]),
    [[2, 3]],
  );
  assert.deepEqual(parts.units, []);
  assert.equal(parts.weights?.[0], 1.5);
});

const picture = {
  input: [
    [1, 2, 0, 1, 3, 0],
    [0, 1, 2, 2, 1, 1],
    [3, 0, 1, 0, 2, 2],
    [1, 2, 2, 1, 0, 1],
    [0, 1, 3, 2, 1, 0],
    [2, 0, 1, 1, 2, 3],
  ],
  kernel: [
    [1, 0, -1],
    [2, 0, -2],
    [1, 0, -1],
  ],
  stride: 2,
  padding: 1,
  dilation: 1,
};

test("the values of a convolution with stride and padding", () => {
  assert.deepEqual(outputShape(picture), [3, 3]);
  const values = [0, 1, 2].map((row) => [0, 1, 2].map((column) => valueAt(picture, row, column)));
  assert.deepEqual(values, [
    [-5, 1, 3],
    [-3, 0, -3],
    [-4, -2, 2],
  ]);
  assert.deepEqual(pairsAt(picture, 0, 0)[0], [
    [0, 1],
    [0, 0],
    [0, -1],
  ]);
  const decimals = { ...picture, input: [[0.1, 0.2]], kernel: [[1, 1]], stride: 1, padding: 0 };
  assert.equal(valueAt(decimals, 0, 0), 0.3);
});

test("a wrong answer has a reason where one usual mistake leads to it", () => {
  assert.equal(mistakeBehind(picture, 1, 2, 3), "turned");
  assert.equal(mistakeBehind(picture, 1, 2, 9), "signs");
  assert.equal(mistakeBehind(picture, 1, 2, 0), "neighbour");
  assert.equal(mistakeBehind(picture, 1, 2, 77), null);
  assert.equal(mistakeBehind(picture, 2, 1, 2), null); // the kernel turned, and the window after it
  assert.ok(isTelling(picture, 1, 2));
  assert.ok(!isTelling(picture, 1, 1)); // turned it is 0 as well
});

test("an answer is right with all of its digits, or with those that the page shows", () => {
  const right = valueAt({ ...picture, input: [[11.1111]], kernel: [[11.1111]], stride: 1, padding: 0 }, 0, 0);
  for (const text of ["123.457", "123.45654", "123.45654321"])
    assert.ok(isAnswer(numberOfText(text) ?? 0, right), text);
  for (const text of ["123.456", "123.46", "-123.457"]) assert.ok(!isAnswer(numberOfText(text) ?? 0, right), text);
  const large = valueAt({ ...picture, input: [[12345]], kernel: [[1234]], stride: 1, padding: 0 }, 0, 0);
  assert.equal(exactText(large), "15233730");
  assert.ok(isAnswer(numberOfText("15233730") ?? 0, large) && !isAnswer(15233731, large));
  assert.equal(exactText(-1234567.25), "−1234567");
  assert.ok(isAnswer(numberOfText("-0") ?? 1, 0));
  assert.deepEqual(["two", "", "1e3", "−.5"].map(numberOfText), [null, null, null, -0.5]);
});

test("the cells of a patch are those of its box that are inside the image", () => {
  const box = { top: -3, bottom: 9, left: 20, right: 32 };
  const inside = insideOf(box, [28, 28]);
  assert.deepEqual(inside, { top: 0, bottom: 9, left: 20, right: 27 });
  assert.deepEqual(patchCells(box, inside, 1), { rows: 10, columns: 8, top: 0, left: 20, scale: 1 });
  assert.deepEqual(patchCells(box, inside, 2), { rows: 6, columns: 4, top: -1, left: 20, scale: 2 });
  const beyond = { top: 30, bottom: 32, left: 0, right: 2 };
  assert.equal(patchCells(beyond, insideOf(beyond, [28, 28]), 1).rows, 0);
});

test("pixels are stored as differences to the one on their left", () => {
  const stored = Uint8Array.from([10, 20, 30, 246, 1, 2, 5, 5, 5, 1, 1, 1]);
  assert.deepEqual([...withoutDifferences(stored, 2)], [10, 20, 30, 0, 21, 32, 5, 5, 5, 6, 6, 6]);
});

test("a row of patches ends where there is no further one", () => {
  const image = { name: "a", size: /** @type {[number, number]} */ ([28, 28]), picture: null, scale: 1, shown: 0 };
  const images = [{ ...image, jpeg: false, block: "p0" }];
  const facts = {
    channels: [4, 7],
    most: 2,
    choice: "",
    dead: [],
    reduced: 0,
    clipped: true,
    framed: false,
    notes: [],
  };
  const numbers = {
    values: Float32Array.from([3, 2, 1, Number.NaN]),
    places: Int32Array.from([0, 1, 2, 0, 3, 4, 0, 5, 6, -1, -1, -1]),
    boxes: Int32Array.from([-1, 3, 2, 6, 0, 4, 0, 4, 5, 9, 5, 9, -1, -1, -1, -1]),
    ties: {},
    ends: {},
    crops: new Uint8Array(),
  };
  assert.deepEqual(
    patchesOf(facts, numbers, images, 4).map(({ value, place }) => [value, ...place]),
    [
      [3, 1, 2],
      [2, 3, 4],
    ],
  );
  assert.deepEqual(patchesOf(facts, numbers, images, 4)[0]?.drawn, { top: 0, bottom: 3, left: 2, right: 6 });
  assert.equal(patchesOf(facts, numbers, images, 7).length, 1);
  assert.deepEqual(patchesOf(facts, numbers, images, 5), []);
});
