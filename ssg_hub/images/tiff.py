"""TIFF (6.0, BigTIFF, Adobe's notes): the first page's samples at any depth, and what the file says of itself.

Pillow reads a fixed list of layouts. Here the compression is undone by its libtiff as if the rows were plain bytes, and
the bytes become samples of any kind: 1 to 64 bits, integers or floats, either sense of gray, in planes or side by side.
Compressions that are pictures of their own (JPEG, fax) are left to Pillow whole.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from ..errors import ImageError
from .ifd import LONG, SHORT, Directory, Layout, count_directories, make_entry, read_directory, read_layout
from .ifd import write_directory as pack_directory
from .levels import to_8_bit
from .metadata import DESCRIPTIVE, ORIENTATION, RESOLUTION_UNIT, X_RESOLUTION, Y_RESOLUTION, Found, split_pointed

MOST_PAGES = 1000  # that are counted
MOST_SAMPLES = 8  # of a pixel
NONE, JPEG, OLD_JPEG = 1, 7, 6
OF_BYTES = {NONE, 5, 8, 32946, 32773, 34925, 50000}  # none, LZW, deflate (two codes), PackBits, LZMA, Zstandard
WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCC, LAB, ICC_LAB = 0, 1, 2, 3, 5, 6, 8, 9
COLORS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4, LAB: 3, ICC_LAB: 3}
UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
SUBFILE_TYPE, REDUCED, SUBFILES = 254, 1, 330
PREMULTIPLIED, COREL = 1, 999
XMP, IPTC, ICC, GEOREFERENCE = 700, 33723, 34675, (33550, 33922, 34264)
# What Pillow needs to know of a page: sizes, samples, strips or tiles, fax options, JPEG tables, colour of YCbCr.
STRUCTURE = {*range(256, 260), 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, *range(322, 326), 332, 338, 339}
STRUCTURE |= {347, *range(512, 522), *range(529, 533)}
LARGEST_PIECE = 2**25  # bytes of a strip, or of a row of tiles, that may be decoded for a few rows of it
OUTLIERS = 0.01  # share of float samples that may lie outside of [0, 1]
BAND = 2**20  # samples that are unpacked or scaled at a time


@dataclass(frozen=True)
class Page:
    """The first page of a file.

    Attributes:
        data: the whole file.
        layout: its byte order.
        tags: of the page.
    """

    data: bytes
    layout: Layout
    tags: Directory

    def numbers(self, tag: int, default: list[int]) -> list[int]:
        return (self.tags[tag].integers() if tag in self.tags else []) or default

    def number(self, tag: int, default: int = 0) -> int:
        return self.numbers(tag, [default])[0]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as stored."""
        return self.number(256), self.number(257)

    @property
    def samples(self) -> int:
        """Per pixel."""
        return self.number(277, len(self.numbers(258, [1])))

    @property
    def photometric(self) -> int:
        return self.number(262, RGB if self.samples >= 3 else WHITE_IS_0)

    @property
    def is_of_bytes(self) -> bool:
        """Whether the compression is one of plain bytes, so that the samples are ours to read."""
        return self.number(259, NONE) in OF_BYTES and self.photometric != YCC


def take_apart(data: bytes) -> tuple[Page, Found]:
    """Split a file into its first page and what it says of itself.

    Raises:
        ImageError: the first page is a preview, as in a camera's raw file, and the picture stands elsewhere.
        ValueError: no page.
    """
    layout = read_layout(data)
    tags, _, _ = read_directory(data, layout, layout.first)
    if not tags:
        raise ValueError("no page")
    page, pages = Page(data, layout, tags), count_directories(data, layout, MOST_PAGES)
    is_cr2 = data[8:11] == b"CR\2" and layout.first == 16  # which calls no page reduced
    if is_cr2 or page.number(SUBFILE_TYPE) & REDUCED and (SUBFILES in tags or pages > 1):
        raise ImageError(
            "its first page is a small preview, as in a camera's raw file (DNG, NEF, CR2, …). Develop it first, with "
            "darktable or RawTherapee for example, and save a TIFF or JPEG."
        )
    described = DESCRIPTIVE | {ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT}
    found = Found(main={tag: entry for tag, entry in tags.items() if tag in described})
    found.below, _ = split_pointed(data, layout, tags)
    found.xmp = tags[XMP].data if XMP in tags else None
    found.icc = tags[ICC].data if ICC in tags else None
    found.frames = pages
    found.more = found.frames == MOST_PAGES
    if IPTC in tags:
        found.note("The IPTC data was left out.")
    if any(tag in tags for tag in GEOREFERENCE):
        found.note("The georeference was left out: it holds for the pixels of the file that was read.")
    return page, found


def open_by_pillow(page: Page) -> Image.Image:
    """Open the page's pixels by Pillow, for it to decode; the tags that do not concern them are not shown to it."""
    tags = {tag: entry for tag, entry in page.tags.items() if tag in STRUCTURE}
    end = len(page.data) + len(page.data) % 2
    big = page.layout.big
    header = b"II+\0\x08\0\0\0" + end.to_bytes(8, "little") if big else b"II*\0" + end.to_bytes(4, "little")
    rest = page.data[len(header) :].ljust(end - len(header), b"\0")
    try:
        return Image.open(BytesIO(header + rest + pack_directory(tags, end, big)), formats=("TIFF",))
    except UnidentifiedImageError:
        kind = f"compression {page.number(259, NONE)}, photometric interpretation {page.photometric}"
        raise ImageError(f"this kind of TIFF ({kind}) cannot be read. Save it as RGB without compression.") from None


def can_be_cut(page: Page) -> bool:
    """Whether some rows of a page can be decoded without the others, and say what they are without them.

    So can unsigned samples of up to 16 bits without alpha, in strips or tiles that are no whole pictures themselves.
    """
    if not page.is_of_bytes or page.photometric not in (WHITE_IS_0, BLACK_IS_0, RGB, PALETTE):
        return False
    if page.number(339, UNSIGNED) not in (UNSIGNED, UNDEFINED) or _bits(page) > 16 or _alpha_place(page) is not None:
        return False
    tiled = 322 in page.tags
    rows = page.number(323) if tiled else min(page.number(278, page.size[1]) or page.size[1], page.size[1])
    in_single_rows = not tiled and page.number(259, NONE) == NONE
    return in_single_rows or rows * page.size[0] * page.samples * _bits(page) / 8 <= LARGEST_PIECE


def decode(
    page: Page, notes: list[str], rows: tuple[int, int] | None = None
) -> tuple[np.ndarray | Image.Image, np.ndarray | None]:
    """The pixels of a page whose compression is one of bytes.

    Args:
        page: from `take_apart`.
        notes: takes the notes.
        rows: the first and the one after the last that are wanted, of a page that `can_be_cut`; None is all.

    Returns:
        Gray (H, W) or RGB (H, W, 3) as uint8 or uint16; or an image in mode CMYK or LAB. And alpha (H, W), not
        premultiplied, of the same type, or None.

    Raises:
        ImageError: a layout that is not known, or values without a known white.
        ValueError: damaged.
    """
    photometric, colors = page.photometric, COLORS.get(page.photometric)
    if colors is None:
        raise ImageError(
            f"its colours are stored in a way that is not read here (photometric interpretation {photometric}). "
            "Save it as RGB."
        )
    samples = _read_samples(page, rows)
    place, extra = _alpha_place(page), page.numbers(338, [])
    has_alpha = place is not None
    if samples.shape[2] < colors:
        raise ImageError(f"it has {samples.shape[2]} samples a pixel; {colors} are needed for its colours.")
    if photometric == PALETTE:
        alpha = _scale(page, samples[..., place], []) if has_alpha else None
        return _apply_palette(page, samples[..., 0]), None if alpha is None else to_8_bit(alpha)
    values = _scale(page, samples[..., [*range(colors), place]] if has_alpha else samples[..., :colors], notes)
    alpha = values[..., -1] if has_alpha else None
    values = values[..., :colors]
    if photometric in (CMYK, LAB, ICC_LAB):
        return _as_image(photometric, values, notes), None if alpha is None else to_8_bit(alpha)
    if photometric == WHITE_IS_0:
        values = np.iinfo(values.dtype).max - values
    if has_alpha and extra and extra[place - colors] == PREMULTIPLIED:
        values = _unmultiply(values, alpha)
    return np.ascontiguousarray(values[..., 0] if colors == 1 else values), alpha


def _alpha_place(page: Page) -> int | None:
    """Which of a pixel's samples is alpha."""
    colors, extra = COLORS[page.photometric], page.numbers(338, [])
    if page.photometric == RGB and page.samples == 4 and not extra:  # no word on the fourth: it is alpha
        return colors
    place = next((colors + i for i, kind in enumerate(extra) if kind in (1, 2, COREL)), None)
    return place if place is not None and place < page.samples else None


def read_ids(page: Page) -> np.ndarray:
    """The first sample of each pixel as it is stored, a palette's index included: (H, W), or (H, W, 3) for colours."""
    samples = _read_samples(page)
    return samples[..., 0] if page.photometric in (WHITE_IS_0, BLACK_IS_0, PALETTE) else samples


def _read_samples(page: Page, wanted: tuple[int, int] | None = None) -> np.ndarray:
    """The samples (H, W, C) as stored, of all rows or of those wanted: unsigned or signed integers, or floats."""
    (width, height), count, bits = page.size, page.samples, _bits(page)
    tiled = 322 in page.tags
    across_side = page.number(322) if tiled else width
    down_side = page.number(323) if tiled else min(page.number(278, height) or height, height)
    planes = count if page.number(284, 1) == 2 else 1
    if not 1 <= count <= MOST_SAMPLES or across_side < 1 or down_side < 1:
        raise ImageError(f"its {count} samples a pixel, or its strips or tiles, cannot be read. Save it as RGB.")
    across, down = -(-width // across_side), -(-height // down_side)
    if across * across_side * down * down_side > 4 * width * height + 2**24:
        raise ValueError(f"tiles of {across_side}x{down_side} are far larger than the picture")
    offsets = page.numbers(324, page.numbers(273, []))
    lengths = page.numbers(325, page.numbers(279, [])) or _guess_lengths(offsets, len(page.data))
    if min(len(offsets), len(lengths)) < planes * across * down:
        raise ValueError("strips or tiles are missing")
    channels = 1 if planes > 1 else count
    row_bytes = -(-across_side * channels * bits // 8)
    start, stop = wanted or (0, height)
    if wanted and not tiled and page.number(259, NONE) == NONE:  # each row can be had by itself
        offsets = [
            offsets[plane * down + row // down_side] + row % down_side * row_bytes
            for plane in range(planes)
            for row in range(height)
        ]
        lengths, down, down_side = [row_bytes] * len(offsets), height, 1
    first, last = start // down_side, -(-stop // down_side)  # rows of strips or tiles
    above, end = first * down_side, min(last * down_side, height)
    rows = (last - first) * across * down_side if tiled else end - above
    read = []
    for plane in range(planes):
        part = slice((plane * down + first) * across, (plane * down + last) * across)
        raw = _read_rows(page, offsets[part], lengths[part], row_bytes, down_side, rows)
        samples = _unpack(page, raw, across_side * channels, channels).reshape(rows, across_side, channels)
        if tiled:
            samples = samples.reshape(last - first, across, down_side, across_side, channels).swapaxes(1, 2)
            samples = samples.reshape(-1, across * across_side, channels)[: end - above, :width]
        read.append(samples[start - above : stop - above])
    return read[0] if planes == 1 else np.concatenate(read, axis=-1)


def _guess_lengths(offsets: list[int], end: int) -> list[int]:
    """Each piece as far as the next one, for files that do not say."""
    following = dict(zip(ordered := sorted(offsets), [*ordered[1:], end], strict=True))
    return [following[offset] - offset for offset in offsets]


def _bits(page: Page) -> int:
    """Of a sample."""
    depths = set(page.numbers(258, [1])[: page.samples])
    if len(depths) > 1 or not 1 <= min(depths) <= 64:
        raise ImageError(f"its samples have {sorted(depths)} bits; the same number, 1 to 64, is needed for all.")
    return depths.pop()


class _Rows(TiffImagePlugin.TiffImageFile):
    """Rows of bytes as a gray picture, which may have more "pixels" than Pillow's limit: the real ones were checked."""

    load_prepare = ImageFile.ImageFile.load_prepare


def _read_rows(page: Page, offsets: list[int], lengths: list[int], width: int, step: int, height: int) -> np.ndarray:
    """Undo the compression of strips or tiles, `step` rows each: uint8 (height, width)."""
    compression, reverse = page.number(259, NONE), page.number(266, 1) == 2
    if compression == NONE:
        sizes = [min(step, height - i * step) * width for i in range(len(offsets))]
        data = b"".join(page.data[at : at + size] for at, size in zip(offsets, sizes, strict=True))
        if len(data) < height * width:
            raise ValueError("the samples end early")
        plain = np.frombuffer(data, np.uint8)
        plain = np.packbits(np.unpackbits(plain, bitorder="little")) if reverse else plain
        return plain.reshape(height, width)
    if sum(lengths) > 4 * len(page.data):
        raise ValueError("its strips overlap")
    pieces = [page.data[at : at + length] for at, length in zip(offsets, lengths, strict=True)]
    places = np.cumsum([8, *(len(piece) for piece in pieces)]).tolist()
    end = places[-1] + places[-1] % 2
    tags = {256: [width], 257: [height], 258: [8], 259: [compression], 262: [1], 266: [1 + reverse], 277: [1]}
    entries = {tag: make_entry(LONG if tag < 258 else SHORT, value) for tag, value in tags.items()}
    for tag, value in ((273, places[:-1]), (278, [step]), (279, [len(piece) for piece in pieces])):
        entries[tag] = make_entry(LONG, value)
    header = b"II*\0" + end.to_bytes(4, "little")
    body = b"".join(pieces) + b"\0" * (end - places[-1])
    return np.asarray(_Rows(BytesIO(header + body + pack_directory(entries, end))))


def _unpack(page: Page, raw: np.ndarray, count: int, channels: int) -> np.ndarray:
    """Samples (rows, count) from rows of bytes, with the prediction undone."""
    bits, kind, predictor = _bits(page), page.number(339, UNSIGNED), page.number(317, 1)
    code = {UNSIGNED: "u", UNDEFINED: "u", SIGNED: "i", FLOAT: "f"}.get(kind)
    whole = bits in ((16, 32, 64) if code == "f" else (8, 16, 32, 64))
    if code is None or (code == "f" and not whole) or (predictor != 1 and not whole):
        raise ImageError(f"samples of {bits} bits in format {kind} cannot be read. Save it with 8 or 16 bits.")
    if predictor == 3 and code == "f":
        raw = np.cumsum(raw.reshape(len(raw), -1, channels), axis=1, dtype=np.uint8)
        raw = raw.reshape(len(raw), bits // 8, count).swapaxes(1, 2)
        return np.ascontiguousarray(raw).view(f">f{bits // 8}").reshape(len(raw), count).astype(f"f{bits // 8}")
    if whole:
        stored = np.ascontiguousarray(raw).view(f"{page.layout.order}u{bits // 8}").astype(f"u{bits // 8}", copy=False)
        if predictor == 2:
            stored = np.cumsum(stored.reshape(len(raw), -1, channels), axis=1, dtype=stored.dtype)
        return stored.reshape(len(raw), count).view(f"{code}{bits // 8}")
    if bits == 24 and page.layout.order == "<":
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


def _scale(page: Page, samples: np.ndarray, notes: list[str]) -> np.ndarray:
    """Samples of any kind as uint8 (up to 8 bits) or uint16 over the full range."""
    bits = _bits(page)
    if samples.dtype.kind == "f":
        return _scale_floats(samples, notes)
    if samples.dtype.kind == "i" and samples.min() < 0:
        raise _no_white(samples)
    if bits in (8, 16):
        return samples.view(f"u{bits // 8}")
    white = 2 ** (bits - (samples.dtype.kind == "i" and bits > 16)) - 1
    if bits >= 32 and samples.max() <= 65535:
        notes.append(f"No value of the {bits} bits is above 65535: they were read as 16 bits.")
        white = 65535
    peak = 255 if bits <= 8 else 65535
    if white == peak:
        return samples.astype(np.uint16)
    return _in_bands(samples, lambda part: np.rint(part * (peak / white)), np.uint8 if bits <= 8 else np.uint16)


def _scale_floats(samples: np.ndarray, notes: list[str]) -> np.ndarray:
    inside = (samples >= 0) & (samples <= 1)  # not so where a sample is no number
    outside = samples.size - int(np.count_nonzero(inside))
    if outside > OUTLIERS * samples.size:
        raise _no_white(samples)
    if outside:
        notes.append(f"{outside} samples outside of [0, 1] were clipped.")
    return _in_bands(samples, lambda part: np.rint(np.nan_to_num(part).clip(0, 1) * 65535.0), np.uint16)


def _in_bands(
    samples: np.ndarray, change: Callable, dtype: type | np.dtype, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Apply a function some rows at a time, in double precision, to bound the memory."""
    changed: np.ndarray = np.empty(shape or samples.shape, dtype)
    step = max(1, BAND // (samples[0].size or 1))
    for top in range(0, len(samples), step):
        changed[top : top + step] = change(samples[top : top + step].astype(np.float64))
    return changed


def _no_white(samples: np.ndarray) -> ImageError:
    known = samples[np.isfinite(samples)]
    low, high = (known.min(), known.max()) if known.size else (np.nan, np.nan)
    return ImageError(
        f"a picture with values from {low:.6g} to {high:.6g} has no known white; scale it to [0, 1] as floats or to "
        "0…65535 as integers."
    )


def _apply_palette(page: Page, indices: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) as uint8 of the colours that the page's map has at 16 bits."""
    colors = np.array(page.numbers(320, []), np.uint16)
    table: np.ndarray = colors[: len(colors) // 3 * 3].reshape(3, -1).T
    if not len(table):
        raise ImageError("it has no colour map. Save it as RGB.")
    if table.max() > 255:  # some programs write 8 bits here
        table = table >> 8
    return table.astype(np.uint8)[np.minimum(indices, len(table) - 1)]


def _as_image(photometric: int, values: np.ndarray, notes: list[str]) -> Image.Image:
    """CMYK or CIELAB for Pillow, which knows them at 8 bits."""
    if values.dtype == np.uint16:
        notes.append("The 16 bits of this kind of TIFF were read as 8.")
        values = to_8_bit(values) if photometric == CMYK else (values >> 8).astype(np.uint8)
    if photometric == ICC_LAB:
        values = values ^ np.array([0, 128, 128], np.uint8)  # Pillow takes the colour axes as signed numbers
    size = (values.shape[1], values.shape[0])
    return Image.frombytes("CMYK" if photometric == CMYK else "LAB", size, np.ascontiguousarray(values).tobytes())


def _unmultiply(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide alpha out of colours."""
    peak = np.iinfo(values.dtype).max
    planes = np.concatenate((values, alpha[..., None]), axis=-1)

    def divide(part: np.ndarray) -> np.ndarray:
        cover = np.where(part[..., -1:] > 0, part[..., -1:], peak)
        return np.rint(part[..., :-1] * (peak / cover)).clip(0, peak)

    return _in_bands(planes, divide, values.dtype, values.shape)
