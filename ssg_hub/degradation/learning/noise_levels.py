"""How strong the noise of uncompressed pictures is at each brightness, by the finest detail of their flattest patches.

After Ponomarenko et al. (IGARSS 2007) and Colom & Buades (IPOL 2013): patches are chosen by some of their DCT
coefficients and measured by others. In noise these are independent of each other, so choosing the flattest patches does
not choose weak noise.
"""

import numpy as np
import torch
from torch import Tensor

from ..noise import BINS, MIN_PATCHES, PATCH
from ..ops import dct_basis

FLATTEST = 0.03  # share of a bin's patches that are measured
LEAK = 0.05  # of texture in coarse coefficients, how much of it is in the fine ones
LEAST_ERROR = 0.02  # of a bin's variance
HIGHLIGHT_ERROR, HIGHLIGHT_EXCESS = 0.1, 0.4  # of the variance in overexposed regions, by sampling and by texture
CURVATURE = 0.02  # second difference of the variance between bins, in units of its mean; shot and read noise have none


def dct_power(patches: Tensor) -> Tensor:
    """Squared DCT coefficients, orthonormal, of (…, 16, 16)."""
    basis = dct_basis(size=PATCH)
    return (basis @ patches @ basis.T).square()


def band_powers(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean powers of DCT coefficients of patches (n, 3, 16, 16).

    Returns:
        fine (n, 3): of those that are fine along both axes, where there is least texture;
        whole (n, 3): of all, by the fine ones and every second of the others; the lowest, where scenes have their
            shading, are taken to be as the next ones;
        flatness (n,): of those that the other two do not use.
    """
    n = torch.arange(PATCH)
    power, radius = dct_power(patches).clamp(min=1e-10), torch.hypot(n.view(-1, 1).float(), n.float())
    is_fine = (n.view(-1, 1) >= PATCH // 2) & (n >= PATCH // 2)
    odd = (n.view(-1, 1) + n) % 2 == 1
    lowest = radius < 3
    bands = (is_fine, ~is_fine & ~lowest & odd, ~lowest & (radius < 6) & odd)
    fine, coarse, low = (power[..., band].mean(-1) for band in bands)
    shares = is_fine.float().mean(), lowest.float().mean()
    whole = shares[0] * fine + (1 - sum(shares)) * coarse + shares[1] * low
    flatness = power[..., ~is_fine & ~odd & (radius > 0) & (radius < 0.7 * PATCH)].mean((1, 2))
    return fine, whole, flatness


def fit_levels(fine: Tensor, flatness: Tensor, means: Tensor, highlights: Tensor) -> Tensor:
    """Strength (3, BINS) of the fine noise per channel and brightness of that channel.

    Args:
        fine, flatness: (n, 3) and (n,) powers of patches, see `band_powers`.
        means: (n, 3) brightness of the patches in [0, 1].
        highlights: (3,) strength in overexposed regions, see `highlight_strength`.
    """
    levels = torch.empty(3, BINS)
    for c in range(3):
        bins = (means[:, c] * BINS).long().clamp(0, BINS - 1)
        known = [b for b in range(BINS) if (bins == b).sum() >= MIN_PATCHES] or [int(bins.mode().values)]
        chosen = [_choose_flattest(flatness, bins == b) for b in known]
        # near black and white only the patches at a bin's inner edge are not clipped
        places = np.array([means[flat, c].mean().item() * BINS - 0.5 for flat in chosen])
        variances = np.array([fine[flat, c].mean().item() for flat in chosen])
        redness = np.array([(flatness[flat].mean() / fine[flat].mean()).item() for flat in chosen])
        errors = np.array([_sampling_error(len(flat)) for flat in chosen])
        excess = LEAK * (redness - redness.min())
        if highlights[c] > 0:
            places, variances = np.append(places, BINS - 1), np.append(variances, highlights[c].item() ** 2)
            errors, excess = np.append(errors, HIGHLIGHT_ERROR), np.append(excess, HIGHLIGHT_EXCESS)
        levels[c] = torch.from_numpy(smooth_variances(places, variances, errors, excess)).sqrt().float()
    return levels


def _choose_flattest(flatness: Tensor, among: Tensor) -> Tensor:
    """Indices of the flattest patches of those that `among` (n,) allows."""
    mine = among.nonzero().flatten()
    return mine[flatness[mine].argsort()[: max(MIN_PATCHES, round(FLATTEST * len(mine)))]]


def _sampling_error(count: int) -> float:
    """Relative standard deviation of the fine power of so many patches, which overlap by half."""
    return float(np.hypot(LEAST_ERROR, 2 / (count**0.5 * (PATCH // 2))))


def smooth_variances(places: np.ndarray, variances: np.ndarray, errors: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """A variance (BINS,) per bin, nearly a line in brightness as of shot and read noise, through measured ones.

    Args:
        places: (n,) brightness of the measured variances, counted in bins.
        variances, errors: (n,) what was measured, and its relative standard deviation.
        excess: (n,) the share by which texture may have raised it; nothing may have lowered it.
    """
    low = np.clip(np.floor(places), 0, BINS - 2).astype(int)
    at = np.zeros((len(places), BINS))
    at[np.arange(len(places)), low], at[np.arange(len(places)), low + 1] = 1 - (places - low), places - low
    bend = np.diff(np.eye(BINS), 2, axis=0) / (CURVATURE * variances.mean())
    # where only one brightness was measured, its variance is taken for all
    level = 1e-3 * np.diff(np.eye(BINS), axis=0) / variances.mean()
    expected, least = variances, 0.25 * variances.min()
    for _ in range(12):
        deviation = expected * np.hypot(errors, np.where(variances > expected, excess, 0))
        weighted = at.T / deviation**2
        fitted = np.linalg.solve(weighted @ at + bend.T @ bend + level.T @ level, weighted @ variances)
        expected = (at @ fitted).clip(least)
    return fitted.clip(least)


def highlight_strength(pictures: list[np.ndarray]) -> Tensor:
    """Strength (3,) before clipping in overexposed smooth regions, 0 where there are too few.

    Of a flat region with normal noise, cut off at white, the clipped share and the mean of the rest give the strength:
    with z the distance of the mean from white in standard deviations, the rest lies z + phi(z) / Phi(z) below white.
    """
    windows = [
        torch.from_numpy(p).float().unfold(0, 8, 8).unfold(1, 8, 8).flatten(3).flatten(0, 1)
        for p in pictures
        if min(p.shape[:2]) >= 8
    ]
    values = torch.cat(windows).transpose(0, 1)
    clipped = values > 254.5 / 255
    share = clipped.float().mean(-1)
    rest = (values * ~clipped).sum(-1) / (~clipped).sum(-1).clamp(min=1)
    normal = torch.distributions.Normal(0.0, 1.0)
    z = normal.icdf(1 - share.clamp(0.02, 0.98))
    strength = (1 - rest) / (z + normal.log_prob(z).exp() / normal.cdf(z))
    result = torch.zeros(3)
    for c in range(3):
        usable = strength[c][(share[c] > 0.1) & (share[c] < 0.65)]
        if len(usable) >= 4 * MIN_PATCHES:
            result[c] = (0.5 * lowest_mode(2 * usable.clamp(min=1e-4).log(), HIGHLIGHT_ERROR)).exp()
    return result


def lowest_mode(values: Tensor, spread: float) -> Tensor:
    """The lowest mode by mean shift from below: noise alone makes a peak there, texture a tail above it.

    The kernel is as wide as the peak, so that neither the low nor the high half of the peak is preferred.
    """
    position = values.quantile(0.05)
    for _ in range(20):
        weight = torch.exp(-0.5 * ((values - position) / spread) ** 2)
        position = (weight * values).sum() / weight.sum()
    return position
