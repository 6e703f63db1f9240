"""The page's own components: the viewer, the picker of pictures, the examples, and the line that says how far a run is.

They are `gr.HTML`s whose behaviour is in the scripts beside this file. The viewer's value is {"items": [item, …], "of":
what distinguishes one choice of pictures from another, "zip": the address of all results}; the first of all has
"items_zh", too, since it is made before there is a visitor. An item:

    name, state, note   of the file; "chosen", "waiting", "working", "done", "failed" or "cancelled"; a sentence
    width, height       of the picture that is shown, in pixels
    pictures            [{title, url}]: before, after, and a second model's; before alone while there is no result
    mask, drift         addresses of layers over the picture
    readings            address of a picture with the likeliest class (red) and its probability (green)
    classes             the names of all classes, by the numbers in it
    legend              [{name, color, share, uncertain}], the largest first
    chance              what a calibrated map says, in words; "" where the map is plain drift
    hatched             a sentence on why parts are hatched, or ""
    unsure              a sentence where the guide knows little of what it sees, or ""
    facts, notes        sentences on how it was made
    downloads           [{key, url, name}]
"""

import html
import json
from pathlib import Path

import gradio as gr

from .settings import Settings, megapixels, to_bytes
from .texts import CARDS, MORE_EXAMPLES, PICKER, TEXTS, VIEWER, file_size, page_texts

ROOM = Path(__file__).resolve().parent
STATIC = "ssg-hub/static/"  # where the pictures of the page itself are served
PICTURES = ("examples", "opening")  # their folders
PICKER_TEMPLATE = """
<div class="picker">
  <label><input type="file" multiple accept="image/*,.tif,.tiff,.avif">
  <span class="title"></span><span class="hint"></span></label>
  <p class="note" role="status" hidden></p>
  <p class="fault" role="alert" hidden></p>
</div>
"""
EXAMPLES_SCRIPT = """
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
for (const button of element.querySelectorAll("button")) {
  const captions = [props.captions[button.dataset.name][lang]].flat();
  [...button.querySelectorAll("b, small")].forEach((line, index) => { line.textContent = captions[index]; });
  button.addEventListener("click", () => trigger("select", { name: button.dataset.name }));
  button.addEventListener("pointermove", event => {
    const box = button.getBoundingClientRect();
    button.style.setProperty("--split", `${100 * (event.clientX - box.left) / box.width}%`);
  });
  button.addEventListener("pointerleave", () => button.style.removeProperty("--split"));
}
element.querySelector(".more > span").textContent = props.also[lang];
"""


TITLE_SCRIPT = """
const name = document.title;
watch("value", () => {
  const share = element.querySelector(".track i")?.style.width;
  const words = element.querySelector(".status")?.innerText.trim();
  document.title = [share || words, name].filter(Boolean).join(" · ");
});
"""


def viewer(opening: dict, **options) -> gr.HTML:
    """The viewer; `opening` is what it shows first."""
    return component(opening, "viewer.js", html_template="", texts=page_texts(VIEWER), **options)


def picker(settings: Settings, avif: bool, **options) -> gr.HTML:
    """The picker; its value is {"files": [{path, name}], "of": number}."""
    values = {
        "most": settings.max_files,
        "mp_in": megapixels(settings.max_pixels),
        "file_size": file_size(settings.max_file_size),
        "minutes": round(settings.keep_seconds / 60) or 1,
        "formats": ["PNG", "JPEG", "WebP", *(["AVIF"] if avif else []), "TIFF"],
    }
    return component(
        {"files": [], "of": 0},
        "picker.js",
        html_template=PICKER_TEMPLATE,
        texts=page_texts(PICKER, **values),
        most=settings.max_files,
        max_bytes=to_bytes(settings.max_file_size),
        max_pixels=settings.max_pixels,
        room="pictures",
        **options,
    )


def example_cards(**options) -> gr.HTML:
    """Pictures to try: the large ones beside what becomes of them, and a line of others.

    Choosing one is the event `select` with its name.

    Args:
        options: as of `gr.HTML`.
    """
    cards = "".join(
        f'<button type="button" data-name="{name}"><span class="pair">'
        f'<img src="{STATIC}examples/{name}" alt="" loading="lazy">'
        f'<img src="{STATIC}{card_file(name)}" alt="" loading="lazy"><i></i></span><b></b><small></small></button>'
        for name in CARDS
    )
    more = "".join(f'<button type="button" data-name="{name}"><b></b></button>' for name in MORE_EXAMPLES)
    return gr.HTML(
        html_template=f'<div class="cards">{cards}</div><div class="more"><span></span>{more}</div>',
        js_on_load=EXAMPLES_SCRIPT,
        captions=CARDS | MORE_EXAMPLES,
        also={lang: texts["more_examples"] for lang, texts in TEXTS.items()},
        apply_default_css=False,
        **options,
    )


def card_file(name: str) -> str:
    """Where the result of an example lies, in this folder."""
    return f"opening/cards/{Path(name).stem}.webp"


def status(**options) -> gr.HTML:
    """The line beside the button; how far a run is, and how it ended, stands in the title of the tab, too."""
    return gr.HTML(js_on_load=TITLE_SCRIPT, apply_default_css=False, elem_classes="line", **options)


def status_line(words: str, share: float | None = None, alarm: bool = False) -> str:
    """The line beside the button, as HTML.

    Args:
        words: what to say.
        share: how much of the run is done, 0 to 1; None shows no bar.
        alarm: something went wrong.
    """
    bar = "" if share is None else f'<span class="track"><i style="width: {share:.0%}"></i></span>'
    role = "alert" if alarm else "status"
    return f'<div class="status" role="{role}">{bar}<span>{html.escape(words)}</span></div>' if words else ""


def opening_value() -> dict:
    """What the page opens with: a result that was computed when the package was made."""
    items = json.loads((ROOM / "opening" / "items.json").read_text(encoding="utf-8"))
    return {"items": [items["en"]], "items_zh": [items["zh"]], "of": "opening", "zip": ""}


def component(value: dict, script: str, **options) -> gr.HTML:
    """A `gr.HTML` with the behaviour of a script beside this file."""
    return gr.HTML(value, js_on_load=(ROOM / script).read_text(encoding="utf-8"), apply_default_css=False, **options)
