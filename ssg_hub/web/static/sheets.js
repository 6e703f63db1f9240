// What is collected tile by tile: colours, the mask, and the drift, as in ssg_hub/upscaling/result.py and soft_masks.py.
import { resizeBicubic, roundEven } from "./resampling.js";
import { lerp } from "./tiling.js";

/** The result's pixels, interleaved bytes: gray or RGB, and alpha if the source has it. */
export class ColorSheet {
  constructor(source, size) {
    this.source = source;
    [this.width, this.height] = size;
    this.colors = source.gray ? 1 : 3;
    this.channels = this.colors + (source.alpha ? 1 : 0);
    this.data = new Uint8Array(this.width * this.height * this.channels);
  }

  put(part, top, left) {
    const area = part.height * part.width, { source, channels, colors } = this;
    const cover = source.alpha && resizeBicubic(
      { channels: 1, height: source.height, width: source.width, data: source.alpha },
      [this.width, this.height], [left, top, left + part.width, top + part.height]);
    for (let y = 0, at = 0; y < part.height; y++)
      for (let x = 0, to = ((top + y) * this.width + left) * channels; x < part.width; x++, at++, to += channels) {
        for (let channel = 0; channel < colors; channel++) this.data[to + channel] = roundEven(255 * Math.min(1, Math.max(0, part.data[channel * area + at])));
        if (cover) this.data[to + colors] = cover.data[at];
      }
  }
}

/** Class ids of the result's pixels; those below a confidence get the id after the last class. */
export class MaskSheet {
  constructor(size, step, classes, uncertainBelow) {
    [this.width, this.height] = size;
    Object.assign(this, { step, classes, uncertainBelow, ids: new Uint8Array(size[0] * size[1]), counts: new Array(classes + 1).fill(0) });
  }

  /** Take soft labels whose first cell is (top, left), with one cell of overlap with earlier parts. */
  put(soft, top, left) {
    const rows = linearTaps(top, soft.height, this.step, this.height), columns = linearTaps(left, soft.width, this.step, this.width);
    const area = soft.height * soft.width, line = new Float32Array(soft.width * this.classes);
    for (let y = rows.start; y < rows.stop; y++) {
      const row = y - rows.start, low = rows.low[row] * soft.width, high = rows.high[row] * soft.width;
      for (let kind = 0, to = 0; kind < this.classes; kind++)
        for (let x = 0; x < soft.width; x++, to++) line[to] = lerp(soft.data[kind * area + low + x], soft.data[kind * area + high + x], rows.weight[row]);
      for (let x = columns.start; x < columns.stop; x++) {
        const column = x - columns.start, from = columns.low[column], to = columns.high[column], weight = columns.weight[column];
        let best = 0, confidence = -1;
        for (let kind = 0, at = 0; kind < this.classes; kind++, at += soft.width) {
          const value = lerp(line[at + from], line[at + to], weight);
          if (value > confidence) [best, confidence] = [kind, value];
        }
        const id = confidence < this.uncertainBelow ? this.classes : best;
        this.ids[y * this.width + x] = id;
        this.counts[id]++;
      }
    }
  }

  /** What the mask holds, largest first: [{id, share}]. */
  describe() {
    const found = this.counts.map((count, id) => ({ id, share: count / this.ids.length })).filter(({ share }) => share > 0);
    return found.sort((one, other) => other.share - one.share || one.id - other.id);
  }
}

/** The drift, one byte for each cell. */
export class DriftSheet {
  constructor({ rows, columns }) {
    [this.height, this.width] = [rows.at(-1)[1], columns.at(-1)[1]];
    this.data = new Uint8Array(this.height * this.width);
  }

  put(part, top, left) {
    for (let y = 0, at = 0; y < part.height; y++)
      for (let x = 0; x < part.width; x++, at++) this.data[(top + y) * this.width + left + x] = roundEven(255 * part.data[at]);
  }
}

/** Linear interpolation from cells to the pixels whose centres lie between theirs; as `Taps` in soft_masks.py. */
function linearTaps(first, cells, step, length) {
  const until = cell => Math.ceil((cell + 0.5) * step - 0.5 - 1e-6);
  const last = first + cells - 1, start = first === 0 ? 0 : until(first);
  const stop = (last + 1) * step >= length - 1e-6 ? length : until(last);
  const count = Math.max(0, stop - start), low = new Int32Array(count), high = new Int32Array(count), weight = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const centre = Math.min(cells - 1, Math.max(0, (start + index + 0.5) / step - 0.5 - first));
    low[index] = Math.floor(centre);
    high[index] = Math.min(low[index] + 1, cells - 1);
    weight[index] = centre - low[index];
  }
  return { start, stop, low, high, weight };
}
