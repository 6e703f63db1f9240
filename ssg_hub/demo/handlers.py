"""What happens on each event of the page: forecast, upscale, cancel, opacity; and the endpoint for programs."""

import html
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import gradio as gr
from PIL import Image

from ..errors import SSGError
from ..upscaling.overlays import draw_overlay, to_rgb
from ..upscaling.result import UpscaleResult
from ..upscaling.upscale import predict
from . import views
from .job import (
    Cancelled,
    Files,
    Refused,
    Request,
    Workshop,
    check_size,
    enlarge,
    new_folder,
    picture_size,
    to_png,
    write_files,
    write_pair,
)
from .texts import duration, language, text

log = logging.getLogger("ssg_hub.demo")
BICUBIC = "bicubic"
# What `Handlers.upscale` fills, by the names that app.py gives the components.
VIEWS = ("welcome", "results", "slider", "facts", "annotated", "overlay", "opacity", "drift")
TABS = ("classes_tab", "overlay_tab", "drift_tab")
OUTPUTS = (*VIEWS, *TABS, "get_picture", "get_mask", "get_zip", "blended", "classes")


class Handlers:
    """The page's events over one `Workshop`. Nothing of a request is kept here but the wish to cancel it."""

    def __init__(self, workshop: Workshop):
        self.workshop = workshop
        self._stops: dict[str, threading.Event] = {}

    def forecast(self, path: str | None, name: str, outscale: float, tile: str, request: gr.Request) -> str:
        """What pressing the button would give: size, tiles, and about how long it takes; or why it would be refused."""
        lang = language(request)
        if not path:
            return ""
        try:
            width, height = self._check(path, outscale, lang)
        except (Refused, SSGError) as refusal:
            return f"⚠️ {refusal}"
        expected = predict(self.workshop.model(name), (width, height), outscale, _tile(tile))
        seconds = self.workshop.seconds(name, width, height)
        line = text(
            "forecast",
            lang,
            w=width,
            h=height,
            ow=expected.width,
            oh=expected.height,
            tiles=_count_tiles(expected.tiles, lang),
            device=_device(self.workshop.settings.device),
        )
        return line if seconds is None else line + text("about", lang, seconds=duration(seconds, lang))

    def upscale(
        self,
        path: str | None,
        name: str,
        compare: str,
        outscale: float,
        strength: float,
        class_strength: dict[str, float],
        color_fix: bool,
        segment: bool,
        tile: str,
        request: gr.Request,
        progress=gr.Progress(),  # noqa: B008  (how Gradio passes it)
    ) -> tuple:
        """Upscale, and fill the result side of the page: returns the values of OUTPUTS."""
        lang = language(request)
        wanted = Request(outscale, strength, class_strength, color_fix, segment, _tile(tile))
        with self._stoppable(request.session_hash) as stop, _plain_errors(path, lang), _folder() as folder:
            report = _reporter(stop, progress)
            result = self._run(path, name, wanted, lang, report)
            if compare == BICUBIC:
                before = enlarge(path, result.image.size)
            else:
                before = self._run(
                    path, compare, Request(outscale, segment=False, tile=wanted.tile), lang, report
                ).image
            files = write_files(result, path, folder)
            pair = write_pair(before, result.image, folder)
            return self._show(result, files, pair, folder, lang)

    def api(
        self,
        image: str,
        outscale: float = 4.0,
        strength: float = 1.0,
        class_strength: dict | None = None,
        color_fix: bool = False,
        segment: bool = True,
        model: str = "default",
        request: gr.Request = None,
    ) -> tuple[str, str | None, dict]:
        """Upscale a photograph and name what is in it. The result is an estimate, not evidence: plates, faces and text
        may be invented.

        Args:
            image: the picture (PNG, JPEG, WebP, TIFF).
            outscale: how many times larger, for instance 2, 2.5 or 4.
            strength: from 0 (plain bicubic enlargement, nothing invented) to 1 (all the detail of the network).
            class_strength: strength for single classes, such as {"car": 0.5, "sky": 0}; times `strength`.
            color_fix: hold the colours of the result to those of the input.
            segment: also return the semantic mask.
            model: one of the models that this server offers.

        Returns:
            The upscaled picture (lossless), the mask (indexed PNG: class ids with a palette), and a report: sizes,
            time, classes with their share of the picture, and how much may be invented.
        """
        lang = "en"
        wanted = Request(outscale, strength, class_strength or {}, color_fix, segment)
        with _plain_errors(image, lang), _folder() as folder:
            if not isinstance(wanted.class_strength, dict):
                raise Refused(f'class_strength is {class_strength!r}; it needs a form like {{"car": 0.5}}.')
            result = self._run(image, model, wanted, lang, None)
            files = write_files(result, image, folder, everything=False)
            return str(files.picture), files.mask and str(files.mask), result.report

    def blend(self, opacity: float, shown: dict | None) -> str | None:
        """The overlay with another opacity; `shown` is what `upscale` left in the visitor's state."""
        if not shown or not Path(shown["picture"]).is_file():
            return None  # nothing was made yet, or its time is over
        with Image.open(shown["picture"]) as picture, Image.open(BytesIO(shown["mask"])) as mask:
            path = Path(shown["picture"]).with_name("overlay.png")
            draw_overlay(picture, mask, shown["uncertain"], opacity).save(path, compress_level=1)
        return str(path)

    def cancel(self, request: gr.Request) -> None:
        """Stop this visitor's run after the tile that is being computed."""
        if stop := self._stops.get(request.session_hash):
            stop.set()
            gr.Info(text("cancelled", language(request)), duration=3)

    def leave(self, request: gr.Request) -> None:
        """The visitor has closed the page; nobody waits for the result."""
        if stop := self._stops.get(request.session_hash):
            stop.set()

    def _check(self, path: str | None, outscale: float, lang: str) -> tuple[int, int]:
        """The picture's size, when it is one and within the limits."""
        if not path:
            raise Refused(text("need_picture", lang))
        try:
            width, height = picture_size(path)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise Refused(text("no_picture", lang)) from None
        check_size(width, height, outscale, self.workshop.settings, lang)
        return width, height

    def _run(self, path: str | None, name: str, wanted: Request, lang: str, report) -> UpscaleResult:
        self._check(path, wanted.outscale, lang)
        return self.workshop.run(name, path, wanted, report)

    def _show(self, result: UpscaleResult, files: Files, pair: tuple[str, str], folder: Path, lang: str) -> tuple:
        """The values of OUTPUTS, in that order."""
        named = result.mask is not None
        values = {
            "welcome": gr.update(visible=False),
            "results": gr.update(visible=True),
            "slider": pair,
            "facts": self._facts(result, lang),
            "classes_tab": gr.update(visible=named),
            "overlay_tab": gr.update(visible=named),
            "drift_tab": gr.update(visible=named),
            "get_picture": str(files.picture),
            "get_mask": gr.update(value=files.mask and str(files.mask), visible=named),
            "get_zip": str(files.everything),
            "classes": [],
        }
        if named:
            uncertain = result.report["uncertain_id"]
            picture, mask = views.fit(to_rgb(result.image)), views.fit(result.mask)
            layers, colors = views.label_layers(mask, result.labels, uncertain, text("uncertain", lang))
            shown = {"picture": str(folder / "view.png"), "mask": to_png(mask), "uncertain": uncertain}
            picture.save(shown["picture"], compress_level=1)
            values |= {
                "annotated": gr.AnnotatedImage((shown["picture"], layers), color_map=colors),
                "overlay": self.blend(0.5, shown),
                "opacity": 0.5,
                "drift": views.drift_heat(picture, views.fit(result.drift)),
                "blended": shown,
                "classes": [label["name"] for label in result.labels if label["id"] != uncertain],
            }
        return tuple(values.get(name) for name in OUTPUTS)

    def _facts(self, result: UpscaleResult, lang: str) -> str:
        report = result.report
        line = text(
            "facts",
            lang,
            w=result.image.width,
            h=result.image.height,
            seconds=duration(report["seconds"], lang),
            device=_device(report["device"]),
            tiles=_count_tiles(report["tiles"], lang),
            tile=text("tile_of", lang, tile=report["tile"]),
            dtype=report["dtype"],
        )
        return "  \n".join([line, *(f"ℹ️ {html.escape(note)}" for note in report["notes"])])

    @contextmanager
    def _stoppable(self, session: str) -> Iterator[threading.Event]:
        stop = self._stops[session] = threading.Event()
        try:
            yield stop
        finally:
            if self._stops.get(session) is stop:
                del self._stops[session]


def _reporter(stop: threading.Event, progress):
    def report(done: int, total: int) -> None:
        if stop.is_set():
            raise Cancelled
        progress((done, total), unit="tiles")

    return report


@contextmanager
def _folder() -> Iterator[Path]:
    """A new folder, which is removed again when what fills it fails."""
    folder = new_folder()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _plain_errors(path: str | None, lang: str) -> Iterator[None]:
    """Turn whatever goes wrong into one sentence without server paths; what is our fault is logged."""
    title = text("bad_title", lang)
    try:
        yield
    except Cancelled:
        raise gr.Error(text("cancelled", lang), title=title, print_exception=False, visible=False) from None
    except (SSGError, Refused) as error:
        message = str(error).replace(path, Path(path).name) if path else str(error)
        raise gr.Error(html.escape(message, quote=False), title=title, print_exception=False) from None
    except Exception as error:
        log.exception("a request failed")
        raise gr.Error(text("failed", lang), title=title, print_exception=False) from error


def _device(name: str) -> str:
    return "CPU" if name == "cpu" else f"GPU ({name})"


def _count_tiles(tiles: int, lang: str) -> str:
    return text("tile" if tiles == 1 else "tiles", lang, n=tiles)


def _tile(choice: str) -> str | int | None:
    return {"auto": "auto", "none": None}.get(choice) or (int(choice) if choice.isdigit() else None)
