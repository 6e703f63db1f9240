"""Codecs and containers of the result: which there are, what fits together, and writing one stream of frames."""

import io
import os
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..errors import ConfigError, VideoError
from .colors import ColorConverter, Colors
from .decoding import USUAL_RATE
from .names import CODECS, MUXERS

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 prints its settings on every start otherwise
TAGS = {("hevc", "mp4"): "hvc1", ("hevc", "mov"): "hvc1"}  # as Apple's players want it
PLAYABLE_WIDTH = 4096  # H.264 of more is legal, and refused by most decoders in hardware
USUAL_SIZE = (640, 480)  # which every encoder takes
MUXER = "mp4"  # of a file with one stream
WRITE_BUFFER = 2**20
THREADS = 8  # of an encoder, on every machine: the result depends on their number
REORDERING = 8  # frames by which an encoder may hold one back; those here need 2


@dataclass(frozen=True)
class Codec:
    """One way to encode.

    Args:
        encoder: FFmpeg's name.
        pixels: its format for 8 bits a channel.
        deep_pixels: for more; None where hardly any player could show it.
        quality: the default of CRF, lower is better; None for a lossless codec.
        worst: the highest CRF.
        preset: the encoder's default trade of time for size; None if it has none.
        options: what else the encoder is told.
        muxers: the containers that hold it.
        even: whether the sides must be even numbers of pixels.
        smallest: pixels a side; below, encoders refuse or crash.
    """

    encoder: str
    pixels: str
    deep_pixels: str | None
    quality: int | None
    worst: int
    preset: str | None
    options: dict[str, str] = field(default_factory=dict)
    muxers: tuple[str, ...] = ("mp4", "mov", "matroska", "mpegts")
    even: bool = True
    smallest: int = 64


X265 = "open-gop=0:frame-threads=2:log-level=error"  # closed groups of pictures, so that segments can be joined
WAYS = {
    "h264": Codec("libx264", "yuv420p", None, 18, 51, "medium", smallest=16),
    "hevc": Codec(
        "libx265",
        "yuv420p",
        "yuv420p10le",
        20,
        51,
        "medium",
        {"x265-params": X265},
    ),
    "av1": Codec("libsvtav1", "yuv420p", "yuv420p10le", 28, 63, "8", muxers=("mp4", "matroska", "webm")),
    # RGB as it was computed, every slice with a checksum.
    "ffv1": Codec(
        "ffv1", "bgr0", "rgb48le", None, 0, None, {"level": "3", "slicecrc": "1"}, ("matroska",), even=False, smallest=1
    ),
    "ffv1-gray": Codec(
        "ffv1", "gray", None, None, 0, None, {"level": "3", "slicecrc": "1"}, ("matroska",), even=False, smallest=1
    ),
}


@dataclass(frozen=True)
class Encoding:
    """How one stream of the result is encoded.

    Args:
        codec: a key of WAYS.
        size: (width, height) of the frames as they come; the stream's sides are made even where the codec needs it.
        time_base, rate, colors, aspect: as in `Facts`; the colours are those of `Colors.encoded`.
        deep: whether frames come with 16 bits and the codec is to keep more than 8.
        quality, preset: given as None, they become the codec's default; a preset that is a number becomes its text.
    """

    codec: str
    size: tuple[int, int]
    time_base: Fraction
    rate: Fraction | None
    colors: Colors
    aspect: Fraction = Fraction(1)
    deep: bool = False
    quality: int | None = None
    preset: str | int | None = None

    def __post_init__(self):
        kind = WAYS[self.codec]
        preset = kind.preset if self.preset is None else str(self.preset)
        object.__setattr__(self, "quality", kind.quality if self.quality is None else self.quality)
        object.__setattr__(self, "preset", preset)

    @property
    def pixels(self) -> str:
        kind = WAYS[self.codec]
        return kind.deep_pixels if self.deep and kind.deep_pixels else kind.pixels

    @property
    def padding(self) -> tuple[int, int]:
        """Columns and rows that are added at the right and at the bottom."""
        return (self.size[0] % 2, self.size[1] % 2) if WAYS[self.codec].even else (0, 0)


def choose_codec(codec: str | None, target: Path) -> tuple[str, str]:
    """(codec, muxer) for a file.

    Args:
        codec: one of `names.CODECS`, or None for the container's usual one.
        target: its suffix names the container.

    Raises:
        ConfigError: an unknown codec or container.
        VideoError: two that do not fit.
    """
    muxer = MUXERS.get(target.suffix.lower())
    if muxer is None:
        raise ConfigError(f"{target.name!r} is no container that is written here. Use one of {', '.join(MUXERS)}.")
    codec = codec or ("av1" if muxer == "webm" else "h264")
    if codec not in CODECS:
        raise ConfigError(f"codec is {codec!r}; known are {', '.join(CODECS)}.")
    if muxer not in WAYS[codec].muxers:
        holders = ", ".join(suffix for suffix, name in MUXERS.items() if name in WAYS[codec].muxers)
        raise VideoError(f"{target.suffix} does not hold {codec}. Use {holders}, or another codec.")
    return codec, muxer


def check_encoding(encoding: Encoding) -> None:
    """Refuse what an encoder does not do, by starting it once.

    Raises:
        ConfigError: a quality or preset that it does not know.
        VideoError: a size that it cannot encode.
    """
    codec, kind = encoding.codec, WAYS[encoding.codec]
    quality, preset = encoding.quality, encoding.preset
    if kind.quality is None and not quality is preset is None:
        raise ConfigError(f"{codec} loses nothing, so it takes no quality and no preset. Leave them out.")
    if quality is not None and (type(quality) is not int or not 0 <= quality <= kind.worst):
        raise ConfigError(f"quality is {quality!r}; {codec} takes a CRF from 0 (best) to {kind.worst}.")
    if min(encoding.size) < kind.smallest:
        raise VideoError(
            f"{codec} needs {kind.smallest} pixels a side or more, and the frames would be {encoding.size[0]}x"
            f"{encoding.size[1]}. Use another codec, or a larger outscale."
        )
    try:
        _start(encoding)
    except VideoError as error:
        if preset is not None:
            try:
                _start(replace(encoding, size=USUAL_SIZE))
            except VideoError:
                raise ConfigError(f"{codec} does not take the preset {preset!r} ({error}). Use another.") from error
        raise VideoError(
            f"{codec} does not take frames of {encoding.size[0]}x{encoding.size[1]} ({error}). Use another codec or "
            "outscale."
        ) from error


def _start(encoding: Encoding) -> None:
    with StreamWriter(io.BytesIO(), encoding):
        pass


class StreamWriter:
    """Encodes frames into a file that holds this one stream.

    The first frame's time stamp becomes 0 in the file, because containers keep the start only roughly; the exact time
    stamps are in `stamps`.

    Args:
        file: a path, or an open binary file.
        encoding: how.

    Attributes:
        stamps: the time stamps of the packets, in the order in which they are stored.

    Raises:
        VideoError: the encoder refuses these options, or the file cannot be written.
    """

    def __init__(self, file, encoding: Encoding):
        self.encoding = encoding
        self.stamps: list[int] = []
        self._first: int | None = None
        self._shown: list[int] = []
        self._converter = ColorConverter()
        # Python's own file: its errors (a full disk) come out of every write, and it can be synchronised.
        self._file = file if hasattr(file, "write") else open(file, "w+b")  # noqa: SIM115
        self._container = av.open(self._file, "w", format=MUXER, buffer_size=WRITE_BUFFER)
        try:
            self._stream = self._add_stream()
        except (av.error.FFmpegError, ValueError) as error:
            self._file.close()
            raise VideoError(f"the encoder {WAYS[encoding.codec].encoder} refuses to start: {error}.") from error

    def _add_stream(self) -> av.VideoStream:
        encoding, kind = self.encoding, WAYS[self.encoding.codec]
        options = dict(kind.options)
        if kind.quality is not None:
            options["crf"] = str(encoding.quality)
        if kind.preset is not None:
            options["preset"] = str(encoding.preset)
        stream = self._container.add_stream(kind.encoder, rate=encoding.rate or Fraction(USUAL_RATE), options=options)
        assert isinstance(stream, av.VideoStream)  # all of WAYS encode pictures
        context, (right, below) = stream.codec_context, encoding.padding
        context.width, context.height = encoding.size[0] + right, encoding.size[1] + below
        context.pix_fmt, context.thread_count = encoding.pixels, THREADS
        context.time_base = stream.time_base = encoding.time_base
        context.sample_aspect_ratio = encoding.aspect
        context.color_primaries, context.color_trc = encoding.colors.primaries, encoding.colors.transfer
        if encoding.pixels.startswith("yuv"):
            context.colorspace, context.color_range = encoding.colors.matrix, encoding.colors.range
        if tag := TAGS.get((encoding.codec, MUXER)):
            context.codec_tag = tag
        self._container.start_encoding()
        return stream

    def write(self, values: np.ndarray, pts: int) -> None:
        """Encode a frame: RGB (H, W, 3) or gray (H, W), uint8 or uint16; time stamps must grow."""
        self._first = pts if self._first is None else self._first
        right, below = self.encoding.padding
        if right or below:
            values = np.pad(values, [(0, below), (0, right), (0, 0)][: values.ndim], mode="edge")
        frame = self._converter.from_rgb(values, self.encoding.colors, self.encoding.pixels)
        frame.pts, frame.time_base = pts - self._first, self.encoding.time_base
        self._shown.append(frame.pts)
        self._mux(frame)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # Encoders' own decoding times are wrong for clips of very few frames.
            early = len(self.stamps) - REORDERING
            packet.dts = self._shown[early] if early >= 0 else early
            self.stamps.append(packet.pts + self._first)
            self._container.mux(packet)

    def __enter__(self) -> "StreamWriter":
        return self

    def __exit__(self, kind, *exception) -> None:
        """Finish the file and bring it to the disk; after an error just let go of it."""
        try:
            if kind is None:
                if self._first is not None:
                    self._mux(None)
                self._container.close()
                self._file.flush()
                if isinstance(self._file, io.BufferedIOBase) and not isinstance(self._file, io.BytesIO):
                    os.fsync(self._file.fileno())
        finally:
            self._file.close()
