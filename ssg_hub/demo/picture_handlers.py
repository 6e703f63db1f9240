"""What happens on each event of the room for pictures, and the endpoint for programs."""

import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path

import anyio
import gradio as gr

from ..upscaling.options import Options
from . import decoding, viewer
from .cache import Ledger, choice_of
from .line import Line, Ticket
from .picture_work import Choices, Made, PicturesJob, check, read
from .refusals import Refused, plain_errors, sentence_for
from .request import QUALITY, Request, check_request, fitting_factor, room_needed
from .results import estimate, waiting_item, write_files
from .room import Room, is_of
from .settings import DEFAULT
from .texts import language, text
from .workshop import Workshop

# What the events fill, by the names that `page.py` gives the components.
OUTPUTS = ("viewer", "forecast", "status", "run", "cancel", "made", "classes", "class_strength", "outscale")


class PictureHandlers:
    """The events of the room for pictures over one `Workshop`.

    Args:
        workshop: the models.
        line, ledger, looking: as for `Room`.
    """

    def __init__(self, workshop: Workshop, line: Line, ledger: Ledger, looking: anyio.CapacityLimiter):
        self.workshop, self.line, self.ledger, self.settings = workshop, line, ledger, workshop.settings
        self.room = Room(line, ledger, looking, OUTPUTS, most=self.settings.max_files)

    def clear(self, picked: dict | None, request: gr.Request) -> tuple:
        """Other pictures are chosen: end the run of those before, and take back what was said of them."""
        return self.room.clear(picked, request, classes=[], class_strength={})

    async def look(self, picked: dict | None, request: gr.Request) -> Made:
        """Look at what is chosen. It takes a moment, so that it reads nothing that may be changed meanwhile."""
        lang = language(request)
        looked = [await self.room.look(self._look, path, lang) for path in self.room.files(picked)]
        return Made(choice_of(picked), looked)

    def show(self, picked: dict | None, made: Made, outscale: float) -> tuple:
        """Show what was looked at; where the results would be larger than what is made here, set a smaller factor."""
        if not is_of(made, picked):  # others have been chosen meanwhile, and will be shown
            return self.room.fill()
        factor = fitting_factor([item["input"] for item in made.items if item["input"]], outscale, self.settings)
        return self.room.fill(
            viewer=made.value() if made.items else viewer.opening_value(),
            outscale=gr.skip() if factor == outscale else factor,
        )

    def choose_model(self, model: str, request: gr.Request) -> dict:
        """The denoise slider, where a model has that choice; beside best quality it stays in its place, at rest."""
        denoise, lang = self.workshop.denoise(model), language(request)
        if denoise is None and self.settings.is_large(model):
            usual = self.workshop.denoise(DEFAULT)
            return gr.update(visible=usual is not None, interactive=False, info=text("denoise_none", lang))
        value = 1 if denoise is None else denoise
        return gr.update(visible=denoise is not None, interactive=True, value=value, info=text("denoise_info", lang))

    def forecast(
        self, picked: dict | None, made: Made | None, model: str, outscale: float, device: str, request: gr.Request
    ) -> tuple:
        """What pressing the button would give; the button rests where that is nothing.

        Asked whenever something that it depends on has changed.
        """

        def expect(lang: str) -> tuple[str, bool]:
            return self._forecast(made.items, model, outscale, device, lang)

        return self.room.forecast(picked, made, request, expect)

    def take_example(self, event: gr.EventData, request: gr.Request) -> dict:
        """An example becomes the visitor's picture: a copy of it, as if it had been uploaded."""
        source = viewer.ROOM / "examples" / Path(str(getattr(event, "name", ""))).name
        with plain_errors(None, language(request)):
            if not source.is_file():
                raise Refused("no_picture")
            with self.ledger.new_folder(source.stat().st_size) as folder:
                shutil.copyfile(source, folder / source.name)
        return {"files": [{"path": str(folder / source.name), "name": source.name}], "of": folder.name}

    async def run(self, request: gr.Request, picked: dict | None, made: Made | None, *values) -> AsyncIterator[tuple]:
        """Upscale what is chosen, one after the other; yields the values of OUTPUTS as they come."""

        def begin(paths: list[str], lang: str) -> PicturesJob:
            if not paths or len(made.items) != len(paths):
                raise Refused("gone" if made.items else "need_picture")
            return PicturesJob(self.workshop, self.line, self.ledger, paths, made, Choices(*values), lang)

        async with aclosing(self.room.run(request, picked, made, begin)) as shown:
            async for each in shown:
                yield each

    async def upscale(
        self,
        image: str,
        outscale: float = 4.0,
        strength: float = 1.0,
        class_strength: dict | None = None,
        color_fix: bool = Options.color_fix,
        segment: bool = True,
        model: str = DEFAULT,
        denoise: float | None = None,
        format: str = "png",
        quality: int = QUALITY,
        request: gr.Request = None,
    ) -> tuple[str, str | None, dict]:
        """Upscale a photograph and name what is in it. The result is an estimate, not evidence: plates, faces and text
        may be invented.

        Args:
            image: the picture (PNG, JPEG, WebP, TIFF).
            outscale: how many times larger, for instance 2, 2.5 or 4.
            strength: from 0 (plain bicubic enlargement, nothing invented) to 1 (all the detail of the network).
            class_strength: strength for single classes, such as {"car": 0.5, "sky": 0}; times `strength`.
            color_fix: hold the broad colours of the result to those of the input.
            segment: also return the semantic mask.
            model: "default" (fast); "large" (best, 16 times as long, small pictures only); or another that is offered.
            denoise: from 0 (keep the grain) to 1 (remove it), where the model has that choice; null is its default.
            format: of the picture: png, jpeg, webp, avif or tiff.
            quality: 1 to 100, for jpeg, webp and avif.

        Returns:
            The upscaled picture, its mask (indexed PNG), and a report with sizes, time, classes and drift.
        """
        wanted = Request(
            outscale,
            strength,
            class_strength or {},
            color_fix,
            segment,
            denoise=denoise,
            format=format,
            quality=quality,
        )

        def work(ticket: Ticket) -> tuple[str, str | None, dict]:
            picture = read(image, wanted, [model], self.settings, ticket)
            with self.ledger.new_folder(room_needed(picture, outscale, views=0)) as folder:
                result = self.workshop.run(model, picture, wanted, ticket.watch)
                ticket.enter("writing")
                files = write_files(result, Path(image).name, folder, wanted)
            return str(files.picture), str(files.mask) if files.mask else None, result.report

        with plain_errors(image, "en"), self.line.visit(), self.ledger.keep(image):
            check_request(wanted)
            await self.workshop.load(model)
            return await self.line.finish(work, Ticket())

    def cancel(self, request: gr.Request) -> None:
        """Stop this visitor's run; also when the page is closed."""
        self.room.cancel(request)

    def _look(self, path: str, lang: str) -> dict:
        """The item of a picture that was chosen."""
        name = Path(path).name
        try:
            size = check(path, self.settings)
            data = decoding.preview(path, self.settings.max_pixels)
            with self.ledger.new_folder(len(data)) as folder:
                view = folder / "preview.webp"
                view.write_bytes(data)
        except Exception as error:
            return waiting_item(name, "failed", sentence_for(error, path, lang))
        return waiting_item(name, "chosen", size=size, view=view)

    def _forecast(self, items: list[dict], model: str, outscale: float, device: str, lang: str) -> tuple[str, bool]:
        """One line: the sizes of input and result, and about how long it takes, or why it would be refused; and whether
        any of them can be done."""
        predict = partial(self.workshop.predict, model, self.workshop.device(device))
        words, possible = estimate(items, model, outscale, predict, self.settings, lang)
        return viewer.status_line(words, alarm=not possible), possible
