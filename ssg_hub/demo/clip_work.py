"""The work on a visitor's clip: what may be asked for, and the run, in steps between which others are served."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ..upscaling.options import output_size
from ..upscaling.progress import Progress
from ..video.names import CODECS, TEMPORAL
from . import decoding
from .archive import FILES
from .cache import Ledger, size_of
from .line import Line, Ticket
from .refusals import Refused
from .results import safe_stem
from .settings import MEGA, Settings
from .workshop import Workshop

SEGMENT = 12  # frames after which those who wait get their turn
SHOWN = tuple(codec for codec in CODECS if codec != "ffv1")  # which no browser shows
RATE = 30.0  # frames a second of a clip that does not say
BYTES_PER_PIXEL = 0.2  # of a clip that was compressed: generous, and held to
ALLOWANCE = 2**22  # bytes beside that
BEFORE = 2  # times enlarged by bicubic: what the page shows beside the result


@dataclass(frozen=True)
class ClipRequest:
    """What a visitor asked for; see `ssg_hub.video.job.Request`.

    Args:
        duration: None is as long as the limits allow.
        denoise: None is the model's own.
    """

    outscale: float = 2.0
    start: float = 0.0
    duration: float | None = None
    temporal: str = "auto"
    codec: str = "h264"
    denoise: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a clip becomes.

    Attributes:
        size: of the result.
        start, duration: the part that is taken, in seconds.
        frames: about how many.
        cut: whether the clip is longer than that.
    """

    size: tuple[int, int]
    start: float
    duration: float
    frames: int
    cut: bool


def plan(facts: dict, request: ClipRequest, settings: Settings) -> Plan:
    """Check a request by what the clip's header says.

    Args:
        facts: as of `clip_reading.look_at`.

    Raises:
        Refused: it is beyond the limits, or has an impossible value; the sentence says what to do.
        ConfigError: an impossible outscale.
    """
    if request.codec not in SHOWN:
        raise Refused("clip_codec", name=repr(request.codec), names=", ".join(SHOWN))
    if request.temporal not in TEMPORAL:
        raise Refused("clip_temporal", name=repr(request.temporal))
    for name in ("start", "duration"):
        _check_seconds(name, getattr(request, name))
    width, height = facts["width"], facts["height"]
    size = output_size((width, height), request.outscale)
    if width * height > settings.max_clip_pixels:
        raise Refused("clip_too_large_in", w=width, h=height, limit=mega(settings.max_clip_pixels))
    if math.prod(size) > settings.max_clip_output_pixels:
        raise Refused("clip_too_large_out", w=size[0], h=size[1], limit=mega(settings.max_clip_output_pixels))
    rate = facts["rate"] or RATE
    longest = min(settings.max_clip_seconds, settings.max_clip_frames / rate)
    rest = math.inf if facts["seconds"] is None else facts["seconds"] - request.start
    if rest <= 0:
        raise Refused("clip_start_late", start=f"{request.start:g}", seconds=f"{facts['seconds']:.1f}")
    duration = min(longest, request.duration or longest)
    frames = max(1, math.ceil(min(duration, rest) * rate))
    return Plan(size, request.start, duration, frames, rest > duration + 1 / rate)


@dataclass
class ClipRun:
    """One clip on its way through the line.

    A clip takes minutes, so that it is done in steps: after a segment those who wait are served, and the next step goes
    on from the segments on the disk. Everything here happens in the line's thread.

    Args:
        path: of the clip.
        name: of the model.
        request: what was asked for.
        compared: also make the clip that the page shows as "before".

    Attributes:
        done: whether the result is there.
        folder, target, before: where it lies, once begun.
        report: of `upscale_video`.
    """

    workshop: Workshop
    line: Line
    ledger: Ledger
    path: str
    name: str
    request: ClipRequest
    compared: bool
    done: bool = False
    folder: Path | None = None
    target: Path | None = None
    before: Path | None = None
    plan: Plan | None = None
    report: dict = field(default_factory=dict)
    _seconds: float = 0.0
    _room: int = 0
    _held: ExitStack = field(default_factory=ExitStack)

    def step(self, ticket: Ticket) -> None:
        """Go on until the clip is done, or a segment is and others wait."""
        began = time.monotonic()
        try:
            if self.folder is None:
                self._begin(ticket)
            self._upscale(ticket)
        except _GiveWay:
            pass
        finally:
            self._seconds += time.monotonic() - began

    def close(self) -> None:
        """Give back what is held; what is not complete is removed. May be called more than once."""
        if self.done:
            self._held.close()
        else:
            self._held.__exit__(Refused, Refused("failed"), None)

    def _begin(self, ticket: Ticket) -> None:
        ticket.enter("clip_reading")
        settings = self.workshop.settings
        facts = clip_facts(self.path, settings)
        self.plan = plan(facts, self.request, settings)
        part = {"start": self.plan.start or None, "duration": self.plan.duration, "most": settings.max_clip_frames + 1}
        frames = decoding.rehearse_clip(self.path, settings.max_clip_pixels, ticket.check, **part)
        self._room = self._needed(frames, (facts["width"], facts["height"]))
        self.folder = self._held.enter_context(self.ledger.new_folder(self._room))
        (self.folder / FILES).mkdir()
        stem = safe_stem(Path(self.path).name)
        self.target = self.folder / FILES / f"{stem}_x{self.request.outscale:g}.mp4"

    def _needed(self, frames: int, size: tuple[int, int]) -> int:
        """Most bytes that this run writes: clips, compressed, and what is kept from segment to segment."""
        from ..video.upscale_video import state_bytes  # only clips need the video library

        views = BEFORE**2 * math.prod(size) if self.compared else 0
        clips = round(BYTES_PER_PIXEL * frames * (math.prod(self.plan.size) + views))
        # Two: those of the last two segments are kept.
        states = 2 * state_bytes(size, self.request.outscale) if self.request.temporal == "auto" else 0
        return ALLOWANCE + 2 * Path(self.path).stat().st_size + clips + states

    def _upscale(self, ticket: Ticket) -> None:
        wanted, began = self.request, time.monotonic()

        def tell(done: int, total: int) -> None:
            spent = self._seconds + time.monotonic() - began
            total = max(done, self.plan.frames if not total else min(total, self.plan.frames))
            left = (total - done) * spent / done if done else None
            ticket.watch(Progress("clip_upscaling", done / max(total, 1), left, done, total))

        def between() -> None:
            if size_of(self.folder) > self._room:
                raise Refused("no_room")
            if self.line.others_wait():
                raise _GiveWay

        common = {"start": self.plan.start or None, "duration": self.plan.duration}
        if self.compared and self.before is None:
            before = self.folder / "before.mp4"
            ticket.enter("clip_reading")
            options = {"outscale": BEFORE, "strength": 0, "temporal": "off", "preset": "veryfast", **common}
            self.workshop.run_clip(
                self.name, self.path, before, on_progress=lambda done, total: ticket.check(), **options
            )
            self.before = before
        asked = ("outscale", "temporal", "codec", "denoise")
        options = {name: getattr(wanted, name) for name in asked} | common
        result = self.workshop.run_clip(
            self.name, self.path, self.target, segment=SEGMENT, on_progress=tell, on_segment=between, **options
        )
        self.report, self.done = result.report, True
        self.report["seconds"] = round(self._seconds + time.monotonic() - began, 3)


class _GiveWay(Exception):
    """A segment is done and others wait."""


def clip_facts(path: str | None, settings: Settings) -> dict:
    """What a clip's header says.

    Raises:
        Refused: there is no clip.
        ImageError: it cannot be read.
    """
    if not path:
        raise Refused("need_clip")
    if not Path(path).is_file():
        raise Refused("gone")
    return decoding.clip_facts(path, settings.max_clip_pixels)


def mega(pixels: int) -> str:
    """307200 as people write it: "0.31"."""
    return f"{pixels / MEGA:.2g}"


def _check_seconds(name: str, value) -> None:
    if value is None and name == "duration":
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (name == "duration" and value == 0):
        raise Refused("clip_seconds", name=name, value=repr(value))
