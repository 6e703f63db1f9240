"""What is kept with a picture's pixels: colour profile, EXIF, XMP, resolution and text, cleaned of what is stale.

Values are inspected no more than necessary: a tag of an odd type is copied as it is, what cannot be read at all is left
out with a note, and no metadata, whatever its type or size, prevents an intact picture from being read.
"""

import math
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from .ifd import (
    LONG,
    RATIONAL,
    SHORT,
    Directory,
    Entry,
    Layout,
    make_entry,
    read_directory,
    read_layout,
    write_directory,
)

LARGEST = 2**24  # bytes of one profile, or of all texts together: beyond it they are no use to anyone
PREFIX = b"Exif\0\0"
ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 274, 282, 283, 296
# Tags that point to the directories of the exposure and of the place, and, in that of the exposure, to the one of the
# DCF standard, which may say that the colours are Adobe RGB.
PHOTO, GPS, INTEROP = 0x8769, 0x8825, 0xA005
INCH, CENTIMETRE = 2, 3
# Describes the file rather than the photograph, or points into it: sizes, samples, strips, thumbnails, embedded blocks.
STALE = {*range(254, 269), 273, 274, *range(277, 285), *range(288, 294), 296, 301, *range(317, 348), *range(512, 533)}
STALE |= {700, 33723, 34377, 34675, PHOTO, GPS, 37724, 40965}
# Former width, height and format; what points to places in the old file.
STALE_BELOW = {PHOTO: {0xA002, 0xA003, INTEROP, 0x927C}, GPS: set(), INTEROP: {0x1000, 0x1001, 0x1002}}
# What a TIFF may say of the photograph; its other tags are the file's, or a program's own.
DESCRIPTIVE = {269, 270, 271, 272, 285, 305, 306, 315, 316, 0x4746, 0x4749, 33432, *range(0x9C9B, 0x9CA0)}
XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation\s*(?:=\s*["']|>)\s*)([0-9]+)""")
# What XMP says of the parts behind a JPEG's picture, none of which is kept: the clip of a motion photo, whether that is
# one, a gain map, the extension of the XMP itself; and the list of these parts.
PART = rb"(?:\w*Camera:(?:MotionPhoto|MicroVideo)\w*|hdrgm:Version|xmpNote:HasExtendedXMP)"
XMP_PARTS = re.compile(rb"""\s%b\s*=\s*(?:"[^"]*"|'[^']*')|<(%b)\s*>[^<]*</\1\s*>""" % (PART, PART))
XMP_MOTION = re.compile(rb"""Camera:(?:MotionPhoto|MicroVideo)\s*(?:=\s*["']|>)\s*1""")
XMP_LIST = b"Container:Directory"


class Metadata(NamedTuple):
    """What is kept, by the names under which `Picture` has it.

    Args:
        icc: the colour profile.
        exif: EXIF data without orientation and resolution, beginning with "Exif", zero, zero; little-endian.
        xmp: an XMP packet whose orientation is 1.
        dpi: pixels per inch, (x, y).
        text: keyword -> text, as PNG has them; "Comment" is also JPEG's and GIF's.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = {}

    @property
    def info(self) -> dict:
        """The same by the names under which Pillow's images have it; "text" is ours."""
        named = {"icc_profile": self.icc, "exif": self.exif, "xmp": self.xmp, "dpi": self.dpi, "text": self.text}
        return {name: value for name, value in named.items() if value}


def metadata_of(image) -> Metadata:
    """What a Pillow image carries in its `info`, as far as it is of the right types; not checked."""
    info = image.info
    icc, exif, xmp = (info.get(name) for name in ("icc_profile", "exif", "xmp"))
    icc, exif, xmp = (value if isinstance(value, bytes) else None for value in (icc, exif, xmp))
    text = info.get("text")
    text = {str(key): str(value) for key, value in text.items()} if isinstance(text, dict) else {}
    return Metadata(icc, exif, xmp, info.get("dpi"), text)


def usable(metadata: Metadata, upright: bool, notes: list[str]) -> Metadata:
    """The metadata without what no encoder could write, whatever its source; notes say what is left out.

    Args:
        metadata: of a picture that is to be written.
        upright: the pixels are, so that nothing may say that they are to be turned.
        notes: takes the notes.
    """
    main, below, _ = split_exif(metadata.exif) if metadata.exif else ({}, {}, 0)
    if metadata.exif and not (main or below):
        notes.append("The EXIF data cannot be read and was left out.")
    xmp = metadata.xmp or None
    if upright:
        main = {tag: entry for tag, entry in main.items() if tag != ORIENTATION}
        xmp = xmp and XMP_ORIENTATION.sub(rb"\g<1>1", xmp)
    return metadata._replace(exif=build_exif(main, below), xmp=xmp, dpi=_valid_dpi(metadata.dpi))


def fit_profile(metadata: Metadata, is_gray: bool, notes: list[str]) -> Metadata:
    """The metadata without a profile of other colours than the pixels have, RGB or gray; one for RGB holds for both."""
    kind = metadata.icc[16:20] if metadata.icc else b"RGB "
    if kind == b"RGB " or kind == b"GRAY" and is_gray:
        return metadata
    if kind == b"GRAY":
        notes.append("The colour profile was left out: it is for gray, and these pixels are RGB.")
    return metadata._replace(icc=None)


@dataclass
class Found:
    """What a file says, unchanged.

    Attributes:
        icc, xmp, dpi, text: as in `Metadata`, unchecked.
        exif: the bytes of EXIF data, with or without the prefix.
        main, below: the directories that a TIFF has in place of them, as `split_exif` returns them.
        frames: frames or pages of the file; `more` when there may be more still.
        notes: sentences about what is left out.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)
    main: Directory = field(default_factory=dict)
    below: dict[int, Directory] = field(default_factory=dict)
    frames: int = 1
    more: bool = False
    notes: list[str] = field(default_factory=list)

    def add_text(self, key: str, value: str) -> None:
        """Keep a text; one more under the same keyword is put behind the first."""
        if not value or key.startswith("Raw profile type"):
            return
        if sum(map(len, self.text.values())) + len(value) > LARGEST:
            self.note(f"A text of more than {LARGEST >> 20} MB was left out.")
        elif key:
            self.text[key] = f"{self.text[key]}\n{value}" if key in self.text else value

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


def clean(found: Found) -> tuple[Metadata, int]:
    """Check what was found and drop what is stale.

    Returns:
        The metadata to keep, and the EXIF orientation, 1 to 8, by which the pixels are to be turned.
    """
    main, below = found.main, found.below
    if found.exif is not None:
        main, below = _parse_exif(found)
    xmp = found.xmp or None
    orientation = _as_orientation(main.get(ORIENTATION))
    if xmp and ORIENTATION not in main and (match := XMP_ORIENTATION.search(xmp)):
        orientation = _as_orientation(make_entry(SHORT, [min(int(match[2][:3]), 9)]))
    if xmp:
        if XMP_MOTION.search(xmp):
            found.note("The moving part of this motion photo was left out.")
        xmp = _cut_parts(XMP_ORIENTATION.sub(rb"\g<1>1", xmp))
    icc = found.icc or None
    if icc and not (128 <= len(icc) <= LARGEST and icc[36:40] == b"acsp"):  # ICC.1:2022, 7.2.9
        found.note("The colour profile cannot be read and was left out.")
        icc = None
    dpi = _valid_dpi(found.dpi) or _dpi_of(main)
    exif = build_exif({tag: entry for tag, entry in main.items() if tag not in STALE}, below)
    return Metadata(icc, exif, xmp, dpi, found.text), orientation


def split_exif(exif: bytes) -> tuple[Directory, dict[int, Directory], int]:
    """The main directory of EXIF data, those below it by their pointers, and how many entries could not be read."""
    data = exif.removeprefix(PREFIX)
    layout = read_layout(data)
    if layout is None:
        return {}, {}, 1
    main, _, lost = read_directory(data, layout, layout.first)
    below, missed = split_pointed(data, layout, main)
    return {tag: entry for tag, entry in main.items() if tag not in (PHOTO, GPS)}, below, lost + missed


def split_pointed(data: bytes, layout: Layout, main: Directory) -> tuple[dict[int, Directory], int]:
    """The directories below a main one, as far as they hold anything, by their pointers; how many entries are lost."""
    found: dict[int, Directory] = {}
    lost = 0
    for pointer in (PHOTO, GPS, INTEROP):
        owner = found[PHOTO] if pointer == INTEROP else main
        numbers = owner[pointer].integers() if pointer in owner else []
        found[pointer], _, missed = read_directory(data, layout, numbers[0]) if numbers else ({}, 0, 0)
        lost += missed
    kept = {
        pointer: {tag: entry for tag, entry in entries.items() if tag not in STALE_BELOW[pointer]}
        for pointer, entries in found.items()
    }
    return {pointer: entries for pointer, entries in kept.items() if entries}, lost


def write_below(below: dict[int, Directory], start: int, big: bool = False) -> tuple[bytes, Directory]:
    """The directories below a main one, from offset `start` (even) on, and its pointers to them.

    Args:
        below: as `split_exif` returns them.
        start, big: as for `write_directory`.
    """
    written = b""
    pointers: Directory = {}
    for pointer in (INTEROP, PHOTO, GPS):  # each after what it points to
        entries = below.get(pointer, {})
        if pointer == PHOTO and INTEROP in pointers:
            entries = entries | {INTEROP: pointers.pop(INTEROP)}
        if entries:
            place = start + len(written)
            pointers[pointer] = make_entry(LONG, [place])
            written += write_directory(entries, place, big)
    return written, pointers


def build_exif(main: Directory, below: dict[int, Directory]) -> bytes | None:
    """EXIF data of the directories that `split_exif` returns, with the prefix; None when there is nothing to say."""
    _, pointers = write_below(below, 0)
    if not (main or pointers):
        return None
    behind, pointers = write_below(below, 8 + len(write_directory(main | pointers, 8)))
    return b"".join((PREFIX, b"II*\0\x08\0\0\0", write_directory(main | pointers, 8), behind))


def shorten_exif(exif: bytes, longest: int) -> bytes | None:
    """The EXIF data without its longest entries, so that it fits into `longest` bytes."""
    main, below, _ = split_exif(exif)
    directories = [main, *below.values()]
    while exif and len(exif) > longest:
        owner, tag = max(((d, tag) for d in directories for tag in d), key=lambda pair: len(pair[0][pair[1]].data))
        del owner[tag]
        exif = build_exif(main, below)
    return exif


def add_resolution(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """EXIF data with the resolution in it, for formats that have no other place for it."""
    main, below, _ = split_exif(exif) if exif else ({}, {}, 0)
    return build_exif(main | resolution_tags(dpi), below)


def resolution_tags(dpi: tuple[float, float]) -> Directory:
    """The three entries that say how many pixels there are to an inch."""
    x, y = (make_entry(RATIONAL, [round(value * 10000), 10000]) for value in dpi)
    return {X_RESOLUTION: x, Y_RESOLUTION: y, RESOLUTION_UNIT: make_entry(SHORT, [INCH])}


def decode_text(data: bytes) -> str:
    """Text of unknown encoding: UTF-8 where it is that, else Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _parse_exif(found: Found) -> tuple[Directory, dict[int, Directory]]:
    main, below, lost = split_exif(found.exif)
    if lost and not (main or below):
        found.note("The EXIF data cannot be read and was left out.")
    elif lost:
        found.note(f"Damaged entries of the EXIF data were left out: {lost}.")
    return main, below


def _cut_parts(xmp: bytes) -> bytes:
    """An XMP packet without what it says of the parts behind a picture."""
    xmp = XMP_PARTS.sub(b"", xmp)
    start, end = xmp.find(b"<" + XMP_LIST), xmp.rfind(b"</" + XMP_LIST)
    return xmp[:start] + xmp[xmp.index(b">", end) + 1 :] if 0 <= start < end and b">" in xmp[end:] else xmp


def _as_orientation(entry: Entry | None) -> int:
    number = None if entry is None else entry.number()
    return int(number) if number in range(1, 9) else 1


def _dpi_of(main: Directory) -> tuple[float, float] | None:
    x, y = (main[tag].number() if tag in main else None for tag in (X_RESOLUTION, Y_RESOLUTION))
    unit = main[RESOLUTION_UNIT].number() if RESOLUTION_UNIT in main else INCH
    if unit not in (INCH, CENTIMETRE):
        return None
    inches = 1 if unit == INCH else 2.54
    return _valid_dpi((x * inches, (y or x) * inches)) if x else None


def _valid_dpi(dpi: tuple | None) -> tuple[float, float] | None:
    """A resolution that every format can hold, or None."""
    try:
        x, y = (float(value) for value in dpi or ())
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return (x, y) if all(math.isfinite(value) and 1 <= value <= 65535 for value in (x, y)) else None
