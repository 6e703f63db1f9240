"""A clip as a stream of upright RGB frames with exact time stamps; damaged parts are skipped and counted."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from ..errors import VideoError
from .colors import MATRICES, RGB, UNSPECIFIED, ColorConverter, Colors
from .decoding import USUAL_RATE, choose_stream, clip_start, deinterlaced, read_duration, with_stamps
from .frames import Damage, Facts, Frame, Turn, check_span, exactly, read_turn

HDR = (16, 18)  # transfer characteristics PQ and HLG (ITU-T H.273)
HIGHEST_RATE = 1000  # frames a second; what files announce beyond it is a clock, not a rate
ENDS = 2**20  # bytes at either end of a file that distinguish it from another of its size


@dataclass
class Clip:
    """A video file, or the requested part of one.

    Args:
        path: the file.
        start: seconds from the clip's beginning; the first frame at or after it becomes time 0.
        duration: seconds; None to the end.

    Attributes:
        facts: known after opening.
        origin: the moment, in the file's own time, that becomes 0; `end` likewise, or None.
        sample_rates: of its sounds, in Hz; not of one that is announced only, as in a transport stream.
        notes: what reading changes or leaves out.
        damage: filled by `frames`.

    Raises:
        VideoError: no such file, no video in it, nothing that can be decoded, or a start behind its end.
        ConfigError: a start or duration that no clip has.
    """

    path: Path
    start: float | None = None
    duration: float | None = None
    notes: list[str] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)

    def __post_init__(self):
        self.path = Path(self.path)
        check_span(self.start, self.duration)
        self._converter = ColorConverter()
        self.origin = Fraction(0)
        with self.open() as container:
            stream = choose_stream(container, self.path)
            self.index = stream.index
            self._begin = clip_start(container)
            sounds = [s.codec_context for s in container.streams.audio if s.codec_context]
            self.sample_rates = [sound.sample_rate for sound in sounds if sound.sample_rate]
            first = self._first_frame(container, stream)
            self._learn(container, stream, first)

    def open(self) -> av.container.InputContainer:
        """The file, opened again; the caller closes it."""
        return open_file(self.path)

    def identity(self) -> dict:
        """Identifies this file without reading all of it."""
        facts = self.path.stat()
        with open(self.path, "rb") as file:
            ends = [file.read(ENDS), (file.seek(max(0, facts.st_size - ENDS)), file.read())[1]]
        digest = hashlib.sha256(b"".join(ends)).hexdigest()
        return {"name": self.path.name, "size": facts.st_size, "ends": digest}

    def frames(self, skip: int = 0) -> Iterator[Frame]:
        """The frames in the order of their time stamps.

        Args:
            skip: leave out so many at the beginning; they are decoded all the same, so that the rest is as ever.
        """
        self.damage = Damage(transparent=self._says_alpha)
        before = None
        with self.open() as container:
            stream = container.streams[self.index]
            for number, frame in enumerate(self._wanted(container, stream)):
                pts = self._time(frame)
                if before is not None and pts <= before:
                    self.damage.backwards += 1
                    pts = before + 1
                before = pts
                if frame.is_corrupt:
                    self._note_damage("corrupt", frame.time)
                self.damage.transparent = self.damage.transparent or is_transparent(frame)
                if number >= skip:
                    yield Frame(self._upright(frame), pts, self._duration(frame))

    def _wanted(self, container, stream) -> Iterator[av.VideoFrame]:
        """Decoded frames from the start to the end that are asked for."""
        for frame in deinterlaced(self._decode(container, stream)):
            pts = self._time(frame)
            if pts < 0 and self.start:
                continue
            if self.duration is not None and pts * self.facts.time_base >= exactly(self.duration):
                return
            yield frame

    def _decode(self, container, stream) -> Iterator[av.VideoFrame]:
        """Every frame that can be decoded, from the last key frame before the start."""
        if self.start:
            self.seek(container, stream)
        return with_stamps(self._decode_packets(container, stream), stream, self._begin)

    def _decode_packets(self, container, stream) -> Iterator[av.VideoFrame]:
        for packet in self._demux(container, stream):
            if not packet.size and packet.dts is not None:  # not the flush at the end: a frame repeated, in Theora
                continue
            try:
                frames = stream.decode(packet)
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                self._note_damage("packets", None if packet.pts is None else float(packet.pts * packet.time_base))
                continue
            self.damage.interlaced += sum(frame.interlaced_frame for frame in frames)
            yield from frames

    def _demux(self, container, stream):
        try:
            yield from container.demux(stream)
        except av.error.FFmpegError as error:
            self.damage.ended = error.strerror or str(error)

    def seek(self, container, stream) -> None:
        """Go to a key frame before the start, or to one as near as the file allows."""
        target = self._begin + exactly(self.start)
        with contextlib.suppress(av.error.FFmpegError):  # then it is read from the beginning
            # A second early: some indices point a little behind the frame that they promise.
            container.seek(int((target - 1) / stream.time_base), stream=stream, backward=True)

    def _first_frame(self, container, stream) -> av.VideoFrame:
        """The first frame that is wanted; sets the origin."""
        target = self._begin + exactly(self.start or 0)
        for frame in self._decode(container, stream):
            moment = frame.pts * stream.time_base
            if not self.start or moment >= target:
                self.origin = moment if self.start else min(self._begin, moment)
                return frame
        if self.start:
            raise VideoError(f"start {float(self.start):g} lies behind the end of {self.path}. Give an earlier one.")
        raise VideoError(f"no frame of {self.path} can be decoded ({stream.name}). Give another file.")

    def _learn(self, container, stream, frame: av.VideoFrame) -> None:
        """Put the facts together from the container and its first frame."""
        self.turn = self._read_turn(frame)
        self._stored = (frame.width, frame.height)
        tagged = Colors.of(frame)
        if tagged.matrix not in MATRICES and tagged.matrix not in (RGB, UNSPECIFIED, 3):
            self.notes.append(f"The colour matrix (code {tagged.matrix}) is not known here; colours may be off.")
        if tagged.transfer in HDR:
            self.notes.append(
                "The clip is HDR: its values go through as they are, though the generator was trained on SDR, and its "
                "mastering data is left out."
            )
        self._says_alpha = stream.metadata.get("alpha_mode") == "1"  # of Matroska; not every decoder gives it
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        width, height = self._stored
        rates = (stream.average_rate, stream.guessed_rate)
        rate = next((rate for rate in rates if rate and 0 < rate <= HIGHEST_RATE), None)
        own = read_duration(container, stream)
        seconds = self._wanted_seconds(own or Fraction(container.duration or 0, av.time_base))
        self.facts = Facts(
            size=(height, width) if self.turn.transpose else (width, height),
            time_base=stream.time_base,
            rate=rate,
            frames=self._count(stream, seconds, rate),
            seconds=seconds,
            deep=max(component.bits for component in frame.format.components) > 8,
            colors=tagged.settled(height),
            aspect=1 / aspect if self.turn.transpose else aspect,
            announced=self._wanted_seconds(own),
        )
        self.end = None if self.duration is None else self.origin + exactly(self.duration)

    def _read_turn(self, frame: av.VideoFrame) -> Turn:
        data = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]  # PyAV's stub lacks it
        turn = Turn() if data is None else read_turn(bytes(data))
        if turn is None:
            self.notes.append("The clip asks to be shown turned by an odd angle; that was left out.")
        return turn or Turn()

    def _count(self, stream, seconds: float | None, rate: Fraction | None) -> int | None:
        if stream.frames and not self.start and self.duration is None:
            return stream.frames
        return max(1, round(seconds * rate)) if seconds and rate else None

    def _wanted_seconds(self, whole: Fraction | None) -> float | None:
        """How long the wanted part of so many seconds is; None for an unknown length."""
        rest = float((whole or 0) - (self.origin - self._begin if self.start else 0))
        return (rest if self.duration is None else min(rest, self.duration)) if whole and rest > 0 else None

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        colors = Colors.of(frame)
        colors = colors.settled(frame.height) if colors.matrix in MATRICES else self.facts.colors
        return self.turn(self._converter.to_rgb(frame, colors, self._stored, self.facts.deep))

    def _time(self, frame: av.VideoFrame) -> int:
        """A frame's time stamp in units of the clip's time base, from the origin."""
        return self._rescale(frame.pts, frame.time_base) - round(self.origin / self.facts.time_base)

    def _duration(self, frame: av.VideoFrame) -> int:
        if frame.duration:
            return max(1, self._rescale(frame.duration, frame.time_base))
        return max(1, round(1 / ((self.facts.rate or USUAL_RATE) * self.facts.time_base)))

    def _rescale(self, stamp: int, unit: Fraction) -> int:
        return stamp if unit == self.facts.time_base else round(stamp * unit / self.facts.time_base)

    def _note_damage(self, kind: str, moment: float | None) -> None:
        setattr(self.damage, kind, getattr(self.damage, kind) + 1)
        if self.damage.since is None and moment is not None:
            self.damage.since = max(0.0, moment - float(self.origin))


def is_transparent(frame: av.VideoFrame) -> bool:
    """Whether any pixel is not opaque; the decoders of GIF and others give every frame an alpha channel."""
    has_alpha = any(component.is_alpha for component in frame.format.components)
    return has_alpha and bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


def open_file(path: Path) -> av.container.InputContainer:
    """A video file; the caller closes it. Only its header is read.

    Raises:
        VideoError: no such file, a pipe, or no video.
    """
    if path.is_fifo():
        raise VideoError(f"{path} is a pipe, and a clip is read more than once. Save it to a file first.")
    try:
        # Absolute: FFmpeg takes what comes before a colon for a protocol.
        return av.open(os.path.abspath(path), metadata_errors="replace")
    except av.error.FFmpegError as error:
        if not path.exists():
            raise VideoError(f"no file at {path}. Give a clip.") from error
        raise VideoError(
            f"{path} cannot be read as a video ({error.strerror}). If the recording was cut off, repair it "
            "first; otherwise give another file."
        ) from error
