"""The finished file: the segments in a row, and beside them all other streams of the source, packet by packet."""

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.stream import Discard

from ..errors import VideoError
from .clip import Clip
from .encoding import Encoding
from .parts import Segment, explained, whole_file

CARRIERS = {
    "matroska": "vp8",
    "webm": "vp8",
}  # a codec that a container takes without more ado, to try others beside it
CONVERTED = {"matroska": "flac", "webm": "libopus"}  # what becomes of sound that a container cannot hold; else AAC
LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}  # by number of channels; files do not always name theirs
# MPEG-TS takes anything and labels what it does not know as private data, which nobody reads again.
IN_TRANSPORT_STREAMS = {
    *("mp1", "mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts", "truehd", "opus", "s302m"),
    *("dvb_subtitle", "dvb_teletext", "klv", "scte_35", "timed_id3", "h264", "hevc", "mpeg2video", "mpeg1video"),
}
STALE = ("encoder", "duration", "rotate", "vendor_id", "bps", "number_of_", "_statistics", "source_id", "major_brand")
STALE += ("minor_version", "compatible_brands", "creation_time_", "handler_vendor")


def plan_copies(clip: Clip, muxer: str) -> tuple[dict[int, str | None], list[str]]:
    """Which other streams of a clip the container can hold; found by trying, before anything is computed.

    Returns:
        (number of a stream → None to copy it, or the encoder that its sound has to go through; notes about what is
        not kept as it is).
    """
    kept, notes = {}, []
    with clip.open() as source:
        chapters = bool(source.chapters())
        for stream in source.streams:
            if stream.index == clip.index or _is_made_anew(stream, chapters):
                continue
            if _fits(stream, muxer):
                kept[stream.index] = None
            elif stream.type == "audio" and stream.codec_context is not None:
                kept[stream.index] = CONVERTED.get(muxer, "aac")
                notes.append(
                    f"The sound ({_name(stream)}) cannot be kept in {muxer} as it is; it was converted to "
                    f"{av.Codec(kept[stream.index], 'w').canonical_name.upper()}."
                )
            else:
                name = f"{stream.type} ({_name(stream)})"
                notes.append(f"Stream {stream.index}, {name}, cannot be kept in {muxer} and was left out.")
    return kept, notes


def join(
    target: Path, muxer: str, encoding: Encoding, segments: list[Segment], files: list[Path], track: str, clip, copies
) -> None:
    """Write the finished file, whole or not at all.

    Args:
        target: its name.
        muxer: its container.
        encoding: of the track.
        segments, files: the finished segments and where the track's streams are kept.
        track: the track's name in `Segment.stamps`.
        clip: the source whose streams `copies` (as `plan_copies` gives them) and metadata go along; None for neither.

    Raises:
        VideoError: it cannot be written, or a segment is damaged.
    """
    options = {"movflags": "+faststart+use_metadata_tags", "movie_timescale": str(_movie_clock(encoding.time_base))}
    stamps = [stamp for segment in segments for stamp in segment.stamps[track]]
    with explained(target), whole_file(target) as file:
        # A second handle: MP4 with its index in front is written by reading back what was written.
        out = av.open(file.name, "w", format=muxer, options=options if muxer in ("mp4", "mov") else {})
        try:
            with av.open(str(files[0])) as first:
                video = out.add_stream_from_template(first.streams.video[0], opaque=True)
            video.time_base, video.codec_context.framerate = encoding.time_base, encoding.rate or Fraction(25)
            packets = stamped(read_packets(files, video), stamps, segments[-1].end, encoding.time_base)
            if clip is None:
                out.mux(packets)
            else:
                with clip.open() as source:
                    _mux_with(out, packets, source, clip, copies)
            out.close()
        except av.error.FFmpegError as error:
            if isinstance(error, OSError) and error.errno and error.errno > 0:
                raise
            raise VideoError(
                f"{target} cannot be put together ({error}). Give another container, such as .mkv."
            ) from error


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


def copied(source, clip: Clip, copies: dict[int, str | None], streams: dict) -> Iterator[av.Packet]:
    """The packets of the other streams within the clip's part, from its origin on."""
    if not streams:
        return
    if clip.start:
        clip.seek(source, source.streams[clip.index])
    latest: dict[int, int] = {}
    for packet in source.demux(*(source.streams[index] for index in streams)):
        index, unit = packet.stream.index, packet.time_base
        if copies[index] is not None:
            yield from _converted(packet, clip, streams[index])
            continue
        if packet.size == 0 and packet.dts is None:
            continue  # the flush at the end
        moment = next((stamp * unit for stamp in (packet.pts, packet.dts) if stamp is not None), None)
        if moment is not None and (clip.start and moment < clip.origin or clip.end is not None and moment >= clip.end):
            continue
        shift = round(clip.origin / unit)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        if packet.dts is not None:
            packet.dts = max(packet.dts, latest.get(index, packet.dts))  # muxers refuse a clock that runs backwards
            latest[index] = packet.dts
        packet.stream = streams[index]
        yield packet


def _converted(packet: av.Packet, clip: Clip, stream) -> list[av.Packet]:
    """The packets of sound that goes through an encoder; the flush at the source's end flushes it too."""
    encoded = []
    for frame in packet.decode():
        moment = None if frame.pts is None else frame.pts * frame.time_base
        if moment is not None and (clip.start and moment < clip.origin or clip.end is not None and moment >= clip.end):
            continue
        frame.pts = None if frame.pts is None else frame.pts - round(clip.origin / frame.time_base)
        encoded += stream.encode(frame)
    return encoded + (stream.encode(None) if packet.size == 0 and packet.dts is None else [])


def _mux_with(out, packets: Iterator[av.Packet], source, clip: Clip, copies: dict[int, str | None]) -> None:
    """Multiplex video with the copied streams, each packet at its time."""
    streams = {index: _add_copy(out, source.streams[index], encoder) for index, encoder in copies.items()}
    out.streams.video[0].metadata.update(_kept(source.streams[clip.index].metadata))
    out.metadata.update(_kept(source.metadata))
    if chapters := _chapters(source, clip):
        out.set_chapters(chapters)
    others = copied(source, clip, copies, streams)
    waiting = next(others, None)
    for packet in packets:
        while waiting is not None and _moment(waiting) <= _moment(packet):
            out.mux(waiting)
            waiting = next(others, None)
        out.mux(packet)
    while waiting is not None:
        out.mux(waiting)
        waiting = next(others, None)


def _add_copy(out, stream, encoder: str | None = None):
    if encoder is None:
        copy = out.add_stream_from_template(stream, opaque=True)
    else:
        copy = out.add_stream(encoder, rate=48000 if encoder == "libopus" else stream.codec_context.sample_rate)
    if stream.type == "audio" and (encoder or stream.codec_context.layout.name.endswith(" channels")):
        # Old files give a number of channels without their places, and some muxers and encoders insist on these.
        copy.codec_context.layout = LAYOUTS.get(stream.codec_context.channels, "stereo")
    copy.metadata.update(_kept(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _moment(packet: av.Packet) -> Fraction:
    stamp = packet.pts if packet.dts is None else packet.dts
    return Fraction(-1) if stamp is None else stamp * packet.time_base


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what describes the former file rather than the recording."""
    return {key: value for key, value in metadata.items() if not key.lower().startswith(STALE)}


def _chapters(source, clip: Clip) -> list[dict]:
    """The chapters within the clip's part, from its origin on."""
    found = []
    for chapter in source.chapters():
        unit = chapter["time_base"] or Fraction(1)
        start, end = (chapter[side] - round(clip.origin / unit) for side in ("start", "end"))
        limit = end if clip.end is None else min(end, round((clip.end - clip.origin) / unit))
        if limit > max(start, 0):
            found.append({**chapter, "start": max(start, 0), "end": limit})
    return found


def _is_made_anew(stream, chapters: bool) -> bool:
    """Tracks that say what the muxer writes from metadata: QuickTime's time code and chapter titles."""
    if stream.type != "data":
        return False
    return "timecode" in stream.metadata or (chapters and stream.discard == Discard.all)


def _fits(stream, muxer: str) -> bool:
    if muxer == "mpegts" and _name(stream) not in IN_TRANSPORT_STREAMS:
        return False
    if stream.type == "attachment" and muxer != "matroska":
        return False
    try:
        trial = av.open(io.BytesIO(), "w", format=muxer)
        carrier = trial.add_mux_stream(CARRIERS.get(muxer, "h264"), width=64, height=64)
        carrier.time_base = Fraction(1, 25)
        _add_copy(trial, stream)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _name(stream) -> str:
    if stream.type == "attachment":
        return stream.metadata.get("filename", "attachment")
    return (stream.codec_context.codec.canonical_name if stream.codec_context else stream.name) or "unknown"


def _movie_clock(unit: Fraction) -> int:
    """Units a second of an MP4's own clock, so that its edit lists keep the start exactly."""
    return unit.denominator if 1000 <= unit.denominator < 2**31 else unit.denominator * -(-1000 // unit.denominator)
