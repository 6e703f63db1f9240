"""The Gradio demo and Space entry point: `build_demo(model)` makes the page, `launch()` serves it."""

import os
import signal
from functools import partial
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before gradio reads it

from ssg_hub.demo.cache import Ledger, own_cache, swept
from ssg_hub.demo.settings import DEFAULT, MEGA, Settings, from_environment, to_bytes  # on ZeroGPU before torch

os.environ["GRADIO_TEMP_DIR"] = own_cache()  # before gradio reads it

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware

from ssg_hub.commands.batch import load_model
from ssg_hub.demo import decoding
from ssg_hub.demo.gradio_fixes import mend_mcp, picture_input, strengths_input
from ssg_hub.demo.guard import RequestLimits, fetch_picture
from ssg_hub.demo.handlers import Handlers
from ssg_hub.demo.line import Line, Ticket, settle
from ssg_hub.demo.programs import explain, has_mcp
from ssg_hub.demo.results import OUTPUTS
from ssg_hub.demo.side_by_side import side_by_side
from ssg_hub.demo.texts import file_size, label, make_i18n
from ssg_hub.demo.workshop import Workshop

ROOM = Path(__file__).resolve().parent / "ssg_hub" / "demo"
FOLDER = ROOM / "examples"
# What each group of examples is called in the texts, and its pictures.
EXAMPLES = {
    "examples": ("street_house.jpg", "street_city.jpg", "street_quay.jpg", "launch.jpg", "cat.jpg"),
    "failure": ("face.jpg",),
    "more_examples": ("coffee_turned.jpg", "cup_transparent.png", "cat_16bit.png"),
}
HEAVY = {"concurrency_limit": None, "show_progress": "hidden"}  # our own line lets one picture in at a time
LIGHT = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}  # works when the line is full, too
THREADS = 20  # beside one for each visitor in the line


def build_demo(model, settings: Settings | None = None) -> gr.Blocks:
    """The page on a loaded model.

    Args:
        model: an `SSGModel`, or what has its `upscale`, `labels`, `palette` and `to`.
        settings: limits and further models; default: from the environment.
    """
    settings = settings or from_environment()
    workshop = Workshop(settings, model, load_model)
    ledger = Ledger(Path(get_upload_folder()), to_bytes(settings.max_stored))
    line = Line(settings.queue_size)
    handlers = Handlers(workshop, line, ledger)
    demo = gr.Blocks(title="ssg-hub", analytics_enabled=False)
    demo.i18n = make_i18n(
        mp_in=f"{settings.max_pixels / MEGA:g}",
        mp_out=f"{settings.max_output_pixels / MEGA:g}",
        file_size=file_size(settings.max_file_size),
        minutes=round(settings.keep_seconds / 60),
    )
    with demo:
        gr.Markdown(label("title"), elem_id="title")
        with gr.Row():
            with gr.Column(scale=4, min_width=300):
                asked = _controls(workshop, ledger)
            with gr.Column(scale=7, min_width=300):
                shown = _results()
                _examples(asked["image"])
        with gr.Accordion(label("programs"), open=False, elem_id="programs"):
            programs = gr.Markdown()
        demo.load(explain, None, programs, **LIGHT)
        _wire(handlers, asked, shown)
    demo.queue(api_open=False)  # nobody gets past the line
    demo.settings, demo.workshop, demo.line, demo.ledger = settings, workshop, line, ledger
    return demo


def launch(demo: gr.Blocks, **options):
    """Serve the page with its theme, texts and limits; `options` go to `gr.Blocks.launch`, whose result is returned."""
    settings, ledger = demo.settings, demo.ledger
    limits = Middleware(
        RequestLimits, to_bytes(settings.max_file_size), to_bytes(settings.max_stored), ledger.folder, ledger
    )
    spare = [path for block in demo.blocks.values() for path in getattr(block, "keep_in_cache", ())]
    decoding.start()
    settle()
    demo.line.hand_in(lambda ticket: demo.workshop.warm_up(), Ticket())
    if has_mcp():
        mend_mcp()
    else:
        print('* MCP is off: it needs gradio\'s extra mcp (pip install "gradio[mcp]")')
    return demo.launch(
        **{
            "theme": _theme(),
            "css_paths": [ROOM / "style.css"],
            "js": (ROOM / "gradio_fixes.js").read_text(encoding="utf-8"),
            "i18n": demo.i18n,
            "max_file_size": settings.max_file_size,
            "app_kwargs": {
                "lifespan": lambda app: swept(ledger.folder, settings.keep_seconds, spare, ledger),
                "middleware": [limits],
            },
            "mcp_server": has_mcp(),
            "max_threads": settings.queue_size + THREADS,
            "run_history": False,
            "footer_links": ["api"],
            "ssr_mode": False,
        }
        | options
    )


def _theme() -> gr.themes.Base:
    """Teal on slate, with the system's own fonts, and enough contrast for small print (WCAG AA)."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
    theme = gr.themes.Default(primary_hue="teal", secondary_hue="teal", neutral_hue="slate", font=sans)
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        slider_color="*primary_600",
        slider_color_dark="*primary_500",
    )


def _controls(workshop: Workshop, ledger: Ledger) -> dict[str, gr.components.Component]:
    """The left side: the picture, what to make of it, and the buttons."""
    named = bool(workshop.model(DEFAULT).labels)
    models = [(label("this_model"), DEFAULT), *((name, name) for name in workshop.names[1:])]
    part = {}
    part["image"] = picture_input(
        partial(fetch_picture, limit=to_bytes(workshop.settings.max_file_size), ledger=ledger),
        label=label("input"),
        sources=["upload", "clipboard"],
        height=300,
        placeholder=label("input_hint"),
        elem_id="input",
    )
    gr.Markdown(label("limits"), elem_id="limits")
    part["outscale"] = gr.Slider(1, 8, 4, step=0.5, label=label("outscale"), info=label("outscale_info"))
    part["strength"] = gr.Slider(0, 1, 1, step=0.05, label=label("strength"), info=label("strength_info"))
    with gr.Row():
        part["run"] = gr.Button(label("run"), variant="primary", scale=3, elem_id="run")
        part["cancel"] = gr.Button(label("cancel"), scale=1, min_width=90, elem_id="cancel")
    part["forecast"] = gr.Markdown(elem_id="forecast")
    part["status"] = gr.Markdown(elem_id="status")  # place in the queue, progress
    with gr.Accordion(label("advanced"), open=False, elem_id="advanced"):
        part["model"] = gr.Dropdown(models, value=DEFAULT, label=label("model"), visible=len(models) > 1)
        part["second"] = gr.Dropdown(
            [(label("second_none"), ""), *models],
            value="",
            label=label("second"),
            info=label("second_info"),
            visible=len(models) > 1,
        )
        part["segment"] = gr.Checkbox(
            named, label=label("segment"), info=label("segment_info"), interactive=named, visible=named
        )
        part["color_fix"] = gr.Checkbox(False, label=label("color_fix"), info=label("color_fix_info"))
        tiles = [
            (label("tile_auto"), "auto"),
            (label("tile_none"), "none"),
            *((f"{n} px", str(n)) for n in (64, 128, 256)),
        ]
        part["tile"] = gr.Dropdown(tiles, value="auto", label=label("tile_size"), info=label("tile_info"))
        part["classes"], part["class_strength"] = gr.State([]), gr.State({})
        _class_sliders(part)
    return part


def _examples(image: gr.Image) -> None:
    """The pictures to try: the usual ones, the one that fails, and, folded, those of other kinds of file."""

    def offer(group: str) -> None:
        rows = [[str(FOLDER / name)] for name in EXAMPLES[group]]
        gr.Examples(rows, [image], label=label(group), cache_examples=False, elem_id=group, api_visibility="private")

    offer("examples")
    offer("failure")
    with gr.Accordion(label("more_examples"), open=False, elem_id="more-examples"):
        offer("more_examples")


def _class_sliders(part: dict) -> None:
    """One slider for each class that the last run found; their values are kept in the visitor's state."""
    gr.Markdown(label("per_class"))
    gr.Markdown(label("per_class_info"), elem_classes="hint")

    @gr.render(inputs=[part["classes"], part["class_strength"]], triggers=[part["classes"].change])
    def render(classes: list[str], values: dict[str, float]):
        for name in classes:

            def remember(value: float, values: dict[str, float], name: str = name) -> dict[str, float]:
                return {**values, name: value}

            slider = gr.Slider(0, 1, values.get(name, 1), step=0.05, label=name, interactive=True, key=f"class-{name}")
            slider.release(remember, [slider, part["class_strength"]], part["class_strength"], **LIGHT)


def _results() -> dict[str, gr.components.Component]:
    """The right side: hidden until there is a result."""
    part = {"shown": gr.State()}
    part["welcome"] = gr.Markdown(label("welcome"), elem_id="welcome")
    with gr.Column(visible=False, elem_id="results") as part["results"]:
        with gr.Tabs():
            with gr.Tab(label("slider")):
                part["left"] = gr.Radio([], label=label("left"), visible=False, elem_id="left")
                part["slider"] = gr.ImageSlider(
                    format="png", type="filepath", interactive=False, show_label=False, max_height=640, elem_id="slider"
                )
                gr.Markdown(label("result_hint"), elem_classes="hint")
            with gr.Tab(label("side_by_side")):
                part["side_by_side"] = side_by_side(elem_id="side-by-side")
                gr.Markdown(label("side_by_side_hint"), elem_classes="hint")
            with gr.Tab(label("classes")) as part["classes_tab"]:
                part["annotated"] = gr.AnnotatedImage(format="png", show_label=False, elem_id="annotated")
                gr.Markdown(label("uncertain_info"), elem_classes="hint")
            with gr.Tab(label("overlay")) as part["overlay_tab"]:
                part["overlay"] = _picture("overlay")
                part["opacity"] = gr.Slider(0, 1, 0.5, step=0.05, label=label("overlay_opacity"))
            with gr.Tab(label("drift")) as part["drift_tab"]:
                part["drift"] = _picture("drift")
                gr.HTML('<div id="heat-scale" role="presentation"></div>', padding=False)
                gr.Markdown(label("drift_info"), elem_classes="hint")
        part["facts"] = gr.Markdown(elem_id="facts")
        gr.Markdown(label("honesty"), elem_id="honesty")
        with gr.Row(elem_id="downloads"):
            part["get_picture"] = gr.DownloadButton(label("get_picture"), variant="primary", elem_id="get-picture")
            part["get_mask"] = gr.DownloadButton(label("get_mask"), elem_id="get-mask")
            part["get_zip"] = gr.DownloadButton(label("get_zip"), elem_id="get-zip")
    return part


def _picture(name: str) -> gr.Image:
    return gr.Image(format="png", show_label=False, interactive=False, buttons=["fullscreen"], elem_id=name)


def _wire(handlers: Handlers, asked: dict, shown: dict) -> None:
    """Connect the events, and add the endpoint for programs."""
    forecast = [asked[name] for name in ("image", "model", "outscale", "tile")]
    gr.on(
        [part.change for part in forecast],
        handlers.forecast,
        forecast,
        asked["forecast"],
        **LIGHT,
    )
    asked["image"].change(lambda: ([], {}), None, [asked["classes"], asked["class_strength"]], **LIGHT)
    names = ("image", "model", "second", "outscale", "strength", "class_strength", "color_fix", "segment", "tile")
    run = asked["run"].click(
        handlers.run,
        [asked[name] for name in names],
        [{**shown, **asked}[name] for name in OUTPUTS],
        api_name="run",
        api_visibility="private",
        **HEAVY,
    )
    run.success(None, js="() => document.getElementById('results').scrollIntoView({block: 'nearest'})")
    asked["cancel"].click(handlers.cancel, None, asked["status"], **LIGHT)
    shown["opacity"].release(handlers.blend, [shown["opacity"], shown["shown"]], shown["overlay"], **LIGHT)
    shown["left"].input(handlers.choose_left, [shown["left"], shown["shown"]], shown["slider"], **LIGHT)
    _endpoint(handlers)
    gr.context.Context.root_block.unload(handlers.leave)


def _endpoint(handlers: Handlers) -> None:
    """`/upscale` for gradio_client, curl and MCP: the same job, without the page's views."""
    limit = to_bytes(handlers.workshop.settings.max_file_size)
    with gr.Row(visible=False):
        inputs = [
            picture_input(partial(fetch_picture, limit=limit, ledger=handlers.ledger), label="image"),
            gr.Number(4, label="outscale"),
            gr.Number(1, label="strength"),
            strengths_input(label="class_strength"),
            gr.Checkbox(False, label="color_fix"),
            gr.Checkbox(True, label="segment"),
            gr.Textbox(DEFAULT, label="model"),
        ]
        outputs = [gr.File(label="picture"), gr.File(label="mask"), gr.JSON(label="report")]
        gr.Button().click(handlers.upscale, inputs, outputs, api_name="upscale", **HEAVY)


if __name__ == "__main__":
    # As a container ends it: Gradio then closes in order, and the cache is emptied.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = from_environment()
    launch(build_demo(load_model(settings.model), settings))
