"""What happens on each event of the page, and the endpoint for programs."""

import shutil
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import gradio as gr
from PIL import Image

from ..images import formats
from ..images.picture import Picture
from ..upscaling.options import Options, output_size
from . import decoding, viewer
from .archive import archive_url
from .cache import Ledger, choice_of, owned_files
from .line import Line, Ticket
from .refusals import Cancelled, Refused, plain_errors, sentence_for
from .request import PAGE_FORMATS, QUALITY, Request, check_request, check_size, fitting_factor, room_needed
from .results import estimate, make_item, progress_of, waiting_item, write_files
from .settings import DEFAULT
from .texts import class_name, duration, language, text
from .workshop import Workshop

AT_ONCE = 2  # pictures and clips that are looked at, beside the one that is upscaled
PREVIEW_SIDE = 1280  # pixels
# What the events fill, by the names that `page.py` gives the components.
OUTPUTS = ("viewer", "forecast", "status", "run", "cancel", "made", "classes", "class_strength", "outscale")


@dataclass(frozen=True)
class Choices:
    """The values of the page's controls, in the order in which `page.py` passes them."""

    model: str
    second: str
    outscale: float
    strength: float
    class_strength: dict[str, float]
    denoise: float | None
    color_fix: bool
    segment: bool
    tile: str
    format: str
    quality: int
    device: str

    def request(self, labels: list[str], denoises: bool, device: str | None) -> Request:
        """The same for the job, as far as the model has these classes and a denoise strength.

        The classes were found by the model of an earlier run.

        Args:
            labels: the classes of the model.
            denoises: it has a denoise strength.
            device: one that may be chosen.
        """
        return Request(
            self.outscale,
            self.strength,
            {name: value for name, value in self.class_strength.items() if name in labels},
            self.color_fix,
            self.segment,
            {"auto": "auto", "none": None}.get(self.tile) or (int(self.tile) if str(self.tile).isdecimal() else None),
            self.denoise if denoises else None,
            self.format if self.format in PAGE_FORMATS else "png",
            self.quality,
            device,
        )


@dataclass
class Made:
    """The state of a visitor's page: one entry for each picture. It stays on the server.

    Attributes:
        of: the choice of pictures.
        looked: what the viewer was told about each picture before there was a result.
        items: what the viewer is told now.
        keys: what each result was made by, so that a second run does only what is missing; None without a result.
        tokens: the names of the results' folders; None without a result.
        classes: the classes that the last result has, each with what the page calls it.
    """

    of: Any
    looked: list[dict]
    items: list[dict] = field(init=False)
    keys: list[str | None] = field(init=False)
    tokens: list[str | None] = field(init=False)
    classes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self):
        self.items = list(self.looked)
        self.keys = [None] * len(self.looked)
        self.tokens = [None] * len(self.looked)

    def value(self) -> dict:
        """For the viewer."""
        tokens = [token for token in self.tokens if token]
        return {"items": self.items, "of": self.of, "zip": archive_url(tokens) if len(tokens) > 1 else ""}


class Handlers:
    """The page's events over one `Workshop`. Of a request, only whether it was cancelled is kept here.

    Args:
        workshop: the models.
        line: where pictures wait for them.
        ledger: of the cache.

    Attributes:
        looking: bounds how many files are looked at at once, those of the room for clips included.
    """

    def __init__(self, workshop: Workshop, line: Line, ledger: Ledger):
        self.workshop, self.line, self.ledger = workshop, line, ledger
        self.settings = workshop.settings
        self._tickets: dict[str, Ticket] = {}
        self.looking = anyio.CapacityLimiter(AT_ONCE)

    def clear(self, picked: dict | None, request: gr.Request) -> tuple:
        """Other pictures are chosen: end the run of those before, and take back what was said of them."""
        if ticket := self._tickets.pop(request.session_hash, None):
            ticket.stop()
        return outputs(
            forecast=self._reading(picked, language(request)),
            status="",
            run=gr.update(interactive=False),
            cancel=gr.update(visible=False),
            classes=[],
            class_strength={},
        )

    async def look(self, picked: dict | None, request: gr.Request) -> Made:
        """Look at what is chosen. It takes a moment, so that it reads nothing that may be changed meanwhile."""
        lang = language(request)
        looked = [await self._in_thread(self._look, path, lang) for path in self._own(picked)]
        return Made(choice_of(picked), looked)

    def show(self, picked: dict | None, made: Made, outscale: float) -> tuple:
        """Show what was looked at; where the results would be larger than what is made here, set a smaller factor."""
        if made.of != choice_of(picked):  # others have been chosen meanwhile, and will be shown
            return outputs()
        factor = fitting_factor([item["input"] for item in made.items if item["input"]], outscale, self.settings)
        return outputs(
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
        lang, possible = language(request), False
        if made is None or made.of != choice_of(picked):
            words = self._reading(picked, lang)
        else:
            words, possible = self._forecast(made.items, model, outscale, device, lang)
        return words, gr.skip() if request.session_hash in self._tickets else gr.update(interactive=possible)

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
        lang, session, choices = language(request), request.session_hash, Choices(*values)
        paths = self._own(picked)
        if made is None or made.of != choice_of(picked):
            yield outputs()  # the press was faster than the look at them
            return
        if not paths or len(made.items) != len(paths):
            yield outputs(status=viewer.status_line(text("gone" if made.items else "need_picture", lang), alarm=True))
            return
        ticket = self._tickets[session] = Ticket()
        began = time.monotonic()
        try:
            with self.line.visit(), self.ledger.keep(*paths):
                yield outputs(run=gr.update(interactive=False), cancel=gr.update(visible=True))
                async for shown in self._run_all(paths, made, choices, ticket, lang):
                    yield shown
            words, alarm = _summary(made, time.monotonic() - began, lang)
        except Refused as refusal:
            words, alarm = sentence_for(refusal, None, lang), True
        except Cancelled:
            words, alarm = text("cancelled", lang), False
        finally:
            ticket.stop()
            current = self._tickets.get(session) is ticket
            if current:
                del self._tickets[session]
        if not current:  # other pictures have been chosen, and the page now shows those
            yield outputs()  # Gradio repeats what came last when a generator ends: this time, nothing
        else:
            yield outputs(
                viewer=made.value(),
                status=viewer.status_line(words, alarm=alarm),
                run=gr.update(interactive=True),
                cancel=gr.update(visible=False),
                made=made,
                classes=made.classes if len(paths) == 1 else [],
            )

    async def _run_all(
        self, paths: list[str], made: Made, choices: Choices, ticket: Ticket, lang: str
    ) -> AsyncIterator[tuple]:
        await self.workshop.load(choices.model, *filter(None, [choices.second]))
        labels, denoises = self.workshop.model(choices.model).labels, self.workshop.denoise(choices.model) is not None
        wanted, key = choices.request(labels, denoises, self.workshop.device(choices.device)), repr(choices)
        todo = [index for index in range(len(paths)) if made.keys[index] != key or not self._still_there(made, index)]
        for index in todo or range(len(paths)):  # where all is there, once more
            ticket.check()
            made.items[index] = {**made.items[index], "state": "working", "note": ""}
            yield outputs(viewer=made.value())
            made.keys[index] = made.tokens[index] = None

            def work(ticket: Ticket, path: str = paths[index]) -> tuple[dict, str, list[str]]:
                return self._make_page(path, choices, wanted, lang, ticket)

            try:
                async with aclosing(self.line.follow(work, ticket)) as moments:
                    last = None
                    async for _ in moments:
                        share, words = progress_of(ticket, lang, index, len(paths))
                        if (line := viewer.status_line(words, share)) != last:
                            yield outputs(status=line)
                        last = line
                made.items[index], made.tokens[index], made.classes = ticket.result
                made.keys[index] = key
            except Cancelled:
                made.items[index] = {**made.looked[index], "state": "cancelled"}
                raise
            except Exception as error:
                sentence = sentence_for(error, paths[index], lang)
                made.items[index] = {**made.looked[index], "state": "failed", "note": sentence}

    def _make_page(self, path: str, choices: Choices, wanted: Request, lang: str, ticket: Ticket):
        """Do the work of a ticket: the viewer's item, the token of its folder, and its classes as in `Made`."""
        check_request(wanted)
        both = bool(choices.second) and choices.second != choices.model
        models = [choices.model] + [choices.second] * both
        picture = self._read(path, wanted, models, ticket)
        with self.ledger.new_folder(room_needed(picture, wanted.outscale, views=3)) as folder:
            result = self.workshop.run(choices.model, picture, wanted, ticket.watch)
            others: dict[str, Image.Image] = {}
            if both:
                alike = replace(wanted, class_strength={}, segment=False, denoise=None)
                other = self.workshop.run(choices.second, picture, alike, ticket.watch)
                key = self.workshop.title(choices.second)
                others[text(key, lang) if key else choices.second] = other.image
            ticket.enter("writing")
            name = Path(path).name
            files = write_files(result, name, folder, wanted)
            item = make_item(name, picture, result, files, others, self.workshop.model(choices.model).labels, lang)
        uncertain = result.report.get("uncertain_id")
        names = [label["name"] for label in result.labels if label["id"] != uncertain]
        return item, folder.name, [(name, class_name(name, lang)) for name in names]

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
            picture = self._read(image, wanted, [model], ticket)
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
        """Stop this visitor's run."""
        if ticket := self._tickets.get(request.session_hash):
            ticket.stop()

    def leave(self, request: gr.Request) -> None:
        """The visitor has closed the page; nobody waits for the result."""
        self.cancel(request)

    def _own(self, picked: dict | None) -> list[str]:
        return owned_files(picked, self.ledger.folder, self.settings.max_files)

    def _reading(self, picked: dict | None, lang: str) -> str:
        """The forecast while pictures are looked at."""
        return viewer.status_line(text("looking", lang)) if self._own(picked) else ""

    def _look(self, path: str, lang: str) -> dict:
        """The item of a picture that was chosen."""
        name = Path(path).name
        try:
            size = self._check(path)
            data = decoding.preview(path, self.settings.max_pixels, PREVIEW_SIDE)
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

    def _check(self, path: str, outscale: float = 1, models: Iterable[str] = ()) -> tuple[int, int]:
        """A picture's size, when it is one and within the limits, those of these models included."""
        size = decoding.picture_size(path, self.settings.max_pixels)
        if size is None:
            raise Refused("no_picture" if Path(path).is_file() else "gone")
        check_size(*size, outscale, self.settings, *models)
        return size

    def _read(self, path: str | None, wanted: Request, models: list[str], ticket: Ticket) -> Picture:
        if not path:
            raise Refused("need_picture")
        ticket.enter("reading")
        size = self._check(path, wanted.outscale, models)
        formats.check_size(output_size(size, wanted.outscale), formats.WRITTEN[f".{wanted.format}"])
        return decoding.read(path, self.settings.max_pixels, ticket.check)

    def _still_there(self, made: Made, index: int) -> bool:
        return bool(made.tokens[index]) and (self.ledger.folder / made.tokens[index]).is_dir()

    async def _in_thread(self, task, *values):
        return await anyio.to_thread.run_sync(task, *values, limiter=self.looking)


def outputs(**values) -> tuple:
    """The values of OUTPUTS; what is not given stays as it is."""
    return tuple(values.get(name, gr.skip()) for name in OUTPUTS)


def _summary(made: Made, seconds: float, lang: str) -> tuple[str, bool]:
    """How a run has ended: in words, and whether it failed."""
    done = sum(item["state"] == "done" for item in made.items)
    took = duration(seconds, lang)
    if len(made.items) == 1:
        return (text("finished", lang, seconds=took), False) if done else (made.items[0]["note"], True)
    return text("finished_many", lang, done=done, n=len(made.items), seconds=took), done < len(made.items)
