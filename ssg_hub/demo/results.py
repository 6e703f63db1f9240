"""What the result side of the page shows of one result: values for the components, by their names."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from ..upscaling.overlays import to_rgb
from ..upscaling.result import UpscaleResult
from . import views
from .job import Files, to_png
from .line import Ticket
from .settings import DEFAULT
from .side_by_side import panels
from .texts import duration, text

BICUBIC = "bicubic"
# What `Handlers.run` fills, by the names that app.py gives the components.
VIEWS = ("welcome", "results", "left", "slider", "side_by_side", "facts", "annotated", "overlay", "opacity", "drift")
TABS = ("classes_tab", "overlay_tab", "drift_tab")
OUTPUTS = ("status", *VIEWS, *TABS, "get_picture", "get_mask", "get_zip", "shown", "classes")


@dataclass(frozen=True)
class Shown:
    """The pictures that are compared: bicubic first, the result second, a second model's third if there is one."""

    keys: tuple[str, ...]
    titles: tuple[str, ...]
    views: tuple[str, ...]  # paths of PNGs


def show(
    result: UpscaleResult, files: Files, shown: Shown, folder: Path, lang: str, blend: Callable[[float, dict], str]
) -> tuple:
    """The values of OUTPUTS without the status, in that order.

    Args:
        result: what the main model made.
        files: where its downloads lie.
        shown: the pictures to compare.
        folder: for the views that are made here.
        lang: of the visitor.
        blend: makes the overlay from an opacity and the visitor's state.
    """
    named = result.mask is not None
    state = {"keys": shown.keys, "views": shown.views}
    lefts = [pair for pair in zip(shown.titles, shown.keys, strict=True) if pair[1] != shown.keys[1]]
    values = {
        "welcome": gr.update(visible=False),
        "results": gr.update(visible=True),
        "left": gr.update(choices=lefts, value=BICUBIC, visible=len(lefts) > 1),
        "slider": shown.views[:2],
        "side_by_side": panels(shown.titles, shown.views, text("zoom", lang)),
        "facts": facts(result.report, lang),
        "classes_tab": gr.update(visible=named),
        "overlay_tab": gr.update(visible=named),
        "drift_tab": gr.update(visible=named),
        "get_picture": str(files.picture),
        "get_mask": gr.update(value=files.mask and str(files.mask), visible=named),
        "get_zip": str(files.everything),
        "shown": state,
        "classes": [],
    }
    if named:
        uncertain = result.report["uncertain_id"]
        picture, mask = views.fit(to_rgb(result.image)), views.fit(result.mask)
        layers, colors = views.label_layers(mask, result.labels, uncertain, text("uncertain", lang))
        small = folder / "small.png"
        picture.save(small, compress_level=1)
        state |= {"picture": str(small), "mask": to_png(mask), "uncertain": uncertain}
        values |= {
            "annotated": gr.AnnotatedImage((str(small), layers), color_map=colors),
            "overlay": blend(0.5, state),
            "opacity": 0.5,
            "drift": views.drift_heat(picture, views.fit(result.drift)),
            "classes": [label["name"] for label in result.labels if label["id"] != uncertain],
        }
    return tuple(values.get(name) for name in OUTPUTS[1:])


def progress(ticket: Ticket, lang: str) -> str:
    """How far a picture is, in words."""
    if ticket.before:
        return text("waiting_next", lang) if ticket.before == 1 else text("waiting", lang, n=ticket.before)
    if ticket.stage == "upscaling" and ticket.total > 1:
        return text("upscaling_tile", lang, done=min(ticket.done + 1, ticket.total), total=ticket.total)
    return text("waiting_next" if ticket.stage == "waiting" else ticket.stage, lang)


def facts(report: dict, lang: str) -> str:
    """One line on how the picture was made, and the notes below it."""
    line = text(
        "facts",
        lang,
        w=report["output"]["width"],
        h=report["output"]["height"],
        seconds=duration(report["seconds"], lang),
        device=device_name(report["device"]),
        tiles=count_tiles(report["tiles"], lang),
        tile=text("tile_of", lang, tile=report["tile"]),
        dtype=report["dtype"],
    )
    return "  \n".join([line, *(f"ℹ️ {html.escape(note)}" for note in report["notes"])])


def device_name(name: str) -> str:
    """A device as people call it."""
    return "CPU" if name == "cpu" else f"GPU ({name})"


def count_tiles(tiles: int, lang: str) -> str:
    """ "1 tile", "4 tiles"."""
    return text("tile" if tiles == 1 else "tiles", lang, n=tiles)


def title(key: str, lang: str) -> str:
    """What the page calls a picture that is compared, by how it was made."""
    return text({BICUBIC: "bicubic", DEFAULT: "this_model"}[key], lang) if key in (BICUBIC, DEFAULT) else key
