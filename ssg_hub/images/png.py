"""PNG (W3C, third edition): its chunks taken apart, and its 16-bit colour, which Pillow reads at 8 bits.

Reading 16 bits asks Pillow's own decoder twice: it keeps the first byte of each sample, and told that the file has the
other byte order it keeps the second.
"""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image, PngImagePlugin

from .code_points import explain_colors, name_colors
from .metadata import LARGEST, Found, Metadata, decode_text

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, COLOR, PALETTE = 0, 2, 3
XMP = b"XML:com.adobe.xmp"
SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)  # x and y of white, red, green, blue, times 1e5
SRGB_GAMMA, NEAR = 45455, 1000  # programs round differently


def take_apart(data: bytes) -> tuple[bytes, Found]:
    """Split a file into what makes its pixels, as a smaller PNG, and what it says of itself.

    Only what makes the pixels must be sound: texts and profiles of any size, and checksums of other chunks, are not
    looked at by the decoder.
    """
    found, kept, bits, color, animated = Found(), [SIGNATURE], 0, None, False
    colors: dict[bytes, bytes] = {}
    for kind, body, whole in _read_chunks(data):
        if kind == b"IHDR" and len(body) == 13:
            bits, color = body[8:10]
        if kind in (b"IHDR", b"IDAT", b"IEND", b"") or kind == b"PLTE" and color == PALETTE:
            kept.append(whole)
        elif kind == b"tRNS" and kept[-1][4:8] != b"IDAT":
            if _is_transparency(body, color):
                kept.append(whole if color == PALETTE else make_chunk(b"tRNS", _mask_key(body, bits)))
            else:
                found.note("The transparent colour cannot be read and was left out.")
        elif kind == b"acTL" and len(body) == 8:
            animated, (found.frames, _) = True, struct.unpack(">II", body)
        elif kind == b"fcTL" and animated and not any(chunk[4:8] == b"IDAT" for chunk in kept):
            animated = False  # the default image is the first frame
        elif kind in (b"cICP", b"sRGB", b"gAMA", b"cHRM"):
            colors.setdefault(kind, body)
        else:
            _read_words(kind, body, found)
    found.frames = max(1, found.frames + animated)
    if not found.icc and (name := _name_colors(colors)):
        found.note(explain_colors(name))
    return b"".join(kept), found


def open_low_bytes(data: bytes, image: Image.Image) -> Image.Image | None:
    """Open a file of 16-bit colour once more so that it yields the low byte of each sample.

    Args:
        data: the whole file.
        image: the same file opened by Pillow and not loaded yet; it will yield the high bytes.

    Returns:
        An image of the same mode, or None when the file does not hold 16-bit RGB or RGBA.
    """
    return _reopen(data, lambda raw: f"{raw[:-1]}L") if _raw_mode(image) in ("RGB;16B", "RGBA;16B") else None


def open_gray_alpha(data: bytes, image: Image.Image) -> Image.Image | None:
    """Open a PNG of 16-bit gray with alpha so that R and G are the two bytes of gray, B and A those of alpha.

    Args and returns as `open_low_bytes`.
    """
    return _reopen(data, lambda raw: "RGBA") if _raw_mode(image) == "LA;16B" else None


def join_bytes(high: Image.Image, low: Image.Image) -> np.ndarray:
    """16-bit samples from two loaded images of their bytes: uint16 (H, W, channels)."""
    joined = np.asarray(high).astype(np.uint16)
    joined <<= 8
    joined |= np.asarray(low)
    return joined


def transparent_gray(image: Image.Image) -> int | None:
    """The gray, on the scale of the decoded values, that a gray PNG (not loaded yet) declares transparent."""
    key = image.info.get("transparency")
    if image.format != "PNG" or not isinstance(key, int) or image.mode not in ("1", "L", "I;16"):
        return None
    if image.mode == "1":
        return 255 if key else 0
    return key * 255 // (stored_white(image) or 255) if image.mode == "L" else key


def stored_white(image: Image.Image) -> int | None:
    """The white of gray of 2 or 4 bits, 3 or 15, which Pillow makes 255; None for other images and those loaded."""
    return {"L;2": 3, "L;4": 15}.get(_raw_mode(image) or "")


def text_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """XMP and texts as chunks (kind, content); uncompressed, because readers refuse long compressed ones."""
    if metadata.xmp:
        yield b"iTXt", XMP + b"\0\0\0\0\0" + metadata.xmp
    for key, value in metadata.text.items():
        name = key.encode("latin-1", "replace")[:79].replace(b"\0", b" ")
        try:
            yield b"tEXt", name + b"\0" + value.replace("\0", " ").encode("latin-1")
        except UnicodeEncodeError:
            yield b"iTXt", name + b"\0\0\0\0\0" + value.replace("\0", " ").encode(errors="replace")


def save_options(metadata: Metadata) -> dict:
    """What Pillow's encoder takes to write the metadata."""
    info = PngImagePlugin.PngInfo()
    for kind, content in text_chunks(metadata):
        info.add(kind, content)
    return {"pnginfo": info}


def _read_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, content, whole chunk) one after the other; what breaks off comes last, as (b"", b"", rest)."""
    place = len(SIGNATURE)
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, end = data[place + 4 : place + 8], place + 12 + length
        if end > len(data):
            break
        yield kind, data[place + 8 : end - 4], data[place:end]
        if kind == b"IEND":
            return
        place = end
    yield b"", b"", data[place:]


def _is_transparency(body: bytes, color: int | None) -> bool:
    lengths = {GRAY: (2,), COLOR: (6,), PALETTE: range(1, 257)}
    return len(body) in lengths.get(color, ())


def _mask_key(key: bytes, bits: int) -> bytes:
    """A transparent colour without the bits that samples of this depth do not have."""
    return (np.frombuffer(key, ">u2") & (2**bits - 1)).astype(">u2").tobytes()


def _name_colors(chunks: dict[bytes, bytes]) -> str:
    """What is not as in sRGB, by the chunk that counts most: cICP, sRGB, gAMA with cHRM; empty where nothing is."""
    if len(chunks.get(b"cICP", b"")) == 4:
        return name_colors(*chunks[b"cICP"][:2])
    if b"sRGB" in chunks:
        return ""
    said = []
    if len(chunks.get(b"cHRM", b"")) == 32:
        points = zip(struct.unpack(">8I", chunks[b"cHRM"]), SRGB_POINTS, strict=True)
        said += ["other primaries"] if any(abs(one - other) > NEAR for one, other in points) else []
    if len(chunks.get(b"gAMA", b"")) == 4:
        (gamma,) = struct.unpack(">I", chunks[b"gAMA"])
        said += [f"gamma {1e5 / gamma:.3g}"] if gamma and abs(gamma - SRGB_GAMMA) > NEAR else []
    return ", ".join(said)


def _read_words(kind: bytes, body: bytes, found: Found) -> None:
    """Take what a chunk says of the picture, if it says anything that is kept."""
    if kind == b"eXIf":
        found.exif = body
    elif kind == b"pHYs" and len(body) == 9 and body[8] == 1:
        found.dpi = tuple(value * 0.0254 for value in struct.unpack(">II", body[:8]))
    elif kind == b"iCCP":
        found.icc = _inflate(body.partition(b"\0")[2][1:], found)
    elif kind == b"tEXt":
        key, _, value = body.partition(b"\0")
        _keep_text(key, value, found)
    elif kind == b"zTXt":
        key, _, value = body.partition(b"\0")
        _keep_text(key, _inflate(value[1:], found), found)
    elif kind == b"iTXt":
        key, _, rest = body.partition(b"\0")
        value = rest[2:].split(b"\0", 2)[-1]
        _keep_text(key, _inflate(value, found) if rest[:1] == b"\1" else value, found, utf8=True)


def _keep_text(key: bytes, value: bytes, found: Found, utf8: bool = False) -> None:
    if key == XMP:
        found.xmp = value
    elif key == b"Raw profile type exif":  # as ImageMagick wrote EXIF before PNG had a chunk for it
        hexadecimal = b"".join(value.split(b"\n")[3:])
        try:
            found.exif = found.exif or bytes.fromhex(hexadecimal.decode("ascii"))
        except ValueError:
            found.note("The EXIF data cannot be read and was left out.")
    else:
        found.add_text(key.decode("latin-1"), decode_text(value) if utf8 else value.decode("latin-1"))


def _inflate(data: bytes, found: Found) -> bytes:
    """Decompress up to `LARGEST` bytes; nothing, with a note, where that fails."""
    try:
        unpacked = zlib.decompressobj().decompress(data, LARGEST + 1)
    except zlib.error:
        found.note("A compressed text or profile cannot be read and was left out.")
        return b""
    if len(unpacked) > LARGEST:
        found.note(f"A compressed text or profile of more than {LARGEST >> 20} MB was left out.")
        return b""
    return unpacked


def _raw_mode(image: Image.Image) -> str | None:
    """How a PNG stores a pixel, in Pillow's words; None for other images and those that are loaded."""
    tiles = getattr(image, "tile", None)
    if image.format != "PNG" or not tiles:
        return None
    return tiles[0].args if isinstance(tiles[0].args, str) else tiles[0].args[0]


def _reopen(data: bytes, change) -> Image.Image:
    """Open a PNG so that its samples are unpacked in another way than the file says."""
    image = Image.open(BytesIO(data), formats=("PNG",))
    image.tile = [tile._replace(args=change(tile.args)) for tile in image.tile]
    return image


def make_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
