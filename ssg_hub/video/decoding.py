"""What a decoder gives of a file: the stream that is meant, and its frames, with time stamps and deinterlaced."""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import cast

import av
from av.stream import Disposition

from ..errors import VideoError

HELD = 16  # frames that wait for the first time stamp: as many as H.264 reorders at most
USUAL_RATE = 25
SHARED_DURATION = ("matroska,webm", "asf")
CLOCK = re.compile(r"(\d{1,6}):(\d{1,2}):(\d{1,2}(?:\.\d{1,9})?)")  # hours, minutes and seconds in a tag of Matroska


def choose_stream(container, path: Path):
    """The stream of moving pictures: the default one of several, never a cover picture.

    Raises:
        VideoError: there is none.
    """
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic and s.codec_context]
    if not moving:
        raise VideoError(f"{path} holds no video that can be decoded. Give another file.")
    return next((s for s in moving if s.disposition & Disposition.default), moving[0])


def clip_start(container) -> Fraction:
    """Where a file's own clock starts, in seconds: transport streams do not start at 0. Never below 0."""
    starts = [
        s.start_time * s.time_base
        for s in container.streams
        if s.type in ("video", "audio") and s.start_time is not None and not s.disposition & Disposition.attached_pic
    ]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def read_duration(container, stream) -> Fraction | None:
    """How many seconds a stream lasts by what the file says of it; None where it says that of all streams together.

    Matroska and ASF have that alone, which FFmpeg then gives for a stream's own; in Matroska most programs add a tag.
    """
    tags = (value for key, value in stream.metadata.items() if key.upper().startswith("DURATION"))
    if match := next(filter(None, map(CLOCK.fullmatch, tags)), None):
        return 3600 * int(match[1]) + 60 * int(match[2]) + Fraction(match[3])
    if stream.duration and (len(container.streams) == 1 or container.format.name not in SHARED_DURATION):
        return stream.duration * stream.time_base
    return None


def with_stamps(frames: Iterable[av.VideoFrame], stream, begin: Fraction) -> Iterator[av.VideoFrame]:
    """Frames that all have a time stamp: one that lacks it follows the one before.

    Frames before the first time stamp count back from it, as where a recording was cut. Where no frame has one, as in a
    bare H.264 stream, they count from `begin`, in seconds.
    """
    step = max(1, round(1 / ((stream.average_rate or USUAL_RATE) * stream.time_base)))
    held: list[av.VideoFrame] = []
    clock = None  # the time stamp after the last one
    for frame in chain(frames, [None]):
        if clock is None:
            if frame is not None and frame.pts is None and len(held) < HELD:
                held.append(frame)
                continue
            stamped = frame is not None and frame.pts is not None
            clock = frame.pts - step * len(held) if stamped else round(begin / stream.time_base)
        for one in [*held, frame]:
            if one is not None:
                one.pts = clock if one.pts is None else one.pts
                clock = one.pts + max(1, one.duration or step)
                yield one
        held = []


def deinterlaced(frames: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The frames, of interlaced ones the two fields merged by bwdif (w3fdif and yadif combined).

    A clip may change from one to the other, as recordings of broadcasts do.
    """
    kinds = groupby(frames, lambda f: (f.interlaced_frame, f.width, f.height, f.format.name))
    for (interlaced, *_), alike in kinds:
        if interlaced:
            alike = _merge_fields(alike)
        yield from alike


def _merge_fields(frames: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Frames of one size and format through FFmpeg's filter; the time stamps stay."""
    first = next(frames)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=first.time_base)
    weave = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    sink = graph.add("buffersink")
    source.link_to(weave)
    weave.link_to(sink)
    graph.configure()
    for frame in chain([first], frames, [None]):
        source.push(frame)
        while True:
            try:
                yield cast(av.VideoFrame, sink.pull())  # as all that was pushed
            except (av.error.BlockingIOError, av.error.EOFError):
                break
