"""JPEG found in pictures: from their own tables, or from the lattice it left in pictures that were saved again."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor

from ...images.levels import LUMA
from ..ops import CHROMA_TABLE, LUMA_TABLE, dct_basis, scale_table

QUALITIES = np.arange(5, 96)  # above that the steps are 1 or 2 levels, lost in the rounding of RGB and harmless
LATTICE_ERROR = 0.35  # standard deviation of a luma coefficient around the lattice after RGB was rounded to 8 bits
OUTLIERS = 0.05  # share of coefficients that follow no lattice: clipped, or touched by an overlay
MIN_EVIDENCE = 30.0  # log-likelihood ratio against "never compressed"
FINENESS = 8  # cells per level in which magnitudes of coefficients are counted


@dataclass
class Compression:
    """How one picture was compressed.

    Attributes:
        luma, chroma: (8, 8) quantisation steps, row = vertical frequency.
        quality: the nearest libjpeg quality.
        offset: (row, column) of the block grid in the picture, 0–7.
        source: "tables" (read from the file) or "lattice" (estimated from the pixels).
    """

    luma: Tensor
    chroma: Tensor
    quality: int
    offset: tuple[int, int] = (0, 0)
    source: str = "tables"


def read_tables(picture: Image.Image) -> Compression | None:
    """The tables of a JPEG file as opened by PIL; None for other formats."""
    if not isinstance(picture, JpegImagePlugin.JpegImageFile) or not picture.quantization:
        return None
    tables = [torch.tensor(table, dtype=torch.float32).view(8, 8) for _, table in sorted(picture.quantization.items())]
    luma, chroma = tables[0], tables[min(1, len(tables) - 1)]
    candidates = scale_table(LUMA_TABLE, torch.from_numpy(QUALITIES).float())
    quality = int(QUALITIES[(candidates / luma).log().abs().mean((1, 2)).argmin()])
    return Compression(luma, chroma, quality)


def estimate_compression(pixels: np.ndarray, offset: tuple[int, int] = (0, 0)) -> Compression | None:
    """Find libjpeg's quality in pixels that were once a JPEG, by the lattice of their luma DCT coefficients.

    For each quality the coefficients that do not vanish are compared with the multiples of its steps, against the
    alternative that they lie anywhere (cf. Fan & de Queiroz, IEEE TIP 2003).

    Args:
        pixels: (H, W, 3), 8-bit RGB.
        offset: (row, column) of the block grid to be tested.

    Returns:
        None where no quality up to 95 is supported: not compressed, only lightly, or resized since.
    """
    cells = (luma_blocks(pixels, offset)[0].abs().reshape(-1, 64)[:, 1:] * FINENESS).round().long()
    if not len(cells) or cells.max() < 1.5 * FINENESS:
        return None
    tables = scale_table(LUMA_TABLE, torch.from_numpy(QUALITIES).float())
    evidence = _lattice_evidence()[:, : cells.max() + 1] @ _histograms(cells).T  # (steps, frequencies)
    scores = evidence.gather(0, tables.view(-1, 64)[:, 1:].long()).sum(1)
    best = int(scores.argmax())
    if scores[best] < MIN_EVIDENCE:
        return None
    quality = torch.tensor([float(QUALITIES[best])])
    chroma = scale_table(CHROMA_TABLE, quality)[0]
    return Compression(tables[best], chroma, int(QUALITIES[best]), offset, "lattice")


def _histograms(cells: Tensor) -> Tensor:
    """How often (frequencies, cells) each cell of magnitude occurs, from (blocks, frequencies)."""
    count, width = cells.shape[1], int(cells.max()) + 1
    index = cells + width * torch.arange(count)
    return torch.bincount(index.flatten(), minlength=count * width).view(count, width).float()


@lru_cache(maxsize=1)
def _lattice_evidence() -> Tensor:
    """Log-likelihood ratio (256 steps, cells) that a magnitude, if it does not vanish, is a multiple of the step."""
    steps = torch.arange(256.0).clamp(min=1).view(-1, 1)
    magnitudes = torch.arange(8 * 256 * FINENESS) / FINENESS  # the largest coefficient is 8 * 128
    distance = (magnitudes - steps * (magnitudes / steps).round()).abs()
    peak = torch.exp(-0.5 * (distance / LATTICE_ERROR) ** 2) / (LATTICE_ERROR * 2.5066)
    ratio = torch.log((1 - OUTLIERS) * peak * steps + OUTLIERS)
    return ratio * ((magnitudes > steps / 2) & (magnitudes > 1.5))


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
