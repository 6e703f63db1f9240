"""How far a run is and how long it will take: the estimate that the command line, the page and programs share."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import NoneType

from ..errors import check_type
from .pace import known_pace, learn_pace

TICK = 0.25  # seconds between two messages
MOST = 0.9  # of a running tile that is guessed to be done
MEGA = 1e6


@dataclass(frozen=True)
class Progress:
    """The state of a run at one moment.

    Attributes:
        stage: "reading", "upscaling", "preparing" (networks for their engine), or "finishing".
        fraction: how much of all is done, 0 to 1; estimated within a tile, so that it moves. It never falls.
        seconds_left: about; None while nothing is known of this machine.
        tiles_done, tiles: of the picture; 0 of 0 before it is read.
    """

    stage: str
    fraction: float = 0.0
    seconds_left: float | None = None
    tiles_done: int = 0
    tiles: int = 0


Watch = Callable[[Progress], None]


class Tracker:
    """Follows one run, tells who watches, and learns from it.

    Args:
        watch: called with a `Progress` at every change, and about four times a second while an engine computes.
            An exception ends the run.

    Raises:
        ConfigError: it cannot be called.
    """

    def __init__(self, watch: Watch | None = None):
        check_type("watch", watch, (Callable, NoneType), "a function")
        self._watch = watch
        self._stage, self._said, self._fraction = "reading", 0.0, 0.0
        self._sizes: list[float] = []  # megapixels of each tile
        self._done = 0  # tiles
        self._known: float | None = None  # seconds per megapixel, of earlier runs
        self._computed = 0.0  # seconds, in finished tiles
        self._since = 0.0  # when the running tile began, later by the time that was not spent on it

    def enter(self, stage: str) -> None:
        """Begin a stage."""
        self._stage = stage
        self._tell()

    def begin(self, key: str, pixels: list[int]) -> None:
        """The tiles begin.

        Args:
            key: names the way of computing; see `ssg_hub.upscaling.pace`.
            pixels: LR pixels of each tile, in order.
        """
        self._sizes, self._known = [count / MEGA for count in pixels], known_pace(key)
        self._since = time.monotonic()
        self.enter("upscaling")

    def tick(self) -> None:
        """An engine is at work: called as often as it can."""
        if time.monotonic() - self._said >= TICK:
            self._tell()

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Inside, an engine prepares itself, which says nothing about its pace."""
        began = time.monotonic()
        self.enter("preparing")
        yield
        self._since += time.monotonic() - began
        self.enter("upscaling")

    def finish_tile(self) -> None:
        """The next tile is done."""
        now = time.monotonic()
        self._computed += now - self._since
        self._since, self._done = now, self._done + 1
        self._tell()

    def finish(self, key: str) -> None:
        """All tiles are done: remember how long they took, in this way of computing."""
        learn_pace(key, sum(self._sizes), self._computed)
        self.enter("finishing")

    def _tell(self) -> None:
        if self._watch is None:
            return
        self._said = time.monotonic()
        total, pace = sum(self._sizes), self._pace()
        done = self._megapixels_done(pace)
        self._fraction = max(self._fraction, done / total if total else 0.0)
        left = (total - done) * pace if total and pace else None
        self._watch(Progress(self._stage, self._fraction, left, self._done, len(self._sizes)))

    def _pace(self) -> float | None:
        """Seconds per megapixel: what earlier runs say counts as much as one tile of this run."""
        done = sum(self._sizes[: self._done])
        if self._known is None:
            return self._computed / done if done else None
        return (self._known * self._sizes[0] + self._computed) / (self._sizes[0] + done)

    def _megapixels_done(self, pace: float | None) -> float:
        """With a guess for the running tile, from its time."""
        done = sum(self._sizes[: self._done])
        if self._stage != "upscaling" or self._done == len(self._sizes) or not pace:
            return done
        return done + min(MOST * self._sizes[self._done], (time.monotonic() - self._since) / pace)
