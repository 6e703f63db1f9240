// The worker: takes one picture after the other through the networks, so that the page stays alive.
import { readPicture } from "./decode.js";
import { Engine, fetchFile } from "./engine.js";
import { driftLayer, maskLayer } from "./layers.js";
import { encodePng } from "./png.js";
import { calibrate, fillTransparent, pullColors, resizeBicubic, totalVariation } from "./resampling.js";
import { ColorSheet, DriftSheet, MaskSheet } from "./sheets.js";
import { Block, Feather, droppedSides, planGrid, scaleGrid } from "./tiling.js";

const say = (type, values) => self.postMessage({ type, ...values });
let opening;

self.addEventListener("message", async ({ data: { type, ...values } }) => {
  try {
    if (type === "open") {
      opening = fetchFile("model.json").then(answer => answer.json()).then(site => Engine.open(site, values.prefer));
      const { name, threads, pace } = await opening;
      say("ready", { engine: name, threads, pace });
    } else say("done", { id: values.id, ...(await upscale(values)) });
  } catch (error) {
    say("failed", { id: values.id, reason: error.message });
  }
});

/** Upscale a file; tells of progress, and returns what the page shows and offers. */
async function upscale({ id, file, denoise, segment }) {
  const engine = await opening, { site } = engine, { scale, cell } = site, began = performance.now();
  say("progress", { id, stage: "reading" });
  const picture = await readPicture(file, site.most_pixels);
  await engine.prepare(denoise);
  const opaque = picture.alpha ? fillTransparent(picture.color, picture.alpha, picture.height, picture.width) : picture.color;
  const size = [picture.width * scale, picture.height * scale];
  const grid = planGrid(picture.height, picture.width, site.tile, site.context, site.tiling);
  const total = grid.rows.length * grid.columns.length;
  const colors = new ColorSheet(picture, size), feather = new Feather(scaleGrid(grid, scale), (part, top, left) => colors.put(part, top, left));
  const reads = segment && site.networks.guide, cells = scaleGrid(grid, scale, cell);
  const mask = reads && new MaskSheet(size, cell, site.labels.length, site.uncertain_below), drift = reads && new DriftSheet(cells);
  const feathers = reads && [new Feather(cells, (part, top, left) => mask.put(part, top, left), 1), new Feather(cells, (part, top, left) => drift.put(part, top, left))];
  let done = 0;
  for (const [row, [top, bottom]] of grid.rows.entries())
    for (const [column, [left, right]] of grid.columns.entries()) {
      say("progress", { id, stage: "upscaling", done, total, pixels: (bottom - top) * (right - left) });
      const sr = await generateTile(engine, opaque, picture, grid, row, column);
      const seen = picture.gray ? asGray(sr, site.luma) : sr;
      if (reads) {
        const window = [left, top, right, bottom].map(edge => edge * scale);
        const bicubic = resizeBicubic({ channels: 3, height: picture.height, width: picture.width, data: opaque }, size, window);
        const before = await engine.segment(toPlanes(bicubic)), after = await engine.segment(picture.gray ? asColor(seen) : seen);
        const change = totalVariation(before, after);
        feathers[1].add(site.calibration ? calibrate(site.calibration, after, change) : change, row, column);
        feathers[0].add(after, row, column);
      }
      feather.add(seen, row, column);
      done += 1;
    }
  say("progress", { id, stage: "writing", done, total });
  const result = { input: [picture.width, picture.height], size, notes: picture.notes, picture: await encodePng(colors) };
  if (reads) {
    const palette = [...site.palette, site.uncertain_color];
    result.mask = await encodePng({ data: mask.ids, width: size[0], height: size[1], channels: 1, palette });
    result.legend = mask.describe();
    const layers = { ...site.views, palette: site.palette, uncertain: site.labels.length };
    for (const [name, layer] of [["maskLayer", maskLayer({ ids: mask.ids, width: size[0], height: size[1] }, layers)], ["driftLayer", driftLayer(drift, layers)]])
      result[name] = await encodePng({ ...layer, channels: 4 });
    result.drift = drift.data;
  }
  return { ...result, seconds: (performance.now() - began) / 1000 };
}

/** SR of a tile; where it touches the picture's edge, the generator sees the picture mirrored beyond it. */
async function generateTile(engine, color, { width, height }, grid, row, column) {
  const [top, bottom] = grid.rows[row], [left, right] = grid.columns[column];
  const { scale, margin, color_fix: fix } = engine.site, above = top ? 0 : margin, before = left ? 0 : margin;
  const below = bottom < height ? 0 : margin, after = right < width ? 0 : margin;
  const seen = { top: top - above, bottom: bottom + below, left: left - before, right: right + after };
  const mirrors = Math.min(width, height) > margin;
  const padded = cutPicture(color, { width, height }, seen, mirrors);
  const cut = (block, ratio) => block.cut(ratio * above, ratio * (above + bottom - top), ratio * before, ratio * (before + right - left));
  const sr = cut(await engine.generate(padded), scale);
  if (fix) pullColors(sr, cut(padded, 1), droppedSides(grid, row, column), fix);
  return sr;
}

/** A window of interleaved RGB bytes as planes in [0, 1]; beyond the picture it is mirrored, or its outermost pixels repeated. */
function cutPicture(color, size, { top, bottom, left, right }, mirrors) {
  const tile = { channels: 3, height: bottom - top, width: right - left, data: new Uint8Array((bottom - top) * (right - left) * 3) };
  const clamp = (at, length) => Math.min(Math.max(at, 0), length - 1);
  const mirror = (at, length) => (at < 0 ? -at : at >= length ? 2 * length - 2 - at : at);
  const inside = mirrors ? mirror : clamp;
  for (let y = top, to = 0; y < bottom; y++)
    for (let x = left; x < right; x++, to += 3) {
      const from = 3 * (inside(y, size.height) * size.width + inside(x, size.width));
      for (let channel = 0; channel < 3; channel++) tile.data[to + channel] = color[from + channel];
    }
  return toPlanes(tile);
}

function toPlanes({ channels, height, width, data }) {
  const block = new Block(channels, height, width), area = height * width;
  for (let at = 0; at < area; at++) for (let channel = 0; channel < channels; channel++) block.data[channel * area + at] = data[channels * at + channel] / 255;
  return block;
}

function asGray(sr, luma) {
  const area = sr.height * sr.width, gray = new Block(1, sr.height, sr.width);
  for (let at = 0; at < area; at++) gray.data[at] = luma[0] * sr.data[at] + luma[1] * sr.data[area + at] + luma[2] * sr.data[2 * area + at];
  return gray;
}

function asColor(gray) {
  const color = new Block(3, gray.height, gray.width);
  for (let channel = 0; channel < 3; channel++) color.data.set(gray.data, channel * gray.data.length);
  return color;
}
