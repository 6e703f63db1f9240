"""A generic degradation for when there are no pictures from the user's camera: second order, like Real-ESRGAN's.

Wang et al., ICCV-W 2021, sec. 3: blur, reduction, noise and JPEG, twice. Here each round halves the picture (for x4),
so that the whole batch goes through together; the variety of resizers is taken over by the variety of blur kernels.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from .interface import Degradation
from .ops import Generators, blur, check_sides, compress, downsample, gaussian_kernels, randn, uniform


@dataclass
class Round:
    """The ranges of one round; a part is skipped for a sample with probability 1 - its chance."""

    sigma: tuple[float, float]  # blur, standard deviation in pixels of the round's own input
    noise: tuple[float, float]  # standard deviation of the noise at mid-gray, in [0, 1] units
    noise_chance: float
    quality: tuple[float, float]  # JPEG
    jpeg_chance: float


ROUNDS = (
    Round(sigma=(0.2, 2.4), noise=(0.0, 0.06), noise_chance=0.5, quality=(40, 95), jpeg_chance=0.5),
    Round(sigma=(0.2, 1.2), noise=(0.0, 0.06), noise_chance=0.8, quality=(35, 95), jpeg_chance=0.7),
)
KERNEL_SIZE = 15


class GenericPrior(Degradation):
    """Random anisotropic blur, signal-dependent and correlated noise, JPEG; in two rounds.

    The scale is 2 or 4, or 1: blur, noise and JPEG at full size.
    """

    def degrade_with_grain(self, hr: Tensor, scale: int, generator: Generators) -> tuple[Tensor, Tensor]:
        factors = {1: (1, 1), 2: (2, 1), 4: (2, 2)}.get(scale)
        if factors is None:
            raise ConfigError(f"the generic prior got scale {scale}; the scale must be 1, 2 or 4.")
        check_sides(hr, scale)
        x, grain = hr, None
        for factor, ranges in zip(factors, ROUNDS, strict=True):
            x, grain = _one_round(x, grain, factor, ranges, generator)
        return x, grain


def _one_round(
    x: Tensor, grain: Tensor | None, factor: int, ranges: Round, generator: Generators
) -> tuple[Tensor, Tensor]:
    """The picture after one more round, and the noise in it, of earlier rounds (blurred along) and of this one."""
    count = x.shape[0]
    sigma_x, sigma_y = (uniform(*ranges.sigma, count, generator) for _ in range(2))
    kernels = gaussian_kernels(sigma_x, sigma_y, uniform(0, math.pi, count, generator), KERNEL_SIZE).to(x.device)
    clean = downsample(blur(x, kernels), factor)
    noisy = _add_noise(clean, ranges, generator)
    added = noisy - clean
    grain = added if grain is None else downsample(blur(grain, kernels), factor) + added
    quality = uniform(*ranges.quality, count, generator)
    chosen = uniform(0, 1, count, generator) < ranges.jpeg_chance
    return torch.where(_per_sample(chosen, x), compress(noisy, quality), noisy), grain


def _add_noise(x: Tensor, ranges: Round, generator: Generators) -> Tensor:
    """Shot and read noise together, gray or coloured, white or correlated over neighbouring pixels."""
    count = x.shape[0]
    strength = uniform(*ranges.noise, count, generator)
    strength = strength * (uniform(0, 1, count, generator) < ranges.noise_chance)
    noise = randn(x.shape, generator, x.device)
    gray = uniform(0, 1, count, generator) < 0.4
    noise = torch.where(_per_sample(gray, x), noise.mean(1, keepdim=True) * math.sqrt(3), noise)
    noise = _correlate(noise, uniform(0, 0.8, count, generator))
    shot_share = _per_sample(uniform(0, 1, count, generator), x)
    level = torch.sqrt(1 - shot_share + shot_share * 2 * x)  # 1 at mid-gray whatever the share
    return (x + _per_sample(strength, x) * level * noise).clamp(0, 1)


def _correlate(noise: Tensor, sigma: Tensor) -> Tensor:
    """Blur white noise, keeping its variance."""
    kernels = gaussian_kernels(sigma, sigma, torch.zeros_like(sigma), 5)
    gain = kernels.square().sum((-2, -1)).rsqrt()
    return blur(noise, kernels.to(noise.device)) * _per_sample(gain, noise)


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device).view(-1, 1, 1, 1)
