"""Writing TIFF (6.0; BigTIFF where 4 GB may not suffice): 8 and 16 bits, with palette or alpha, deflate-compressed."""

import struct
import zlib
from typing import IO

import numpy as np

from .ifd import BYTE, LONG, LONG8, SHORT, UNDEFINED, Directory, make_entry, write_directory
from .metadata import ORIENTATION, STALE, Metadata, resolution_tags, split_exif, write_below

ICC, XMP = 34675, 700
DEFLATE, SIDE_BY_SIDE, DIFFERENCES, STRAIGHT_ALPHA = 8, 1, 2, 2
BLACK_IS_0, RGB, PALETTE = 1, 2, 3
SIDE = 256  # rows of a strip; pixels of a tile, both ways
MOST_BYTES = 2**32 - 2**26  # of pixels that do not shrink at all, below what 32-bit offsets address


class TiffWriter:
    """Writes a TIFF with horizontal prediction, rows from the top down (TIFF 6.0, sections 2, 14, 15 and 18).

    Args:
        file: open for writing bytes, seekable.
        size: (width, height).
        metadata: to embed; texts have no place here.
        palette: (n, 3) uint8; the values are then its indices.
        tiled: in tiles of `SIDE` pixels, so that viewers of large pictures read what they show; else in strips.
    """

    def __init__(
        self,
        file: IO[bytes],
        size: tuple[int, int],
        metadata: Metadata,
        palette: np.ndarray | None = None,
        tiled: bool = False,
    ):
        self._file, self._size, self._palette, self._tiled = file, size, palette, tiled
        self._big = size[0] * size[1] * 8 > MOST_BYTES
        self._offsets: list[int] = []
        self._lengths: list[int] = []
        self._sample: np.ndarray | None = None  # any one pixel
        self._waiting: np.ndarray | None = None  # rows of a strip that is not complete
        file.write(bytes(16))  # the header is filled in last
        self._tags = self._write_metadata(metadata)

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows: uint8 or uint16 (h, W, C); C is 1 gray or palette, 2 gray and alpha, 3 RGB, 4 RGBA."""
        rows = rows if self._waiting is None else np.concatenate((self._waiting, rows))
        whole = len(rows) - len(rows) % SIDE
        for top in range(0, whole, SIDE):
            self._write_rows(rows[top : top + SIDE])
        self._waiting = rows[whole:].copy()

    def finish(self) -> None:
        """Write what is left, the tags and the header; all rows have been added."""
        if self._waiting is not None and len(self._waiting):
            self._write_rows(self._waiting)
        tags = self._tags | _describe(self._size, self._sample, self._palette)
        kind = LONG8 if self._big else LONG
        where, lengths = (324, 325) if self._tiled else (273, 279)
        tags |= {where: make_entry(kind, self._offsets), lengths: make_entry(kind, self._lengths)}
        for side in (322, 323) if self._tiled else (278,):
            tags[side] = make_entry(LONG, [SIDE])
        start = self._file.tell()
        self._file.write(write_directory(tags, start, self._big))
        self._file.seek(0)
        header = b"II+\0\x08\0\0\0" + struct.pack("<Q", start) if self._big else b"II*\0" + struct.pack("<I", start)
        self._file.write(header)

    def _write_metadata(self, metadata: Metadata) -> Directory:
        """Write the directories of EXIF; returns the tags for all of the metadata."""
        main, below, _ = split_exif(metadata.exif) if metadata.exif else ({}, {}, 0)
        behind, pointers = write_below(below, self._file.tell(), self._big)
        self._file.write(behind)
        tags = {tag: entry for tag, entry in main.items() if tag not in STALE or tag == ORIENTATION} | pointers
        if metadata.dpi:
            tags |= resolution_tags(metadata.dpi)
        if metadata.icc:
            tags[ICC] = make_entry(UNDEFINED, metadata.icc)
        if metadata.xmp:
            tags[XMP] = make_entry(BYTE, metadata.xmp)
        return tags

    def _write_rows(self, rows: np.ndarray) -> None:
        self._sample = rows[0, 0]
        if not self._tiled:
            return self._write_piece(rows)
        height, width = rows.shape[:2]
        padded = np.pad(rows, ((0, SIDE - height), (0, -width % SIDE), (0, 0)), mode="edge")
        for left in range(0, width, SIDE):
            self._write_piece(padded[:, left : left + SIDE])

    def _write_piece(self, rows: np.ndarray) -> None:
        stored = rows.astype(rows.dtype.newbyteorder("<"))
        if self._palette is None:
            stored[:, 1:] -= rows[:, :-1]
        packed = zlib.compress(stored.tobytes(), 6)
        self._offsets.append(self._file.tell())
        self._lengths.append(len(packed))
        self._file.write(packed)
        self._file.write(b"\0" * (self._file.tell() % 2))


def _describe(size: tuple[int, int], sample: np.ndarray, palette: np.ndarray | None) -> Directory:
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
    sides = {256: [size[0]], 257: [size[1]]}
    return {tag: make_entry(SHORT, value) for tag, value in numbers.items()} | {
        tag: make_entry(LONG, value) for tag, value in sides.items()
    }
