"""The page: its layout, and which event calls what. What the events do: `picture_handlers`, `clip_handlers`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import gradio as gr
from gradio.i18n import I18nData
from gradio.utils import get_upload_folder

from ..loading import load_model
from ..upscaling.options import Options
from . import clip_page, viewer
from .cache import Ledger
from .clip_handlers import ClipHandlers
from .gradio_fixes import count_from, fill_in_missing, picture_input, strengths_input
from .guard import Fetcher
from .line import Line
from .picture_handlers import OUTPUTS, PictureHandlers
from .picture_work import Choices
from .programs import explain
from .request import OUTPUT_FORMATS, PAGE_FORMATS, QUALITY, SIZES
from .results import device_name
from .room import AT_ONCE
from .settings import DEFAULT, Settings, from_environment, to_bytes
from .texts import label, make_i18n
from .workshop import Workshop

FORMAT_NAMES = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
TILES = (64, 128, 256)
# our own line lets one picture in at a time
HEAVY: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden"}
ENDPOINT = 13  # the number of `/upscale`, whatever else the page gets: programs may have written it down
# works when the line is full, too
LIGHT: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
LATEST = LIGHT | {"trigger_mode": "always_last"}  # asked again while it is busy, it is done again


if TYPE_CHECKING:

    class Page(gr.Blocks):
        """The page, and what it runs on."""

        i18n: gr.I18n
        settings: Settings
        workshop: Workshop
        line: Line
        ledger: Ledger
else:
    Page = gr.Blocks  # Gradio writes a .pyi file beside the source of a subclass


def build_demo(model, settings: Settings | None = None) -> Page:
    """The page on a loaded model.

    Args:
        model: an `SSGModel`, or what has its `upscale`, `labels` and `to`.
        settings: limits and further models; default: from the environment.
    """
    settings = settings or from_environment()
    workshop = Workshop(settings, model, load_model)
    ledger = Ledger(Path(get_upload_folder()), to_bytes(settings.max_stored))
    line, looking = Line(settings.queue_size), anyio.CapacityLimiter(AT_ONCE)
    handlers = PictureHandlers(workshop, line, ledger, looking)
    clips = ClipHandlers(workshop, line, ledger, looking)
    with_clips = clip_page.are_offered(settings)
    with Page(title="ssg-hub", analytics_enabled=False, fill_width=True) as demo:
        part: dict = {"made": gr.State(), "classes": gr.State([]), "class_strength": gr.State({})}
        with gr.Row(elem_id="title"):
            gr.Markdown("# ssg-hub")
            gr.Markdown(label("tagline"))
            if with_clips:
                clip_page.switch()
        with gr.Row(elem_id="main", equal_height=False):
            with gr.Column(elem_id="stage", min_width=280):
                part["viewer"] = viewer.viewer(viewer.opening_value(), elem_id="viewer")
            with gr.Column(elem_id="panel", elem_classes="choices", min_width=280):
                _outcome(part, workshop)
                _details(part, workshop)
        with gr.Column(elem_id="try"):
            gr.Markdown(label("examples"), elem_id="examples-title")
            part["examples"] = viewer.example_cards(elem_id="examples")
        clip_parts = clip_page.lay_out(clips) if with_clips else {}
        with gr.Accordion(label("programs"), open=False, elem_id="programs"):
            programs = gr.Markdown()

        def fill(request: gr.Request) -> str:
            return explain(request, mcp=bool(demo.mcp_server))

        demo.load(fill, None, programs, **LIGHT)
        _wire(handlers, part)
        count_from(demo, ENDPOINT)
        _endpoint(handlers)
        fill_in_missing(demo, "upscale")
        if with_clips:
            clip_page.wire(demo, clips, clip_parts, LIGHT, LATEST, HEAVY)
        demo.unload(handlers.cancel)
    demo.queue(api_open=False)  # nobody gets past the line
    demo.i18n, demo.settings, demo.workshop = make_i18n(), settings, workshop
    demo.line, demo.ledger = line, ledger
    return demo


def _outcome(part: dict, workshop: Workshop) -> None:
    """The main controls: the pictures, the button, and the choices below it, so that no window is too low for it."""
    denoise = workshop.denoise(DEFAULT)
    part["picked"] = viewer.picker(workshop.settings, "avif" in PAGE_FORMATS, elem_id="picker")
    part["forecast"] = gr.HTML(elem_id="forecast", elem_classes="line forecast")
    with gr.Column(elem_classes="go"):
        with gr.Row():
            part["run"] = gr.Button(label("run"), variant="primary", size="lg", interactive=False, elem_id="run")
            part["cancel"] = gr.Button(label("cancel"), size="lg", visible=False, min_width=90, elem_id="cancel")
        part["status"] = viewer.status(elem_id="status")
    models, devices = _models(workshop), [workshop.settings.device, *workshop.settings.other_devices]
    part["model"] = gr.Radio(
        models,
        value=DEFAULT,
        label=label("model"),
        info=label("model_info") if workshop.settings.offers_large else None,
        visible=len(models) > 1,
        elem_id="model",
        elem_classes="pills many",
    )
    sizes = [(f"{size}×", size) for size in SIZES]
    part["outscale"] = gr.Radio(sizes, value=4, label=label("outscale"), elem_id="size", elem_classes="pills")
    part["denoise"] = gr.Slider(
        0,
        1,
        1 if denoise is None else denoise,
        step=0.05,
        label=label("denoise"),
        info=label("denoise_info"),
        visible=denoise is not None,
        elem_id="denoise",
    )
    part["strength"] = gr.Slider(
        0, 1, 1, step=0.05, label=label("strength"), info=label("strength_info"), elem_id="strength"
    )
    formats = [(FORMAT_NAMES[name], name) for name in PAGE_FORMATS]
    part["format"] = gr.Radio(formats, value="png", label=label("format"), elem_id="format", elem_classes="pills")
    part["quality"] = gr.Slider(1, 100, QUALITY, step=1, label=label("quality"), visible=False, elem_id="quality")
    part["device"] = gr.Radio(
        [(device_name(name), name) for name in devices],
        value=devices[0],
        label=label("device"),
        visible=len(devices) > 1,
        elem_id="device",
        elem_classes="pills",
    )


def _details(part: dict, workshop: Workshop) -> None:
    """The settings that few need, folded."""
    named = bool(workshop.model(DEFAULT).labels)
    models = _models(workshop)
    with gr.Accordion(label("advanced"), open=False, elem_id="advanced"):
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
        part["color_fix"] = gr.Checkbox(Options.color_fix, label=label("color_fix"), info=label("color_fix_info"))
        tiles: list[tuple[str | I18nData, str]] = [(label("tile_auto"), "auto"), (label("tile_none"), "none")]
        tiles += [(f"{n} px", str(n)) for n in TILES]
        part["tile"] = gr.Dropdown(tiles, value="auto", label=label("tile_size"), info=label("tile_info"))
        gr.Markdown(label("per_class"), visible=named)
        gr.Markdown(label("per_class_info"), elem_classes="hint", visible=named)
        _class_sliders(part)


def _models(workshop: Workshop) -> list[tuple[str | I18nData, str]]:
    """The models as a choice: what the page calls them, and their names."""
    keys = {name: workshop.title(name) for name in workshop.names}
    return [(label(key) if key else name, name) for name, key in keys.items()]


def _class_sliders(part: dict) -> None:
    """One slider for each class that the last run found; their values are kept in the visitor's state."""

    @gr.render(inputs=[part["classes"], part["class_strength"]], triggers=[part["classes"].change])
    def render(classes: list[tuple[str, str]], values: dict[str, float]):
        for name, shown in classes:

            def remember(value: float, values: dict[str, float], name: str = name) -> dict[str, float]:
                chosen = {**values, name: value}
                return {each: strength for each, strength in chosen.items() if strength != 1}  # 1 is as the others

            slider = gr.Slider(0, 1, values.get(name, 1), step=0.05, label=shown, interactive=True, key=f"class-{name}")
            # Not `release`, which the arrow keys do not cause.
            slider.change(remember, [slider, part["class_strength"]], part["class_strength"], **LATEST)


def _wire(handlers: PictureHandlers, part: dict) -> None:
    """Connect the events."""
    filled = [part[name] for name in OUTPUTS]
    aims = [part[name] for name in ("model", "outscale", "device")]
    cleared = part["picked"].change(handlers.clear, part["picked"], filled, **LIGHT)
    looked = cleared.then(handlers.look, part["picked"], part["made"], **LATEST)
    looked.then(handlers.show, [part[name] for name in ("picked", "made", "outscale")], filled, **LATEST)
    part["examples"].select(handlers.take_example, None, part["picked"], **LIGHT)
    # One event for all that a forecast depends on: of two events the answer to the earlier one might come last.
    gr.on(
        [each.change for each in (part["viewer"], *aims)],
        handlers.forecast,
        [part["picked"], part["made"], *aims],
        [part["forecast"], part["run"]],
        **LIGHT,
    )
    part["model"].change(handlers.choose_model, part["model"], part["denoise"], **LIGHT)
    part["format"].change(lambda name: gr.update(visible=name != "png"), part["format"], part["quality"], **LIGHT)
    choices = [part[name] for name in Choices.__dataclass_fields__]
    part["run"].click(
        handlers.run,
        [part["picked"], part["made"], *choices],
        filled,
        api_name="run",
        api_visibility="private",
        **HEAVY,
    )
    part["cancel"].click(handlers.cancel, **LIGHT)


def _endpoint(handlers: PictureHandlers) -> None:
    """`/upscale` for gradio_client, curl and MCP: the same job, without the page's views."""
    limit = to_bytes(handlers.settings.max_file_size)
    with gr.Row(visible=False):
        inputs = [
            picture_input(Fetcher(limit, handlers.ledger), label="image"),
            gr.Number(4, label="outscale"),
            gr.Number(1, label="strength"),
            strengths_input(label="class_strength"),
            gr.Checkbox(Options.color_fix, label="color_fix"),
            gr.Checkbox(True, label="segment"),
            gr.Textbox(DEFAULT, label="model"),
            gr.Number(None, label="denoise"),
            gr.Dropdown(list(OUTPUT_FORMATS), value="png", label="format"),
            gr.Number(QUALITY, label="quality"),
        ]
        outputs = [gr.File(label="picture"), gr.File(label="mask"), gr.JSON(label="report")]
        gr.Button().click(handlers.upscale, inputs, outputs, api_name="upscale", **HEAVY)
