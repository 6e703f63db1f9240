"""The streams of a clip beside its pictures: which a container can hold, and their packets on the clip's own clock."""

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
from av.stream import Discard, Disposition

from .clip import Clip
from .tags import kept_tags, place_tags

CARRIERS = {"matroska": "vp8", "webm": "vp8"}  # a codec that the container takes as it is, to try others beside it
CONVERTED = {"matroska": "flac", "webm": "libopus"}  # what becomes of sound that a container cannot hold; else AAC
LAYOUTS = {1: "mono", 6: "5.1", 8: "7.1"}  # by number of channels; files do not always name theirs
# MPEG-TS takes anything and labels what it does not know as private data, which nobody reads again.
IN_TRANSPORT_STREAMS = {
    *("mp1", "mp2", "mp3", "aac", "aac_latm", "ac3", "eac3", "dts", "truehd", "opus", "s302m"),
    *("dvb_subtitle", "dvb_teletext", "klv", "scte_35", "timed_id3", "h264", "hevc", "mpeg2video", "mpeg1video"),
}
PREROLL = Fraction(1, 10)  # seconds that decoders of sound may need before what is heard; Opus asks for .08


def plan_copies(clip: Clip, muxer: str) -> tuple[dict[int, str | None], list[str]]:
    """Which other streams of a clip the container can hold; found by trying, before anything is computed.

    Returns:
        (number of a stream → None to copy it, or the encoder that its sound has to go through; notes about what is
        not kept as it is).
    """
    kept: dict[int, str | None] = {}
    notes: list[str] = []
    encoder = CONVERTED.get(muxer, "aac")
    with clip.open() as source:
        chapters = bool(source.chapters())
        lost = [*(["chapters"] if chapters else []), *sorted(kept_tags(source.metadata))]
        if lost and muxer == "mpegts":
            notes.append(f"MPEG-TS has no place for chapters and tags; left out: {', '.join(lost)}.")
        for stream in source.streams:
            if stream.index == clip.index or _is_made_anew(stream, chapters):
                continue
            if _fits(stream, muxer):
                kept[stream.index] = None
            elif _is_sound(stream) and _fits(stream, muxer, encoder):
                kept[stream.index] = encoder
                notes.append(
                    f"The sound ({_name(stream)}) cannot be kept in {muxer} as it is; it was converted to "
                    f"{av.Codec(encoder, 'w').canonical_name.upper()}."
                )
            else:
                name = f"{stream.type} ({_name(stream)})"
                notes.append(f"Stream {stream.index}, {name}, cannot be kept in {muxer} and was left out.")
        covered = any(is_cover(source.streams[index]) for index in kept)
        if lost := place_tags(source.metadata, muxer, covered)[1]:
            notes.append(
                f"Beside a cover picture MP4 has a place for the usual tags only; left out: {', '.join(lost)}. "
                "Matroska (.mkv) keeps all tags, without the cover."
            )
    return kept, notes


def is_cover(stream) -> bool:
    """Whether a stream is a cover picture."""
    return bool(stream.disposition & Disposition.attached_pic)


def copied(source, clip: Clip, copies: dict[int, str | None], streams: dict) -> Iterator[av.Packet]:
    """The packets of the other streams within the clip's part, from its origin on."""
    if not streams:
        return
    if clip.start:
        clip.seek(source, source.streams[clip.index])
    latest: dict[int, int] = {}
    converters = {index: Converter(streams[index]) for index, encoder in copies.items() if encoder is not None}
    packets = source.demux(*(source.streams[index] for index in streams))
    with contextlib.suppress(av.error.FFmpegError):  # a damaged end: what came before it is kept
        for packet in packets:
            index, unit = packet.stream.index, packet.time_base
            if index in converters:
                yield from _converted(packet, clip, converters[index])
            elif packet.size or packet.dts is not None:  # not the flush at the end
                moment = next((stamp * unit for stamp in (packet.pts, packet.dts) if stamp is not None), None)
                if _is_wanted(moment, clip) and not _is_cut_out(packet, moment, clip):
                    _shift(packet, round(clip.origin / unit), latest.get(index))
                    latest[index] = packet.dts
                    packet.stream = streams[index]
                    yield packet


def _is_wanted(moment: Fraction | None, clip: Clip) -> bool:
    """Whether a moment in the file's own time lies in the clip's part."""
    before = clip.start and moment is not None and moment < clip.origin
    behind = clip.end is not None and moment is not None and moment >= clip.end
    return not before and not behind


def _is_cut_out(packet: av.Packet, moment: Fraction | None, clip: Clip) -> bool:
    """Whether a packet of sound lies before its track's first edit, so that nobody hears it."""
    unheard = packet.is_discard and packet.stream.type == "audio" and moment is not None
    return unheard and moment < clip.origin - PREROLL


def _shift(packet: av.Packet, origin: int, latest: int | None) -> None:
    """Count a packet's time from the origin; its decoding time never runs backwards, which muxers refuse."""
    if packet.pts is None and packet.dts is None:  # a cover picture
        packet.pts = packet.dts = origin
    packet.pts = None if packet.pts is None else packet.pts - origin
    packet.dts = None if packet.dts is None else packet.dts - origin
    if packet.dts is not None and latest is not None:
        packet.dts = max(packet.dts, latest)


class Converter:
    """Sound for an encoder. Its channels and its rate may change on the way, as in recordings of broadcasts.

    Args:
        stream: of the encoder.
    """

    def __init__(self, stream):
        self._stream, self._kind = stream, None
        self._resampler: av.AudioResampler | None = None

    def encode(self, frame: av.AudioFrame | None) -> list[av.Packet]:
        """The packets that are ready with this frame; None, at the end, gives the last ones."""
        kind = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
        ready = []
        if kind != self._kind:
            ready = self._resampler.resample(None) if self._resampler else []
            context, self._kind = self._stream.codec_context, kind
            self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
        ready = [*ready, *self._resampler.resample(frame)] if frame else ready
        encoded = [packet for part in ready if part is not None for packet in self._stream.encode(part)]
        return encoded if frame else encoded + self._stream.encode(None)


def _converted(packet: av.Packet, clip: Clip, converter: Converter) -> list[av.Packet]:
    """The packets of sound that goes through an encoder; the flush at the source's end flushes it too."""
    encoded = []
    with contextlib.suppress(av.error.InvalidDataError):  # a damaged packet is a short silence
        for frame in cast(list[av.AudioFrame], packet.decode()):
            if frame.pts is not None and not _is_wanted(frame.pts * frame.time_base, clip):
                continue
            frame.pts = None if frame.pts is None else frame.pts - round(clip.origin / frame.time_base)
            encoded += converter.encode(frame)
    return encoded + (converter.encode(None) if packet.size == 0 and packet.dts is None else [])


def add_copy(out, stream, encoder: str | None = None):
    if encoder is None:
        copy = out.add_stream_from_template(stream, opaque=True)
    else:
        copy = out.add_stream(encoder, rate=_encoded_rate(encoder, stream.codec_context.sample_rate))
    if stream.type == "audio" and (encoder or stream.codec_context.layout.name.endswith(" channels")):
        # Old files give a number of channels without their places, and some muxers and encoders insist on these.
        copy.codec_context.layout = LAYOUTS.get(stream.codec_context.channels, "stereo")
    copy.metadata.update(kept_tags(stream.metadata))
    copy.disposition = stream.disposition
    return copy


def _encoded_rate(encoder: str, rate: int) -> int:
    """The sample rate for sound of `rate` Hz: the next one up that the encoder has, so that nothing is lost."""
    if encoder == "libopus":
        return 48000  # the clock of Opus, whatever it is given
    rates = av.Codec(encoder, "w").audio_rates or [rate]
    return min((taken for taken in rates if taken >= rate), default=max(rates))


def kept_chapters(source, clip: Clip) -> list[dict]:
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


def _is_sound(stream) -> bool:
    """Whether there is sound to convert: a transport stream may announce some, and hold none."""
    return stream.type == "audio" and stream.codec_context is not None and stream.codec_context.sample_rate > 0


def _fits(stream, muxer: str, encoder: str | None = None) -> bool:
    """Whether a container takes a stream as it is, or through an encoder: both are started once."""
    if muxer == "mpegts" and (encoder or _name(stream)) not in IN_TRANSPORT_STREAMS:
        return False
    if stream.type == "attachment" and muxer != "matroska":
        return False
    if is_cover(stream) and muxer == "mov":  # taken, and then not written
        return False
    try:
        trial = av.open(io.BytesIO(), "w", format=muxer)
        carrier = trial.add_mux_stream(CARRIERS.get(muxer, "h264"), width=64, height=64)
        carrier.time_base = Fraction(1, 25)
        add_copy(trial, stream, encoder)
        trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _name(stream) -> str:
    if stream.type == "attachment":
        return stream.metadata.get("filename", "attachment")
    return (stream.codec_context.codec.canonical_name if stream.codec_context else stream.name) or "unknown"
