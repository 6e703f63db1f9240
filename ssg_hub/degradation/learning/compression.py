"""Compression found in pictures: from a JPEG's own tables, or from the lattice that it, or a video codec, left."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor

from ...images.levels import LUMA
from ...images.reading import read_orientation
from ..ops import CHROMA_TABLE, LUMA_TABLE, dct_basis, scale_table

QUALITIES = np.arange(5, 96)  # above that the steps are 1 or 2 levels, lost in the rounding of RGB and harmless
LATTICE_ERROR = 0.35  # standard deviation of a luma coefficient around the lattice after RGB was rounded to 8 bits
OUTLIERS = 0.05  # share of coefficients that follow no lattice: clipped, or touched by an overlay
MIN_EVIDENCE = 30.0  # log-likelihood ratio against "never compressed"
FINENESS = 8  # cells per level in which magnitudes of coefficients are counted
MPEG2_TABLE = [  # of intra blocks by default (ISO/IEC 13818-2, 6.3.11); MPEG-1 has the same
    [8, 16, 19, 22, 26, 27, 29, 34],
    [16, 16, 22, 24, 27, 29, 34, 37],
    [19, 22, 26, 27, 29, 34, 34, 38],
    [22, 22, 26, 27, 29, 34, 37, 40],
    [22, 26, 27, 29, 32, 35, 40, 48],
    [26, 27, 29, 32, 35, 40, 48, 58],
    [26, 27, 29, 34, 38, 46, 56, 69],
    [27, 29, 35, 38, 46, 56, 69, 83],
]
MPEG2_CODES = np.arange(2, 32)  # quantiser_scale_code; a step is table * code / 8
MPEG2_ERROR = 0.6  # as LATTICE_ERROR; video rounds its luma too, and has fewer levels of it
LUMA_RANGE, CHROMA_RANGE = 255 / 219, 255 / 224  # by which video's levels are stretched to those of a picture


@dataclass
class Compression:
    """How one picture was compressed.

    Attributes:
        luma, chroma: (8, 8) quantisation steps, row = vertical frequency.
        quality: the nearest libjpeg quality.
        offset: (row, column) at which the block grid begins in the picture, 0–15; 0–7 where it was estimated.
        source: "tables" (read from the file) or "lattice" (estimated from the pixels).
        codec: "jpeg" or "mpeg2".
    """

    luma: Tensor
    chroma: Tensor
    quality: int
    offset: tuple[int, int] = (0, 0)
    source: str = "tables"
    codec: str = "jpeg"


def read_tables(picture: Image.Image, orientation: int = 1) -> Compression | None:
    """The tables of a JPEG file as opened by PIL, turned upright as the picture will be; None for other formats.

    Args:
        orientation: EXIF's, 1 to 8.
    """
    if not isinstance(picture, JpegImagePlugin.JpegImageFile) or not picture.quantization:
        return None
    tables = [torch.tensor(table, dtype=torch.float32).view(8, 8) for _, table in sorted(picture.quantization.items())]
    luma, chroma = tables[0], tables[min(1, len(tables) - 1)]
    quality, (columns, rows) = nearest_quality(luma), picture.size
    transpose, flip_rows, flip_columns = read_orientation(orientation)
    if transpose:
        luma, chroma, rows, columns = luma.T, chroma.T, columns, rows
    # blocks, of 16 pixels where colour is halved, are counted from what was the upper left corner
    offset = (rows % 16 if flip_rows else 0, columns % 16 if flip_columns else 0)
    return Compression(luma, chroma, quality, offset)


def nearest_quality(luma: Tensor) -> int:
    """The libjpeg quality whose luma steps are most like these (8, 8)."""
    candidates = scale_table(LUMA_TABLE, torch.from_numpy(QUALITIES).float())
    return int(QUALITIES[(candidates / luma).log().abs().mean((1, 2)).argmin()])


def estimate_compression(pixels: np.ndarray, offset: tuple[int, int] = (0, 0)) -> Compression | None:
    """Find how pixels were once compressed, by the lattice of their luma DCT coefficients: libjpeg's quality, or the
    quantiser of an intra frame of MPEG-1 or MPEG-2 that is the same all over the picture.

    For each candidate the coefficients that do not vanish are compared with the multiples of its steps, against the
    alternative that they lie anywhere (cf. Fan & de Queiroz, IEEE TIP 2003).

    Args:
        pixels: (H, W, 3), 8-bit RGB.
        offset: (row, column) of the block grid to be tested.

    Returns:
        None where no candidate is supported: not compressed, only lightly (beyond quality 95), or resized since.
    """
    cells = (luma_blocks(pixels, offset)[0].abs().reshape(-1, 64)[:, 1:] * FINENESS).round().long()
    if not len(cells) or cells.max() < 1.5 * FINENESS:
        return None
    counts = _histograms(cells).T
    jpeg = scale_table(LUMA_TABLE, torch.from_numpy(QUALITIES).float())
    jpeg_scores = _score(_jpeg_evidence(), counts, jpeg.view(-1, 64)[:, 1:].long())
    evidence, rows = _mpeg2_evidence()
    mpeg2_scores = _score(evidence, counts, rows)
    best, best_mpeg2 = int(jpeg_scores.argmax()), int(mpeg2_scores.argmax())
    if max(jpeg_scores[best], mpeg2_scores[best_mpeg2]) < MIN_EVIDENCE:
        return None
    if mpeg2_scores[best_mpeg2] > jpeg_scores[best]:
        steps = torch.tensor(MPEG2_TABLE) * float(MPEG2_CODES[best_mpeg2]) / 8
        luma = steps * LUMA_RANGE
        return Compression(luma, steps * CHROMA_RANGE, nearest_quality(luma), offset, "lattice", "mpeg2")
    chroma = scale_table(CHROMA_TABLE, torch.tensor([float(QUALITIES[best])]))[0]
    return Compression(jpeg[best], chroma, int(QUALITIES[best]), offset, "lattice")


def _score(evidence: Tensor, counts: Tensor, rows: Tensor) -> Tensor:
    """Sums (candidates,) of log-likelihood ratios: of `evidence` (steps, cells), each candidate takes `rows` (63,)."""
    return (evidence[:, : len(counts)] @ counts).gather(0, rows).sum(1)


def _histograms(cells: Tensor) -> Tensor:
    """How often (frequencies, cells) each cell of magnitude occurs, from (blocks, frequencies)."""
    count, width = cells.shape[1], int(cells.max()) + 1
    index = cells + width * torch.arange(count)
    return torch.bincount(index.flatten(), minlength=count * width).view(count, width).float()


def _lattice_evidence(steps: Tensor, levels: Callable[[Tensor], Tensor], error: float) -> Tensor:
    """Log-likelihood ratio (steps, cells) that a magnitude, if it does not vanish, is a multiple of the step.

    Args:
        steps: (n, 1).
        levels: gives the magnitudes (n, cells) that such numbers of steps stand for.
        error: standard deviation of magnitudes around these.
    """
    magnitudes = torch.arange(8 * 256 * FINENESS) / FINENESS  # the largest coefficient is 8 * 128
    distance = (magnitudes - levels((magnitudes / steps).round())).abs()
    peak = torch.exp(-0.5 * (distance / error) ** 2) / (error * 2.5066)
    ratio = torch.log((1 - OUTLIERS) * peak * steps + OUTLIERS)
    return ratio * ((magnitudes > steps / 2) & (magnitudes > 1.5))


@lru_cache(maxsize=1)
def _jpeg_evidence() -> Tensor:
    """`_lattice_evidence` of the 256 steps that JPEG may have."""
    steps = torch.arange(256.0).clamp(min=1).view(-1, 1)
    return _lattice_evidence(steps, lambda numbers: numbers * steps, LATTICE_ERROR)


@lru_cache(maxsize=1)
def _mpeg2_evidence() -> tuple[Tensor, Tensor]:
    """`_lattice_evidence` of the steps that occur in `MPEG2_TABLE`, and of each code (codes, 63) the rows of its own.

    A decoder drops the fractions of what it multiplies out.
    """
    weights, index = torch.tensor(MPEG2_TABLE).flatten()[1:].unique(return_inverse=True)
    steps = (torch.from_numpy(MPEG2_CODES).view(-1, 1) * weights / 8).view(-1, 1)

    def levels(numbers: Tensor) -> Tensor:
        return (numbers * steps).floor() * LUMA_RANGE

    rows = torch.arange(len(MPEG2_CODES)).view(-1, 1) * len(weights) + index
    return _lattice_evidence(steps * LUMA_RANGE, levels, MPEG2_ERROR), rows


def find_lattices(pictures: list[np.ndarray]) -> list[Compression | None]:
    """Lattice of each 8-bit RGB picture: with blocks from its corner on, else at a shift that many of them share."""
    found = [estimate_compression(pixels) for pixels in pictures]
    if pictures and not any(found):
        offset = _find_offset(pictures[:4])
        if offset is not None:
            found = [estimate_compression(pixels, offset) for pixels in pictures]
    return found


def _find_offset(samples: list[np.ndarray]) -> tuple[int, int] | None:
    """The block grid of pictures that were cropped after compression, if at least half of the samples agree on one."""
    hits: dict[tuple[int, int], int] = {}
    for pixels in samples:
        pixels = pixels[:136, :136]
        for offset in np.ndindex(8, 8):
            if offset != (0, 0) and estimate_compression(pixels, offset):
                hits[offset] = hits.get(offset, 0) + 1
    best = max(hits, key=hits.get, default=None)
    return best if best is not None and hits[best] * 2 >= len(samples) else None


def luma_blocks(pixels: np.ndarray, offset: tuple[int, int] = (0, 0)) -> tuple[Tensor, Tensor, Tensor]:
    """DCT coefficients of the luma blocks in which no channel is clipped.

    Args:
        pixels: (H, W, 3), 8-bit RGB.

    Returns:
        coefficients (N, 8, 8) in levels, DC relative to mid-gray; positions (N, 2) of the blocks as (row, column);
        brightness (N,) in 0–255.
    """
    x = torch.from_numpy(np.array(pixels)).float()
    luma = x @ torch.tensor(LUMA)
    clipped = ((x < 1) | (x > 254)).any(-1).float()
    blocks = split_blocks(luma, offset)
    keep = split_blocks(clipped, offset).amax((-2, -1)) == 0
    positions = keep.nonzero()
    blocks = blocks[keep]
    basis = dct_basis()
    return basis @ (blocks - 128) @ basis.T, positions, blocks.mean((-2, -1))


def reliability(pixels: np.ndarray, compression: Compression, fy: Tensor, fx: Tensor) -> Tensor:
    """How much (F,) information a power spectrum keeps after compression: 1 where none was lost, 0 where all was.

    It is the share of Fisher's information about the scale of Laplacian coefficients (Lam & Goodman, IEEE TIP 2000)
    that their quantised levels keep. Few that survive keep much of it: 1% of them still a fifth.

    Args:
        pixels: (H, W, 3), 8-bit RGB.
        fy, fx: (F,) frequencies in cycles per pixel.
    """
    coefficients = luma_blocks(pixels, compression.offset)[0]
    if not len(coefficients):
        return torch.ones_like(fy)
    levels = (coefficients / compression.luma).round().abs()
    # a DCT frequency k has k half cycles over a block
    row, column = ((16 * f.abs()).round().long().clamp(max=7) for f in (fy, fx))
    return _kept_information(levels)[row, column].double()


def _kept_information(levels: Tensor) -> Tensor:
    """Share (8, 8) of the information about their scale that quantised Laplacian coefficients (N, 8, 8) keep.

    With y = exp(-step / (2 scale)), zeros have the chance 1 - y and magnitudes n > 0 the chance y^(2n-1) (1 - y^2);
    the likelihood's maximum in y is the root of a quadratic (Price & Rabbani, IEEE Signal Processing Letters 1999).
    """
    count, survivors, total = len(levels), (levels > 0).float().sum(0), levels.sum(0)
    zeros, a, c = count - survivors, count + 2 * total, 2 * total - survivors
    y = ((zeros.square() + 4 * a * c).sqrt() - zeros) / (2 * a)
    y = y.clamp(1e-6, 1 - 1e-3)
    return y.log().square() * (y / (1 - y) + 4 * y**3 / (1 - y**2) ** 2)


def split_blocks(plane: Tensor, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """(H, W) to (rows, columns, 8, 8), whole blocks only."""
    plane = plane[offset[0] :, offset[1] :]
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    return plane[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).transpose(1, 2)
