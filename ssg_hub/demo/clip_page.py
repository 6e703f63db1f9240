"""The room for clips on the page: its layout, which event calls what, and the choice between the rooms."""

import importlib.util

import gradio as gr

from . import viewer
from .clip_handlers import EMPTY, OUTPUTS, ClipHandlers
from .clip_work import mega
from .gradio_fixes import file_input, fill_in_missing
from .guard import Fetcher
from .settings import DEFAULT, LENT, Settings, to_bytes
from .texts import PICKER, TEXTS, file_size, label, page_texts, text

SIZES = (2, 3, 4)
PLAYER = (
    *("play", "pause", "position", "step_back", "step_on", "compare", "on_the_left", "get_clip", "get_report"),
    *("clip_empty", "clip_honesty"),
)
# What the picker says otherwise of clips than of pictures.
OF_CLIPS = {
    "choose": "choose_clip",
    "choose_others": "choose_other_clip",
    "limits": "clip_limits",
    "file_too_large": "clip_file_too_large",
    "too_many": "one_clip",
    "empty_folder": "no_folder",
}
ROOMS = ("pictures", "clips")
ROOMS_SCRIPT = """
const lang = navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
const buttons = [...element.querySelectorAll("button")];
const enter = room => {
  document.body.dataset.room = room;
  if (room !== "clips") for (const video of document.querySelectorAll("video")) video.pause(); // nobody sees it
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.room === room);
  window.dispatchEvent(new Event("resize"));
};
element.firstElementChild.setAttribute("aria-label", props.texts[lang].rooms);
for (const button of buttons) {
  button.textContent = props.texts[lang][`room_${button.dataset.room}`];
  button.addEventListener("click", () => {
    history.replaceState(null, "", button.dataset.room === "clips" ? "#clips" : location.pathname + location.search);
    enter(button.dataset.room);
  });
}
enter(location.hash === "#clips" ? "clips" : "pictures");
"""


def are_offered(settings: Settings) -> bool:
    """Whether there is a room for clips: not on a lent GPU, which is gone after a minute, nor without `video`."""
    installed = all(importlib.util.find_spec(name) for name in ("av", "cv2"))
    return bool(installed and settings.max_clip_seconds and not LENT)


def switch() -> None:
    """The choice between pictures and clips; it is the page's own affair, and no event of the server."""
    buttons = "".join(f'<button type="button" data-room="{room}"></button>' for room in ROOMS)
    gr.HTML(
        html_template=f'<div class="modes" role="group">{buttons}</div>',
        js_on_load=ROOMS_SCRIPT,
        texts=page_texts(("rooms", *(f"room_{room}" for room in ROOMS))),
        apply_default_css=False,
        elem_id="rooms",
    )


def lay_out(clips: ClipHandlers) -> dict:
    """Make the components, by their names; call inside of the page, and where clips are offered."""
    denoise = clips.workshop.denoise(DEFAULT)
    part: dict = {"looked": gr.State()}
    with gr.Row(elem_id="clips", equal_height=False):
        with gr.Column(elem_classes="clip-stage", min_width=280):
            part["player"] = _player(elem_id="player")
        with gr.Column(elem_classes="choices", min_width=280):
            part["picked"] = _picker(clips.settings, elem_id="clip-picker")
            part["forecast"] = gr.HTML(elem_id="clip-forecast", elem_classes="line forecast")
            with gr.Column(elem_classes="go"):
                with gr.Row():
                    part["run"] = gr.Button(
                        label("run"), variant="primary", size="lg", interactive=False, elem_id="clip-run"
                    )
                    part["cancel"] = gr.Button(
                        label("cancel"), size="lg", visible=False, min_width=90, elem_id="clip-cancel"
                    )
                part["status"] = viewer.status(elem_id="clip-status")
            sizes = [(f"{size}×", size) for size in SIZES]
            part["outscale"] = gr.Radio(
                sizes, value=2, label=label("outscale"), elem_id="clip-size", elem_classes="pills"
            )
            part["start"] = gr.Number(0, minimum=0, step=0.5, label=label("clip_start"), elem_id="clip-start")
            part["denoise"] = gr.Slider(
                *(0, 1, 1 if denoise is None else denoise),
                step=0.05,
                label=label("denoise"),
                info=label("denoise_info"),
                visible=denoise is not None,
            )
            part["steady"] = gr.Checkbox(True, label=label("temporal"), info=label("temporal_info"))
    return part


def wire(demo: gr.Blocks, clips: ClipHandlers, part: dict, light: dict, latest: dict, heavy: dict) -> None:
    """Connect the events, and make the endpoint `/upscale_clip`.

    Args:
        demo: the page.
        clips: what the events do.
        part: the components, of `lay_out`.
        light, latest, heavy: options of events, as in `page.py`.
    """
    filled = [part[name] for name in OUTPUTS]
    aims = [part["outscale"], part["start"]]
    cleared = part["picked"].change(clips.clear, part["picked"], filled, **light)
    looked = cleared.then(clips.look, part["picked"], part["looked"], **latest)
    looked.then(clips.show, [part["picked"], part["looked"]], filled, **latest)
    # as in the room for pictures
    gr.on(
        [each.change for each in (part["player"], *aims)],
        clips.forecast,
        [part["picked"], part["looked"], *aims],
        [part["forecast"], part["run"]],
        **light,
    )
    choices = [part[name] for name in ("picked", "looked", "outscale", "start", "denoise", "steady")]
    part["run"].click(clips.run, choices, filled, api_name="run_clip", api_visibility="private", **heavy)
    part["cancel"].click(clips.cancel, **light)
    demo.unload(clips.cancel)
    _endpoint(clips, heavy)
    fill_in_missing(demo, "upscale_clip")


def _endpoint(clips: ClipHandlers, heavy: dict) -> None:
    """`/upscale_clip` for programs."""
    limit = to_bytes(clips.settings.max_file_size)
    with gr.Row(visible=False):
        inputs = [
            file_input(Fetcher(limit, clips.ledger), label="clip"),
            gr.Number(2, label="outscale"),
            gr.Number(0, label="start"),
            gr.Number(None, label="duration"),
            gr.Textbox("auto", label="temporal"),
            gr.Textbox("h264", label="codec"),
            gr.Textbox(DEFAULT, label="model"),
            gr.Number(None, label="denoise"),
        ]
        outputs = [gr.File(label="clip"), gr.JSON(label="report")]
        gr.Button().click(clips.upscale_clip, inputs, outputs, api_name="upscale_clip", **heavy)


def _player(**options) -> gr.HTML:
    return viewer.component(EMPTY, "clips.js", html_template="", texts=page_texts(PLAYER), **options)


def _picker(settings: Settings, **options) -> gr.HTML:
    """The picker of pictures, for one clip."""
    words = page_texts(tuple(key for key in PICKER if key not in OF_CLIPS))
    values = {
        "seconds": settings.max_clip_seconds,
        "frames": settings.max_clip_frames,
        "mp_in": mega(settings.max_clip_pixels),
        "mp_out": mega(settings.max_clip_output_pixels),
        "file_size": file_size(settings.max_file_size),
        "minutes": round(settings.keep_seconds / 60) or 1,
    }
    for lang, texts in words.items():
        texts |= {name: TEXTS[lang][key] for name, key in OF_CLIPS.items()}
        texts["limits"] = text("clip_limits", lang, **values)
    return viewer.component(
        {"files": [], "of": 0},
        "picker.js",
        html_template=viewer.PICKER_TEMPLATE.replace("multiple accept=", "accept=").replace(
            "image/*,.tif,.tiff,.avif", "video/*,.mkv,.ts,.mts,.avi"
        ),
        texts=words,
        most=1,
        max_bytes=to_bytes(settings.max_file_size),
        max_pixels=0,  # a browser reduces no clips
        room="clips",
        **options,
    )
