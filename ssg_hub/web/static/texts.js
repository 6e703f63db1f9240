// What the page says.

export const TEXTS = {
  empty: "Choose a photograph. It is upscaled here, in your browser.",
  unreadable: "This file is not a picture that this browser can show. Choose a PNG, JPEG, WebP or AVIF file.",
  too_large: "This picture is too large for a browser's memory. Reduce it first, or use ssg upscale.",
  no_pixels: "This browser hides a picture's pixels from pages. Allow this page to read canvases, or use another browser.",
  no_model: "A file of the model could not be loaded. Check the connection, and load the page again.",
  not_finite: "The network returned no numbers for this picture. Try another browser.",
  failed: "Something went wrong. Try a smaller picture, or another browser.",
  deep: "The browser read its 16 bits as 8.",
  starting: "Starting the networks (once)",
  reading: "Reading the picture",
  writing: "Writing the PNG",
  cancelled: "Cancelled.",
  before: "Before",
  after: "After",
  mask_explained: "Each colour is a class, with its share of the picture. Hatched: not sure what that is.",
  drift_explained:
    "Bright: after upscaling, something else is recognised there than before, so the detail may be invented. Where " +
    "nothing is bright, the picture still means the same.",
  chance_explained: "The brighter, the more probable that the place is recognised wrongly: what is drawn there may be invented.",
  modes: { compare: "Before and after", mask: "What is in it", drift: "What may be invented" },
  states: { waiting: "ready", working: "in progress", done: "done", failed: "failed", cancelled: "cancelled" },
  kept: "This page is kept in your browser now, and works without a network.",
};

/** A time as people say it. */
export const duration = seconds => (seconds < 3 ? `${seconds.toFixed(1)} s` : seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);

/** What computes, and how fast; `again`: the page would have threads if it were loaded again. */
export const machine = ({ engine, threads, perMegapixel, again }) => {
  const one = crossOriginIsolated ? "one core (WebAssembly), all that this machine has" : `one core (WebAssembly): ${again ? "load the page again to use all" : "here a page may use no more"}`;
  const what = engine === "webgpu" ? "your graphics card (WebGPU)" : `${threads > 1 ? `${threads} cores (WebAssembly)` : one}; this browser offers no WebGPU`;
  return `Computes on ${what}. About ${duration(perMegapixel)} for a megapixel of the photograph.`;
};
