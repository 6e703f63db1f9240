"""What happens on each event of the page: forecast, upscale, cancel, opacity; and the endpoint for programs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import anyio
import gradio as gr
from PIL import Image

from ..images.picture import Picture
from ..upscaling.overlays import draw_overlay
from ..upscaling.upscale import predict
from . import decoding
from .cache import Ledger
from .job import Request, check_size, enlarge, room_needed, write_files, write_view
from .line import Line, Ticket
from .refusals import Refused, plain_errors, sentence_for
from .results import BICUBIC, OUTPUTS, Shown, count_tiles, device_name, progress, show, title
from .settings import DEFAULT
from .texts import duration, language, text
from .workshop import Workshop

HEADERS_AT_ONCE = 2  # pictures that are looked at, beside the one that is upscaled


class Handlers:
    """The page's events over one `Workshop`. Nothing of a request is kept here but the wish to cancel it.

    Args:
        workshop: the models.
        line: where pictures wait for them.
        ledger: of the cache.
    """

    def __init__(self, workshop: Workshop, line: Line, ledger: Ledger):
        self.workshop, self.line, self.ledger = workshop, line, ledger
        self._tickets: dict[str, Ticket] = {}
        self._looking = anyio.CapacityLimiter(HEADERS_AT_ONCE)

    async def forecast(self, path: str | None, name: str, outscale: float, tile: str, request: gr.Request) -> str:
        """What pressing the button would give: size, tiles, and about how long it takes; or why it would be refused."""
        if not path:
            return ""
        lang = language(request)
        look = self._forecast, path, name, outscale, _tile(tile), lang
        try:
            return await anyio.to_thread.run_sync(*look, limiter=self._looking)
        except Exception as error:
            return f"⚠️ {sentence_for(error, path, lang)}"

    def _forecast(self, path: str, name: str, outscale: float, tile: str | int | None, lang: str) -> str:
        width, height = self._check(path, outscale)
        expected = predict(self.workshop.model(name), (width, height), outscale, tile)
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

    async def run(
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
    ) -> AsyncIterator[tuple]:
        """Upscale, by a second model too if there is one: yields the values of OUTPUTS, at first the status alone."""
        lang = language(request)
        wanted = Request(outscale, strength, class_strength, color_fix, segment, _tile(tile))

        def work(ticket: Ticket) -> tuple:
            return self._make_page(path, name, second, wanted, lang, ticket)

        ticket = Ticket()
        with self._stoppable(request.session_hash, ticket), plain_errors(path, lang), self.line.visit():
            async with aclosing(self.line.follow(work, ticket)) as moments:
                async for _ in moments:
                    yield (progress(ticket, lang), *(gr.skip() for _ in OUTPUTS[1:]))
        yield ("", *ticket.result)

    def _make_page(self, path, name: str, second: str, wanted: Request, lang: str, ticket: Ticket) -> tuple:
        """Do the work of a ticket: the values of OUTPUTS without the status."""
        picture = self._read(path, wanted.outscale, ticket)
        with self.ledger.new_folder(room_needed(picture, wanted.outscale)) as folder:
            ticket.enter("upscaling")
            result = self.workshop.run(name, picture, wanted, ticket.report)
            pictures = {BICUBIC: enlarge(picture, result.image.size), name: result.image}
            if second and second != name:
                ticket.enter("upscaling")
                alike = replace(wanted, class_strength={}, segment=False)
                pictures[second] = self.workshop.run(second, picture, alike, ticket.report).image
            ticket.enter("writing")
            shown = Shown(
                keys=tuple(pictures),
                titles=tuple(title(key, lang) for key in pictures),
                views=tuple(write_view(image, folder / f"view{n}.png") for n, image in enumerate(pictures.values())),
            )
            files = write_files(result, path, folder)
            return show(result, files, shown, folder, lang, self.blend)

    async def upscale(
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

        def work(ticket: Ticket) -> tuple:
            picture = self._read(image, outscale, ticket)
            with self.ledger.new_folder(room_needed(picture, outscale)) as folder:
                ticket.enter("upscaling")
                result = self.workshop.run(model, picture, wanted, ticket.report)
                ticket.enter("writing")
                files = write_files(result, image, folder, everything=False)
            return str(files.picture), files.mask and str(files.mask), result.report

        with plain_errors(image, "en"), self.line.visit():
            if not isinstance(wanted.class_strength, dict):
                raise Refused("class_strength_form", value=repr(class_strength))
            return await self.line.finish(work, Ticket())

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
        """Stop this visitor's run; returns what to say of it."""
        ticket = self._tickets.get(request.session_hash)
        if ticket:
            ticket.stop()
        return text("cancelled", language(request)) if ticket else ""

    def leave(self, request: gr.Request) -> None:
        """The visitor has closed the page; nobody waits for the result."""
        if ticket := self._tickets.get(request.session_hash):
            ticket.stop()

    def _check(self, path: str | None, outscale: float) -> tuple[int, int]:
        """The picture's size, when it is one and within the limits."""
        if not path:
            raise Refused("need_picture")
        size = decoding.picture_size(path, self.workshop.settings.max_pixels)
        if size is None:
            raise Refused("no_picture")
        check_size(*size, outscale, self.workshop.settings)
        return size

    def _read(self, path: str | None, outscale: float, ticket: Ticket) -> Picture:
        ticket.enter("reading")
        self._check(path, outscale)
        return decoding.read(path, self.workshop.settings.max_pixels, ticket.check)

    @contextmanager
    def _stoppable(self, session: str, ticket: Ticket) -> Iterator[None]:
        self._tickets[session] = ticket
        try:
            yield
        finally:
            if self._tickets.get(session) is ticket:
                del self._tickets[session]


def _tile(choice: str) -> str | int | None:
    return {"auto": "auto", "none": None}.get(choice) or (int(choice) if choice.isdigit() else None)
