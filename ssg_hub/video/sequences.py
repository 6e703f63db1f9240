"""Numbered pictures as a clip: a folder or a pattern such as frames/%05d.png, read and written one by one."""

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import ConfigError, ImageError, VideoError
from ..images.formats import READ, list_pictures
from ..images.picture import Picture
from ..images.reading import MAX_PIXELS, read_picture, read_size
from ..images.rows import peek_size
from .colors import BT709, FULL, RGB, Colors
from .decoding import USUAL_RATE
from .frames import Damage, Facts, Frame, check_span, exactly
from .names import numbered


@dataclass
class PictureSequence:
    """Pictures in a row, as `Clip` gives frames.

    Args:
        path: a folder, read in the order of its names with numbers as numbers, or a pattern.
        rate: frames per second.
        start, duration: in seconds, as for `Clip`.
        max_pixels: largest picture.

    Attributes:
        found: all pictures there, (number, file); `files` are those of the wanted part.
        facts: known after opening.

    Raises:
        VideoError: no picture there or in the wanted part, the first is too large or cannot be read, or they are of
            several sizes.
        ConfigError: a rate, start or duration that no clip has.
    """

    path: Path
    rate: Fraction | float | None = None
    start: float | None = None
    duration: float | None = None
    max_pixels: int = MAX_PIXELS
    notes: list[str] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)

    def __post_init__(self):
        check_span(self.start, self.duration)
        rate = check_rate(USUAL_RATE if self.rate is None else self.rate)
        self.found = _find_pictures(Path(self.path))
        first = self.found[0][0] + math.ceil(exactly(self.start or 0) * rate)
        behind = math.inf if self.duration is None else first + math.ceil(exactly(self.duration) * rate)
        self.files = [(number, file) for number, file in self.found if first <= number < behind]
        if not self.files:
            raise VideoError(
                f"none of the {len(self.found)} pictures of {self.path} lies in the part from {float(self.start):g} s "
                "on that is asked for. Give an earlier start, or a longer duration."
            )
        self.first_number = self.files[0][0]
        if missing := self.files[-1][0] - self.first_number + 1 - len(self.files):
            self.notes.append(f"{missing} number(s) are missing; the picture before each is shown longer.")
        try:
            picture = read_picture(self.files[0][1], self.max_pixels)
        except ImageError as error:
            raise VideoError(f"the first picture cannot be read: {error}") from error
        self._check_sizes(picture.size)
        self.notes += picture.notes
        if picture.icc:
            self.notes.append("The colour profile of the pictures was left out; their values go through as they are.")
        colors = Colors(RGB, FULL, BT709, BT709)
        self.facts = Facts(picture.size, 1 / rate, rate, len(self.files), None, picture.bits > 8, colors)

    def frames(self, skip: int = 0) -> Iterator[Frame]:
        """The pictures after the first `skip` that can be read; others are left out."""
        self.damage = Damage()
        given = 0
        for number, file in self.files:
            pts = number - self.first_number
            try:
                picture = read_picture(file, self.max_pixels)
                values = _as_frame(picture, self.facts)
            except ImageError:
                self.damage.pictures += 1
                if self.damage.since is None:
                    self.damage.since = float(pts * self.facts.time_base)
                continue
            given += 1
            if picture.alpha is not None and picture.alpha.min() < np.iinfo(picture.alpha.dtype).max:
                self.damage.transparent = True
            if given > skip:
                yield Frame(values, pts, 1)

    def _check_sizes(self, size: tuple[int, int]) -> None:
        """Refuse pictures of another size than the first, by their headers; what cannot be read is left out later.

        A file is read whole only where its first bytes say another size: what tells of its orientation may come last.
        """
        for _, file in self.files[1:]:
            with contextlib.suppress(ImageError):
                if peek_size(file) != size and (other := read_size(file)) != size:
                    raise VideoError(
                        f"{file} is {other[0]}x{other[1]}, and the first picture, {self.files[0][1].name}, is "
                        f"{size[0]}x{size[1]}. A clip has frames of one size: give pictures of one."
                    )

    def identity(self) -> dict:
        """Identifies these pictures."""
        return {"files": [[file.name, *_size_and_time(file)] for _, file in self.files]}


def _size_and_time(file: Path) -> list[int | None]:
    """Bytes and time of change; None for both of a link that leads nowhere."""
    try:
        facts = file.stat()
    except OSError:
        return [None, None]
    return [facts.st_size, facts.st_mtime_ns]


def check_rate(rate: Fraction | float) -> Fraction:
    """Frames per second as a fraction; 29.97 and its like mean 30000/1001.

    Raises:
        ConfigError: not a number from 0.001 to 1000.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float, Fraction)) or not 0.001 <= rate <= 1000:
        raise ConfigError(f"fps is {rate!r}; it must be a number from 0.001 to 1000.")
    for nominal in (24, 30, 48, 60, 120):
        if abs(rate - nominal * 1000 / 1001) < 0.006:
            return Fraction(nominal * 1000, 1001)
    return Fraction(rate).limit_denominator(1001)


def _as_frame(picture: Picture, facts: Facts) -> np.ndarray:
    if picture.size != facts.size:
        raise ImageError("another size than the first picture, which its header did not tell")
    values = picture.values if not picture.is_gray else np.stack([picture.values] * 3, axis=-1)
    if facts.deep and picture.bits == 8:
        return values.astype(np.uint16) * 257
    return values if facts.deep or picture.bits == 8 else (values >> 8).astype(np.uint8)


def _find_pictures(path: Path) -> list[tuple[int, Path]]:
    """(number, file) in order; the pictures of a folder are numbered from 1."""
    if path.is_dir():
        files = list_pictures(path, recursive=False)
        if not files:
            raise VideoError(f"no pictures in {path}. Names that count end in {', '.join(READ)}.")
        by_number = [[int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", f.name)] for f in files]
        return list(enumerate((file for _, file in sorted(zip(by_number, files, strict=True))), start=1))
    found = numbered(path)
    if not found:
        raise VideoError(f"no pictures are named like {path}. Give a pattern such as frames/%05d.png.")
    if twice := next((pair for pair in pairwise(found) if pair[0][0] == pair[1][0]), None):
        raise VideoError(
            f"{twice[0][1].name} and {twice[1][1].name} in {path.parent} have the same number. Move one of them away."
        )
    return found
