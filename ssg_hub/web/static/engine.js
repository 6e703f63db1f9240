// What runs the networks: ONNX Runtime on WebGPU where that works, else in WebAssembly.
import { padToLeast, resizeLinear, softmax } from "./resampling.js";
import { Block } from "./tiling.js";

const SMALL = 48; // pixels a side of the tile by which the speed is measured

/** Opens the runtime, and keeps one session for each network. */
export class Engine {
  /** @param site the contents of model.json; @param prefer "auto" or "wasm" */
  static async open(site, prefer = "auto") {
    const engine = new Engine();
    const gpu = prefer === "auto" && (await navigator.gpu?.requestAdapter().catch(() => null));
    if (gpu)
      try {
        await engine.start(site, "webgpu");
        return engine;
      } catch (error) {
        console.info(`WebGPU was given up: ${error.message}`);
      }
    await engine.start(site, "wasm");
    return engine;
  }

  async start(site, name) {
    this.site = site;
    this.name = name;
    this.ort = await import(`./runtime/ort.${name}.min.mjs`).catch(lost);
    const { env } = this.ort;
    env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
    env.wasm.numThreads = this.threads = self.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
    env.logLevel = "error";
    this.sessions = {};
    this.denoise = null; // no weights are in use: another engine may have been tried before
    this.files = {};
    await this.prepare(1);
    const tile = new Block(3, SMALL, SMALL);
    await this.generate(tile); // the first run compiles
    const began = performance.now();
    await this.generate(tile);
    this.pace = (performance.now() - began) / SMALL ** 2; // ms for a pixel
  }

  /** Have the generator for a denoise strength ready: the weights between the two sets, as ssg_hub/networks/blending.py. */
  async prepare(denoise) {
    if (this.denoise === denoise) return;
    const { clean, grain } = this.site.networks.generator;
    const weights = denoise === 0 && grain ? await this.fetch(grain) : await this.fetch(clean);
    const floats = toFloats(weights);
    if (grain && denoise > 0 && denoise < 1) {
      const from = toFloats(await this.fetch(grain));
      for (let at = 0; at < floats.length; at++) floats[at] = from[at] + denoise * (floats[at] - from[at]);
    }
    await this.sessions.generator?.release();
    this.sessions.generator = await this.session(this.site.networks.generator.graph, floats);
    this.denoise = denoise;
  }

  /** SR (3, s*h, s*w) in [0, 1] of an LR tile (3, h, w). */
  async generate(lr) {
    const sr = await this.run("generator", lr);
    for (let at = 0; at < sr.data.length; at++) sr.data[at] = Math.min(1, Math.max(0, sr.data[at]));
    return sr;
  }

  /** Soft labels (K, cells, cells) of an SR tile (3, H, W). */
  async segment(sr) {
    const { cell, smallest_seen: smallest } = this.site;
    const padded = padToLeast(sr, smallest);
    if (!this.sessions.guide) {
      const { graph, weights } = this.site.networks.guide;
      this.sessions.guide = await this.session(graph, toFloats(await this.fetch(weights)));
    }
    const soft = softmax(await this.run("guide", padded));
    const rows = Math.ceil(padded.height / cell), columns = Math.ceil(padded.width / cell);
    const labels = soft.height === rows && soft.width === columns ? soft : resizeLinear(soft, rows, columns);
    return labels.cut(0, Math.ceil(sr.height / cell), 0, Math.ceil(sr.width / cell));
  }

  async run(network, block) {
    const session = this.sessions[network], { Tensor } = this.ort;
    const input = new Tensor("float32", block.data, [1, block.channels, block.height, block.width]);
    const output = (await session.run({ [session.inputNames[0]]: input }))[session.outputNames[0]];
    const [, channels, height, width] = output.dims, data = await output.getData(true);
    if (!data.every(Number.isFinite)) throw new Error("not_finite");
    return new Block(channels, height, width, data);
  }

  async session(graph, floats) {
    return this.ort.InferenceSession.create(await this.fetch(graph), {
      executionProviders: [this.name],
      externalData: [{ path: "weights", data: new Uint8Array(floats.buffer) }],
      graphOptimizationLevel: "all",
    });
  }

  async fetch(name) {
    this.files[name] ??= new Uint8Array(await fetchFile(name).then(answer => answer.arrayBuffer()).catch(lost));
    return this.files[name];
  }
}

const lost = () => {
  throw new Error("no_model");
};

/** A file of the site.
 * @throws {Error} "no_model": there is none, or no connection
 */
export async function fetchFile(name) {
  const answer = await fetch(new URL(name, import.meta.url)).catch(lost);
  return answer.ok ? answer : lost();
}

/** Half precision (IEEE 754 binary16, little endian) to floats. */
export function toFloats(bytes) {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
  return Float32Array.from(halves, half => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
}
