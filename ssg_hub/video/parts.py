"""The finished segments of a clip, kept beside the target, so that the same request continues where it stopped.

The folder TARGET.parts holds `request.json` (what was asked for), and for each segment NUMBER: NUMBER.TRACK.mp4, each
playable by itself; NUMBER.npz, what the next segment must know of the frames before; and NUMBER.json, its time stamps.
Pictures lie in their final places, and NUMBER.json has their numbers.
NUMBER.json is written last. A segment that lacks one of them, or whose arrays are damaged, does not count and is made
again; for that the arrays of the last two segments are kept.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import av
import numpy as np

from ..errors import VideoError
from ..processes.locking import take_lock
from ..storage.whole_file import whole_file
from .names import name_parts, name_picture, numbered

REQUEST = "request.json"
OURS = re.compile(r"lock|request\.json|\d{5,}\.(json|npz|\w+\.mp4)|\..*")  # hidden: what was being written


@dataclass(frozen=True)
class Segment:
    """One finished segment.

    Args:
        number: from 0.
        frames: how many.
        end: the time stamp at which its last frame ends.
        stamps: for each track the time stamps of the packets in the order in which they are stored.
        facts: what else was counted; added up for the report.
        pictures: the numbers of the frames that were written as pictures.
        shown: the time stamps of the frames in the order in which they are shown.
    """

    number: int
    frames: int
    end: int
    stamps: dict[str, list[int]]
    facts: dict[str, float]
    pictures: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)


class Parts:
    """The folder of a target's finished segments; only one process works in it at a time.

    Args:
        target: the file (or pattern) that is made.
        request: what decides the result, as JSON holds it.
        overwrite: forget what another request left.
        patterns: of the pictures that are written.

    Attributes:
        segments: those that are finished, in order, without a gap.

    Raises:
        VideoError: another request left its segments there, another process works there, the folder is someone's own,
            or it cannot be written.
    """

    def __init__(self, target: Path, request: dict, overwrite: bool = False, patterns: Sequence[Path] = ()):
        self.patterns = patterns
        # Absolute: FFmpeg takes what comes before a colon for a protocol.
        self.folder = Path(os.path.abspath(name_parts(target)))
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            try:
                self._settle_request(json.loads(json.dumps(request)), overwrite)
                self.segments = self._find_segments()
            except BaseException:
                self.release()
                raise

    @property
    def frames(self) -> int:
        """How many frames are done."""
        return sum(segment.frames for segment in self.segments)

    def place(self, number: int, track: str) -> Path:
        """Where the stream of a track of a segment is kept."""
        return self.folder / f"{number:05d}.{track}.mp4"

    def commit(self, segment: Segment, state: dict[str, np.ndarray]) -> None:
        """Declare a segment finished, whose streams and pictures lie in their places.

        Args:
            segment: what it holds.
            state: arrays that the next segment needs; see `state`.
        """
        with explained(self.folder):
            for picture in self._pictures(segment):
                with open(picture, "r+b") as file:
                    os.fsync(file.fileno())
            if segment.number > 1:
                self._state_place(segment.number - 2).unlink(missing_ok=True)
            with whole_file(self._state_place(segment.number)) as file:
                np.savez(file, **state)  # type: ignore[arg-type]  # numpy's stub takes any name for `allow_pickle`
            with whole_file(self.folder / f"{segment.number:05d}.json") as file:
                file.write(json.dumps(segment.__dict__).encode())
        self.segments.append(segment)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays of the last finished segment; none at the beginning."""
        return self._read_state(self.segments[-1].number) if self.segments else {}

    def _pictures(self, segment: Segment) -> list[Path]:
        return [name_picture(pattern, number) for pattern in self.patterns for number in segment.pictures]

    def _read_state(self, number: int) -> dict[str, np.ndarray]:
        with np.load(self._state_place(number)) as arrays:
            return dict(arrays)

    def _has_state(self, number: int) -> bool:
        try:
            self._read_state(number)
        except Exception:  # missing, or damaged, of which numpy and zipfile raise whatever they stumble over
            return False
        return True

    def remove_older_pictures(self) -> None:
        """Delete the pictures that the patterns stand for and that belong to no segment."""
        ours = {picture for segment in self.segments for picture in self._pictures(segment)}
        with explained(self.folder):
            for pattern in self.patterns:
                for _, picture in numbered(pattern):
                    if picture not in ours:
                        picture.unlink()

    def remove(self) -> None:
        """Delete the folder: the target is whole. Nobody else begins in it meanwhile."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let another process in; the segments stay."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _state_place(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _take_lock(self) -> IO | None:
        try:
            return take_lock(self.folder / "lock")
        except BlockingIOError:
            raise VideoError(
                f"another process is making this clip (it works in {self.folder}). Wait for it, or stop it."
            ) from None

    def _settle_request(self, request: dict, overwrite: bool) -> None:
        if foreign := sorted(file.name for file in self.folder.iterdir() if not OURS.fullmatch(file.name)):
            raise VideoError(
                f"{self.folder} is where an interrupted run keeps its work, and it holds {foreign[0]}, which no run "
                "made. Move that away, or give the result another name."
            )
        former = read_request(self.folder)
        if former == request:
            return
        begun = any(self.folder.glob("[0-9]*.json"))
        if former and begun and not overwrite:
            changed = sorted(key for key in {*former, *request} if former.get(key) != request.get(key))
            raise VideoError(
                f"{self.folder} holds the beginning of another request ({', '.join(changed)} differ). Give the former "
                "options to go on with it, delete the folder, or allow overwriting to start again."
            )
        for old in self.folder.iterdir():
            if old.name != "lock":
                old.unlink()
        with whole_file(self.folder / REQUEST) as file:
            file.write(json.dumps(request, indent=1).encode())

    def _find_segments(self) -> list[Segment]:
        found: list[Segment] = []
        while (segment := self._read_segment(len(found))) is not None:
            found.append(segment)
        while found and not self._has_state(found[-1].number):
            found.pop()
        self._forget_from(len(found))
        return found

    def _forget_from(self, number: int) -> None:
        """Let no later segment count as finished: it is made again, and half of that must not pass for the former."""
        for place in self.folder.glob("[0-9]*.json"):
            if int(place.stem) >= number:
                place.unlink()

    def _read_segment(self, number: int) -> Segment | None:
        """A segment whose streams and pictures are all there, else None."""
        try:
            segment = Segment(**json.loads((self.folder / f"{number:05d}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        files = [*(self.place(number, track) for track in segment.stamps), *self._pictures(segment)]
        return segment if all(file.exists() for file in files) else None


def read_request(folder: Path) -> dict:
    """What was asked of the run that left this folder; empty where none has begun."""
    try:
        request = json.loads((folder / REQUEST).read_text())
    except (OSError, ValueError):
        return {}
    return request if isinstance(request, dict) else {}


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn a failed write, or a failure of the video library, into a sentence."""
    try:
        yield
    except OSError as error:
        raise VideoError(
            f"{place} cannot be written: {error.strerror or error}. What is finished is kept; make room or change the "
            "place's permissions, and give the same command again to go on."
        ) from error
    except av.error.FFmpegError as error:
        raise VideoError(f"{place} cannot be made: FFmpeg says {error}. Try another codec or container.") from error
