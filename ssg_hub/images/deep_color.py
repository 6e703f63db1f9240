"""16-bit colour in PNG and TIFF files, which Pillow reads at 8 bits and cannot write.

Reading asks Pillow's own decoder twice: it keeps the first byte of each 16-bit sample, and told that the file has the
other byte order it keeps the second. Writing is a page of code a format, because both hold plain rows under zlib.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import IO

import numpy as np
from PIL import Image

from ..errors import ImageError

ROWS = 256  # rows that are compressed at a time, to bound the memory
PNG_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels
NATIVE_OTHER = ";16B" if np.little_endian else ";16L"
OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": NATIVE_OTHER}


def open_low_bytes(data: bytes, image: Image.Image) -> Image.Image | None:
    """Open a file of 16-bit colour once more so that it yields the low byte of each sample.

    Args:
        data: the whole file.
        image: the same file opened by Pillow and not loaded yet; it will yield the high bytes.

    Returns:
        An image of the same mode, or None when the file does not hold 16-bit RGB or RGBA that Pillow can split.
    """
    if _raw_mode(image) not in ("RGB;16", "RGBA;16", "RGBX;16") or has_separate_planes(image):
        return None
    low = Image.open(BytesIO(data))
    low.tile = [tile._replace(args=_swap_order(tile.args)) for tile in low.tile]
    return low


def has_separate_planes(image: Image.Image) -> bool:
    """Whether a file stores one colour after the other, which Pillow does not read right at 16 bits."""
    return image.format == "TIFF" and image.tag_v2.get(284) == 2


def open_gray_alpha(data: bytes, image: Image.Image) -> Image.Image | None:
    """Open a PNG of 16-bit gray with alpha so that R and G are the two bytes of gray, B and A those of alpha.

    Args and returns as `open_low_bytes`.
    """
    if _raw_mode(image) != "LA;16":
        return None
    split = Image.open(BytesIO(data))
    split.tile = [tile._replace(args="RGBA") for tile in split.tile]
    return split


def join_bytes(high: Image.Image, low: Image.Image) -> np.ndarray:
    """16-bit samples from two loaded images of their bytes: uint16 (H, W, channels)."""
    joined = np.asarray(high).astype(np.uint16)
    joined <<= 8
    joined |= np.asarray(low)
    return joined


def write_png(file: IO[bytes], planes: np.ndarray, icc: bytes | None = None, exif: bytes | None = None) -> None:
    """Write a 16-bit PNG (W3C PNG specification, third edition).

    Args:
        file: open for writing bytes.
        planes: uint16 (H, W, C); C is 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA.
        icc, exif: bytes to embed.
    """
    height, width, channels = planes.shape
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, PNG_COLOR_TYPES[channels], 0, 0, 0))
    if icc:
        _write_chunk(file, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if exif:
        _write_chunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    packer = zlib.compressobj(6)
    above = np.zeros((1, 2 * width * channels), np.uint8)
    for band in _bands(planes):
        rows = band.astype(">u2").view(np.uint8).reshape(len(band), -1)
        filtered = np.full((len(rows), rows.shape[1] + 1), 2, np.uint8)  # each row starts with filter type 2, "up"
        np.subtract(rows, np.concatenate((above, rows[:-1])), out=filtered[:, 1:])
        above = rows[-1:]
        _write_chunk(file, b"IDAT", packer.compress(filtered.tobytes()))
    _write_chunk(file, b"IDAT", packer.flush())
    _write_chunk(file, b"IEND", b"")


def write_tiff(file: IO[bytes], planes: np.ndarray, icc: bytes | None = None) -> None:
    """Write a 16-bit TIFF, deflate-compressed with horizontal prediction (TIFF 6.0, sections 2, 14 and 18).

    Args:
        file: open for writing bytes, seekable.
        planes: uint16 (H, W, C) as `write_png` takes them.
        icc: the profile to embed.

    Raises:
        ImageError: more than the 4 GB that a TIFF can address.
    """
    height, width, channels = planes.shape
    file.write(b"II*\0\0\0\0\0")  # the place of the directory is filled in last
    offsets, lengths = [], []
    for band in _bands(planes):
        strip = band.astype("<u2")
        strip[:, 1:] -= band[:, :-1]
        packed = zlib.compress(strip.tobytes(), 6)
        offsets.append(file.tell())
        lengths.append(len(packed))
        file.write(packed)
        file.write(b"\0" * (len(packed) % 2))
    entries = [
        (256, "I", [width]),
        (257, "I", [height]),
        (258, "H", [16] * channels),
        (259, "H", [8]),  # compression: deflate
        (262, "H", [2 if channels > 2 else 1]),  # photometric: RGB, or gray with black at 0
        (273, "I", offsets),
        (277, "H", [channels]),
        (278, "I", [min(ROWS, height)]),
        (279, "I", lengths),
        (284, "H", [1]),  # the channels lie side by side
        (317, "H", [2]),  # horizontal prediction
    ]
    if channels in (2, 4):
        entries.append((338, "H", [2]))  # the extra channel is alpha, not premultiplied
    if icc:
        entries.append((34675, "B", list(icc)))
    if file.tell() + 16 * height + len(icc or b"") >= 2**32:
        raise ImageError(f"{width}x{height} pixels are too many for a TIFF, which ends at 4 GB. Write a PNG.")
    _write_directory(file, entries)


def _write_directory(file: IO[bytes], entries: list[tuple[int, str, list[int]]]) -> None:
    """Append the image file directory and point the header to it."""
    start = file.tell()
    beyond = start + 2 + 12 * len(entries) + 4
    table, extra = struct.pack("<H", len(entries)), b""
    for tag, kind, numbers in entries:
        data = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(data) > 4:
            place, data = struct.pack("<I", beyond + len(extra)), data + b"\0" * (len(data) % 2)
            extra += data
        else:
            place = data.ljust(4, b"\0")
        code = 7 if tag == 34675 else {"B": 1, "H": 3, "I": 4}[kind]
        table += struct.pack("<HHI", tag, code, len(numbers)) + place
    file.write(table + b"\0\0\0\0" + extra)
    file.seek(4)
    file.write(struct.pack("<I", start))


def _bands(planes: np.ndarray) -> Iterator[np.ndarray]:
    return (planes[top : top + ROWS] for top in range(0, len(planes), ROWS))


def _write_chunk(file: IO[bytes], kind: bytes, data: bytes) -> None:
    file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def _raw_mode(image: Image.Image) -> str | None:
    """How the file stores a pixel, in Pillow's words and without the byte order; None if it does not say."""
    tiles = getattr(image, "tile", None)
    if image.format not in ("PNG", "TIFF") or not tiles:
        return None
    args = tiles[0].args
    raw = args if isinstance(args, str) else args[0]
    return raw[:-1] if raw[-4:] in OTHER_ORDER else None


def _swap_order(args: str | tuple) -> str | tuple:
    raw = args if isinstance(args, str) else args[0]
    swapped = raw[:-4] + OTHER_ORDER[raw[-4:]]
    return swapped if isinstance(args, str) else (swapped, *args[1:])
