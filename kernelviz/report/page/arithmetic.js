// @ts-check
// The arithmetic of a convolution: one unit worked out, sizes of outputs, and what a wrong answer may come from.

import { exactText } from "./numbers.js";

/**
 * One summand of a unit: what one input channel contributes.
 * @typedef {{n: number, window: Array<number | null>, kernel: Array<number | null>, sum: number | null}} Term
 */

/**
 * A unit worked out. `of` counts the input channels, `rest` is what those contribute that are no terms. `taps` marks
 * cells outside of the input with 1 and the zeros between the rows of a transposed convolution's input with 2. NaN is
 * null.
 * @typedef {{at: [number, number, number, number], value: number | null, bias: number | null, of: number,
 *   rest: number | null, taps: number[] | null, terms: Term[]}} Unit
 */

/**
 * What a layer that reads the image needs to work out any unit: weights (n, C, kh, kw), its padding (top, bottom, left,
 * right), and how pixels become inputs.
 * @typedef {{weights: Float32Array, bias: Float32Array | null, inputs: number, kernel: [number, number],
 *   stride: [number, number], dilation: [number, number], around: number[], mean: number[], std: number[]}} Live
 */

/**
 * An image as the network saw it: (rows, columns, 3) bytes.
 * @typedef {{pixels: Uint8Array, rows: number, columns: number}} Pixels
 */

/**
 * What each cell of a term contributes.
 * @param {Term} term
 * @returns {number[]}
 */
export function productsOf(term) {
  return term.window.map((value, at) => numberOf(value) * numberOf(term.kernel[at]));
}

/**
 * A number of a unit; null in JSON is NaN.
 * @param {number | null | undefined} value
 */
export function numberOf(value) {
  return value ?? Number.NaN;
}

/**
 * Work out a unit from the pixels. Padding is zero as the network sees it.
 * @param {Live} live
 * @param {Pixels} image
 * @param {number} position of the channel among those that are shown
 * @param {[number, number, number, number]} at image, channel, row, column
 * @returns {Unit}
 */
export function liveUnit(live, image, position, at) {
  const [high, wide] = live.kernel;
  const size = high * wide;
  const top = at[2] * live.stride[0] - (live.around[0] ?? 0);
  const left = at[3] * live.stride[1] - (live.around[2] ?? 0);
  /** @type {Term[]} */
  const terms = [];
  /** @type {number[]} */
  const taps = [];
  let total = live.bias ? (live.bias[position] ?? 0) : 0;
  for (let input = 0; input < live.inputs; input++) {
    const mean = live.mean[input] ?? 0;
    const deviation = live.std[input] ?? 1;
    const window = [];
    const kernel = [];
    let sum = 0;
    for (let row = 0; row < high; row++) {
      for (let column = 0; column < wide; column++) {
        const y = top + row * live.dilation[0];
        const x = left + column * live.dilation[1];
        const outside = y < 0 || x < 0 || y >= image.rows || x >= image.columns;
        const pixel = outside ? 0 : (image.pixels[3 * (y * image.columns + x) + input] ?? 0);
        const value = outside ? 0 : (pixel / 255 - mean) / deviation;
        const weight = live.weights[(position * live.inputs + input) * size + row * wide + column] ?? 0;
        window.push(value);
        kernel.push(weight);
        if (input === 0) taps.push(outside ? 1 : 0);
        sum += value * weight;
      }
    }
    total += sum;
    terms.push({ n: input, window, kernel, sum });
  }
  const bias = live.bias ? (live.bias[position] ?? 0) : null;
  return { at, value: total, bias, of: live.inputs, rest: 0, taps: taps.includes(1) ? taps : null, terms };
}

/**
 * The rows of the output of a convolution, below 1 if there is none.
 * @param {number} input
 * @param {number} kernel
 * @param {number} stride
 * @param {number} padding
 * @param {number} dilation
 */
export function outputSize(input, kernel, stride, padding, dilation) {
  const span = input + 2 * padding - dilation * (kernel - 1) - 1;
  return span < 0 ? 0 : Math.floor(span / stride) + 1;
}

/**
 * A convolution of one channel with one stride, padding and dilation for rows and columns.
 * @typedef {{input: number[][], kernel: number[][], stride: number, padding: number, dilation: number}} Settings
 */

/**
 * Rows and columns of the output.
 * @param {Settings} settings
 * @returns {[number, number]}
 */
export function outputShape({ input, kernel, stride, padding, dilation }) {
  const size = (/** @type {number} */ cells, /** @type {number} */ span) =>
    outputSize(cells, span, stride, padding, dilation);
  return [size(input.length, kernel.length), size(input[0]?.length ?? 0, kernel[0]?.length ?? 0)];
}

/**
 * The pairs of input and weight under the window, row by row; outside of the input is zero.
 * @param {Settings} settings
 * @param {number} row
 * @param {number} column
 * @returns {Array<Array<[number, number]>>}
 */
export function pairsAt({ input, kernel, stride, padding, dilation }, row, column) {
  return kernel.map((weights, down) =>
    weights.map((weight, across) => {
      const y = row * stride - padding + down * dilation;
      const x = column * stride - padding + across * dilation;
      return [input[y]?.[x] ?? 0, weight];
    }),
  );
}

/**
 * A value of the output. Sums that are not whole are rounded to twelve digits, so that 0.1 + 0.2 is 0.3.
 * @param {Settings} settings
 * @param {number} row
 * @param {number} column
 */
export function valueAt(settings, row, column) {
  const sum = pairsAt(settings, row, column)
    .flat()
    .reduce((total, [value, weight]) => total + value * weight, 0);
  return rounded(sum);
}

/** @param {number} value */
function rounded(value) {
  return (Number.isSafeInteger(value) ? value : Number(value.toPrecision(12))) + 0; // no negative zero
}

/**
 * Whether an answer is a number, as far as the page shows its digits.
 * @param {number} answer
 * @param {number} value
 */
export function isAnswer(answer, value) {
  return exactText(answer + 0) === exactText(value);
}

/**
 * What comes out of each usual mistake: the kernel turned by 180°, the signs of the weights forgotten, and the windows
 * before and after the right one.
 * @param {Settings} settings
 * @param {number} row
 * @param {number} column
 * @returns {{turned: number[], signs: number[], neighbour: number[]}}
 */
export function mistakes(settings, row, column) {
  const { kernel } = settings;
  const turned = kernel.map((weights) => [...weights].reverse()).reverse();
  const sizes = kernel.map((weights) => weights.map(Math.abs));
  const beside = [column - 1, column + 1].filter((at) => at >= 0 && at < outputShape(settings)[1]);
  return {
    turned: [valueAt({ ...settings, kernel: turned }, row, column)],
    signs: [valueAt({ ...settings, kernel: sizes }, row, column)],
    neighbour: beside.map((at) => valueAt(settings, row, at)),
  };
}

/**
 * The mistake that a wrong answer comes from; null if none fits, or more than one.
 * @param {Settings} settings
 * @param {number} row
 * @param {number} column
 * @param {number} answer
 * @returns {"turned" | "signs" | "neighbour" | null}
 */
export function mistakeBehind(settings, row, column, answer) {
  const found = Object.entries(mistakes(settings, row, column)).filter(([, values]) =>
    values.some((value) => isAnswer(answer, value)),
  );
  return found.length === 1 ? /** @type {"turned" | "signs" | "neighbour"} */ (found[0]?.[0] ?? null) : null;
}

/**
 * Whether every usual mistake leads to another number, so that a right answer is no luck.
 * @param {Settings} settings
 * @param {number} row
 * @param {number} column
 */
export function isTelling(settings, row, column) {
  const right = valueAt(settings, row, column);
  return Object.values(mistakes(settings, row, column))
    .flat()
    .every((value) => !isAnswer(value, right));
}
