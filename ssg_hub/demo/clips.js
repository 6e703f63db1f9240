// The player: two clips in step, before and after, with a line between them that can be moved.
//
// Its value comes from the server (`clip_handlers.py` says what is in it). The clip "after" leads: the other follows its
// time, whatever the browser does with either.
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const t = props.texts[lang];
const APART = 0.02; // seconds by which the two may differ while they play
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const el = (tag, options = {}, ...children) => {
  const { aria, on, ...rest } = options;
  const node = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(aria ?? {})) node.setAttribute(name === "role" ? "role" : `aria-${name}`, value);
  for (const [name, heard] of Object.entries(on ?? {})) node.addEventListener(name, heard);
  node.append(...children);
  return node;
};
const video = name => el("video", { className: `clip-${name}`, playsInline: true, loop: true, preload: "auto", muted: name === "before" });

const poster = el("img", { className: "poster", alt: "" });
const after = video("after"), before = video("before");
const keys = el("input", { type: "range", min: 0, max: 100, value: 50, className: "keys", aria: { label: t.compare }, on: { input: () => divide(Number(keys.value)) } });
const grip = el("div", { className: "split" }, el("span", { className: "grip", textContent: "⟷" }));
const tags = [el("span", { className: "tag left" }), el("span", { className: "tag right" })];
const screen = el("div", { className: "screen" }, poster, after, before, keys, grip, ...tags);
const message = el("p", { className: "message" });
const area = el("div", { className: "area" }, screen, message);
const SHAPES = { // on a square of 24; no font is sure to have these signs
  play: "M8 5v14l11-7z", pause: "M7 5h4v14H7zM13 5h4v14h-4z", back: "M6 5h3v14H6zM19 5v14l-9-7z", on: "M15 5h3v14h-3zM5 5v14l9-7z",
};
const draw = (button, shape) => { button.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${SHAPES[shape]}"/></svg>`; };
const play = el("button", { type: "button", className: "play", on: { click: () => (after.paused ? after.play() : after.pause()) } });
const back = el("button", { type: "button", aria: { label: t.step_back }, on: { click: () => step(-1) } });
const on = el("button", { type: "button", aria: { label: t.step_on }, on: { click: () => step(1) } });
const place = el("input", { type: "range", min: 0, max: 1000, value: 0, className: "place", aria: { label: t.position }, on: { input: () => seek(after.duration * place.value / 1000) } });
const clock = el("output", { className: "clock" });
draw(back, "back");
draw(on, "on");
const controls = el("div", { className: "controls" }, play, back, on, place, clock);
const headline = el("p", { className: "headline" });
const facts = el("p", { className: "facts" }), notes = el("ul", { className: "notes" });
const honesty = el("p", { className: "honesty", textContent: t.clip_honesty });
const downloads = el("div", { className: "downloads" });
const player = el("section", { className: "player", aria: { label: t.compare } }, el("div", { className: "bar" }, headline), area, controls,
  el("div", { className: "foot" }, el("div", { className: "words" }, facts, notes, honesty), downloads));
element.append(player);

// In step.
const frame = () => 1 / (props.value?.rate || 25);
const follow = () => { if (Math.abs(before.currentTime - after.currentTime) > (after.paused ? 0.001 : APART)) before.currentTime = after.currentTime; };
const seek = seconds => { after.currentTime = clamp(seconds, 0, Math.max(0, after.duration - frame() / 2)); before.currentTime = after.currentTime; };
const step = count => { after.pause(); seek((Math.floor(after.currentTime / frame() + 0.01) + count + 0.5) * frame()); };
const tick = () => {
  if (!after.paused) follow();
  if (document.activeElement !== place || !after.paused) place.value = after.duration ? 1000 * after.currentTime / after.duration : 0;
  clock.textContent = after.duration ? `${after.currentTime.toFixed(2)} / ${after.duration.toFixed(2)} s` : "";
  if (!after.paused) requestAnimationFrame(tick);
};
const label = () => { draw(play, after.paused ? "play" : "pause"); play.setAttribute("aria-label", after.paused ? t.play : t.pause); };
after.addEventListener("play", () => { before.play().catch(() => {}); label(); tick(); });
after.addEventListener("pause", () => { before.pause(); follow(); label(); });
for (const name of ["seeked", "timeupdate", "loadedmetadata", "ratechange"]) after.addEventListener(name, () => { before.playbackRate = after.playbackRate; if (after.paused) { follow(); tick(); } });

// The line between them.
const divide = percent => {
  keys.value = Math.round(clamp(percent, 0, 100));
  screen.style.setProperty("--split", `${clamp(percent, 0, 100)}%`);
};
let held = false;
const share = event => { const box = screen.getBoundingClientRect(); return 100 * (event.clientX - box.left) / box.width; };
screen.addEventListener("pointerdown", event => {
  if (event.button || props.value?.state !== "done") return;
  held = true;
  screen.setPointerCapture(event.pointerId);
  divide(share(event));
});
screen.addEventListener("pointermove", event => { if (held) divide(share(event)); });
for (const end of ["pointerup", "pointercancel"]) screen.addEventListener(end, () => { held = false; });
player.addEventListener("keydown", event => {
  if (event.key !== " " || event.target.closest("button, a") || props.value?.state !== "done") return;
  event.preventDefault();
  play.click();
});

// What is shown.
const put = (node, name, value) => { if (value && node.getAttribute(name) !== value) node.setAttribute(name, value); else if (!value) node.removeAttribute(name); };
const lay_out = () => {
  const { width, height } = props.value ?? {};
  const narrow = matchMedia("(max-width: 900px)").matches;
  const most = narrow ? innerHeight * 0.6 : clamp(innerHeight - 290, 320, 900);
  const room = width ? Math.min(most, area.clientWidth * height / width) : Math.min(most, area.clientWidth / 1.5);
  area.style.height = `${Math.round(room)}px`;
  if (!width) return;
  const fit = Math.min(area.clientWidth / width, room / height);
  screen.style.width = `${Math.round(width * fit)}px`;
  screen.style.height = `${Math.round(height * fit)}px`;
};
new ResizeObserver(lay_out).observe(area);
const show = () => {
  const value = props.value ?? { state: "empty" }, done = value.state === "done";
  player.dataset.state = value.state;
  message.textContent = value.state === "empty" ? t.clip_empty : value.message ?? "";
  headline.replaceChildren(...(value.name ? [value.name] : []), ...(value.width && !done ? [el("span", { textContent: ` · ${value.width} × ${value.height}` })] : []));
  screen.hidden = !value.width;
  put(poster, "src", done ? "" : value.poster);
  const fresh = done && after.getAttribute("src") !== value.after;
  put(after, "src", done && value.after);
  put(before, "src", done && value.before);
  if (!done) for (const each of [after, before]) { each.pause(); each.load(); }
  tags.forEach((tag, index) => { tag.textContent = value.titles?.[index] ?? ""; });
  controls.hidden = honesty.hidden = !done;
  facts.textContent = value.facts ?? "";
  notes.replaceChildren(...(value.notes ?? []).map(note => el("li", { textContent: note })));
  downloads.replaceChildren(...(value.downloads ?? []).map(({ key, url, name }) => {
    const link = el("a", { href: url, download: name, textContent: t[key] });
    link.dataset.get = key;
    return link;
  }));
  if (fresh) {
    divide(50);
    player.scrollIntoView({ block: "nearest", behavior: "smooth" });
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) { after.muted = true; after.play().catch(() => {}); }
  }
  label();
  lay_out();
};
play.addEventListener("click", () => { after.muted = false; }); // whoever presses it wants the sound, too
watch("value", show);
show();
