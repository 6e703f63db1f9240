"""Noise cut from the smooth regions of a camera's pictures.

After RealSR (Ji et al., CVPR-W 2020, sec. 3.2), with two changes. A patch is smooth when its spectrum looks like noise
(little power at low against high frequencies), not when its variance is small: small variance prefers the pictures with
the least noise. And patches are stored at unit strength beside the strength per brightness, so that noise stays
signal-dependent wherever a patch is laid.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..noise import BINS, LUMA, MIN_PATCHES, PATCH, NoiseModel, interpolate_levels, white_noise
from .noise_levels import band_powers, dct_power, fit_levels, highlight_strength, lowest_mode

CANDIDATES = 1500  # patches looked at per picture
PATCHES_PER_PICTURE = 24
ROUNDING = 1 / 255**2 / 12  # power of the rounding to 8 bits, in [0, 1] units squared
SPREAD = 0.12  # relative spread of the power of white noise over a patch's high-frequency coefficients
SPECTRUM_SHARE = 0.004  # of all patches, the flattest: from them the spectrum of the noise is taken
RED_LIMIT = 60.0  # low/high power beyond which the flattest patches are texture rather than noise
NO_SMOOTH_REGION = (
    "No smooth region was found: the noise is taken as white, as strong as the finest detail of the pictures."
)


def estimate_noise(pictures: list[np.ndarray], seed: int = 0) -> NoiseModel:
    """Cut noise from pictures that were not compressed (for the others see `jpeg_noise`).

    Args:
        pictures: (H, W, 3) float in [0, 1]; those smaller than a patch are skipped.
        seed: for the choice of candidates in large pictures.

    Returns:
        A model over all pictures; without a smooth region, white noise as strong as the finest detail, and a note.
    """
    rng = np.random.default_rng(seed)
    cut = [_candidates(torch.from_numpy(picture).float(), rng) for picture in pictures]
    owners = torch.cat([torch.full((len(patches),), i) for i, (patches, _) in enumerate(cut)])
    patches, means = torch.cat([patches for patches, _ in cut]), torch.cat([mean for _, mean in cut])
    if not len(patches):
        return white_noise(0.0, len(pictures), "No unclipped patch was found: no noise is added.")
    low, high = _luma_powers(patches)
    bins = ((means @ LUMA) * BINS).long().clamp(0, BINS - 1)
    floor, shift = fit_floor(high.log(), bins, owners, len(pictures), SPREAD)
    normal = (high.log() - floor[bins] - shift[owners]).exp()
    smooth = _select_smooth(low, normal)
    redness = (low[smooth] / high[smooth]).median() if len(smooth) else torch.inf
    if redness > RED_LIMIT:
        # the finest detail of the flattest tenth bounds the noise from above
        sigma = high.quantile(0.1).sqrt().item()
        return white_noise(sigma, len(pictures), NO_SMOOTH_REGION)
    levels = _fit_strengths(pictures, patches, means, owners, smooth)
    patches, owners = patches[smooth], owners[smooth]
    patches = patches / patches.square().mean((-2, -1), keepdim=True).sqrt().clamp(min=1e-5)
    kept = _thin(owners, rng)
    return NoiseModel(patches[kept], owners[kept], levels)


def _fit_strengths(
    pictures: list[np.ndarray], patches: Tensor, means: Tensor, owners: Tensor, smooth: Tensor
) -> Tensor:
    """Strength (N, 3, BINS) of the noise of each picture, from patches (n, 3, s, s), of which some are `smooth`."""
    fine, whole, flatness = band_powers(patches)
    # a codec may leave no fine detail at all; what was rounded to 8 bits is not known any finer
    fine = fine.clamp(min=ROUNDING)
    highlights = highlight_strength(pictures)
    flattest = max(2 * MIN_PATCHES, round(SPECTRUM_SHARE * len(patches)))
    gains, spread = torch.ones(len(pictures)), torch.ones(3)
    for _ in range(4):  # strength per brightness and strength per picture, in turn
        levels = fit_levels(fine / gains[owners, None] ** 2, flatness, means, highlights / spread)
        expected = _levels_at(levels, means).square().sum(1)
        gains = _fit_gains((fine.sum(1) / expected)[smooth].sqrt(), owners[smooth], len(pictures))
        # noise may be coarser than white: all of it against what is fine of it
        flat = (flatness / expected).argsort()[:flattest]
        spread = (whole[flat].mean(0) / fine[flat].mean(0)).sqrt()
    return gains.view(-1, 1, 1) * spread.view(3, 1) * levels


def _candidates(picture: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Patches (n, 3, s, s) less their best plane, and their means (n, 3); clipped ones left out."""
    if min(picture.shape[:2]) < PATCH:
        return torch.empty(0, 3, PATCH, PATCH), torch.empty(0, 3)
    windows = picture.unfold(0, PATCH, PATCH // 2).unfold(1, PATCH, PATCH // 2).reshape(-1, 3, PATCH, PATCH)
    if len(windows) > CANDIDATES:
        windows = windows[np.sort(rng.choice(len(windows), CANDIDATES, replace=False))]
    clipped = ((windows < 0.5 / 255) | (windows > 254.5 / 255)).float().mean((1, 2, 3))
    windows = windows[clipped < 0.004]
    return _detrend(windows), windows.mean((-2, -1))


def _detrend(patches: Tensor) -> Tensor:
    """Take off the least-squares plane, and restore the variance that three fitted parameters take from white noise."""
    position = torch.arange(PATCH) - (PATCH - 1) / 2
    plane = torch.stack(
        [torch.ones(PATCH, PATCH), position.expand(PATCH, PATCH), position.view(-1, 1).expand(PATCH, PATCH)]
    )
    basis = F.normalize(plane.flatten(1), dim=1)
    flat = patches.flatten(2)
    residual = flat - (flat @ basis.T) @ basis
    return (residual * (PATCH**2 / (PATCH**2 - 3)) ** 0.5).view_as(patches)


def _luma_powers(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Mean power of a luma DCT coefficient at low (1–4 half cycles) and at high frequencies (8 and more)."""
    n = torch.arange(PATCH)
    power = dct_power(torch.einsum("ncij,c->nij", patches, LUMA))
    radius = torch.hypot(n.view(-1, 1).float(), n.float())
    low = (radius > 0.5) & (radius < 4.5)
    high = (n.view(-1, 1) >= PATCH // 2) | (n >= PATCH // 2)
    return power[:, low].mean(1), power[:, high].mean(1).clamp(min=1e-9)


def fit_floor(log_power: Tensor, bins: Tensor, owners: Tensor, count: int, spread: float) -> tuple[Tensor, Tensor]:
    """The noise floor of patches, of which most also hold texture.

    Args:
        log_power: (n,) logarithms of power, or of strength.
        bins, owners: (n,) brightness bin and picture of each patch.
        count: number of pictures.
        spread: standard deviation of `log_power` over patches that hold nothing but the same noise.

    Returns:
        floor (BINS,) and shift (count,): noise alone has a `log_power` of about floor[bin] + shift[owner].
    """
    floor, shift = torch.zeros(BINS), torch.zeros(count)
    for turn in range(4):

        def locate(values: Tensor, turn: int = turn) -> Tensor:
            return values.quantile(0.1) if turn < 2 else lowest_mode(values, spread)

        floor = _per_group(log_power - shift[owners], bins, BINS, locate)
        shift = _per_group(log_power - floor[bins], owners, count, locate)
    return floor, shift


def _per_group(values: Tensor, groups: Tensor, count: int, locate) -> Tensor:
    """`locate` each group's values; groups with few members get the median of the others."""
    result = torch.full((count,), torch.nan)
    for group in groups.unique():
        if (groups == group).sum() >= 2 * MIN_PATCHES:
            result[group] = locate(values[groups == group])
    known = result[~result.isnan()]
    return result.nan_to_num(known.median().item() if len(known) else locate(values).item())


def _select_smooth(low: Tensor, normal: Tensor) -> Tensor:
    """Indices of the patches whose high frequencies are noise alone, and whose low ones are consistent with them."""
    flat = (normal - 1).abs() < 2.5 * SPREAD
    if not flat.any():
        return torch.empty(0, dtype=torch.long)
    # the lowest of them hold noise alone, however few they are; that varies by a third about its mean
    limit = 2.2 * (low[flat] / normal[flat]).quantile(0.01)
    return (flat & (low < limit)).nonzero().flatten()


def _levels_at(levels: Tensor, means: Tensor) -> Tensor:
    """Strength (n, 3) at the mean brightness of each patch, from (3, BINS)."""
    return interpolate_levels(levels.unsqueeze(0), means.T.reshape(1, 3, -1, 1)).view(3, -1).T


def _fit_gains(ratios: Tensor, owners: Tensor, count: int) -> Tensor:
    """Median ratio per picture, drawn towards 1 where a picture gave few patches; the mean square gain is 1."""
    gains = torch.ones(count)
    for i in range(count):
        mine = ratios[owners == i]
        if len(mine):
            weight = len(mine) / (len(mine) + 1.0)
            gains[i] = mine.median().clamp(min=1e-3) ** weight
    return gains / gains.square().mean().sqrt()


def _thin(owners: Tensor, rng: np.random.Generator) -> Tensor:
    """Indices of at most `PATCHES_PER_PICTURE` patches of each picture."""
    kept = []
    for owner in owners.unique():
        mine = (owners == owner).nonzero().flatten().numpy()
        kept.append(np.sort(rng.permutation(mine)[:PATCHES_PER_PICTURE]))
    return torch.from_numpy(np.concatenate(kept))
