// The viewer: one picture at a time, before and after, side by side, what is in it, and what may be invented.
//
// Its value comes from the server (`viewer.py` says what is in it); everything else happens here: no request is made
// for a mode, a zoom or an opacity. Texts enter the page as text, never as HTML.
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const t = props.texts[lang];
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const MODES = ["compare", "side", "mask", "drift"];
const SMALLEST_ZOOM = 1, LARGEST_ZOOM = 8;
const LARGEST_FIT = { result: 3, original: 12 }; // a small picture is not blown up to the whole area
const state = { at: 0, left: 0, mode: "compare", split: 50, zoom: { compare: 1, side: 3 }, place: { x: 50, y: 50 } };

const el = (tag, options = {}, ...children) => {
  const { data, aria, on, ...rest } = options;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, data);
  for (const [name, value] of Object.entries(aria ?? {})) node.setAttribute(name === "role" ? "role" : `aria-${name}`, value);
  for (const [name, heard] of Object.entries(on ?? {})) node.addEventListener(name, heard);
  node.append(...children);
  return node;
};
// New children for a list: the keyboard's focus stays on the one at its place.
const renew = (list, ...children) => {
  const places = () => [...list.querySelectorAll("a, button, [tabindex]")];
  const at = places().indexOf(document.activeElement);
  list.replaceChildren(...children);
  places()[at]?.focus({ preventScroll: true });
};
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const items = () => (lang === "zh" && props.value?.items_zh) || props.value?.items || [];
const item = () => items()[state.at];

// The parts, made once.
const modes = el("div", { className: "modes", aria: { role: "group", label: t.views } },
  ...MODES.map(mode => el("button", { type: "button", textContent: t[mode], data: { mode }, on: { click: () => choose(mode) } })));
const headline = el("p", { className: "headline" });
const level = el("output", { className: "level" });
const zoom = el("div", { className: "zoom", aria: { role: "group", label: t.zoom } },
  el("button", { type: "button", textContent: "−", aria: { label: t.zoom_out }, on: { click: () => magnify(1 / 1.5) } }), level,
  el("button", { type: "button", textContent: "+", aria: { label: t.zoom_in }, on: { click: () => magnify(1.5) } }));
const whole = el("button", { type: "button", className: "whole", title: t.full_screen, hidden: !document.fullscreenEnabled,
  aria: { label: t.full_screen, pressed: false }, // the sign is drawn: no font is sure to have it
  on: { click: () => (document.fullscreenElement ? document.exitFullscreen() : viewer.requestFullscreen()).catch(() => {}) } });
whole.innerHTML = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5"/></svg>';
zoom.append(whole);
const after = el("img", { className: "after", alt: "", draggable: false });
const before = el("img", { className: "before", alt: "", draggable: false });
const layer = el("img", { className: "layer", alt: "", draggable: false });
const keys = el("input", { type: "range", min: 0, max: 100, step: 1, className: "keys", aria: { label: t.compare },
  on: { input: () => divide(Number(keys.value)) } });
const grip = el("div", { className: "split" }, el("span", { className: "grip", textContent: "⟷" }));
const tags = [el("span", { className: "tag left" }), el("span", { className: "tag right" })];
const tip = el("div", { className: "tip", hidden: true });
const sheet = el("div", { className: "sheet" }, after, before, layer, keys, grip, ...tags, tip);
const panels = el("div", { className: "panels" });
const message = el("p", { className: "message" });
const area = el("div", { className: "area" }, sheet, panels, message);
const legend = el("ul", { className: "legend" });
const opacity = el("input", { type: "range", min: 0, max: 100, value: 60, on: { input: () => fade() } });
const fader = el("label", { className: "fader" }, el("span", { textContent: t.opacity }), opacity);
const scale = el("div", { className: "heat" }, el("span", { textContent: t.same }), el("i"), el("span", { textContent: t.other }));
const explanation = el("p", { className: "explanation" });
const reason = el("p", { className: "reason" });
const unsure = el("p", { className: "unsure", aria: { role: "note" } });
const left = el("div", { className: "left-choice", aria: { role: "group", label: t.on_the_left } });
const facts = el("p", { className: "facts" });
const notes = el("ul", { className: "notes" });
const honesty = el("p", { className: "honesty", textContent: t.honesty });
const downloads = el("div", { className: "downloads" });
const strip = el("ul", { className: "strip" });
element.append(
  el("section", { className: "viewer", aria: { label: t.views } },
    el("div", { className: "bar" }, modes, headline, zoom), area,
    el("div", { className: "below" }, reason, left, legend, scale, unsure, explanation, fader),
    strip, el("div", { className: "foot" }, el("div", { className: "words" }, facts, notes, honesty), downloads)));
const viewer = element.querySelector(".viewer");

// What is shown.
const show = () => {
  const shown = item();
  viewer.dataset.state = shown?.state ?? "empty";
  if (!shown) return;
  const [first, second] = shown.pictures;
  if (!shown.pictures[state.left]) state.left = 0; // a second model's picture is gone
  message.textContent = first ? "" : shown.note || shown.name;
  reason.textContent = first ? shown.note : ""; // why a picture that can be seen was not upscaled
  sheet.hidden = !first;
  const done = shown.state === "done";
  if (!allowed(state.mode)) state.mode = "compare";
  viewer.dataset.mode = state.mode;
  viewer.dataset.compares = Boolean(second);
  for (const button of modes.children) {
    button.hidden = !allowed(button.dataset.mode);
    button.setAttribute("aria-pressed", button.dataset.mode === state.mode);
  }
  modes.hidden = zoom.hidden = !second;
  headline.hidden = Boolean(second);
  headline.replaceChildren(shown.name, el("span", { textContent: shown.input ? ` · ${shown.input.join(" × ")}` : "" }));
  source(after, (second ?? first)?.url);
  source(before, second && shown.pictures[state.left].url);
  after.alt = (second ?? first)?.title ?? "";
  before.alt = first?.title ?? "";
  tags[0].textContent = second ? shown.pictures[state.left].title : "";
  tags[1].textContent = second?.title ?? "";
  source(layer, shown[state.mode]);
  if (state.mode === "mask") for (const name of ["mask", "readings"]) read(name, shown[name]);
  tip.hidden = true;
  choices(shown);
  words(shown, done);
  side_by_side(shown);
  thumbnails();
  lay_out();
  divide(state.split);
  fade();
};
const source = (image, url) => {
  if (url) { if (image.getAttribute("src") !== url) image.src = url; } else image.removeAttribute("src");
};
const allowed = mode => mode === "compare" || (item()?.pictures.length > 1 && (mode === "side" || Boolean(item()[mode])));
const choose = mode => { state.mode = mode; show(); };

const choices = shown => {
  const others = shown.pictures.map((picture, index) => ({ ...picture, index })).filter(({ index }) => index !== 1);
  left.hidden = others.length < 2 || state.mode !== "compare";
  renew(left, el("span", { textContent: t.on_the_left }), ...others.map(({ title, index }) => el("button", {
    type: "button", textContent: title, aria: { pressed: index === state.left }, on: { click: () => { state.left = index; show(); } } })));
};
const words = (shown, done) => {
  legend.hidden = state.mode !== "mask";
  legend.replaceChildren(...(shown.legend ?? []).map(entry => el("li", { data: { color: entry.color }, className: entry.uncertain ? "uncertain" : "" },
    el("i", { style: entry.uncertain ? "" : `background: ${entry.color}` }), el("span", { textContent: entry.name }), el("b", { textContent: entry.share }))));
  scale.hidden = state.mode !== "drift";
  [scale.firstChild.textContent, scale.lastChild.textContent] = shown.chance ? ["0 %", "100 %"] : [t.same, t.other];
  fader.hidden = state.mode !== "mask";
  unsure.textContent = state.mode === "side" ? "" : shown.unsure ?? "";
  explanation.textContent = { mask: [t.mask_explained, shown.hatched].filter(Boolean).join(lang === "zh" ? "" : " "), drift: shown.chance || t.drift_explained,
    side: t.side_explained }[state.mode] ?? "";
  facts.textContent = shown.facts ?? "";
  notes.replaceChildren(...(shown.notes ?? []).map(note => el("li", { textContent: note })));
  honesty.hidden = !done;
  const all = props.value.zip && items().length > 1 ? [{ key: "zip_of_all", url: props.value.zip }] : [];
  renew(downloads, ...[...(shown.downloads ?? []), ...all].map(({ key, url, name }) =>
    el("a", { href: url, download: name ?? "", textContent: t[key], data: { get: key } })));
};
const side_by_side = shown => {
  if (state.mode !== "side") return panels.replaceChildren();
  panels.style.setProperty("--ratio", shown.width / shown.height);
  if (panels.children.length === shown.pictures.length && panels.dataset.of === shown.pictures[1].url) return;
  panels.dataset.of = shown.pictures[1].url;
  renew(panels, ...shown.pictures.map(({ title, url }) => el("figure", {},
    el("div", { className: "lens", tabIndex: 0, aria: { role: "img", label: title } }, el("img", { src: url, alt: "", draggable: false })),
    el("figcaption", { textContent: title }))));
};
const thumbnails = () => {
  strip.hidden = items().length < 2;
  renew(strip, ...items().map((each, index) => el("li", { data: { state: each.state } },
    el("button", { type: "button", title: each.note || each.name, aria: { pressed: index === state.at, label: `${each.name}: ${t[each.state]}` },
      on: { click: () => { state.at = index; state.left = 0; show(); } } },
      each.pictures[0] ? el("img", { src: each.pictures[1]?.url ?? each.pictures[0].url, alt: "", loading: "lazy" }) : el("span", { className: "none", textContent: "?" }),
      el("span", { className: "name", textContent: each.name }),
      el("span", { className: "state", textContent: t[each.state] })))));
};

// Size, zoom, the line between before and after.
const lay_out = () => {
  const shown = item();
  if (!shown?.width) return void (area.style.height = ""); // a sentence needs little room
  const narrow = matchMedia("(max-width: 900px)").matches, full = document.fullscreenElement === viewer;
  const room = area.clientWidth;
  const most = narrow ? innerHeight * 0.68 : clamp(innerHeight - (strip.hidden ? 230 : 360), 340, 1000);
  if (full) area.style.height = ""; // all that is left of the screen
  const height = full ? area.clientHeight : clamp(room * shown.height / shown.width, narrow ? 160 : 340, most);
  if (!full) area.style.height = state.mode === "side" ? "" : `${height}px`;
  const fit = Math.min(room / shown.width, height / shown.height, shown.pictures[1] ? LARGEST_FIT.result : LARGEST_FIT.original) * state.zoom.compare;
  sheet.style.width = `${Math.round(shown.width * fit)}px`;
  sheet.style.height = `${Math.round(shown.height * fit)}px`;
  panels.style.setProperty("--zoom", state.zoom.side);
  const factor = state.mode === "side" ? state.zoom.side : state.zoom.compare;
  level.textContent = state.mode === "side" || factor > 1 ? `${Math.round(factor * 10) / 10}×` : t.fit;
  viewer.dataset.zoomed = state.zoom.compare > 1;
};
const magnify = factor => {
  const of = state.mode === "side" ? "side" : "compare";
  const middle = { x: (area.scrollLeft + area.clientWidth / 2) / area.scrollWidth, y: (area.scrollTop + area.clientHeight / 2) / area.scrollHeight };
  state.zoom[of] = clamp(state.zoom[of] * factor, SMALLEST_ZOOM, LARGEST_ZOOM);
  lay_out();
  area.scrollLeft = middle.x * area.scrollWidth - area.clientWidth / 2;
  area.scrollTop = middle.y * area.scrollHeight - area.clientHeight / 2;
};
const divide = percent => {
  state.split = clamp(percent, 0, 100);
  keys.value = Math.round(state.split);
  sheet.style.setProperty("--split", `${state.split}%`);
};
const fade = () => { layer.style.opacity = state.mode === "mask" ? opacity.value / 100 : 1; };
new ResizeObserver(lay_out).observe(area);
document.addEventListener("fullscreenchange", () => {
  whole.setAttribute("aria-pressed", document.fullscreenElement === viewer);
  lay_out();
});

// The pointer: the line follows it; on a magnified picture only when the line itself is taken, so that the rest pans it.
const place_of = event => {
  const box = sheet.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
};
let held = null;
sheet.addEventListener("pointerdown", event => {
  if (state.mode === "mask") point_at(event); // a finger that taps does not move
  if (event.button || state.mode !== "compare" || !item()?.pictures[1]) return;
  held = state.zoom.compare > 1 && !event.target.closest(".split") ? "pan" : "split";
  if (held === "pan" && event.pointerType !== "mouse") return (held = null); // fingers scroll by themselves
  sheet.setPointerCapture(event.pointerId);
  if (held === "split") divide(place_of(event).x * 100);
});
sheet.addEventListener("pointermove", event => {
  if (state.mode === "mask") point_at(event);
  if (held === "split") divide(place_of(event).x * 100);
  if (held === "pan") { area.scrollLeft -= event.movementX; area.scrollTop -= event.movementY; }
});
for (const end of ["pointerup", "pointercancel"]) sheet.addEventListener(end, () => { held = null; });
sheet.addEventListener("pointerleave", event => {
  if (event.pointerType === "touch") return; // a lifted finger: what it asked for stays
  tip.hidden = true;
  pointer = null;
  mark(null);
});

// Which class is under the pointer, from the mask's colours, and how probable it is, from the picture of readings.
const data = {};
let pointer = null;
const read = (name, url) => {
  if (!url || data[name]?.url === url) return;
  data[name] = { url };
  const image = new Image();
  image.onload = () => {
    const canvas = el("canvas", { width: image.naturalWidth, height: image.naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    if (data[name].url !== url) return;
    data[name].context = context;
    if (pointer && state.mode === "mask") point_at(pointer);
  };
  image.src = url;
};
const value_at = (name, { x, y }) => {
  const context = data[name]?.context;
  if (!context) return null;
  const { width, height } = context.canvas;
  return context.getImageData(clamp(Math.floor(x * width), 0, width - 1), clamp(Math.floor(y * height), 0, height - 1), 1, 1).data;
};
const point_at = event => {
  pointer = event;
  const place = place_of(event), color = value_at("mask", place), reading = value_at("readings", place);
  if (!color) return;
  const hex = "#" + [...color.slice(0, 3)].map(value => value.toString(16).padStart(2, "0")).join("");
  const { legend: entries, classes } = item();
  const entry = entries.find(each => !each.uncertain && color[3] && each.color === hex) ?? entries.find(each => each.uncertain);
  tip.hidden = !entry;
  if (!entry) return;
  const likely = reading && { name: entry.uncertain ? classes[reading[0]] : entry.name, share: `${Math.round(reading[1] / 2.55)} %` };
  const agree = likely && (entry.uncertain || classes[reading[0]] === entry.name); // at a border they may lie on two sides
  tip.textContent = agree ? fill(entry.uncertain ? t.tip_unsure : t.tip, likely) : entry.name;
  tip.style.left = `${clamp(place.x * 100, 12, 88)}%`;
  tip.style.top = `${place.y * 100}%`;
  tip.classList.toggle("under", place.y < 0.12);
  mark(entry);
};
const mark = entry => {
  for (const row of legend.children) row.classList.toggle("marked", Boolean(entry) && row.dataset.color === entry.color);
};

// Side by side: the pointer, or the arrow keys, choose the place that all panels show.
const look_at = (x, y) => {
  state.place = { x: clamp(x, 0, 100), y: clamp(y, 0, 100) };
  panels.style.setProperty("--x", `${state.place.x}%`);
  panels.style.setProperty("--y", `${state.place.y}%`);
};
panels.addEventListener("pointermove", event => {
  const lens = event.target.closest(".lens");
  if (!lens) return;
  const box = lens.getBoundingClientRect();
  look_at(100 * (event.clientX - box.left) / box.width, 100 * (event.clientY - box.top) / box.height);
});
panels.addEventListener("keydown", event => {
  const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, -5], ArrowDown: [0, 5] }[event.key];
  if (!step || !event.target.closest(".lens")) return;
  event.preventDefault();
  look_at(state.place.x + step[0], state.place.y + step[1]);
});

// New values: another set of pictures begins at its first; a picture that has just been made is brought into view.
let known = "", ready = 0;
watch("value", () => {
  const names = JSON.stringify(items().map(each => each.name)) + props.value?.of;
  if (names !== known) {
    Object.assign(state, { at: 0, left: 0, split: 50, mode: "compare", zoom: { compare: 1, side: 3 } });
    viewer.scrollIntoView({ block: "nearest", behavior: "smooth" }); // an example was chosen below
  }
  const finished = items().filter(each => each.state === "done").length;
  const busy = items().findIndex(each => each.state === "working");
  if (busy >= 0 && items().length > 1) state.at = busy;
  if (finished > ready && names === known) viewer.scrollIntoView({ block: "nearest", behavior: "smooth" });
  known = names;
  ready = finished;
  state.at = clamp(state.at, 0, Math.max(0, items().length - 1));
  show();
});
known = JSON.stringify(items().map(each => each.name)) + props.value?.of;
ready = items().filter(each => each.state === "done").length;
show();
