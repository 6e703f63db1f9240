// Resampling as Python does it: Pillow's bicubic to the byte, torch's resizing of soft labels, colours under alpha, and
// broad colours held to the input's.
import { Block } from "./tiling.js";

const BITS = 22; // of Pillow's fixed-point weights for 8-bit pictures (ImagingResample)
const cubic = x => {
  x = Math.abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
};
const triangle = x => Math.max(0, 1 - Math.abs(x));

/** For each of the pixels start…stop of an axis: the first source pixel, and the weights from there on. */
function taps(length, target, start, stop, filter, reach) {
  const scale = length / target, wide = Math.max(scale, 1), support = reach * wide;
  return Array.from({ length: stop - start }, (_, index) => {
    const centre = (start + index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5)), last = Math.min(length, Math.trunc(centre + support + 0.5));
    const weights = Float64Array.from({ length: last - first }, (_, tap) => filter((tap + first - centre + 0.5) / wide));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map(weight => weight / sum) };
  });
}

/** A window of a picture enlarged by Pillow's bicubic.
 * @param picture {channels, height, width, data: Uint8Array}, interleaved
 * @param size [width, height] of the whole result
 * @param window [left, top, right, bottom] of it
 * @returns {channels, height, width, data: Uint8ClampedArray}, interleaved
 */
export function resizeBicubic(picture, size, window = [0, 0, ...size]) {
  const { channels, height, width, data } = picture, [left, top, right, bottom] = window;
  const fixed = list => list.map(({ first, weights }) => ({ first, weights: Int32Array.from(weights, w => Math.trunc(w * 2 ** BITS + (w < 0 ? -0.5 : 0.5))) }));
  const across = fixed(taps(width, size[0], left, right, cubic, 2)), down = fixed(taps(height, size[1], top, bottom, cubic, 2));
  const from = down[0].first, rows = Math.max(...down.map(({ first, weights }) => first + weights.length)) - from;
  const half = 1 << (BITS - 1), columns = right - left;
  const between = new Uint8ClampedArray(rows * columns * channels);
  for (let row = 0, to = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const { first, weights } = across[column];
      for (let channel = 0; channel < channels; channel++, to++) {
        let sum = half, place = ((from + row) * width + first) * channels + channel;
        for (let tap = 0; tap < weights.length; tap++, place += channels) sum += data[place] * weights[tap];
        between[to] = sum >> BITS;
      }
    }
  const step = columns * channels, result = new Uint8ClampedArray(down.length * step);
  for (let row = 0, to = 0; row < down.length; row++) {
    const { first, weights } = down[row];
    for (let place = (first - from) * step; to < (row + 1) * step; place++, to++) {
      let sum = half;
      for (let tap = 0, at = place; tap < weights.length; tap++, at += step) sum += between[at] * weights[tap];
      result[to] = sum >> BITS;
    }
  }
  return { channels, height: down.length, width: columns, data: result };
}

/** Weighted sums along the rows of a block, or down its columns; `list` has the taps of each of the result's places. */
function along(block, list, down) {
  const result = down ? new Block(block.channels, list.length, block.width) : new Block(block.channels, block.height, list.length);
  const stride = down ? block.width : 1;
  for (let channel = 0, to = 0; channel < block.channels; channel++)
    for (let y = 0; y < result.height; y++)
      for (let x = 0; x < result.width; x++, to++) {
        const { first, weights } = list[down ? y : x];
        let place = (channel * block.height + (down ? first : y)) * block.width + (down ? x : first), sum = 0;
        for (let tap = 0; tap < weights.length; tap++, place += stride) sum += block.data[place] * weights[tap];
        result.data[to] = sum;
      }
  return result;
}

/** A block at another size, as torch's bilinear interpolation with antialiasing. */
export function resizeLinear(block, height, width) {
  const list = (length, target) => taps(length, target, 0, target, triangle, 1);
  return along(along(block, list(block.width, width), false), list(block.height, height), true);
}

/** Hold the SR's broad colours to those of the LR, in place, as `pull_colors` in ssg_hub/images/resampling.py.
 * @param ignored {left, right, top, bottom}: LR pixels whose SR is not to be relied upon
 * @param numbers {sigma, radius} of the Gaussian, in LR pixels
 */
export function pullColors(sr, lr, ignored, numbers) {
  const residual = new Block(lr.channels, lr.height, lr.width, lr.data.slice()), scale = sr.width / lr.width;
  for (let channel = 0, at = 0; channel < sr.channels; channel++)
    for (let y = 0; y < sr.height; y++) {
      const to = (channel * lr.height + Math.floor(y / scale)) * lr.width;
      for (let x = 0; x < sr.width; x++, at++) residual.data[to + Math.floor(x / scale)] -= sr.data[at] / scale ** 2;
    }
  const across = gaussianTaps(lr.width, ignored.left, ignored.right, numbers), down = gaussianTaps(lr.height, ignored.top, ignored.bottom, numbers);
  const shift = resizeLinear(along(along(residual, across, false), down, true), sr.height, sr.width);
  for (let at = 0; at < sr.data.length; at++) sr.data[at] = Math.min(1, Math.max(0, sr.data[at] + shift.data[at]));
}

/** A Gaussian over 0…length that reads only what lies inside of `before` and `after`, whose ends are repeated. */
function gaussianTaps(length, before, after, { sigma, radius }) {
  const inside = at => Math.min(Math.max(at, before), length - after - 1);
  const shares = Float64Array.from({ length: 2 * radius + 1 }, (_, tap) => Math.exp(-0.5 * ((tap - radius) / sigma) ** 2));
  const sum = shares.reduce((total, share) => total + share, 0);
  return Array.from({ length }, (_, index) => {
    const start = inside(index) - radius, first = inside(start), weights = new Float64Array(inside(start + 2 * radius) - first + 1);
    shares.forEach((share, tap) => (weights[inside(start + tap) - first] += share / sum));
    return { first, weights };
  });
}

/** Probabilities over the channels, in place. */
export function softmax(block) {
  const { channels, data } = block, area = block.height * block.width;
  for (let place = 0; place < area; place++) {
    let largest = -Infinity, sum = 0;
    for (let at = place; at < data.length; at += area) largest = Math.max(largest, data[at]);
    for (let at = place; at < data.length; at += area) sum += data[at] = Math.exp(data[at] - largest);
    for (let channel = 0; channel < channels; channel++) data[channel * area + place] /= sum;
  }
  return block;
}

/** Half the sum of |p - q| over the classes: semantic drift. */
export function totalVariation(before, after) {
  const area = after.height * after.width, drift = new Block(1, after.height, after.width);
  for (let at = 0; at < after.data.length; at++) drift.data[at % area] += Math.abs(after.data[at] - before.data[at]) / 2;
  for (let at = 0; at < area; at++) drift.data[at] = Math.min(1, drift.data[at]);
  return drift;
}

/** The probability that the likeliest class is wrong, from soft labels and their drift, as upscaling/calibration.py. */
export function calibrate({ weights, classes }, labels, drift) {
  const area = drift.data.length, { channels, data } = labels, chance = new Block(1, drift.height, drift.width);
  for (let place = 0; place < area; place++) {
    let entropy = 0, largest = 0, sum = 0;
    for (let channel = 0; channel < channels; channel++) {
      const p = data[channel * area + place];
      if (p > 0) entropy -= p * Math.log(p);
      largest = Math.max(largest, p);
      sum += classes[channel] * p;
    }
    const logOdds = Math.log(Math.max(largest / Math.max(1 - largest, 1e-6), 1e-6));
    sum += weights.drift * drift.data[place] + (weights.entropy * entropy) / Math.log(Math.max(2, channels));
    sum += weights.log_odds * Math.min(Math.max(logOdds, -8), 8);
    chance.data[place] = 1 / (1 + Math.exp(-sum));
  }
  return chance;
}

/** Repeat the last row and column until a block has at least this side. */
export function padToLeast(block, side) {
  const height = Math.max(block.height, side), width = Math.max(block.width, side);
  if (height === block.height && width === block.width) return block;
  const padded = new Block(block.channels, height, width);
  for (let channel = 0, to = 0; channel < block.channels; channel++)
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++, to++)
        padded.data[to] = block.data[(channel * block.height + Math.min(y, block.height - 1)) * block.width + Math.min(x, block.width - 1)];
  return padded;
}

/** Give fully transparent pixels the colours around them: push-pull over a pyramid (Gortler et al., 1996, sec. 3.4.3).
 * @param color interleaved RGB bytes; @param alpha bytes
 * @returns RGB bytes, the same where alpha is above 0
 */
export function fillTransparent(color, alpha, height, width) {
  if (!alpha.includes(0)) return color;
  const filled = pull(Float32Array.from(color), Float32Array.from(alpha, value => value / 255), height, width);
  return Uint8Array.from(filled, value => roundEven(value));
}

function pull(color, weight, height, width) {
  if (height * width === 1 || weight.every(value => value > 0)) return color;
  const rows = Math.ceil(height / 2), columns = Math.ceil(width / 2);
  const total = new Float32Array(rows * columns), mean = new Float32Array(rows * columns * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const from = y * width + x, to = (y >> 1) * columns + (x >> 1);
      total[to] += weight[from] / 4;
      for (let channel = 0; channel < 3; channel++) mean[3 * to + channel] += (color[3 * from + channel] * weight[from]) / 4;
    }
  for (let at = 0; at < mean.length; at++) mean[at] /= Math.max(total[Math.floor(at / 3)], 1e-12);
  const coarse = pull(mean, total, rows, columns), result = new Float32Array(color.length);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = y * width + x, [source, from] = weight[at] > 0 ? [color, at] : [coarse, (y >> 1) * columns + (x >> 1)];
      for (let channel = 0; channel < 3; channel++) result[3 * at + channel] = source[3 * from + channel];
    }
  return result;
}

/** To the nearest whole number, halves to the even one, as numpy and torch do. */
export function roundEven(value) {
  const low = Math.floor(value), rest = value - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}
