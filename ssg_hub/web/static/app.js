// The page: what is chosen, what the worker does with it, and what is said meanwhile.
import { TEXTS, duration, machine } from "./texts.js";
import { Viewer } from "./viewer.js";

const $ = id => document.getElementById(id);
// Photographs may be dropped before the model is known: without this, the browser would leave the page for them.
let early = [], receive = files => (early = files);
const bringsFiles = event => [...(event.dataTransfer?.types ?? [])].includes("Files");
addEventListener("dragover", event => {
  if (bringsFiles(event)) event.preventDefault();
  document.body.classList.toggle("dropping", bringsFiles(event));
});
addEventListener("dragleave", event => event.relatedTarget || document.body.classList.remove("dropping"));
addEventListener("drop", event => {
  if (!bringsFiles(event)) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  receive([...event.dataTransfer.files]);
});
const input = $("files");
let choosing = false; // a dialog is open, whose choice a page that is loaded again would not get
for (const [name, value] of [["click", true], ["change", false], ["cancel", false]]) input.addEventListener(name, () => (choosing = value));

const site = await fetch("model.json").then(answer => answer.json()).catch(() => null);
if (!site) {
  $("status").textContent = TEXTS.no_model;
  throw new Error("model.json cannot be read");
}
const viewer = new Viewer($("stage"));
let prefer = new URLSearchParams(location.search).get("engine") === "wasm" ? "wasm" : "auto"; // to compare them
const TIMED = 2e4; // pixels from which a picture tells how long a megapixel takes: with fewer, most of it is preparation
const VIEW_PIXELS = 16e6; // above it the page shows a smaller view, to spare the browser
const NOT_THE_ENGINES = ["unreadable", "too_large", "no_pixels", "no_model"]; // failures that no other engine would be spared
const state = { items: [], at: null, worker: null, engine: null, run: 0, job: null };

/** What a browser keeps between visits ("localStorage") or loads ("sessionStorage"), where it allows that: to a page in a
 * frame, or by its user's settings, it may not. */
const kept = kind => ({
  get(name) {
    try {
      return self[kind].getItem(name);
    } catch {
      return null;
    }
  },
  /** Whether it is kept now. */
  set(name, value) {
    try {
      self[kind].setItem(name, value);
      return true;
    } catch {
      return false;
    }
  },
});
const visits = kept("localStorage"), loads = kept("sessionStorage");
/** Whether the service worker could give the page threads that it has not. */
const couldHaveThreads = () => !crossOriginIsolated && self === top;

// What is chosen.
const take = files => {
  if (!files.length) return;
  cancel();
  for (const { urls } of state.items) for (const url of Object.values(urls)) URL.revokeObjectURL(url);
  state.items = [...files].map(file => ({ file, name: file.name || "picture.png", state: "waiting", size: null, urls: { before: URL.createObjectURL(file) } }));
  state.at = state.items[0];
  for (const item of state.items) measure(item);
  open();
  say("");
  refresh();
};
const measure = async item => {
  try {
    const image = new Image();
    image.src = item.urls.before;
    await image.decode();
    item.size = [image.naturalWidth, image.naturalHeight];
    if (item.size[0] * item.size[1] > site.most_pixels) throw new Error("too_large");
    item.input = item.size; // it can be upscaled
  } catch (error) {
    Object.assign(item, { state: "failed", note: TEXTS[error.message] ?? TEXTS.unreadable });
  }
  refresh();
};
const takeChosen = () => {
  take(input.files);
  input.value = "";
};
input.addEventListener("change", takeChosen);
addEventListener("paste", event => take(event.clipboardData?.files ?? []));

// The worker.
const open = () => {
  if (state.worker) return;
  state.worker = new Worker("worker.js", { type: "module" });
  let answered = false;
  state.worker.addEventListener("message", ({ data }) => {
    answered = true;
    heard(data);
  });
  state.worker.addEventListener("error", () => heard({ type: "failed", reason: answered ? "failed" : "no_model" }));
  state.worker.postMessage({ type: "open", prefer });
};
/** End the worker, whatever it is computing; the next picture gets another. */
const dismiss = () => {
  state.worker?.terminate();
  state.worker = null;
};
const heard = ({ type, ...message }) => {
  if (type === "ready") {
    state.engine = message;
    keep(message.engine);
    refresh();
  } else if (type === "failed" && message.id === undefined) {
    dismiss();
    if (state.job) state.job.settle("failed", message);
    else say(TEXTS[message.reason] ?? TEXTS.failed, null, true);
  } else if (message.id !== state.job?.id) return; // of a job that was given up
  else if (type === "progress") Object.assign(state.job, message, { since: performance.now() });
  else state.job.settle(type, message);
};
/** Seconds for a megapixel: as measured here before, else by the small tile with which the engine was tried. */
const pace = ({ segment }) => {
  const known = Number(visits.get(paceKey(segment)));
  return known || (state.engine ? state.engine.pace * 1000 * (segment ? 1.3 : 1) : 0);
};
const paceKey = segment => `ssg ${location.pathname} ${state.engine?.engine} ${state.engine?.threads} ${segment}`;

// A run: all its pictures with the settings that it began with.
const run = async () => {
  const turn = ++state.run, wanted = settings(), todo = due(wanted);
  const chosen = todo.length ? todo : state.items.filter(item => item.input);
  const began = performance.now();
  let done = 0;
  for (const item of chosen) {
    Object.assign(item, { state: "working", note: "" });
    state.at = item;
    refresh();
    try {
      await finish(item, await compute(item, turn, wanted), turn, wanted);
      done += 1;
    } catch (error) {
      if (turn !== state.run) return;
      Object.assign(item, { state: without(item, "failed"), note: TEXTS[error.message] ?? TEXTS.failed });
    }
    if (turn !== state.run) return;
    refresh();
  }
  if (chosen.length === 1 && !done) say(chosen[0].note, null, true);
  else say(`${chosen.length > 1 ? `${done} of ${chosen.length} done` : "Done"} in ${duration((performance.now() - began) / 1000)}`);
};
/** The state of a picture whose run gave nothing: the result of an earlier one is kept. */
const without = (item, state) => (item.made ? "done" : state);
const settings = () => ({
  denoise: site.denoise === null ? 1 : Number($("denoise").value),
  segment: $("segment").checked && Boolean(site.networks.guide),
});
/** The pictures without a result of these settings. */
const due = wanted => state.items.filter(item => item.input && (item.state !== "done" || item.made !== JSON.stringify(wanted)));
/** The result of a picture. What a graphics card fails at is computed by WebAssembly, now and from then on. */
const compute = async (item, turn, wanted) => {
  try {
    return await work(item, turn, wanted);
  } catch (error) {
    if (turn !== state.run || NOT_THE_ENGINES.includes(error.message)) throw error;
    dismiss(); // what happened may have broken it
    if (state.engine?.engine !== "webgpu") throw error;
    [prefer, state.engine] = ["wasm", null];
    return work(item, turn, wanted);
  }
};
const work = (item, turn, wanted) => new Promise((resolve, reject) => {
  open();
  const id = `${turn} ${Math.random()}`, timer = setInterval(tell, 200);
  state.job = { id, item, wanted, stage: state.engine ? "reading" : "starting", since: performance.now(), began: performance.now(),
    settle: (type, message) => {
      clearInterval(timer);
      state.job = null;
      if (type === "done") resolve(message);
      else reject(new Error(message.reason));
    } };
  state.job.stop = () => state.job.settle("failed", { reason: "cancelled" });
  state.worker.postMessage({ type: "upscale", id, file: item.file, ...wanted });
});
const finish = async (item, result, turn, wanted) => {
  const shown = await view(result.picture, result.size).catch(() => result.picture); // too large to decode here, not to keep
  if (turn !== state.run) return;
  const { size, input: from } = result, stem = item.name.replace(/\.[^.]*$/, ""), name = `${stem}_x${site.scale}`;
  if (from[0] * from[1] >= TIMED) visits.set(paceKey(wanted.segment), (result.seconds / (from[0] * from[1])) * 1e6);
  const url = blob => URL.createObjectURL(blob);
  for (const key of ["after", "mask", "drift", "file", "ids"]) if (item.urls[key]) URL.revokeObjectURL(item.urls[key]);
  item.urls = { before: item.urls.before, file: url(result.picture), after: url(shown) };
  item.downloads = [{ key: "picture", words: "Download picture", url: item.urls.file, name: `${name}.png` }];
  if (result.mask) {
    Object.assign(item.urls, { mask: url(result.maskLayer), drift: url(result.driftLayer), ids: url(result.mask) });
    item.downloads.push({ key: "mask", words: "Mask", url: item.urls.ids, name: `${name}_mask.png` });
    item.legend = result.legend.map(({ id, share }) => ({ share, uncertain: id === site.labels.length, name: site.labels[id] ?? site.uncertain, color: `rgb(${site.palette[id] ?? site.uncertain_color})` }));
  }
  item.facts = [`${from[0]} × ${from[1]} → ${size[0]} × ${size[1]}`, ...result.notes.map(note => TEXTS[note])].join(" · ");
  Object.assign(item, { state: "done", size, calibrated: Boolean(site.calibration), made: JSON.stringify(wanted) });
};
/** The picture itself, or a smaller one for the screen. */
const view = async (blob, [width, height]) => {
  const factor = Math.sqrt(VIEW_PIXELS / (width * height));
  if (factor >= 1) return blob;
  const bitmap = await createImageBitmap(blob, { resizeWidth: Math.floor(width * factor), resizeHeight: Math.floor(height * factor), resizeQuality: "high" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  return canvas.convertToBlob();
};
const cancel = () => {
  const given = state.items.filter(item => item.state === "working");
  if (!given.length) return;
  state.run += 1;
  if (state.job) {
    state.job.stop();
    dismiss();
  }
  for (const item of given) item.state = without(item, "cancelled");
  say(TEXTS.cancelled);
  refresh();
};

// What is said.
const tell = () => {
  const { job } = state;
  if (!job) return;
  if (job.stage !== "upscaling") return say(TEXTS[state.engine ? job.stage : "starting"], job.stage === "writing" ? 0.97 : 0);
  const now = performance.now(), expected = (pace(job.wanted) * job.pixels) / 1000; // ms for this tile
  const share = (job.done + Math.min(0.95, (now - job.since) / Math.max(expected, 1))) / job.total;
  const left = share > 0.02 ? ((now - job.began) / 1000) * (1 / share - 1) : 0;
  const which = state.items.length > 1 ? `Picture ${state.items.indexOf(job.item) + 1} of ${state.items.length} · ` : "";
  say(`${which}Upscaling, tile ${job.done + 1} of ${job.total}${left >= 1 ? ` · about ${duration(left)} left` : ""}`, 0.95 * share);
};
/** The line under the buttons; with a share it is in motion, and screen readers leave it to the bar. */
const say = (words, share = null, alarm = false) => {
  const status = $("status");
  if (status.dataset.words === words && share === null) return;
  status.dataset.words = words;
  status.classList.toggle("alarm", alarm);
  Object.assign($("progress"), { hidden: share === null, value: share ?? 0 });
  status.replaceChildren(Object.assign(document.createElement("span"), { textContent: words, ariaHidden: share === null ? null : "true" }));
};
const forecast = () => {
  const wanted = settings(), pixels = due(wanted).reduce((sum, { input: [width, height] }) => sum + width * height, 0);
  return pixels && pace(wanted) ? ` (about ${duration((pace(wanted) * pixels) / 1e6)})` : "";
};
const refresh = () => {
  const busy = state.items.some(item => item.state === "working");
  const measuring = state.items.some(item => item.state === "waiting" && !item.input);
  $("run").disabled = busy || measuring || !state.items.some(item => item.input);
  $("run").textContent = `Upscale ${site.scale}×${busy ? "" : forecast()}`;
  $("cancel").hidden = !busy;
  $("machine").textContent = state.engine ? machine({ ...state.engine, perMegapixel: pace(settings()), again: couldHaveThreads() && !controlled && service?.controller }) : "";
  document.querySelector(".picker .title").textContent = state.items.length > 1 ? `${state.items.length} photographs` : state.items[0]?.name ?? "Choose photographs";
  viewer.show(state.at, state.items, item => {
    state.at = item;
    refresh();
  });
};
viewer.again = refresh;
$("run").addEventListener("click", run);
$("cancel").addEventListener("click", cancel);
$("segment-field").hidden = !site.networks.guide;
$("denoise-field").hidden = site.denoise === null;
$("denoise").value = site.denoise ?? 1;
const showDenoise = () => ($("denoise-value").textContent = $("denoise").value);
$("denoise").addEventListener("input", showDenoise);
for (const id of ["denoise", "segment"]) $(id).addEventListener("change", refresh);
showDenoise();
refresh();
receive = take;
takeChosen(); // before model.json had arrived
take(early);

// Without a network: the service worker keeps the page; it also gives the page threads where the host does not.
const service = navigator.serviceWorker, controlled = Boolean(service?.controller);
const idle = () => !state.items.length && !choosing;
const keep = engine => service?.controller?.postMessage({ type: "keep", engine });
service?.addEventListener("message", ({ data }) => {
  if (data.type === "kept") $("offline").textContent = TEXTS.kept;
});
let outdated = false; // the page: loaded again, it would be newer, or have threads
const loadAgain = () => outdated && idle() && location.reload();
input.addEventListener("cancel", loadAgain);
service?.addEventListener("controllerchange", () => {
  // A new version of the site has come, or threads would: once, because where it does not help, one core must do.
  outdated = controlled || (couldHaveThreads() && !loads.get("ssg reloaded") && loads.set("ssg reloaded", "1"));
  loadAgain();
  refresh();
  keepEngine();
});
const keepEngine = async () => keep(prefer === "auto" && (await navigator.gpu?.requestAdapter().catch(() => null)) ? "webgpu" : "wasm");
/** Have a new version of the site take over; while pictures are open, what runs may still ask for files of the old one. */
const takeOver = registration => idle() && registration.waiting?.postMessage({ type: "activate" });
const update = async registration => {
  if (!registration) return; // what blocks service workers may say that all went well
  if (controlled) await registration.update().catch(() => {}); // no network
  const { installing } = registration;
  installing?.addEventListener("statechange", () => {
    if (installing.state === "installed") takeOver(registration);
    if (installing.state === "redundant") keepEngine(); // not all of it was there: the old one stays
  });
  takeOver(registration);
  if (!installing && !registration.waiting) await keepEngine(); // a message to the old worker would keep the new one waiting
};
// Without the HTTP cache: where that holds the old files.js, a new version would stay unseen.
const register = () => setTimeout(() => service?.register("sw.js", { updateViaCache: "none" }).then(update, error => console.info(`no service worker: ${error.message}`)), 1000);
if (document.readyState === "complete") register();
else addEventListener("load", register);
