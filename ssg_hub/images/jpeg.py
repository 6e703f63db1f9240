"""JPEG (ITU-T T.81, JFIF): its segments taken apart, and what of the metadata fits into segments again."""

import struct
from collections.abc import Iterator

from .ifd import read_directory, read_layout
from .metadata import PREFIX, Found, Metadata, decode_text, shorten_exif

LONGEST = 65533  # bytes of a segment
APP0, APP1, APP2, APP13, APP14, APP15, COMMENT = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xEF, 0xFE
END, SCAN = 0xD9, 0xDA
ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a segment
XMP, LONG_XMP = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
ICC, PICTURES = b"ICC_PROFILE\0", b"MPF\0"
COUNT_OF_PICTURES = 0xB001  # tag of the multi-picture index (CIPA DC-007)
IPTC = b"8BIM\x04\x04"
MOST_PROFILE = 255 * (LONGEST - 14)


def take_apart(data: bytes) -> tuple[bytes, Found]:
    """Split a file into what makes its pixels, as a smaller JPEG, and what it says of itself."""
    found, kept, exif, icc, comments = Found(), [data[:2]], [], [], []
    for marker, body, whole in _read_segments(data):
        if _makes_pixels(marker, body):
            kept.append(whole)
        if marker == APP0 and _makes_pixels(marker, body):
            unit, *density = struct.unpack(">BHH", body[7:12])
            found.dpi = {1: tuple(density), 2: tuple(value * 2.54 for value in density)}.get(unit)
        elif marker == APP1 and body.startswith(PREFIX):
            exif.append(body[len(PREFIX) :])
        elif marker == APP1 and body.startswith(XMP):
            found.xmp = found.xmp or body[len(XMP) :]
        elif marker == APP1 and body.startswith(LONG_XMP):
            found.note("The extension of the XMP data was left out.")
        elif marker == APP2 and body.startswith(ICC):
            icc.append(body[len(ICC) :])
        elif marker == APP2 and body.startswith(PICTURES):
            found.frames = _count_pictures(body[len(PICTURES) :])
        elif marker == APP13 and IPTC in body:
            found.note("The IPTC data was left out.")
        elif marker == COMMENT:
            comments.append(body.rstrip(b"\0"))
    found.exif = b"".join(exif) if exif else None
    found.icc = _join_profile(icc)
    if comments:
        found.add_text("Comment", decode_text(b"\n".join(comments)))
    return b"".join(kept), found


def fit(metadata: Metadata, notes: list[str]) -> Metadata:
    """The metadata as far as JPEG's segments hold it; notes say what does not fit."""
    exif, xmp, icc = metadata.exif, metadata.xmp, metadata.icc
    if exif and len(exif) > LONGEST:
        exif = shorten_exif(exif, LONGEST)
        notes.append(f"The longest EXIF entries were left out: JPEG holds {LONGEST} bytes of EXIF.")
    if xmp and len(XMP) + len(xmp) > LONGEST:
        xmp = None
        notes.append(f"The XMP data was left out: JPEG holds {LONGEST - len(XMP)} bytes of it.")
    if icc and len(icc) > MOST_PROFILE:
        icc = None
        notes.append(f"The colour profile was left out: JPEG holds {MOST_PROFILE} bytes of it.")
    comment = metadata.text.get("Comment", "")
    if len(comment.encode(errors="replace")) > LONGEST:
        comment = ""
        notes.append(f"The comment was left out: JPEG holds {LONGEST} bytes of it.")
    return Metadata(icc, exif, xmp, metadata.dpi, {"Comment": comment} if comment else {})


def save_options(metadata: Metadata) -> dict:
    """What Pillow's encoder takes to write the text of metadata that fits."""
    return {"comment": metadata.text.get("Comment", "").encode(errors="replace") or None}


def _read_segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(marker, content, whole segment) up to the pixels; the scan and all that follows comes as one."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker in (0x00, 0xFF):  # padding, or bytes that are no marker
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            end = place + 2 + length
            if marker in (SCAN, END) or length < 2 or end > len(data):
                yield marker if marker in (SCAN, END) else 0, b"", data[place:]
                return
            yield marker, data[place + 4 : end], data[place:end]
            place = end


def _makes_pixels(marker: int, body: bytes) -> bool:
    """Whether a segment concerns the decoder; of the applications' segments those that tell RGB from YCbCr."""
    if marker == APP0:
        return body.startswith(b"JFIF\0") and len(body) >= 14
    if marker == APP14:
        return body.startswith(b"Adobe") and len(body) >= 12
    return marker != COMMENT and not APP0 < marker <= APP15


def _join_profile(parts: list[bytes]) -> bytes | None:
    """A profile from its numbered parts; what is no profile where some are missing, so that it is told of."""
    parts.sort(key=lambda part: part[:1])
    numbers = [part[0] for part in parts if len(part) > 1]
    if not parts:
        return None
    complete = numbers == list(range(1, len(parts) + 1)) and all(part[1] == len(parts) for part in parts)
    return b"".join(part[2:] for part in parts) if complete else b"incomplete"


def _count_pictures(index: bytes) -> int:
    layout = read_layout(index)
    entries = read_directory(index, layout, layout.first)[0] if layout else {}
    numbers = entries[COUNT_OF_PICTURES].integers() if COUNT_OF_PICTURES in entries else []
    return max(1, *numbers[:1], 1)
