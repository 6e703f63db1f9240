"""Image file directories, the tables of tags that TIFF files and EXIF data are made of (TIFF 6.0, section 2; BigTIFF).

Values are kept as the bytes that they are: whatever type or length another program gave a tag, it can be carried along.
"""

import struct
from dataclasses import dataclass

import numpy as np

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
UNITS = {5: 4, 10: 4}  # bytes that change places with the byte order, where that is not the whole of a value
INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
BYTE, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 3, 4, 5, 7, 16


@dataclass(frozen=True)
class Entry:
    """The value of a tag: its type, how many there are, and the bytes, little-endian."""

    kind: int
    count: int
    data: bytes

    def integers(self) -> list[int]:
        """The numbers of an entry of any integer type; none for other types."""
        if self.kind not in INTEGERS:
            return []
        return np.frombuffer(self.data, "<" + INTEGERS[self.kind]).tolist()

    def number(self) -> float | None:
        """The first number of an entry of integers, fractions or floats."""
        if self.kind in (5, 10) and self.count:
            above, below = np.frombuffer(self.data[:8], "<u4" if self.kind == 5 else "<i4").tolist()
            return above / below if below else None
        if self.kind in (11, 12) and self.count:
            return float(np.frombuffer(self.data, "<f4" if self.kind == 11 else "<f8")[0])
        return next(iter(self.integers()), None)


Directory = dict[int, Entry]


@dataclass(frozen=True)
class Layout:
    """How a block of directories is laid out: byte order ("<" or ">"), 64-bit offsets or not, the first directory."""

    order: str
    big: bool
    first: int


def read_layout(data: bytes) -> Layout | None:
    """Read the header of a TIFF file or of EXIF data; None if it is neither."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43 and len(data) >= 16:
        return Layout(order, True, struct.unpack_from(order + "Q", data, 8)[0])
    return Layout(order, False, struct.unpack_from(order + "I", data, 4)[0]) if version == 42 else None


def read_directory(data: bytes, layout: Layout, offset: int) -> tuple[Directory, int, int]:
    """Read one directory.

    Returns:
        Its entries; the offset of the next directory, 0 after the last; how many entries could not be read.
    """
    header, size, inline = (8, 20, 8) if layout.big else (2, 12, 4)
    head, item = layout.order + ("Q" if layout.big else "H"), layout.order + ("HHQ" if layout.big else "HHI")
    pointer = layout.order + ("Q" if layout.big else "I")
    if not 0 < offset <= len(data) - header:
        return {}, 0, 0
    (count,) = struct.unpack_from(head, data, offset)
    start, lost, room = offset + header, 0, len(data)
    entries: dict[int, Entry] = {}
    for place in range(start, start + size * min(count, 65535), size):
        if place + size > len(data):
            return entries, 0, lost + 1
        tag, kind, number = struct.unpack_from(item, data, place)
        length, at = number * SIZES.get(kind, 0), place + size - inline
        if length > inline:
            (at,) = struct.unpack_from(pointer, data, at)
        room -= length  # entries that share their bytes could add up to any size
        if kind not in SIZES or at + length > len(data) or room < 0 or tag in entries:
            lost += 1
            continue
        entries[tag] = Entry(kind, number, _swap(data[at : at + length], kind, layout.order))
    end = start + size * count
    following = struct.unpack_from(pointer, data, end)[0] if end + inline <= len(data) else 0
    return entries, following, lost


def count_directories(data: bytes, layout: Layout, most: int) -> int:
    """How many directories follow each other, at most `most`: the pages of a TIFF file."""
    header, size, width = (8, 20, 8) if layout.big else (2, 12, 4)
    head, pointer = layout.order + ("Q" if layout.big else "H"), layout.order + ("Q" if layout.big else "I")
    seen: set[int] = set()
    offset = layout.first
    while offset not in seen and 0 < offset <= len(data) - header and len(seen) < most:
        seen.add(offset)
        offset += header + size * struct.unpack_from(head, data, offset)[0]
        offset = struct.unpack_from(pointer, data, offset)[0] if offset + width <= len(data) else 0
    return len(seen)


def write_directory(entries: Directory, start: int, big: bool = False) -> bytes:
    """A directory and, behind it, its longer values, little-endian.

    Args:
        entries: what it holds.
        start: its offset in the file; even.
        big: with the 64-bit offsets of BigTIFF.
    """
    head, item, pointer, inline = ("<Q", "<HHQ", "<Q", 8) if big else ("<H", "<HHI", "<I", 4)
    table, extra = struct.pack(head, len(entries)), []
    beyond = start + len(table) + (20 if big else 12) * len(entries) + inline
    for tag, entry in sorted(entries.items()):
        place = entry.data.ljust(inline, b"\0")
        if len(place) > inline:
            extra.append(entry.data + b"\0" * (len(entry.data) % 2))
            place = struct.pack(pointer, beyond)
            beyond += len(extra[-1])
        table += struct.pack(item, tag, entry.kind, entry.count) + place
    return b"".join((table, bytes(inline), *extra))


def make_entry(kind: int, numbers: list[int] | bytes) -> Entry:
    """An entry of integers, fractions (as above, below, above, below, …) or bytes."""
    if isinstance(numbers, bytes):
        return Entry(kind, len(numbers), numbers)
    code = "<u4" if kind in UNITS else "<" + INTEGERS[kind]
    data = np.array(numbers, code).tobytes()
    return Entry(kind, len(data) // SIZES[kind], data)


def _swap(data: bytes, kind: int, order: str) -> bytes:
    """Bytes of values as they are in little-endian order."""
    unit = UNITS.get(kind, SIZES[kind])
    if order == "<" or unit == 1:
        return data
    return np.frombuffer(data, f"u{unit}").byteswap().tobytes()
