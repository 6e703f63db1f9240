"""What the page learns of a visitor's clip before it is upscaled; runs in the processes of `decoding`.

FFmpeg finds a file's format by itself, and some formats are lists of other files or addresses. So the first bytes
decide beforehand which files it gets to see.
"""

import contextlib
from itertools import islice
from pathlib import Path

import av
from PIL import Image

from ..errors import VideoError
from ..images.levels import to_8_bit
from ..video.clip import Clip, open_file
from ..video.decoding import choose_stream
from .views import as_preview

STRIDE = 188  # bytes of a packet of a transport stream, each of which begins with 0x47


def look_at(path: str, max_pixels: int) -> dict:
    """Size, length and first frame of a clip. Of frames beyond `max_pixels` none is decoded.

    Returns:
        width, height; seconds and rate (frames a second), None where the file does not say; preview, the first frame
        as a WebP. For a frame beyond `max_pixels` seconds, rate and preview are None, and the size is that of the
        header, which says nothing of a turn.

    Raises:
        VideoError: it is no clip that is read here.
    """
    width, height = stored_size(path)
    if width * height > max_pixels:
        return {"width": width, "height": height, "seconds": None, "rate": None, "preview": None}
    clip = open_clip(path)
    facts, (width, height) = clip.facts, clip.facts.size
    preview = None
    if width * height <= max_pixels:
        preview = as_preview(Image.fromarray(to_8_bit(next(clip.frames()).values)))
    rate = float(facts.rate) if facts.rate else None
    return {"width": width, "height": height, "seconds": facts.seconds, "rate": rate, "preview": preview}


def stored_size(path: str) -> tuple[int, int]:
    """Width and height of a clip's frames as its header gives them, before anything is decoded.

    Raises:
        VideoError: it is no clip that is read here.
    """
    _check_known(path)
    with open_file(Path(path)) as container:
        codec = choose_stream(container, Path(path)).codec_context
        return codec.width, codec.height


def rehearse(path: str, start: float | None, duration: float, most: int) -> int:
    """Read all that an upscale of this part would read, and throw it away.

    Args:
        start, duration: the part, in seconds.
        most: frames; one more is an error.

    Returns:
        How many frames it has.

    Raises:
        VideoError: it is no clip that is read here, or has no frame or too many in this part.
        ConfigError: an impossible part.
    """
    clip = open_clip(path, start, duration)
    count = sum(1 for _ in islice(clip.frames(), most + 1))
    if count > most:
        raise VideoError(f"{Path(path).name} has more than {most} frames in this part. Take a shorter one.")
    with clip.open() as container, contextlib.suppress(av.error.FFmpegError):
        for packet in container.demux():
            if packet.stream.type == "audio":
                with contextlib.suppress(av.error.FFmpegError):
                    packet.decode()
    return count


def open_clip(path: str, start: float | None = None, duration: float | None = None) -> Clip:
    """A clip of one of the formats that are read here.

    Raises:
        VideoError, ConfigError: as `Clip`; and VideoError for another format.
    """
    _check_known(path)
    return Clip(Path(path), start, duration)


def is_known(head: bytes) -> bool:
    """Whether a file begins as MP4 and MOV, Matroska and WebM, AVI, or a transport stream do."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") or head[:4] == b"\x1a\x45\xdf\xa3":
        return True
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return True
    return len(head) == 3 * STRIDE and all(head[place] == 0x47 for place in range(0, 3 * STRIDE, STRIDE))


def _check_known(path: str) -> None:
    with open(path, "rb") as file:
        if not is_known(file.read(3 * STRIDE)):
            raise VideoError(
                f"{Path(path).name} is not a clip that is read here. Choose MP4, MOV, WebM, MKV, AVI or TS."
            )
