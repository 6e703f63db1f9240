"""Files of pictures before they are decoded: which format, what makes the pixels, and what the file says of itself.

A file is split into both; the decoder sees the pixels alone, so that no metadata can keep a whole picture from being
read.
"""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from numbers import Real
from typing import IO

from PIL import Image, UnidentifiedImageError

from ..errors import ConfigError, ImageError
from ..storage import as_path
from . import gif, jpeg, png, tiff_page
from .code_points import explain_colors, name_colors
from .formats import AVIF, explain_other, find_format
from .metadata import Found, Metadata, clean, decode_text, metadata_of

KNOWN = f"PNG, JPEG, WebP, TIFF, {'AVIF, ' if AVIF else ''}GIF, BMP or PPM"
AVIF_EXIF = re.compile(rb"(infe\x02.{7})Exif", re.DOTALL)  # the item's entry in the table of contents
SPLIT = {"PNG": png.take_apart, "JPEG": jpeg.take_apart, "GIF": gif.take_apart}


@dataclass(frozen=True)
class Opened:
    """A file's picture before it is decoded.

    Attributes:
        name: what to call it in a message.
        stored: (width, height) as the file has it.
        image: opened by Pillow from what makes the pixels, not loaded yet; None where `page` is set.
        page: the TIFF page whose samples we read ourselves, or None.
        data: what makes the pixels.
        metadata, orientation: what is kept with the pixels, and EXIF's 1 to 8.
        found: what else the file says of itself.
    """

    name: str
    stored: tuple[int, int]
    image: Image.Image | None
    page: tiff_page.Page | None
    data: bytes
    metadata: Metadata
    orientation: int
    found: Found

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as it will be seen."""
        return self.stored[::-1] if self.orientation >= 5 else self.stored


def open_picture(source: str | os.PathLike | bytes | bytearray | memoryview | IO[bytes]) -> Opened:
    """Open a file of one of the formats that are read, whatever its name says; no other decoder is ever tried.

    Args:
        source: a path, a file's bytes, or a file opened as binary.

    Raises:
        ImageError: no such file, another kind of data, or a header that cannot be read.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), f"the picture of {len(source)} bytes"
    elif isinstance(source, (str, os.PathLike)):
        data, name = _read_file(source), str(source)
    elif callable(getattr(source, "read", None)):
        data, name = _read_stream(source), "the picture of an open file"
    else:
        raise ImageError(
            f"got a {type(source).__name__}; a picture is a path, bytes, an open file, a Pillow image, a NumPy array "
            "or a tensor."
        )
    if not data:
        raise ImageError(f"{name} is empty (0 bytes). Copy or download it again.")
    with naming(name, data):
        image, page, data, found = _open_format(find_format(data), data)
        stored = page.size if page else image.size
        if min(stored) < 1:
            raise ImageError(f"it is {stored[0]}x{stored[1]}; at least one pixel is needed.")
        metadata, orientation = clean(found)
    return Opened(name, stored, image, page, data, metadata, orientation, found)


@contextmanager
def naming(name: str, data: bytes = b"", size: tuple[int, int] | None = None) -> Iterator[None]:
    """Turn whatever ends the reading of a file into an ImageError that names it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except UnidentifiedImageError:
        if (format := find_format(data)) is not None:
            raise ImageError(
                f"{name} begins as {format}, but its header is damaged or cut short. Copy or download it again."
            ) from None
        raise ImageError(f"{name} is not a picture that can be read ({explain_other(data)}). Use {KNOWN}.") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name} has more pixels than Pillow opens. If you trust it, raise PIL.Image.MAX_IMAGE_PIXELS and "
            "max_pixels."
        ) from None
    except MemoryError:
        shown = f" ({size[0]}x{size[1]})" if size else ""
        raise ImageError(f"{name}{shown} does not fit into memory. Use a smaller one.") from None
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name} is damaged or cut short ({reason}). Copy or download it again.") from error


def check_limit(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise ImageError for more than `max_pixels`, and ConfigError where that is no number."""
    if not (isinstance(max_pixels, Real) and max_pixels >= 1):
        raise ConfigError(f"max_pixels is {max_pixels!r:.60}; it must be a number of pixels, 1 or more.")
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} = {width * height:,} pixels; the limit is {float(max_pixels):,.0f}. "
            "Make it smaller, or raise max_pixels."
        )


def _read_stream(stream: IO[bytes]) -> bytes:
    """All that an open file holds, also where some of it has been read already."""
    with suppress(AttributeError, OSError, ValueError):  # it cannot go back; what is closed shows below
        stream.seek(0)
    try:
        data = stream.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or its bytes are no text
        raise ImageError(f"an open file cannot be read: {error}. Open it as binary, and do not close it.") from error
    if not isinstance(data, bytes):
        raise ImageError(f"reading an open file gave a {type(data).__name__}; bytes are needed. Open it as binary.")
    return data


def _read_file(path: str | os.PathLike) -> bytes:
    if path == "":
        raise ImageError("the path of the picture is empty. Give its name.")
    try:
        return as_path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}. Check the name.") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder; give a picture in it.") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be opened: {reason}. Check its permissions.") from error


def _open_format(format: str | None, data: bytes) -> tuple[Image.Image | None, tiff_page.Page | None, bytes, Found]:
    """What decodes a file: a Pillow image or a TIFF page; with what makes the pixels, and what the file says."""
    if format is None:
        raise UnidentifiedImageError
    if format == "TIFF":
        page, found = tiff_page.take_apart(data)
        return (None, page, data, found) if page.is_of_bytes else (tiff_page.open_by_pillow(page), None, data, found)
    if format == "AVIF":
        image, found = _open_avif(data)
        return image, None, data, found
    if format not in SPLIT:
        image = Image.open(BytesIO(data), formats=(format,))
        return image, None, data, found_in(image)
    data, found = SPLIT[format](data)
    return Image.open(BytesIO(data), formats=(format,)), None, data, found


def _open_avif(data: bytes) -> tuple[Image.Image, Found]:
    """Open an AVIF; Pillow looks into its EXIF data, so that where that fails it is hidden from it."""
    notes = []
    try:
        image = Image.open(BytesIO(data), formats=("AVIF",))
    except Exception:
        hidden = AVIF_EXIF.sub(rb"\1none", data)
        if hidden == data:
            raise
        image = Image.open(BytesIO(hidden), formats=("AVIF",))
        notes.append("The EXIF data cannot be read and was left out.")
    found = found_in(image)
    place = data.find(b"av1C")  # AV1 codec configuration: the third byte has the depth (AV1-ISOBMFF, 2.3)
    if place >= 0 and place + 6 < len(data) and data[place + 6] & 0x40:
        notes.append("The 10 or 12 bits of this AVIF were read as 8.")
    place = data.find(b"colrnclx")  # code points of the colours (ISO/IEC 14496-12, 12.1.5)
    if not found.icc and 0 <= place <= len(data) - 12:
        name = name_colors(*struct.unpack_from(">HH", data, place + 8))
        notes += [explain_colors(name)] if name else []
    found.notes = notes
    return image, found


def found_in(image: Image.Image) -> Found:
    """What a Pillow image says of itself."""
    info, found = image.info, Found()
    known, found.dpi = metadata_of(image), info.get("dpi")
    found.icc = known.icc
    found.xmp = info["xmp"].encode() if isinstance(info.get("xmp"), str) else known.xmp
    try:
        exif = info.get("exif") or (image.getexif().tobytes() if len(image.getexif()) else None)
        found.exif = exif.tobytes() if isinstance(exif, Image.Exif) else exif
        text = info.get("text") if isinstance(info.get("text"), dict) else getattr(image, "text", {})
    except Exception:  # Pillow's interpretation of odd values ends in any exception
        found.note("The EXIF data or text cannot be read and was left out.")
        text = {}
    for key, value in text.items():
        if key != "XML:com.adobe.xmp":
            found.add_text(str(key), str(value))
    if isinstance(info.get("comment"), bytes):
        found.add_text("Comment", decode_text(info["comment"]))
    found.frames = getattr(image, "n_frames", 1) if image.format in ("WEBP", "AVIF") else 1
    found.more = found.frames == 1 and bool(getattr(image, "is_animated", False))
    return found
