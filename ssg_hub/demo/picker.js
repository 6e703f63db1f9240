// Choosing pictures: by click, by a drop anywhere on the page, or from the clipboard. Each is uploaded at once.
//
// The value is {files: [{path, name}], of: number}; the server checks that each path is an upload of its own.
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const t = props.texts[lang];
const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const input = element.querySelector("input");
const title = element.querySelector(".title"), hint = element.querySelector(".hint"), fault = element.querySelector(".fault");
document.body.dataset.dropHere = t.drop_here;

const say = () => {
  const files = props.value?.files ?? [];
  element.firstElementChild.classList.toggle("full", files.length > 0);
  hint.textContent = files.length ? t.choose_others : t.limits;
  title.textContent = files.length > 1 ? fill(t.n_pictures, { n: files.length }) : files[0]?.name ?? t.choose;
};
const complain = sentence => { fault.textContent = sentence; fault.hidden = !sentence; };

let turn = 0;
const take = async chosen => {
  const mine = ++turn;
  const files = [...chosen].slice(0, props.most);
  const tooLarge = files.find(file => file.size > props.max_bytes);
  complain(tooLarge ? fill(t.file_too_large, { name: tooLarge.name }) : chosen.length > props.most ? fill(t.too_many, { n: props.most }) : "");
  const right = files.filter(file => file.size <= props.max_bytes);
  if (!right.length) return;
  const done = [];
  element.firstElementChild.classList.add("busy");
  try {
    for (const file of right) {
      title.textContent = right.length > 1 ? fill(t.uploading_n, { n: done.length + 1, of: right.length }) : t.uploading;
      const { path } = await upload(file);
      if (mine !== turn) return; // another choice has been made meanwhile
      done.push({ path, name: file.name });
    }
  } catch (error) {
    complain(String(error?.message || error || t.failed).slice(0, 300));
  } finally {
    if (mine === turn) element.firstElementChild.classList.remove("busy");
  }
  if (done.length) props.value = { files: done, of: Date.now() };
  say();
};

input.addEventListener("change", () => { take(input.files); input.value = ""; });
// Only drags that bring files are ours.
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
  take(event.dataTransfer.files);
});
window.addEventListener("paste", event => { if (here() && event.clipboardData?.files.length) take(event.clipboardData.files); });
watch("value", () => { complain(""); say(); });
say();
