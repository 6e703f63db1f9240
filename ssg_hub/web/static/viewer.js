// The viewer: before and after under one line, the mask with its legend, and the map of what may be invented.
import { TEXTS } from "./texts.js";

export const el = (tag, options = {}, ...children) => {
  const { data, aria, on, ...rest } = options;
  const node = Object.assign(document.createElement(tag), rest);
  Object.assign(node.dataset, data);
  for (const [name, value] of Object.entries(aria ?? {})) node.setAttribute(name === "role" ? "role" : `aria-${name}`, value);
  for (const [name, heard] of Object.entries(on ?? {})) node.addEventListener(name, heard);
  node.append(...children);
  return node;
};
/** Fill a list, unless these values are what it shows: a part that is made again loses the focus. */
const fill = (list, values, make) => {
  if (list.values === values) return;
  list.values = values;
  list.replaceChildren(...values.map(make));
};
const NONE = [];
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const percent = share => (share >= 0.01 ? `${Math.round(100 * share)}%` : "< 1%");

export class Viewer {
  constructor(stage) {
    this.mode = "compare";
    this.modes = el("div", { className: "modes", aria: { role: "group", label: "Views of the picture" } },
      ...Object.entries(TEXTS.modes).map(([mode, words]) => el("button", { type: "button", textContent: words, data: { mode }, on: { click: () => this.choose(mode) } })));
    this.headline = el("h2", { className: "headline" });
    this.full = el("button", { type: "button", className: "full", textContent: "1:1", aria: { pressed: false }, on: { click: () => this.zoom() } });
    this.after = el("img", { className: "after", alt: "After", draggable: false });
    this.before = el("img", { className: "before", alt: "Before", draggable: false });
    this.layer = el("img", { className: "layer", alt: "", draggable: false });
    this.keys = el("input", { type: "range", min: 0, max: 100, value: 50, className: "keys", aria: { label: "Line between before and after" }, on: { input: () => this.divide(Number(this.keys.value)) } });
    this.tags = [el("span", { className: "tag left", textContent: TEXTS.before }), el("span", { className: "tag right", textContent: TEXTS.after })];
    this.sheet = el("div", { className: "sheet" }, this.after, this.before, this.layer, this.keys, el("div", { className: "split" }, el("span", { className: "grip", textContent: "⟷", aria: { hidden: true } })), ...this.tags);
    this.message = el("p", { className: "message" });
    this.area = el("div", { className: "area", tabIndex: 0, aria: { role: "group", label: "Picture" } }, this.sheet, this.message);
    this.legend = el("ul", { className: "legend" });
    this.explanation = el("p", { className: "explanation" });
    this.facts = el("p", { className: "facts" });
    this.downloads = el("div", { className: "downloads" });
    this.strip = el("ul", { className: "strip" });
    this.root = el("div", { className: "viewer" }, el("div", { className: "bar" }, this.headline, this.modes, this.full), this.area, this.legend, this.explanation,
      el("div", { className: "foot" }, this.facts, this.downloads), this.strip);
    stage.append(this.root);
    new ResizeObserver(() => this.layOut()).observe(this.area);
    this.listen();
    this.show(null, []);
  }

  /** Show an item of the page, and the list of all. */
  show(item, items, choose) {
    const done = item?.state === "done", fresh = this.item !== item;
    this.item = item;
    if (fresh) this.divide(50);
    if (!done || (this.mode !== "compare" && !item.urls[this.mode])) this.mode = "compare";
    Object.assign(this.root.dataset, { state: item?.state ?? "empty", mode: this.mode });
    this.headline.textContent = item ? item.name + (item.size ? ` · ${item.size[0]}\u00a0×\u00a0${item.size[1]}` : "") : "";
    this.modes.hidden = !done || !item.urls.mask;
    this.full.hidden = !done;
    for (const button of this.modes.children) button.setAttribute("aria-pressed", button.dataset.mode === this.mode);
    this.put(this.before, done ? item.urls.before : null);
    this.put(this.after, done ? item.urls.after : item?.urls?.before);
    this.put(this.layer, this.mode === "compare" ? null : item.urls[this.mode]);
    this.message.textContent = item ? (item.state === "failed" ? item.note : "") : TEXTS.empty;
    this.sheet.hidden = !item?.size;
    fill(this.legend, this.mode === "mask" ? item.legend : NONE, ({ name, color, share, uncertain }) =>
      el("li", { className: uncertain ? "uncertain" : "" }, el("i", { data: { color } }), el("span", { textContent: name }), el("b", { textContent: percent(share) })));
    for (const swatch of this.legend.querySelectorAll("i")) swatch.style.background = swatch.closest(".uncertain") ? "" : swatch.dataset.color;
    this.explanation.textContent = this.mode === "compare" ? "" : TEXTS[this.mode === "drift" && item.calibrated ? "chance_explained" : `${this.mode}_explained`];
    this.facts.textContent = done ? [item.facts, item.note].filter(Boolean).join(" · ") : "";
    fill(this.downloads, done ? item.downloads : NONE, ({ words, url, name, key }) => el("a", { href: url, download: name, textContent: words, data: { get: key } }));
    this.strip.hidden = items.length < 2;
    fill(this.strip, items, each => el("li", {}, el("button", { type: "button", title: each.name, on: { click: () => choose(each) } },
      el("img", { alt: "", draggable: false }), el("span", { className: "name", textContent: each.name }), el("span", { className: "state" }))));
    for (const [at, each] of items.entries()) {
      const entry = this.strip.children[at], button = entry.firstChild, words = TEXTS.states[each.state];
      entry.dataset.state = each.state;
      button.setAttribute("aria-pressed", each === item);
      button.setAttribute("aria-label", `${each.name}: ${words}`);
      button.lastChild.textContent = words;
      this.put(button.firstChild, each.urls.after ?? each.urls.before);
    }
    this.layOut();
  }

  put(image, url) {
    if (!url) image.removeAttribute("src");
    else if (image.getAttribute("src") !== url) image.src = url;
  }

  choose(mode) {
    this.mode = mode;
    this.again();
  }

  /** Shows the same item again; the page sets it. */
  again() {}

  zoom() {
    const full = this.full.getAttribute("aria-pressed") !== "true";
    this.full.setAttribute("aria-pressed", full);
    this.layOut();
  }

  layOut() {
    if (!this.item?.size) return;
    const [width, height] = this.item.size, full = this.full.getAttribute("aria-pressed") === "true" && this.item.state === "done";
    this.root.dataset.zoomed = full;
    const most = matchMedia("(max-width: 900px)").matches ? innerHeight * 0.6 : clamp(innerHeight - 260, 320, 820);
    const fit = full ? 1 / devicePixelRatio : Math.min(this.area.clientWidth / width, most / height, this.item.state === "done" ? 3 : 12);
    this.sheet.style.width = `${Math.max(1, Math.round(width * fit))}px`;
    this.sheet.style.height = `${Math.max(1, Math.round(height * fit))}px`;
    this.area.style.maxHeight = `${Math.round(most)}px`;
  }

  divide(share) {
    this.keys.value = Math.round(clamp(share, 0, 100));
    this.sheet.style.setProperty("--split", `${clamp(share, 0, 100)}%`);
  }

  listen() {
    const share = event => {
      const box = this.sheet.getBoundingClientRect();
      return (100 * (event.clientX - box.left)) / box.width;
    };
    let held = false;
    this.sheet.addEventListener("pointerdown", event => {
      if (event.button || this.mode !== "compare" || this.item?.state !== "done") return;
      const pans = this.root.dataset.zoomed === "true" && event.pointerType !== "mouse" && !event.target.closest(".split");
      if (pans) return; // fingers scroll by themselves
      held = true;
      this.sheet.setPointerCapture(event.pointerId);
      this.divide(share(event));
    });
    this.sheet.addEventListener("pointermove", event => held && this.divide(share(event)));
    for (const end of ["pointerup", "pointercancel"]) this.sheet.addEventListener(end, () => (held = false));
  }
}
