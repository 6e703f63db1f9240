// The layers that show the mask and the drift over the picture, as in ssg_hub/upscaling/layers.py, whose colours come
// with the model.

/** The classes in their colours, RGBA bytes, at most `side` pixels; what is uncertain is hatched. */
export function maskLayer({ ids, width, height }, { palette, uncertain, hatch, hatch_period: period, mask_side: side }) {
  const factor = Math.min(1, side / Math.max(width, height));
  const columns = factor < 1 ? Math.max(1, Math.round(width * factor)) : width, rows = factor < 1 ? Math.max(1, Math.round(height * factor)) : height;
  const data = new Uint8ClampedArray(rows * columns * 4);
  for (let y = 0, to = 0; y < rows; y++)
    for (let x = 0; x < columns; x++, to += 4) {
      const id = ids[Math.floor(((y + 0.5) * height) / rows) * width + Math.floor(((x + 0.5) * width) / columns)];
      if (id !== uncertain) data.set([...palette[id], 255], to);
      else if ((x + y) % period < Math.floor(period / 3)) data.set(hatch, to);
    }
  return { data, width: columns, height: rows };
}

/** The drift as heat, RGBA bytes: where there is none, the picture shows. */
export function driftLayer({ data: drift, width, height }, { heat }) {
  const table = Array.from({ length: 256 }, (_, value) => {
    const place = (value / 255) * (heat.length - 1), low = Math.min(Math.floor(place), heat.length - 2), share = place - low;
    return [...heat[low].map((color, channel) => color + share * (heat[low + 1][channel] - color)), Math.min(1, (value / 255) * 2) * 255];
  });
  const data = new Uint8ClampedArray(drift.length * 4);
  drift.forEach((value, at) => data.set(table[value], 4 * at));
  return { data, width, height };
}
