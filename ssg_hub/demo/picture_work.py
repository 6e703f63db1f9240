"""The work on a visitor's pictures: what the page knows of them, and the run, one picture after the other."""

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..images import formats
from ..images.picture import Picture
from ..upscaling.options import output_size
from . import decoding, viewer
from .archive import FILES, archive_url
from .cache import Ledger
from .line import Line, Ticket
from .refusals import Cancelled, Refused, sentence_for
from .request import PAGE_FORMATS, Request, check_request, check_size, room_needed
from .results import make_item, progress_of, write_files
from .settings import Settings
from .texts import duration, text
from .translations import class_name
from .workshop import Workshop


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
        return {"items": list(self.items), "of": self.of, "zip": archive_url(tokens) if len(tokens) > 1 else ""}


@dataclass
class PicturesJob:
    """The run of a visitor's pictures; see `room.Job`.

    Args:
        workshop: the models.
        line: where each picture waits for them.
        ledger: of the cache.
        paths: of the pictures.
        made: what is known of them; it is brought up to date.
        choices: the controls of the page.
        lang: of the visitor.
    """

    workshop: Workshop
    line: Line
    ledger: Ledger
    paths: list[str]
    made: Made
    choices: Choices
    lang: str
    _began: float = field(default_factory=time.monotonic, init=False)

    async def follow(self, ticket: Ticket) -> AsyncGenerator[dict, None]:
        """Upscale those that have no result by these choices yet, or all where none is missing."""
        made, paths, key = self.made, self.paths, repr(self.choices)
        wanted = await self._wanted()
        todo = [index for index in range(len(paths)) if made.keys[index] != key or not self._still_there(index)]
        for index in todo or range(len(paths)):
            ticket.check()
            made.items[index] = {**made.items[index], "state": "working", "note": ""}
            yield {"viewer": made.value()}
            made.keys[index] = made.tokens[index] = None

            def work(ticket: Ticket, path: str = paths[index]) -> tuple[dict, str, list[tuple[str, str]]]:
                return self._make(path, wanted, ticket)

            try:
                async with aclosing(self.line.follow(work, ticket)) as moments:
                    async for _ in moments:
                        share, words = progress_of(ticket, self.lang, index, len(paths))
                        yield {"status": viewer.status_line(words, share)}
                made.items[index], made.tokens[index], made.classes = ticket.result
                made.keys[index] = key
            except Cancelled:
                made.items[index] = {**made.looked[index], "state": "cancelled"}
                raise
            except Exception as error:
                sentence = sentence_for(error, paths[index], self.lang)
                made.items[index] = {**made.looked[index], "state": "failed", "note": sentence}

    def summary(self) -> tuple[str, bool]:
        """How the run has ended: in words, and whether a picture failed."""
        items, took = self.made.items, duration(time.monotonic() - self._began, self.lang)
        done = sum(item["state"] == "done" for item in items)
        if len(items) == 1:
            return (text("finished", self.lang, seconds=took), False) if done else (items[0]["note"], True)
        return text("finished_many", self.lang, done=done, n=len(items), seconds=took), done < len(items)

    def outcome(self) -> dict:
        """The results, also those before a run was cancelled or failed."""
        made = self.made
        return {"viewer": made.value(), "made": made, "classes": made.classes if len(self.paths) == 1 else []}

    async def _wanted(self) -> Request:
        """The choices, as far as the model has them; loads it, and the second one, where they are not there yet."""
        choices, workshop = self.choices, self.workshop
        await workshop.load(choices.model, *filter(None, [choices.second]))
        labels, denoises = workshop.model(choices.model).labels, workshop.denoise(choices.model) is not None
        return choices.request(labels, denoises, workshop.device(choices.device))

    def _still_there(self, index: int) -> bool:
        token = self.made.tokens[index]
        return bool(token) and any((self.ledger.folder / token / FILES).glob("*"))

    def _make(self, path: str, wanted: Request, ticket: Ticket) -> tuple[dict, str, list[tuple[str, str]]]:
        """Do the work of a ticket: the viewer's item, the token of its folder, and its classes as in `Made`."""
        check_request(wanted)
        choices, lang, workshop = self.choices, self.lang, self.workshop
        both = bool(choices.second) and choices.second != choices.model
        models = [choices.model] + [choices.second] * both
        picture = read(path, wanted, models, workshop.settings, ticket)
        with self.ledger.new_folder(room_needed(picture, wanted.outscale, views=3)) as folder:
            result = workshop.run(choices.model, picture, wanted, ticket.watch)
            others: dict[str, Image.Image] = {}
            if both:
                alike = replace(wanted, class_strength={}, segment=False, denoise=None)
                other = workshop.run(choices.second, picture, alike, ticket.watch)
                key = workshop.title(choices.second)
                others[text(key, lang) if key else choices.second] = other.image
            ticket.enter("writing")
            name = Path(path).name
            files = write_files(result, name, folder, wanted)
            item = make_item(name, picture, result, files, others, workshop.model(choices.model).labels, lang)
        uncertain = result.report.get("uncertain_id")
        names = [label["name"] for label in result.labels if label["id"] != uncertain]
        return item, folder.name, [(name, class_name(name, lang)) for name in names]


def check(path: str, settings: Settings, outscale: float = 1, models: Iterable[str] = ()) -> tuple[int, int]:
    """A picture's size, when it is one and within the limits, those of these models included.

    Raises:
        Refused: it is not.
        SSGError: it is damaged, or the outscale impossible.
    """
    size = decoding.picture_size(path, settings.max_pixels)
    if size is None:
        raise Refused("no_picture" if Path(path).is_file() else "gone")
    check_size(*size, outscale, settings, *models)
    return size


def read(path: str | None, wanted: Request, models: list[str], settings: Settings, ticket: Ticket) -> Picture:
    """Read a picture that these models will upscale, unless it or its result is beyond the limits.

    Raises:
        Refused, SSGError: as `check`, and for no path at all or a result too large for its format.
        Cancelled: the ticket was stopped.
    """
    if not path:
        raise Refused("need_picture")
    ticket.enter("reading")
    size = check(path, settings, wanted.outscale, models)
    formats.check_size(output_size(size, wanted.outscale), formats.WRITTEN[f".{wanted.format}"])
    return decoding.read(path, settings.max_pixels, ticket.check)
