"""The samples of a TIFF page as they are stored: its strips or tiles found, decompressed, unpacked and put together.

The compression is undone by Pillow's libtiff as if the rows were plain bytes, and the bytes become samples of any kind:
1 to 64 bits, integers or floats, in planes or side by side.
"""

from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from PIL import ImageFile, TiffImagePlugin

from ..errors import ImageError
from .ifd import LONG, SHORT, make_entry
from .ifd import write_directory as pack_directory
from .tiff_page import NONE, OF_BYTES, PACK_BITS, Page

MOST_SAMPLES = 8  # of a pixel
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4  # formats of a sample
CODES = {UNSIGNED: "u", UNDEFINED: "u", SIGNED: "i", FLOAT: "f"}  # NumPy's
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # predictors: TIFF 6.0, section 14; TIFF Technical Note 3
PREDICTED = OF_BYTES - {NONE, PACK_BITS}  # compressions that a predictor goes with
BAND = 2**20  # samples that are unpacked or scaled at a time


@dataclass(frozen=True)
class Pieces:
    """The strips or tiles of a page.

    Attributes:
        width, height: of one, in pixels; the last strip may be lower.
        across, down: how many lie beside each other, and how many below.
        planes: how often they cover the picture: once, or once for each sample of a pixel.
        channels: samples of a pixel that lie side by side in one.
        row_bytes: of a row of one, without compression.
        offsets, lengths: bytes, of each in the file: plane after plane, in each row after row.
    """

    width: int
    height: int
    across: int
    down: int
    planes: int
    channels: int
    row_bytes: int
    offsets: list[int]
    lengths: list[int]


def read_samples(page: Page, wanted: tuple[int, int] | None = None) -> np.ndarray:
    """The samples (H, W, C) as stored: unsigned or signed integers, or floats.

    Args:
        page: its compression is one of bytes.
        wanted: the first row and the one after the last; None is all.

    Raises:
        ImageError: a layout that is not known.
        ValueError: damaged.
    """
    pieces = _find_pieces(page)
    if wanted and are_single_rows(page):
        pieces = _cut_into_rows(pieces, page.size[1])
    rows = wanted or (0, page.size[1])
    planes = [_read_plane(page, pieces, plane, *rows) for plane in range(pieces.planes)]
    return planes[0] if len(planes) == 1 else np.concatenate(planes, axis=-1)


def are_single_rows(page: Page) -> bool:
    """Whether each row of pixels can be had by itself: strips without compression."""
    return not page.is_tiled and page.compression == NONE


def _find_pieces(page: Page) -> Pieces:
    """Where the samples are, unless there is no sense in it."""
    (width, height), count, bits = page.size, page.samples, page.bits
    side_across, side_down = page.piece
    if not 1 <= count <= MOST_SAMPLES or side_across < 1 or side_down < 1:
        raise ImageError(f"its {count} samples a pixel, or its strips or tiles, cannot be read. Save it as RGB.")
    across, down = -(-width // side_across), -(-height // side_down)
    if across * side_across * down * side_down > 4 * width * height + 2**24:
        raise ValueError(f"tiles of {side_across}x{side_down} are far larger than the picture")
    planes = count if page.number(284, 1) == 2 else 1
    channels = count // planes
    offsets = page.numbers(324, page.numbers(273, []))
    lengths = page.numbers(325, page.numbers(279, [])) or _guess_lengths(offsets, len(page.data))
    if min(len(offsets), len(lengths)) < planes * across * down:
        raise ValueError("strips or tiles are missing")
    row_bytes = -(-side_across * channels * bits // 8)
    return Pieces(side_across, side_down, across, down, planes, channels, row_bytes, offsets, lengths)


def _guess_lengths(offsets: list[int], end: int) -> list[int]:
    """Each piece as far as the next one, for files that do not say."""
    following = dict(zip(ordered := sorted(offsets), [*ordered[1:], end], strict=True))
    return [following[offset] - offset for offset in offsets]


def _cut_into_rows(strips: Pieces, height: int) -> Pieces:
    """Strips without compression of a picture of so many rows as strips of one row each."""
    offsets = [
        strips.offsets[plane * strips.down + row // strips.height] + row % strips.height * strips.row_bytes
        for plane in range(strips.planes)
        for row in range(height)
    ]
    return replace(strips, height=1, down=height, offsets=offsets, lengths=[strips.row_bytes] * len(offsets))


def _read_plane(page: Page, pieces: Pieces, plane: int, start: int, stop: int) -> np.ndarray:
    """Rows start…stop of one plane: (rows, W, channels)."""
    first, last = start // pieces.height, -(-stop // pieces.height)  # rows of pieces
    above, end = first * pieces.height, min(last * pieces.height, page.size[1])
    rows = (last - first) * pieces.across * pieces.height if page.is_tiled else end - above
    part = slice((plane * pieces.down + first) * pieces.across, (plane * pieces.down + last) * pieces.across)
    raw = _read_rows(page, pieces.offsets[part], pieces.lengths[part], pieces.row_bytes, pieces.height, rows)
    samples = _unpack(page, raw, pieces.width * pieces.channels, pieces.channels)
    samples = samples.reshape(rows, pieces.width, pieces.channels)
    if page.is_tiled:
        samples = _join_tiles(samples, pieces, last - first)[: end - above, : page.size[0]]
    return samples[start - above : stop - above]


def _join_tiles(samples: np.ndarray, pieces: Pieces, down: int) -> np.ndarray:
    """Tiles that lie below each other, `down` rows of them, put in their places."""
    tiles = samples.reshape(down, pieces.across, pieces.height, pieces.width, pieces.channels).swapaxes(1, 2)
    return tiles.reshape(-1, pieces.across * pieces.width, pieces.channels)


def _read_rows(page: Page, offsets: list[int], lengths: list[int], width: int, step: int, height: int) -> np.ndarray:
    """The rows of strips or tiles, `step` rows each, without their compression: bytes, uint8 (height, width)."""
    reverse = page.number(266, 1) == 2  # the bits of a byte
    if page.compression != NONE:
        return _decompress(page, offsets, lengths, width, step, height, reverse)
    sizes = [min(step, height - i * step) * width for i in range(len(offsets))]
    data = b"".join(page.data[at : at + size] for at, size in zip(offsets, sizes, strict=True))
    if len(data) < height * width:
        raise ValueError("the samples end early")
    plain = np.frombuffer(data, np.uint8)
    plain = np.packbits(np.unpackbits(plain, bitorder="little")) if reverse else plain
    return plain.reshape(height, width)


class _Rows(TiffImagePlugin.TiffImageFile):
    """Rows of bytes as a gray picture, which may have more "pixels" than Pillow's limit: the real ones were checked."""

    load_prepare = ImageFile.ImageFile.load_prepare


def _decompress(
    page: Page, offsets: list[int], lengths: list[int], width: int, step: int, height: int, reverse: bool
) -> np.ndarray:
    """The same by libtiff: the pieces in a gray picture of a file of its own."""
    if sum(lengths) > 4 * len(page.data):
        raise ValueError("its strips overlap")
    pieces = [page.data[at : at + length] for at, length in zip(offsets, lengths, strict=True)]
    places = np.cumsum([8, *(len(piece) for piece in pieces)]).tolist()
    end = places[-1] + places[-1] % 2
    tags = {256: [width], 257: [height], 258: [8], 259: [page.compression], 262: [1], 266: [1 + reverse], 277: [1]}
    entries = {tag: make_entry(LONG if tag < 258 else SHORT, value) for tag, value in tags.items()}
    for tag, value in ((273, places[:-1]), (278, [step]), (279, [len(piece) for piece in pieces])):
        entries[tag] = make_entry(LONG, value)
    header = b"II*\0" + end.to_bytes(4, "little")
    body = b"".join(pieces) + b"\0" * (end - places[-1])
    return np.asarray(_Rows(BytesIO(header + body + pack_directory(entries, end))))


def _unpack(page: Page, raw: np.ndarray, count: int, channels: int) -> np.ndarray:
    """Samples (rows, count) from rows of bytes, with the prediction undone."""
    bits, kind, predictor = page.bits, page.number(339, UNSIGNED), page.number(317, 1)
    code = CODES.get(kind)
    whole = bits in ((16, 32, 64) if code == "f" else (8, 16, 32, 64))
    if code is None or (code == "f" and not whole) or (predictor != 1 and not whole):
        raise ImageError(f"samples of {bits} bits in format {kind} cannot be read. Save it with 8 or 16 bits.")
    known = (1, DIFFERENCES, FLOAT_DIFFERENCES) if code == "f" else (1, DIFFERENCES)
    if predictor not in known and page.compression in PREDICTED:
        raise ImageError(f"samples of {bits} bits with predictor {predictor} cannot be read. Save it without.")
    if predictor == FLOAT_DIFFERENCES and code == "f":
        return _undo_float_differences(raw, bits // 8, count, channels)
    if not whole:
        return _unpack_bits(raw, bits, count, code, page.layout.order)
    stored = np.ascontiguousarray(raw).view(f"{page.layout.order}u{bits // 8}").astype(f"u{bits // 8}", copy=False)
    if predictor == DIFFERENCES:
        stored = np.cumsum(stored.reshape(len(raw), -1, channels), axis=1, dtype=stored.dtype)
    return stored.reshape(len(raw), count).view(f"{code}{bits // 8}")


def _undo_float_differences(raw: np.ndarray, size: int, count: int, channels: int) -> np.ndarray:
    """Floats of `size` bytes: in each row lie all first bytes, then all second ones, …, as differences."""
    raw = np.cumsum(raw.reshape(len(raw), -1, channels), axis=1, dtype=np.uint8)
    raw = raw.reshape(len(raw), size, count).swapaxes(1, 2)
    return np.ascontiguousarray(raw).view(f">f{size}").reshape(len(raw), count).astype(f"f{size}")


def _unpack_bits(raw: np.ndarray, bits: int, count: int, code: str, order: str) -> np.ndarray:
    """Integers of any number of bits, which lie close together in each row."""
    if bits == 24 and order == "<":
        raw = raw.reshape(len(raw), count, 3)[..., ::-1].reshape(len(raw), -1)
    weights: np.ndarray = 2 ** np.arange(bits)[::-1].astype(np.uint64 if bits > 32 else np.uint32)
    samples = np.empty((len(raw), count), f"u{1 if bits <= 8 else 2 if bits <= 16 else 4 if bits <= 32 else 8}")
    step = max(1, BAND // count)
    for top in range(0, len(raw), step):
        single = np.unpackbits(raw[top : top + step], axis=1, count=count * bits)
        samples[top : top + step] = single.reshape(len(single), count, bits) @ weights
    if code == "i":  # a negative number has its highest bit set
        return np.where(samples >> (bits - 1), -1, samples.astype(np.int64))
    return samples
