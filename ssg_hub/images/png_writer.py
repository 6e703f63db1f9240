"""Writing PNG row by row, as far as Pillow does not: 16-bit colour, and pictures that are never whole in memory."""

import struct
import zlib
from typing import IO

import numpy as np

from .metadata import PREFIX, Metadata
from .png import SIGNATURE, make_chunk, text_chunks

ROWS = 256  # that are compressed at a time, to bound the memory
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by number of channels
PALETTE = 3
PLAIN, UP = 0, 2  # filter types


class PngWriter:
    """Writes a PNG, rows from the top down.

    Args:
        file: open for writing bytes.
        size: (width, height).
        channels: 1 gray or palette, 2 gray and alpha, 3 RGB, 4 RGBA.
        bits: 8 or 16 per channel.
        metadata: to embed.
        palette: (n, 3) uint8; the values are then its indices.
    """

    def __init__(
        self,
        file: IO[bytes],
        size: tuple[int, int],
        channels: int,
        bits: int,
        metadata: Metadata,
        palette: np.ndarray | None = None,
    ):
        self._file, self._filter = file, UP if palette is None else PLAIN
        self._packer = zlib.compressobj(6)
        self._above = np.zeros((1, size[0] * channels * bits // 8), np.uint8)
        file.write(SIGNATURE)
        color = COLOR_TYPES[channels] if palette is None else PALETTE
        self._write(b"IHDR", struct.pack(">IIBBBBB", *size, bits, color, 0, 0, 0))
        if metadata.icc:
            self._write(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc))
        if palette is not None:
            self._write(b"PLTE", palette.astype(np.uint8).tobytes())
        if metadata.dpi:
            self._write(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.dpi), 1))
        for kind, content in text_chunks(metadata):
            self._write(kind, content)
        if metadata.exif:
            self._write(b"eXIf", metadata.exif.removeprefix(PREFIX))

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows: uint8 or uint16 (h, W, C)."""
        for top in range(0, len(rows), ROWS):
            part = rows[top : top + ROWS]
            stored = np.ascontiguousarray(part, part.dtype.newbyteorder(">")).view(np.uint8).reshape(len(part), -1)
            filtered = np.full((len(stored), stored.shape[1] + 1), self._filter, np.uint8)
            filtered[:, 1:] = stored
            if self._filter == UP:
                filtered[:, 1:] -= np.concatenate((self._above, stored[:-1]))
            self._above = stored[-1:].copy()
            self._write(b"IDAT", self._packer.compress(filtered.tobytes()))

    def finish(self) -> None:
        """Write what is left; all rows have been added."""
        self._write(b"IDAT", self._packer.flush())
        self._write(b"IEND", b"")

    def _write(self, kind: bytes, data: bytes) -> None:
        self._file.write(make_chunk(kind, data))
