"""What the frames of a clip are made of: facts, time stamps, orientation, and the damage that was met on the way."""

from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

import numpy as np

from ..errors import ConfigError
from .colors import Colors

UNITY = 1 << 16  # one, in the fixed-point numbers of a display matrix
SLACK = Fraction(1, 1000)  # seconds by which a frame may be off an even row: some clocks are no finer


@dataclass(frozen=True)
class Facts:
    """What is known of a clip before its frames are read.

    Args:
        size: (width, height) of an upright frame in pixels.
        time_base: seconds to one unit of the frames' time stamps.
        rate: frames per second on average, for information; None when not known.
        frames: about how many; None when not known.
        seconds: how long the wanted part is by what the source says, be it of its longest stream; None when it does
            not say.
        deep: more than 8 bits a channel.
        colors: settled, see `Colors.settled`.
        aspect: width to height of one pixel, upright.
        announced: as `seconds`, where the source says it of the pictures themselves; else None.
    """

    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction | None
    frames: int | None
    seconds: float | None
    deep: bool
    colors: Colors
    aspect: Fraction = Fraction(1)
    announced: float | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: RGB (H, W, 3) uint8 or uint16, its time stamp and duration in units of the clip's time base."""

    values: np.ndarray
    pts: int
    duration: int


@dataclass(frozen=True)
class Turn:
    """How stored frames become upright: mirrored about the diagonal first, then along x and y."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        if self.transpose:
            values = values.swapaxes(0, 1)
        values = values[:, ::-1] if self.flip_x else values
        return np.ascontiguousarray(values[::-1] if self.flip_y else values)


def read_turn(matrix: bytes) -> Turn | None:
    """The turn of a display matrix (ISO/IEC 14496-12, 8.2.2): nine 32-bit numbers, (x, y, 1) times it is upright.

    Returns:
        None for a matrix that is no turn by right angles.
    """
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) == abs(d) == UNITY and b == c == 0:
        return Turn(False, a < 0, d < 0)
    if abs(b) == abs(c) == UNITY and a == d == 0:
        return Turn(True, c < 0, b < 0)
    return None


@dataclass
class Damage:
    """What could not be read as it is, counted while the frames go by; `since` is the first damage, in seconds."""

    packets: int = 0
    pictures: int = 0
    corrupt: int = 0
    backwards: int = 0
    since: float | None = None
    ended: str | None = None
    interlaced: int = 0
    transparent: bool = False

    def say(self) -> list[str]:
        """A sentence for each kind."""
        where = "" if self.since is None else f" (first near {self.since:.2f} s)"
        found = []
        if self.packets:
            found.append(
                f"{self.packets} damaged packet(s) could not be decoded{where}; the frame before is shown longer there."
            )
        if self.pictures:
            found.append(f"{self.pictures} picture(s) could not be read{where}; the one before is shown longer there.")
        if self.corrupt:
            found.append(f"{self.corrupt} frame(s) are damaged{where}; they were upscaled as the decoder mended them.")
        if self.backwards:
            found.append(
                f"{self.backwards} time stamp(s) ran backwards and were moved. A file that was joined from several "
                "should be remuxed first (ffmpeg -i IN -c copy OUT)."
            )
        if self.ended:
            found.append(f"The clip could not be read to its end: {self.ended}.")
        if self.interlaced:
            found.append("The clip has interlaced frames: their fields were merged by bwdif, one frame for two fields.")
        if self.transparent:
            found.append("The transparency was left out.")
        return found


def exactly(seconds: float) -> Fraction:
    """Seconds as they were written: 0.4 is two fifths, and not the binary fraction beside it, which is later."""
    return Fraction(float(seconds)).limit_denominator(10**6)


def are_even(shown: list[int], time_base: Fraction) -> bool:
    """Whether frames follow each other at one rate, but for a millisecond or a unit of their clock.

    Args:
        shown: their time stamps, in order.
        time_base: seconds to one unit of these.
    """
    even = np.linspace(shown[0], shown[-1], len(shown))
    return bool(np.abs(even - shown).max() <= max(1.0, float(SLACK / time_base)))


def check_span(start: float | None, duration: float | None) -> None:
    """Refuse a part of a clip that cannot be.

    Raises:
        ConfigError: a start below 0, a duration of less than a microsecond, or no numbers.
    """
    if start is not None and not (_is_number(start) and 0 <= start < 1e9):
        raise ConfigError(f"start is {start!r}; it must be a number of seconds from 0 on.")
    if duration is not None and not (_is_number(duration) and 0 < duration < 1e9 and exactly(duration) > 0):
        raise ConfigError(f"duration is {duration!r}; it must be a number of seconds, a microsecond or more.")


def _is_number(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
