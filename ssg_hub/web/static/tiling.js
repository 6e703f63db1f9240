// Tiles: the same grid and the same cross-fade as ssg_hub/upscaling/tiling.py, whose numbers come with the model.

/** Planes of floats: `data` holds channels x height x width numbers. */
export class Block {
  constructor(channels, height, width, data = new Float32Array(channels * height * width)) {
    Object.assign(this, { channels, height, width, data });
  }

  /** A copy of rows top…bottom and columns left…right. */
  cut(top, bottom, left, right) {
    const part = new Block(this.channels, bottom - top, right - left);
    for (let channel = 0, to = 0; channel < this.channels; channel++)
      for (let row = top; row < bottom; row++, to += part.width) {
        const from = (channel * this.height + row) * this.width + left;
        part.data.set(this.data.subarray(from, from + part.width), to);
      }
    return part;
  }

  /** Write another block over this one. */
  paste(part, top, left) {
    for (let channel = 0, from = 0; channel < part.channels; channel++)
      for (let row = 0; row < part.height; row++, from += part.width)
        this.data.set(part.data.subarray(from, from + part.width), (channel * this.height + top + row) * this.width + left);
  }
}

/** Spans [start, stop] that cover 0…length, none longer than `tile`, neighbours overlapping. */
export function planSpans(length, tile, context, { align, overlap: most }) {
  if (length <= tile) return [[0, length]];
  tile -= tile % align;
  const quarter = Math.floor(tile / 4);
  const overlap = Math.max(align, Math.min(most, 4 * context, quarter - (quarter % align)));
  const up = position => Math.ceil(position / align - 1e-9) * align;
  const count = Math.ceil((length - overlap) / (tile - overlap));
  const size = up((length + (count - 1) * overlap) / count);
  return Array.from({ length: count }, (_, index) => {
    const start = up((index * (length - size)) / (count - 1));
    return [start, Math.min(start + size, length)];
  });
}

/** Rows and columns of tiles over a picture. */
export function planGrid(height, width, tile, context, numbers) {
  return { rows: planSpans(height, tile, context, numbers), columns: planSpans(width, tile, context, numbers) };
}

/** Pixels at a tile's sides of which `Feather` keeps nothing: a quarter of what it shares with its neighbours. */
export function droppedSides({ rows, columns }, row, column) {
  const sides = (spans, index) => [
    index ? Math.floor((spans[index - 1][1] - spans[index][0]) / 4) : 0,
    index + 1 < spans.length ? Math.floor((spans[index][1] - spans[index + 1][0]) / 4) : 0,
  ];
  const [[left, right], [top, bottom]] = [sides(columns, column), sides(rows, row)];
  return { left, right, top, bottom };
}

/** The same tiles on a canvas `scale` times as large, in cells of `cell` of its pixels. */
export function scaleGrid({ rows, columns }, scale, cell = 1) {
  const convert = ([start, stop]) => [Math.floor((start * scale) / cell), Math.ceil((stop * scale) / cell)];
  return { rows: rows.map(convert), columns: columns.map(convert) };
}

/** Weights of the later of two tiles over the pixels they share: 0 in the first quarter, 1 in the last. */
export function crossFade(shared) {
  return Float32Array.from({ length: shared }, (_, index) => Math.min(1, Math.max(0, ((index + 0.5) / shared - 0.25) * 2)));
}

/** Joins overlapping tiles that arrive row by row, and hands on each part as soon as nothing more will change it. */
export class Feather {
  /** `emit(block, top, left)` gets parts that cover the canvas once, with `context` pixels more at their top and left. */
  constructor(grid, emit, context = 0) {
    Object.assign(this, { grid, emit, context, right: null, above: null, below: null });
  }

  add(tile, row, column) {
    const { rows, columns } = this.grid, { context } = this;
    let [top, bottom] = rows[row], [left, right] = columns[column];
    if (column) {
      tile = this.join(this.right, tile, columns[column - 1][1] - left, false);
      left = right - tile.width;
    }
    if (column + 1 < columns.length) {
      const held = right - columns[column + 1][0];
      this.right = tile.cut(0, tile.height, tile.width - held - context, tile.width);
      tile = tile.cut(0, tile.height, 0, tile.width - held);
    }
    if (row) {
      const above = this.above.cut(0, this.above.height, left, left + tile.width);
      tile = this.join(above, tile, rows[row - 1][1] - top, true);
      top = bottom - tile.height;
    }
    if (row + 1 < rows.length) {
      const held = bottom - rows[row + 1][0];
      this.below ??= new Block(tile.channels, held + context, columns.at(-1)[1]);
      this.below.paste(tile.cut(tile.height - held - context, tile.height, 0, tile.width), 0, left);
      tile = tile.cut(0, tile.height - held, 0, tile.width);
    }
    this.emit(tile, top, left);
    if (column + 1 === columns.length) [this.above, this.below] = [this.below, null];
  }

  /** Cross-fade from the last `shared` pixels of `before` into the start of `tile`, and put the context first. */
  join(before, tile, shared, down) {
    const { context } = this, weights = crossFade(shared);
    const height = tile.height + (down ? context : 0), width = tile.width + (down ? 0 : context);
    const joined = new Block(tile.channels, height, width);
    joined.paste(tile, down ? context : 0, down ? 0 : context);
    const rows = down ? context + shared : tile.height, columns = down ? tile.width : context + shared;
    for (let channel = 0; channel < tile.channels; channel++)
      for (let y = 0; y < rows; y++)
        for (let x = 0; x < columns; x++) {
          const to = (channel * height + y) * width + x, old = before.data[(channel * before.height + y) * before.width + x];
          const place = (down ? y : x) - context;
          joined.data[to] = place < 0 ? old : lerp(old, joined.data[to], weights[place]);
        }
    return joined;
  }
}

/** As torch computes it: from the nearer end. */
export const lerp = (start, end, weight) => (weight < 0.5 ? start + weight * (end - start) : end - (end - start) * (1 - weight));
