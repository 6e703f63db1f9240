"""A PNG decoded from the top down, some rows at a time.

Rows are filtered against the row above, so that a band of them, with the row before it in front, is a small PNG of its
own: that is what the usual decoder is given.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from .metadata import Found
from .png import SIGNATURE, make_chunk, take_apart
from .reading import read_picture

CHANNELS = {0: 1, 2: 3}  # by colour type: gray, RGB
STEP = 256  # rows that are skipped at a time
PIECE = 2**16  # bytes that are unpacked at a time


class PngRows:
    """The rows of a PNG.

    Args:
        data: the file.
        spans: (start, stop) of the compressed pixels in it.
        size: (width, height).
        color: 0 gray, 2 RGB.
        bits: 8 or 16.
    """

    def __init__(self, data, spans: list[tuple[int, int]], size: tuple[int, int], color: int, bits: int):
        self._data, self._spans, self._size, self._color, self._bits = data, spans, size, color, bits
        self.shape = (size[1], size[0]) if color == 0 else (size[1], size[0], CHANNELS[color])
        self.dtype = np.dtype(f"u{bits // 8}")
        self._row_bytes = size[0] * CHANNELS[color] * bits // 8
        self._restart()

    def read(self, first: int, stop: int) -> np.ndarray:
        """These rows, (h, W) or (h, W, 3); the faster the nearer `first` is to where the last call stopped.

        Raises:
            ValueError: the pixels end early.
        """
        if first < self._next:
            self._restart()
        while self._next < first:
            self._decode(min(first, self._next + STEP))
        return self._decode(stop)

    def _restart(self) -> None:
        self._next, self._above = 0, b""
        self._unpacked, self._unpacker = bytearray(), zlib.decompressobj()
        self._pieces = self._cut()

    def _cut(self) -> Iterator[bytes]:
        for start, stop in self._spans:
            for place in range(start, stop, PIECE):
                yield self._data[place : min(place + PIECE, stop)]

    def _decode(self, stop: int) -> np.ndarray:
        count, known = stop - self._next, bool(self._above)
        rows = (b"\0" + self._above if known else b"") + self._inflate(count * (1 + self._row_bytes))
        header = struct.pack(">IIBBBBB", self._size[0], count + known, self._bits, self._color, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
        small = SIGNATURE + b"".join(make_chunk(kind, content) for kind, content in chunks)
        values = read_picture(small, max_pixels=2**62).values[known:]
        self._next, self._above = stop, values[-1].astype(self.dtype.newbyteorder(">")).tobytes()
        return values

    def _inflate(self, count: int) -> bytes:
        while len(self._unpacked) < count:
            piece = self._unpacker.unconsumed_tail or next(self._pieces, None)
            if piece is None:
                raise ValueError("the pixels end early")
            self._unpacked += self._unpacker.decompress(piece, count - len(self._unpacked))
        taken, self._unpacked = bytes(self._unpacked[:count]), self._unpacked[count:]
        return taken


def open_rows(data) -> tuple[PngRows, Found] | None:
    """The rows of a file and what it says of itself; None where it is interlaced, has alpha, a palette or few bits."""
    spans: list[tuple[int, int]] = []
    rest = [SIGNATURE]
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        start, stop = place + 8, place + 8 + length
        if kind == b"IDAT":
            if not spans:
                rest.append(make_chunk(kind, b""))
            spans.append((start, min(stop, len(data))))
        elif kind == b"tRNS":
            return None
        elif kind != b"fdAT":
            rest.append(data[place : stop + 4])
        place = stop + 4
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", rest[1][8:21])
    if color not in CHANNELS or bits not in (8, 16) or interlaced or not spans:
        return None
    return PngRows(data, spans, (width, height), color, bits), take_apart(b"".join(rest))[1]
