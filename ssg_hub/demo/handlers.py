"""What happens on each event of the page: forecast, upscale, cancel, opacity; and the endpoint for programs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import gradio as gr
from PIL import Image

from ..errors import SSGError
from ..upscaling.overlays import draw_overlay
from ..upscaling.result import UpscaleResult
from ..upscaling.upscale import predict
from .cache import result_folder
from .job import Request, check_size, enlarge, picture_size, write_files, write_view
from .refusals import Cancelled, Refused, plain_errors, without_path
from .results import BICUBIC, Shown, count_tiles, device_name, show, title
from .settings import DEFAULT
from .texts import duration, language, text
from .workshop import Workshop, gives_memory_back


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
            expected = predict(self.workshop.model(name), (width, height), outscale, _tile(tile))
        except (Refused, SSGError) as refusal:
            return f"⚠️ {without_path(refusal, path)}"
        seconds = self.workshop.seconds(name, width, height)
        line = text(
            "forecast",
            lang,
            w=width,
            h=height,
            ow=expected.width,
            oh=expected.height,
            tiles=count_tiles(expected.tiles, lang),
            device=device_name(self.workshop.settings.device),
        )
        return line if seconds is None else line + text("about", lang, seconds=duration(seconds, lang))

    @gives_memory_back
    def run(
        self,
        path: str | None,
        name: str,
        second: str,
        outscale: float,
        strength: float,
        class_strength: dict[str, float],
        color_fix: bool,
        segment: bool,
        tile: str,
        request: gr.Request,
        progress=gr.Progress(),  # noqa: B008  (how Gradio passes it)
    ) -> tuple:
        """Upscale, by a second model too if there is one, and fill the result side: returns the values of OUTPUTS."""
        lang = language(request)
        wanted = Request(outscale, strength, class_strength, color_fix, segment, _tile(tile))
        with self._stoppable(request.session_hash) as stop, plain_errors(path, lang), result_folder() as folder:
            report = _reporter(stop, progress)
            result = self._upscale(path, name, wanted, lang, report)
            pictures = {BICUBIC: enlarge(path, result.image.size), name: result.image}
            if second and second != name:
                alike = replace(wanted, class_strength={}, segment=False)
                pictures[second] = self._upscale(path, second, alike, lang, report).image
            shown = Shown(
                keys=tuple(pictures),
                titles=tuple(title(key, lang) for key in pictures),
                views=tuple(write_view(image, folder / f"view{n}.png") for n, image in enumerate(pictures.values())),
            )
            files = write_files(result, path, folder)
            return show(result, files, shown, folder, lang, self.blend)

    @gives_memory_back
    def upscale(
        self,
        image: str,
        outscale: float = 4.0,
        strength: float = 1.0,
        class_strength: dict | None = None,
        color_fix: bool = False,
        segment: bool = True,
        model: str = DEFAULT,
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
            The upscaled picture (lossless), its mask (indexed PNG), and a report with sizes, time, classes and drift.
        """
        wanted = Request(outscale, strength, class_strength or {}, color_fix, segment)
        with plain_errors(image, "en"), result_folder() as folder:
            if not isinstance(wanted.class_strength, dict):
                raise Refused(f'class_strength is {class_strength!r}; it needs a form like {{"car": 0.5}}.')
            result = self._upscale(image, model, wanted, "en", None)
            files = write_files(result, image, folder, everything=False)
            return str(files.picture), files.mask and str(files.mask), result.report

    def blend(self, opacity: float, shown: dict | None) -> str | None:
        """The overlay with another opacity; `shown` is what `run` left in the visitor's state."""
        if not shown or "mask" not in shown or not Path(shown["picture"]).is_file():
            return None  # nothing was made yet, or its time is over
        with Image.open(shown["picture"]) as picture, Image.open(BytesIO(shown["mask"])) as mask:
            path = Path(shown["picture"]).with_name("overlay.png")
            draw_overlay(picture, mask, shown["uncertain"], opacity).save(path, compress_level=1)
        return str(path)

    def choose_left(self, key: str, shown: dict | None) -> tuple[str, str] | None:
        """The two sides of the slider, with another picture on the left."""
        views = dict(zip(shown["keys"], shown["views"], strict=True)) if shown else {}
        if key not in views or not Path(views[key]).is_file():
            return None
        return views[key], shown["views"][1]

    def cancel(self, request: gr.Request) -> str:
        """Stop this visitor's run after the tile that is being computed; returns what to say of it."""
        stop = self._stops.get(request.session_hash)
        if stop:
            stop.set()
        return text("cancelled", language(request)) if stop else ""

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

    def _upscale(self, path: str | None, name: str, wanted: Request, lang: str, report) -> UpscaleResult:
        self._check(path, wanted.outscale, lang)
        return self.workshop.run(name, path, wanted, report)

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


def _tile(choice: str) -> str | int | None:
    return {"auto": "auto", "none": None}.get(choice) or (int(choice) if choice.isdigit() else None)
