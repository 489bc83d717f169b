// @ts-check
// The arithmetic of a convolution: one unit worked out, sizes of outputs, and what a wrong answer may come from.

/**
 * One summand of a unit: what one input channel contributes.
 * @typedef {{n: number, window: Array<number | null>, kernel: Array<number | null>, sum: number | null}} Term
 */

/**
 * A unit worked out. `of` counts the input channels, `rest` is what those contribute that are no terms. `taps` marks
 * cells outside of the input with 1 and the zeros between the rows of a transposed convolution's input with 2. A number
 * that is not finite is null.
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
 * A number of a unit; what is null in JSON is not finite.
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
 * @param {number} firstInput the first input channel that this channel reads
 * @returns {Unit}
 */
export function liveUnit(live, image, position, at, firstInput = 0) {
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
    const channel = firstInput + input;
    const mean = live.mean[channel] ?? 0;
    const deviation = live.std[channel] ?? 1;
    const window = [];
    const kernel = [];
    let sum = 0;
    for (let row = 0; row < high; row++) {
      for (let column = 0; column < wide; column++) {
        const y = top + row * live.dilation[0];
        const x = left + column * live.dilation[1];
        const outside = y < 0 || x < 0 || y >= image.rows || x >= image.columns;
        const pixel = outside ? 0 : (image.pixels[3 * (y * image.columns + x) + channel] ?? 0);
        const value = outside ? 0 : (pixel / 255 - mean) / deviation;
        const weight = live.weights[(position * live.inputs + input) * size + row * wide + column] ?? 0;
        window.push(value);
        kernel.push(weight);
        if (input === 0) taps.push(outside ? 1 : 0);
        sum += value * weight;
      }
    }
    total += sum;
    terms.push({ n: channel, window, kernel, sum });
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
