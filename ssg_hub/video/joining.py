"""The finished file: the segments in a row, and beside them all other streams of the source, packet by packet."""

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av

from ..errors import VideoError
from ..storage.whole_file import whole_file
from .clip import Clip
from .copying import add_copy, copied, is_cover, kept_chapters
from .decoding import USUAL_RATE
from .encoding import Encoding
from .job import Output
from .parts import Parts, explained
from .tags import kept_tags, place_tags

USUAL_CLOCK, FASTEST_CLOCK = 48000, 200000  # units a second of an MP4's own clock


def join(output: Output, parts: Parts, clip: Clip | None, copies: dict[int, str | None]) -> int:
    """Write a finished file, whole or not at all.

    Args:
        output: which one; with an encoding.
        parts: its finished segments.
        clip: the source whose metadata and streams go along; None for neither.
        copies: which of its streams, as `plan_copies` gives them.

    Returns:
        How many packets of the copied streams were too damaged to be kept.

    Raises:
        VideoError: it cannot be written, or a segment is damaged.
    """
    encoding = output.encoding
    assert encoding is not None  # else they are pictures, which are there already
    files = [parts.place(segment.number, output.track) for segment in parts.segments]
    stamps = [stamp for segment in parts.segments for stamp in segment.stamps[output.track]]
    with explained(output.path), whole_file(output.path) as file:
        # A second handle: MP4 with its index in front is written by reading back what was written.
        options = _mp4_options(output.muxer, encoding, clip, copies) if output.muxer in ("mp4", "mov") else {}
        out = av.open(file.name, "w", format=output.muxer, options=options)
        with av.open(str(files[0])) as first:
            video = out.add_stream_from_template(first.streams.video[0], opaque=True)
        video.time_base, video.codec_context.framerate = encoding.time_base, encoding.rate or Fraction(USUAL_RATE)
        packets = stamped(read_packets(files, video), stamps, parts.segments[-1].end, encoding.time_base)
        lost = 0
        if clip is None:
            for packet in packets:
                out.mux(packet)
        else:
            with clip.open() as source:
                lost = _mux_with(out, packets, source, clip, copies)
        out.close()
    return lost


def read_packets(files: Iterable[Path], stream) -> Iterator[av.Packet]:
    """The packets of segment after segment, for the stream of the result."""
    for file in files:
        with av.open(str(file)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.size:
                    packet.stream = stream
                    yield packet


def stamped(packets: Iterable[av.Packet], stamps: list[int], end: int, unit: Fraction) -> Iterator[av.Packet]:
    """Give packets their exact time stamps, and decoding times that fit the whole row.

    A frame is decoded, in steps of the shown frames' times, as early as the deepest reordering in the row needs: with
    the time stamps sorted, q, packet i is decoded at q[i - delay].

    Args:
        packets: in the order in which they are stored.
        stamps: their time stamps, in units of `unit`.
        end: when the last frame ends.

    Raises:
        VideoError: fewer packets than stamps.
    """
    shown = sorted(stamps)
    rank = {stamp: number for number, stamp in enumerate(shown)}
    delay = max((number - rank[stamp] for number, stamp in enumerate(stamps)), default=0)
    step = max(1, shown[1] - shown[0]) if len(shown) > 1 else 1
    until = [*shown[1:], max(end, shown[-1] + 1)]
    count = 0
    for count, (packet, stamp) in enumerate(zip(packets, stamps, strict=False), start=1):
        early = count - 1 - delay
        packet.time_base = unit
        packet.pts, packet.dts = stamp, shown[early] if early >= 0 else shown[0] + early * step
        packet.duration = until[rank[stamp]] - stamp
        yield packet
    if count < len(stamps):
        raise VideoError(f"a segment lost {len(stamps) - count} frames after it was written. Delete the .parts folder.")


def _mux_with(out, packets: Iterator[av.Packet], source, clip: Clip, copies: dict[int, str | None]) -> int:
    """Multiplex video with the copied streams, each packet at its time; returns how many of these were lost."""
    streams = {index: add_copy(out, source.streams[index], encoder) for index, encoder in copies.items()}
    out.streams.video[0].metadata.update(kept_tags(source.streams[clip.index].metadata))
    out.metadata.update(kept_tags(source.metadata))
    if chapters := kept_chapters(source, clip):
        out.set_chapters(chapters)
    others, lost = copied(source, clip, copies, streams), 0
    waiting = next(others, None)
    for packet in packets:
        while waiting is not None and _moment(waiting) <= _moment(packet):
            lost += not _mux_copy(out, waiting)
            waiting = next(others, None)
        out.mux(packet)
    while waiting is not None:
        lost += not _mux_copy(out, waiting)
        waiting = next(others, None)
    return lost


def _mux_copy(out, packet: av.Packet) -> bool:
    """Write a copied packet; False when the muxer finds no sense in it."""
    try:
        out.mux(packet)
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # the disk, not the packet
            raise
        return False
    return True


def _moment(packet: av.Packet) -> Fraction:
    stamp = packet.pts if packet.dts is None else packet.dts
    return Fraction(-1) if stamp is None else stamp * packet.time_base


def _mp4_options(muxer: str, encoding: Encoding, clip: Clip | None, copies: dict[int, str | None]) -> dict[str, str]:
    """The index in front, the clock, and where tags go."""
    flags, sounds = ["faststart"], []
    if clip is not None:
        sounds = clip.sample_rates
        with clip.open() as source:
            covered = any(is_cover(source.streams[index]) for index in copies)
            flags.append(place_tags(source.metadata, muxer, covered)[0])
    clock = _movie_clock(encoding.time_base, sounds)
    return {"movflags": "+".join(filter(None, flags)), "movie_timescale": str(clock)}


def _movie_clock(unit: Fraction, sounds: list[int]) -> int:
    """Units a second of an MP4's own clock: its edit lists then keep where each stream starts.

    Args:
        unit: the video's time base.
        sounds: sample rates.
    """
    exact = math.lcm(unit.denominator, *sounds)
    # A faster clock would need 64-bit fields within hours, which old players lack.
    return exact if exact <= FASTEST_CLOCK else unit.denominator * -(-USUAL_CLOCK // unit.denominator)
