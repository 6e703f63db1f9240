"""Writing TIFF (6.0; BigTIFF where 4 GB may not suffice): 8 and 16 bits, with palette or alpha, deflate-compressed."""

import struct
import zlib
from collections.abc import Iterable
from typing import IO

import numpy as np

from .ifd import BYTE, LONG, LONG8, SHORT, UNDEFINED, Directory, make_entry, write_directory
from .metadata import GPS, ORIENTATION, PHOTO, STALE, Metadata, resolution_tags, split_exif

ICC, XMP = 34675, 700
DEFLATE, SIDE_BY_SIDE, DIFFERENCES, STRAIGHT_ALPHA = 8, 1, 2, 2
BLACK_IS_0, RGB, PALETTE = 1, 2, 3
MOST_BYTES = 2**32 - 2**26  # of pixels that do not shrink at all, below what 32-bit offsets address


def write_tiff(
    file: IO[bytes],
    bands: Iterable[np.ndarray],
    size: tuple[int, int],
    metadata: Metadata,
    palette: np.ndarray | None = None,
) -> None:
    """Write a TIFF with horizontal prediction (TIFF 6.0, sections 2, 14 and 18).

    Args:
        file: open for writing bytes, seekable.
        bands: the rows from the top down, uint8 or uint16 (h, W, C), all of one height but the last; C is 1 gray or
            palette, 2 gray and alpha, 3 RGB, 4 RGBA.
        size: (width, height).
        metadata: to embed; texts have no place here.
        palette: (n, 3) uint8; the values are then its indices.
    """
    big = size[0] * size[1] * 8 > MOST_BYTES
    main, photo, gps, _ = split_exif(metadata.exif) if metadata.exif else ({}, {}, {}, 0)
    file.write(bytes(16))  # the header is filled in last
    tags = {tag: entry for tag, entry in main.items() if tag not in STALE or tag == ORIENTATION}
    for pointer, entries in ((PHOTO, photo), (GPS, gps)):
        if entries:
            tags[pointer] = make_entry(LONG, [file.tell()])
            file.write(write_directory(entries, file.tell(), big))
    offsets, lengths, rows, sample = [], [], 0, None
    for band in bands:
        sample, rows = band[0, 0], rows or len(band)
        strip = band.astype(band.dtype.newbyteorder("<"))
        if palette is None:
            strip[:, 1:] -= band[:, :-1]
        packed = zlib.compress(strip.tobytes(), 6)
        offsets.append(file.tell())
        lengths.append(len(packed))
        file.write(packed)
        file.write(b"\0" * (file.tell() % 2))
    tags |= _describe(size, sample, rows, palette)
    tags |= {273: make_entry(LONG8 if big else LONG, offsets), 279: make_entry(LONG8 if big else LONG, lengths)}
    if metadata.dpi:
        tags |= resolution_tags(metadata.dpi)
    if metadata.icc:
        tags[ICC] = make_entry(UNDEFINED, metadata.icc)
    if metadata.xmp:
        tags[XMP] = make_entry(BYTE, metadata.xmp)
    start = file.tell()
    file.write(write_directory(tags, start, big))
    file.seek(0)
    file.write(b"II+\0\x08\0\0\0" + struct.pack("<Q", start) if big else b"II*\0" + struct.pack("<I", start))


def _describe(size: tuple[int, int], sample: np.ndarray, rows: int, palette: np.ndarray | None) -> Directory:
    """The tags that say how the samples are stored; `sample` is any one pixel."""
    channels = len(sample)
    numbers = {
        258: [8 * sample.itemsize] * channels,
        259: [DEFLATE],
        262: [PALETTE if palette is not None else RGB if channels > 2 else BLACK_IS_0],
        277: [channels],
        284: [SIDE_BY_SIDE],
        317: [1 if palette is not None else DIFFERENCES],
    }
    if channels in (2, 4):
        numbers[338] = [STRAIGHT_ALPHA]
    if palette is not None:
        table = np.zeros((256, 3), np.uint16)
        table[: len(palette)] = palette
        numbers[320] = (table.T.ravel() * 257).tolist()
    sides = {256: [size[0]], 257: [size[1]], 278: [rows]}
    return {tag: make_entry(SHORT, value) for tag, value in numbers.items()} | {
        tag: make_entry(LONG, value) for tag, value in sides.items()
    }
