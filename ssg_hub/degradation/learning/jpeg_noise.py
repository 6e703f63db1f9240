"""The noise of a picture before JPEG took its fine parts away, from the DCT coefficients that are left of it.

Noise cut from a compressed picture has been through the quantiser; laid on a clean picture and compressed again it
would be quantised twice. The quantiser is known, so the noise before it can be fitted: normal, of a strength per
brightness and with a correlation length, by the likelihood of the quantised levels in smooth blocks.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ...images.levels import LUMA
from ..noise import BINS, MIN_PATCHES, PATCH, NoiseModel, white_noise
from ..ops import CB, CR, blur, dct_basis, gaussian_kernels
from .compression import Compression, luma_blocks, split_blocks
from .noise_patches import fit_floor

STRENGTHS = torch.logspace(-0.5, 1.7, 34)  # candidate standard deviations of luma, in levels of 0–255
LENGTHS = torch.tensor([0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95, 1.1, 1.3, 1.6])  # of a Gaussian that blurs white noise, px
MAX_JUMP = 1.0  # between neighbouring blocks' means, in standard deviations of the noise; white noise has 0.2
MAX_WAVE = 1.5  # of the lowest coefficients, in standard deviations of the noise; white noise has 1
SPREAD = 0.2  # relative spread of the strength that a single block of noise seems to have
OUTLIERS = 0.02  # share of coefficients that belong to texture
MAX_LEVEL = 12  # quantised levels above it count alike
MAX_BLOCKS = 600  # per picture; the flattest
PATCHES_PER_PICTURE = 8
FREQUENCY = torch.arange(8).view(-1, 1) + torch.arange(8)  # of a DCT coefficient, row and column together
LOG_STEPS, TABLE_SIZE = (-4.0, 9.0), 65536  # range and number of steps at which likelihoods are tabulated
RELATIVE = torch.linspace(-1.6, 1.6, 65)  # log strengths onto which shifted tables are interpolated


def estimate_jpeg_noise(pictures: list[np.ndarray], compressions: list[Compression], seed: int = 0) -> NoiseModel:
    """Fit the noise of JPEG pictures as it was before compression.

    Args:
        pictures: (H, W, 3), 8-bit RGB.
        compressions: of each picture.
        seed: of the patches that are made from the fit.

    Returns:
        A model whose patches are drawn from the fit: luma noise in all channels alike, and colour noise.
    """
    blocks = [_tabulate(p, c) for p, c in zip(pictures, compressions, strict=True)]
    owners = torch.cat([torch.full((len(table),), i) for i, (table, *_) in enumerate(blocks)])
    table, brightness, wave, jump = (torch.cat([block[k] for block in blocks]) for k in range(4))
    bins = (brightness / 256 * BINS).long().clamp(0, BINS - 1)
    smooth = _select_smooth(table, wave, jump, bins, owners, len(pictures))
    table, bins, owners = table[smooth], bins[smooth], owners[smooth]
    if len(table) < MIN_PATCHES:
        note = "The compressed pictures have too few smooth blocks: no noise is added."
        return white_noise(0.0, len(pictures), note)
    luma, length = _fit_set(table, bins)
    gains, lengths = _fit_pictures(table, luma[bins], owners, len(pictures), length)
    colour = _colour_share(pictures, compressions, luma.mean() * gains)
    generator = torch.Generator().manual_seed(seed)
    patch_owners = torch.arange(len(pictures)).repeat_interleave(PATCHES_PER_PICTURE)
    patches, channel_gain = _draw_patches(lengths[patch_owners], colour, generator)
    note = (
        f"The noise was fitted as it was before compression: correlation length {lengths.mean():.2f} px, "
        f"colour noise {colour:.2f} of luma noise."
    )
    levels = gains.view(-1, 1, 1) * channel_gain.view(3, 1) * luma / 255
    return NoiseModel(patches, patch_owners, levels, [note])


def _tabulate(pixels: np.ndarray, compression: Compression) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a picture's flattest blocks: log-likelihood (n, strengths, lengths) of their levels under each candidate
    noise, brightness (n,), height of their lowest waves (n,), and jump of the mean to the neighbours' (n,).

    The lowest coefficients are left out of the likelihood: they are used to separate smooth blocks from rough ones.
    """
    coefficients, positions, brightness = luma_blocks(pixels, compression.offset)
    wave = torch.maximum(coefficients[:, 0, 1].abs(), coefficients[:, 1, 0].abs())
    jump = _jumps(positions, brightness)
    flattest = wave.argsort(stable=True)[:MAX_BLOCKS]
    used = (FREQUENCY >= 2).flatten()
    levels = (coefficients[flattest] / compression.luma).round().abs().flatten(1)[:, used]
    sigma = _candidate_spreads()[..., used]  # (strengths, lengths, k)
    log_chance = _look_up(compression.luma.flatten()[used] / sigma)
    one_hot = torch.nn.functional.one_hot(levels.clamp(max=MAX_LEVEL).long(), MAX_LEVEL + 1).float()  # (n, k, levels)
    table = torch.einsum("nkl,lsjk->nsj", one_hot, log_chance)
    return table, brightness[flattest], wave[flattest], jump[flattest]


def _jumps(positions: Tensor, brightness: Tensor) -> Tensor:
    """Largest difference (n,) between the mean of each block and those of its four neighbours."""
    if not len(positions):
        return torch.zeros(0)
    means = torch.full((int(positions[:, 0].max()) + 3, int(positions[:, 1].max()) + 3), torch.nan)
    rows, columns = positions[:, 0] + 1, positions[:, 1] + 1
    means[rows, columns] = brightness
    around = [(means[rows + i, columns + j] - brightness).abs() for i, j in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    return torch.stack(around).nan_to_num(0.0).amax(0)


def _select_smooth(table: Tensor, wave: Tensor, jump: Tensor, bins: Tensor, owners: Tensor, count: int) -> Tensor:
    """Blocks (n,) whose lowest waves, and whose jumps, are no higher than the noise floor of their picture and bin.

    Not than their own strength: texture would pass with that.
    """
    if not len(table):
        return torch.zeros(0, dtype=torch.bool)
    likelihood = table.amax(2)
    allowed = likelihood > likelihood.amax(1, keepdim=True) - 0.5
    strength = STRENGTHS[torch.where(allowed, torch.arange(len(STRENGTHS)), 0).amax(1)]
    floor, shift = fit_floor(strength.log(), bins, owners, count, SPREAD)
    expected = (floor[bins] + shift[owners]).exp()
    return (jump < MAX_JUMP * expected) & (wave < MAX_WAVE * expected)


def _level_likelihood(levels: Tensor, steps: Tensor) -> Tensor:
    """Log-chance that normal noise is quantised to +-`levels`, with a share of outliers; steps in deviations of it."""
    upper, lower = ((levels + half) * steps / 2**0.5 for half in (0.5, -0.5))
    chance = 0.5 * (torch.erfc(lower) - torch.erfc(upper))
    return torch.log((1 - OUTLIERS) * chance + OUTLIERS / (4 + levels) ** 2)


@lru_cache(maxsize=1)
def _likelihood_table() -> Tensor:
    """`_level_likelihood` (MAX_LEVEL + 1, n) of levels from 0 on, over the logarithm of the step."""
    steps = torch.linspace(*LOG_STEPS, TABLE_SIZE).exp()
    return _level_likelihood(torch.arange(MAX_LEVEL + 1).view(-1, 1), steps)


def _look_up(steps: Tensor) -> Tensor:
    """`_level_likelihood` (MAX_LEVEL + 1, …) of levels from 0 on, at steps (…)."""
    low, high = LOG_STEPS
    cells = ((steps.log() - low) / (high - low) * (TABLE_SIZE - 1)).round().long().clamp(0, TABLE_SIZE - 1)
    return _likelihood_table()[:, cells]


@lru_cache(maxsize=1)
def _candidate_spreads() -> Tensor:
    """Standard deviations (strengths, lengths, 64) of the DCT coefficients of each candidate noise."""
    spread = torch.stack([_coefficient_spread(length).flatten() for length in LENGTHS])
    return (STRENGTHS.view(-1, 1, 1) * spread).clamp(min=0.05)


def _fit_set(table: Tensor, bins: Tensor) -> tuple[Tensor, int]:
    """Strength per brightness (BINS,) and index of the correlation length, over all pictures."""
    known = [b for b in range(BINS) if (bins == b).sum() >= 2 * MIN_PATCHES] or [int(bins.mode().values)]
    scores = torch.stack([_floor_likelihood(table[bins == b]) for b in known])  # (bins, strengths, lengths)
    length = int(scores.amax(1).sum(0).argmax())
    best = [STRENGTHS[row[:, length].argmax()].item() for row in scores]
    weights = [(bins == b).sum().sqrt().item() for b in known]
    return _fit_shot_noise(known, best, weights), length


def _floor_likelihood(table: Tensor) -> Tensor:
    """Log-likelihood (strengths, lengths) of a common noise floor for blocks (n, strengths, lengths).

    A share of the blocks holds that noise alone, the others anything stronger of any correlation, which takes texture
    out of account.
    """
    peak = table.amax((1, 2), keepdim=True)
    chance = (table - peak).exp()
    stronger = chance.mean(2, keepdim=True).flip(1).cumsum(1).flip(1) / table.shape[1]
    shares = torch.tensor([0.1, 0.3, 0.6, 0.9]).view(-1, 1, 1, 1)
    mixed = (shares * chance + (1 - shares) * stronger + 1e-12).log() + peak
    return mixed.sum(1).amax(0)


def _fit_shot_noise(bins: list[int], strengths: list[float], weights: list[float]) -> Tensor:
    """Strengths (BINS,) whose variance is a line in brightness, rising or falling, through those at some bins."""
    variances = np.square(strengths)
    relative = np.array(weights) / variances  # the error of a variance grows with it
    line = np.polyfit(bins, variances, min(1, len(bins) - 1), w=relative)
    fitted = np.polyval(line, np.arange(BINS)).clip(0.3 * variances.min(), 1.5 * variances.max())
    return torch.from_numpy(fitted).sqrt().float()


def _shift_strengths(table: Tensor, shift: Tensor) -> Tensor:
    """Tables (n, 65, lengths) as functions of log strength less each block's `shift` (n,)."""
    step = (STRENGTHS[1] / STRENGTHS[0]).log()
    position = ((RELATIVE + shift.view(-1, 1) - STRENGTHS[0].log()) / step).clamp(0, len(STRENGTHS) - 1.001)
    low = position.floor().long().unsqueeze(-1).expand(-1, -1, table.shape[-1])
    share = (position - position.floor()).unsqueeze(-1)
    return table.gather(1, low) * (1 - share) + table.gather(1, low + 1) * share


def _coefficient_spread(length: Tensor) -> Tensor:
    """(8, 8) standard deviations of the DCT coefficients of unit noise: white noise blurred by a Gaussian."""
    distance = (torch.arange(8).view(-1, 1) - torch.arange(8)).float()
    # below a third of a pixel a sampled Gaussian is a point
    correlation = torch.exp(-(distance**2) / (4 * length**2)) if length > 0.3 else torch.eye(8)
    spread = torch.einsum("ui,ij,uj->u", dct_basis(), correlation, dct_basis())
    return spread.clamp(min=0).sqrt().view(-1, 1) * spread.clamp(min=0).sqrt()


def _fit_pictures(table: Tensor, expected: Tensor, owners: Tensor, count: int, length: int) -> tuple[Tensor, Tensor]:
    """Gain (N,) and correlation length (N,) of each picture: posterior means under wide priors about the set's."""
    shifted = _shift_strengths(table, expected.log())
    prior = -0.5 * (RELATIVE / 0.35).square().view(-1, 1) - 0.5 * ((LENGTHS - LENGTHS[length]) / 0.3).square()
    gains, lengths = torch.ones(count), LENGTHS[length].repeat(count)
    for i in owners.unique().tolist():
        posterior = (_floor_likelihood(shifted[owners == i]) + prior).flatten().softmax(0).view_as(prior)
        gains[i] = (posterior.sum(1) * RELATIVE).sum().exp()
        lengths[i] = (posterior.sum(0) * LENGTHS).sum()
    return gains, lengths


def _colour_share(pictures: list[np.ndarray], compressions: list[Compression], luma: Tensor) -> float:
    """Strength of colour noise (Cb, Cr) relative to luma noise (N,), from what the coarse colour tables let through."""
    shares = torch.tensor([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.6, 0.75, 0.93])  # the last: independent R, G and B
    used = ((FREQUENCY >= 2) & (FREQUENCY <= 4)).flatten()
    scores = torch.zeros(len(shares))
    for pixels, compression, strength in zip(pictures, compressions, luma, strict=True):
        blocks = _chroma_blocks(pixels, compression.offset)
        lowest = blocks.flatten(1)[:, (FREQUENCY == 1).flatten()].square().sum(1)
        quiet = lowest.argsort()[: max(2, round(0.25 * len(blocks)))]
        steps = compression.chroma.flatten()[used]
        levels = (blocks[quiet].flatten(1)[:, used] / steps).round().abs()
        for k, share in enumerate(shares):
            sigma = (share * strength).clamp(min=0.3)
            scores[k] += _level_likelihood(levels, steps / sigma).sum()
    return shares[scores.argmax()].item()


def _chroma_blocks(pixels: np.ndarray, offset: tuple[int, int]) -> Tensor:
    """DCT coefficients (n, 8, 8) of Cb and Cr at half size."""
    x = torch.from_numpy(np.array(pixels)).float()
    y = x @ torch.tensor(LUMA)
    planes = torch.stack(((x[..., 2] - y) * CB, (x[..., 0] - y) * CR))
    halved = torch.nn.functional.avg_pool2d(planes[:, offset[0] :, offset[1] :], 2)
    blocks = torch.cat([split_blocks(plane).reshape(-1, 8, 8) for plane in halved])
    return dct_basis() @ blocks @ dct_basis().T


def _draw_patches(lengths: Tensor, colour: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Unit-strength patches (n, 3, s, s) of correlated noise, and each channel's strength (3,) relative to luma."""
    white = torch.randn((len(lengths), 3, PATCH + 12, PATCH + 12), generator=generator)
    noise = blur(white, gaussian_kernels(lengths, lengths, torch.zeros_like(lengths), 13))
    noise = noise[..., 6:-6, 6:-6]
    noise = noise / noise.std((-2, -1), keepdim=True)
    y, blue, red = noise[:, 0], colour * noise[:, 1], colour * noise[:, 2]
    rgb = torch.stack((y + 1.402 * red, y - 0.344 * blue - 0.714 * red, y + 1.772 * blue), dim=1)
    rgb = rgb - rgb.mean((-2, -1), keepdim=True)
    gain = (1 + colour**2 * torch.tensor([1.402**2, 0.344**2 + 0.714**2, 1.772**2])).sqrt()
    return rgb / rgb.std((-2, -1), keepdim=True), gain
