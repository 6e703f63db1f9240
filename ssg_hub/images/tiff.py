"""TIFF: the pixels of a page, of samples at any depth and in any sense.

Pillow reads a fixed list of layouts. Here samples of any kind become a picture: 1 to 64 bits, integers or floats,
either sense of gray, with a palette, or with alpha. Compressions that are pictures of their own (JPEG, fax) are left to
Pillow whole; see `tiff_page.open_by_pillow`.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from ..errors import ImageError
from .levels import to_8_bit
from .tiff_page import BLACK_IS_0, CMYK, ICC_LAB, LAB, PALETTE, RGB, WHITE_IS_0, Page
from .tiff_samples import BAND, UNDEFINED, UNSIGNED, are_single_rows, read_samples

COLORS = {WHITE_IS_0: 1, BLACK_IS_0: 1, RGB: 3, PALETTE: 1, CMYK: 4, LAB: 3, ICC_LAB: 3}  # samples of a pixel
PREMULTIPLIED, COREL = 1, 999  # kinds of extra samples
LARGEST_PIECE = 2**25  # bytes of a strip, or of a row of tiles, that may be decoded for a few rows of it
OUTLIERS = 0.01  # share of float samples that may lie outside of [0, 1]


def can_be_cut(page: Page) -> bool:
    """Whether some rows of a page can be decoded without the others, and say what they are without them.

    So can unsigned samples of up to 16 bits without alpha, in strips or tiles that are no whole pictures themselves.
    """
    if not page.is_of_bytes or page.photometric not in (WHITE_IS_0, BLACK_IS_0, RGB, PALETTE):
        return False
    if page.number(339, UNSIGNED) not in (UNSIGNED, UNDEFINED) or page.bits > 16 or _alpha_place(page) is not None:
        return False
    return are_single_rows(page) or page.piece[1] * page.size[0] * page.samples * page.bits / 8 <= LARGEST_PIECE


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
    samples = read_samples(page, rows)
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
    samples = read_samples(page)
    return samples[..., 0] if page.photometric in (WHITE_IS_0, BLACK_IS_0, PALETTE) else samples


def _scale(page: Page, samples: np.ndarray, notes: list[str]) -> np.ndarray:
    """Samples of any kind as uint8 (up to 8 bits) or uint16 over the full range."""
    bits = page.bits
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
