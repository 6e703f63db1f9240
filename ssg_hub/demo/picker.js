// Choosing pictures: by click, by a drop anywhere on the page, or from the clipboard; files, or a folder with all below it.
// Each is uploaded at once.
//
// The value is {files: [{path, name}], of: number}; the server checks that each path is an upload of its own.
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const t = props.texts[lang];
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const input = element.querySelector("input");
const MOST_ENTRIES = 2000; // of a folder that are looked at
const title = element.querySelector(".title"), hint = element.querySelector(".hint");
const fault = element.querySelector(".fault"), note = element.querySelector(".note");
document.body.dataset.dropHere = t.drop_here;

const say = () => {
  const files = props.value?.files ?? [];
  element.firstElementChild.classList.toggle("full", files.length > 0);
  hint.textContent = files.length ? t.choose_others : t.limits;
  title.textContent = files.length > 1 ? fill(t.n_pictures, { n: files.length }) : files[0]?.name ?? t.choose;
};
const isPicture = file => !file.name.startsWith(".") && (file.type.startsWith("image/") || /\.(tiff?|avif)$/i.test(file.name));
const byName = (a, b) => a.localeCompare(b, undefined, { numeric: true });
// A photograph beyond the limits is reduced here, before it is sent; what the browser cannot read goes as it is.
const fitting = async file => {
  let picture;
  try { picture = await createImageBitmap(file); } catch { return file; }
  const { width, height } = picture, pixels = width * height;
  try {
    if (pixels <= props.max_pixels && file.size <= props.max_bytes) return file;
    const factor = Math.min(1, Math.sqrt(props.max_pixels / pixels));
    const canvas = new OffscreenCanvas(Math.max(1, Math.floor(width * factor)), Math.max(1, Math.floor(height * factor)));
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const types = file.type === "image/jpeg" ? ["image/jpeg"] : ["image/png", "image/jpeg"]; // PNG has transparency, too
    let made;
    for (const type of types) {
      made = await canvas.convertToBlob({ type, quality: 0.95 });
      if (made.size <= props.max_bytes) break;
    }
    const name = file.name.replace(/(\.\w+)?$/, made.type === "image/png" ? ".png" : ".jpg");
    return Object.assign(new File([made], name, { type: made.type }), { reduced: [canvas.width, canvas.height] });
  } finally {
    picture.close();
  }
};
const tell = reduced => {
  const [first] = reduced;
  note.textContent = !first ? "" : reduced.length > 1 ? fill(t.reduced_many, { n: reduced.length })
    : fill(t.reduced, { name: first.name, w: first.reduced[0], h: first.reduced[1] });
  note.hidden = !first;
};
const complain = sentence => { fault.textContent = sentence; fault.hidden = !sentence; };

let turn = 0;
const take = async chosen => {
  const files = [...chosen].slice(0, props.most);
  if (!files.length) return;
  const mine = ++turn;
  complain(chosen.length > props.most ? fill(t.too_many, { n: props.most }) : "");
  const done = [], reduced = [];
  element.firstElementChild.classList.add("busy");
  try {
    for (const [index, original] of files.entries()) {
      title.textContent = files.length > 1 ? fill(t.uploading_n, { n: index + 1, of: files.length }) : t.uploading;
      const file = props.max_pixels ? await fitting(original) : original;
      if (mine !== turn) return; // another choice has been made meanwhile
      if (file.size > props.max_bytes) {
        complain(fill(t.file_too_large, { name: file.name }));
        continue;
      }
      const { path } = await upload(file);
      if (mine !== turn) return;
      if (file.reduced) reduced.push(file);
      done.push({ path, name: file.name });
    }
    tell(reduced);
  } catch (error) {
    if (mine !== turn) return;
    complain(String(error?.message || error || t.failed).slice(0, 300));
  } finally {
    if (mine === turn) element.firstElementChild.classList.remove("busy");
  }
  if (done.length) props.value = { files: done, of: Date.now() };
  say();
};

// What is in a folder beside pictures is passed over in silence; a folder without any is not.
const takeFolder = files => (files.length ? take(files) : complain(t.empty_folder));
// The pictures of a drop. The list of what was dropped is empty after the event, so that it is read at once.
const gather = async transfer => {
  const entries = [...transfer.items].map(item => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some(entry => entry.isDirectory)) return take(transfer.files);
  const found = [];
  let looked = 0;
  const walk = async list => {
    for (const entry of list.sort((a, b) => byName(a.name, b.name))) {
      if (found.length > props.most || (looked += 1) > MOST_ENTRIES) return;
      if (entry.isFile) {
        const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
        if (isPicture(file)) found.push(file);
        continue;
      }
      const reader = entry.createReader(), inside = [];
      for (let part; part === undefined || part.length;) {
        part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
        inside.push(...part);
      }
      await walk(inside);
    }
  };
  await walk(entries);
  return takeFolder(found);
};

input.addEventListener("change", () => { take(input.files); input.value = ""; });
if (props.most > 1) {
  const all = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true, hidden: true });
  all.addEventListener("change", () => {
    takeFolder([...all.files].filter(isPicture).sort((a, b) => byName(a.webkitRelativePath, b.webkitRelativePath)));
    all.value = "";
  });
  const button = Object.assign(document.createElement("button"), { type: "button", className: "folder", textContent: t.choose_folder });
  button.addEventListener("click", () => all.click());
  element.querySelector("label").after(button, all);
}
// Only drags that bring files are ours. The page's own pictures stay where they are: some browsers would call them files.
window.addEventListener("dragstart", event => { if (event.target.closest?.("img")) event.preventDefault(); });
const bringsFiles = event => [...(event.dataTransfer?.types ?? [])].includes("Files");
let depth = 0;
const dropping = on => document.body.classList.toggle("dropping", on);
// The page may have several rooms, each with its picker; without rooms, this one is meant.
const here = () => (document.body.dataset.room ?? props.room) === props.room;
window.addEventListener("dragenter", event => { if (here() && bringsFiles(event)) { depth += 1; dropping(true); } });
window.addEventListener("dragleave", event => { if (here() && bringsFiles(event)) { depth = Math.max(0, depth - 1); dropping(depth > 0); } });
window.addEventListener("dragover", event => { if (here() && bringsFiles(event)) event.preventDefault(); });
window.addEventListener("drop", event => {
  if (!here() || !bringsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  dropping(false);
  gather(event.dataTransfer).catch(error => complain(String(error?.message || t.failed).slice(0, 300)));
});
window.addEventListener("paste", event => { if (here() && event.clipboardData?.files.length) take(event.clipboardData.files); });
watch("value", () => { // an example was chosen: it counts, not what is still being uploaded
  turn += 1;
  element.firstElementChild.classList.remove("busy");
  complain("");
  tell([]);
  say();
});
say();
