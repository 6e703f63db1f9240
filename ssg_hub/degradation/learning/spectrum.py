"""Power spectra of pictures, and what is known in advance about those of natural ones."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...images.levels import LUMA

TILE = 64  # pixels; pictures smaller than that are cut into tiles of half the side
SMALLEST = 32
REFERENCE = 0.15  # cycles per pixel at which the scene's amplitude is measured
TERMS = 9
MOST_TILES = 12  # of a picture, along each side
BUILT_IN = Path(__file__).with_name("natural_prior.json")


@dataclass
class Spectra:
    """Mean periodograms of the luma of pictures.

    Attributes:
        power: (N, F), per pixel, over half of the frequency plane without the lowest frequencies.
        fy, fx: (F,) frequencies in cycles per pixel.
        tiles: (N,) number of tiles that were averaged.
        brightness: (N, 32) histogram of the luma of each picture, summing to 1.
    """

    power: Tensor
    fy: Tensor
    fx: Tensor
    tiles: Tensor
    brightness: Tensor


def tile_side(pictures: list[np.ndarray]) -> int:
    """64 if most pictures have room for such a tile, else 32."""
    sides = sorted(min(picture.shape[:2]) for picture in pictures)
    return TILE if sides and sides[len(sides) // 2] >= TILE else SMALLEST


def measure_spectra(pictures: list[np.ndarray], tile: int, max_frequency: float = 0.5) -> Spectra:
    """Average the periodograms of overlapping Hann-windowed tiles.

    Args:
        pictures: (H, W, 3) float in [0, 1], each side at least `tile`.
        tile: side of a tile in pixels.
        max_frequency: the highest frequency along either axis, in cycles per pixel.
    """
    window = torch.outer(torch.hann_window(tile, periodic=False), torch.hann_window(tile, periodic=False)).double()
    window = window / window.square().mean().sqrt()
    power, counts, histograms = [], [], []
    for picture in pictures:
        luma = torch.from_numpy(picture).double() @ torch.tensor(LUMA).double()
        total, count = torch.zeros(tile, tile // 2 + 1).double(), 0
        for top in _starts(luma.shape[0], tile):
            for left in _starts(luma.shape[1], tile):
                cut = luma[top : top + tile, left : left + tile]
                cut = (cut - (cut * window).sum() / window.sum()) * window
                total += torch.fft.rfft2(cut).abs().square() / tile**2
                count += 1
        power.append(total / count)
        counts.append(count)
        histograms.append(torch.histc(luma.float(), 32, 0, 1) / luma.numel())
    fy = torch.fft.fftfreq(tile).double().view(-1, 1).expand(tile, tile // 2 + 1)
    fx = torch.fft.rfftfreq(tile).double().expand(tile, tile // 2 + 1)
    # the window smears the mean over the lowest frequencies; the axis fx = 0 holds each frequency twice
    keep = (torch.hypot(fy, fx) > 2.4 / tile) & ~((fx == 0) & (fy < 0))
    keep &= (fy.abs() <= max_frequency) & (fx <= max_frequency)
    stacked = torch.stack(power)[:, keep]
    return Spectra(stacked, fy[keep], fx[keep], torch.tensor(counts).double(), torch.stack(histograms).double())


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin: half overlapping and evenly spread from edge to edge, at most MOST_TILES."""
    count = min(MOST_TILES, -(-(length - tile) // (tile // 2)) + 1)
    return np.linspace(0, length - tile, count).round().astype(int).tolist()


def scene_terms(fy: Tensor, fx: Tensor) -> Tensor:
    """(9, F) smooth functions of which the logarithm of a natural power spectrum is a sum.

    Level, slope and curvature along the logarithm of frequency; then how both level and slope differ between
    directions: horizontals against verticals, the diagonals, axes against diagonals (Torralba & Oliva, Network 2003).
    """
    radius = torch.hypot(fy, fx).clamp(min=1e-6)
    slope, angle = (radius / REFERENCE).log(), torch.atan2(fy, fx)
    around = torch.stack([torch.cos(2 * angle), torch.sin(2 * angle), torch.cos(4 * angle)])
    radial = torch.stack([torch.ones_like(slope), slope, slope**2])
    return torch.cat((radial, around, around * slope))


@dataclass
class NaturalPrior:
    """Mean (9,) and covariance (9, 9) of the weights of `scene_terms` over natural pictures."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def built_in(cls) -> "NaturalPrior":
        """Of 138 sharp photographs, by `benchmarks.degradation prior` (see docs/degradation.md)."""
        return cls.from_dict(json.loads(BUILT_IN.read_text()))

    @classmethod
    def from_dict(cls, values: dict) -> "NaturalPrior":
        return cls(torch.tensor(values["mean"]).double(), torch.tensor(values["covariance"]).double())

    def to_dict(self) -> dict:
        return {"mean": self.mean.tolist(), "covariance": self.covariance.tolist()}

    @classmethod
    def from_pictures(cls, pictures: list[np.ndarray], scale: int = 4, tile: int = TILE) -> "NaturalPrior":
        """Learn the prior from clean HR pictures, as it holds for pictures reduced by `scale`.

        Args:
            pictures: (H, W, 3) float in [0, 1], each side at least `tile * scale`.
        """
        spectra = measure_spectra(pictures, tile * scale, max_frequency=1.0 / scale)
        terms = scene_terms(spectra.fy * scale, spectra.fx * scale)
        # log-periodograms are least-squares friendly; their mean lies a constant below the log of the mean
        log_power = (spectra.power / scale**2).log()
        weights = torch.linalg.lstsq(terms.T, log_power.T).solution.T
        residual = (log_power - weights @ terms).exp().mean()
        weights[:, 0] += residual.log()
        return cls(weights.mean(0), torch.cov(weights.T))
