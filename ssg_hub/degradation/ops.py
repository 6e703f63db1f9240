"""The parts that every degradation is made of: kernels, blur, reduction, noise, JPEG; batched, on any device.

Pictures are (B, 3, H, W), RGB in [0, 1]. Nothing here draws random numbers except `uniform`, `rand` and `randn`, which
take the caller's generators: one for the whole batch, or one per sample, so that no sample depends on its neighbours.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..images.levels import LUMA

Generators = torch.Generator | list[torch.Generator]

# by which B - Y and R - Y become the chroma of JPEG, Cb and Cr, of the same range (JFIF 1.02)
CB, CR = 0.564334, 0.713267

# ITU T.81, annex K: the tables that libjpeg scales by quality
LUMA_TABLE = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]
CHROMA_TABLE = [
    [17, 18, 24, 47, 99, 99, 99, 99],
    [18, 21, 26, 66, 99, 99, 99, 99],
    [24, 26, 56, 99, 99, 99, 99, 99],
    [47, 66, 99, 99, 99, 99, 99, 99],
] + [[99] * 8] * 4


def check_sides(hr: Tensor, scale: int) -> None:
    """Raise ConfigError unless both sides of pictures (B, 3, H, W) divide by the scale of their reduction."""
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise ConfigError(f"degrade got pictures of {width}x{height}; both sides must divide by {scale}. Crop them.")


def uniform(low: float, high: float, count: int, generator: Generators) -> Tensor:
    """`count` numbers between `low` and `high`, on the CPU."""
    if isinstance(generator, list):
        draws = torch.cat([torch.rand(1, generator=g) for g in generator])
    else:
        draws = torch.rand(count, generator=generator)
    return low + (high - low) * draws


def rand(shape: tuple[int, ...], generator: Generators) -> Tensor:
    """Uniform numbers in [0, 1) of shape (B, …), on the CPU."""
    if isinstance(generator, list):
        return torch.stack([torch.rand(shape[1:], generator=g) for g in generator])
    return torch.rand(shape, generator=generator)


def randn(shape: tuple[int, ...], generator: Generators, device: torch.device) -> Tensor:
    """Standard normal noise of shape (B, …), drawn on the CPU so that every device gets the same."""
    if isinstance(generator, list):
        return torch.stack([torch.randn(shape[1:], generator=g) for g in generator]).to(device)
    return torch.randn(shape, generator=generator).to(device)


def gaussian_kernels(sigma_x: Tensor, sigma_y: Tensor, angle: Tensor, size: int) -> Tensor:
    """Anisotropic Gaussian kernels.

    Args:
        sigma_x, sigma_y: (B,) standard deviations along the kernel's own axes, in pixels.
        angle: (B,) rotation of the x axis in radians, counter-clockwise as seen on the screen.
        size: side of the kernel, odd.

    Returns:
        (B, size, size), each summing to 1.
    """
    grid = torch.arange(size, dtype=torch.float32, device=sigma_x.device) - (size - 1) / 2
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    cos, sin = torch.cos(angle).view(-1, 1, 1), torch.sin(angle).view(-1, 1, 1)
    u, v = cos * x - sin * y, sin * x + cos * y
    # a pixel has a width: a very narrow Gaussian must not fall between the samples
    exponent = (u / sigma_x.clamp(min=0.05).view(-1, 1, 1)) ** 2 + (v / sigma_y.clamp(min=0.05).view(-1, 1, 1)) ** 2
    kernels = torch.exp(-0.5 * exponent)
    return kernels / kernels.sum((-2, -1), keepdim=True)


def blur(x: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each picture with its own kernel (B, k, k), k odd; edges are mirrored."""
    batch, channels, height, width = x.shape
    size = kernels.shape[-1]
    padded = F.pad(x, [size // 2] * 4, mode="reflect" if min(height, width) > size // 2 else "replicate")
    weight = kernels.flip((-2, -1)).to(x).repeat_interleave(channels, 0).unsqueeze(1)
    padded = padded.reshape(1, batch * channels, *padded.shape[-2:])
    return F.conv2d(padded, weight, groups=batch * channels).reshape(x.shape)


def downsample(x: Tensor, factor: int) -> Tensor:
    """Reduce by a whole factor, centre-aligned: an LR pixel is the mean of the HR pixels that it covers."""
    return F.avg_pool2d(x, factor)


def reduce_with(x: Tensor, kernels: Tensor, factor: int) -> Tensor:
    """Blur with whole HR-to-LR kernels and keep every `factor`-th pixel, centre-aligned as `downsample` is.

    Args:
        x: (B, C, H, W), sides divisible by `factor`.
        kernels: (B, k, k) over HR pixels, summing to 1, centred; k is even where `factor` is, odd where it is odd.

    Returns:
        (B, C, H/factor, W/factor).
    """
    batch, channels, height, width = x.shape
    size = kernels.shape[-1]
    pad = (size - factor) // 2
    padded = F.pad(x, [pad] * 4, mode="reflect" if min(height, width) > pad else "replicate")
    padded = padded.reshape(1, batch * channels, height + 2 * pad, width + 2 * pad)
    weight = kernels.flip((-2, -1)).to(x).repeat_interleave(channels, 0).unsqueeze(1)
    reduced = F.conv2d(padded, weight, stride=factor, groups=batch * channels)
    return reduced.reshape(batch, channels, height // factor, width // factor)


def compress(x: Tensor, quality: Tensor) -> Tensor:
    """JPEG as libjpeg does it (YCbCr, 4:2:0, tables scaled by quality), without the lossless part.

    Args:
        x: (B, 3, H, W), any size.
        quality: (B,) from 1 to 100.
    """
    luma, chroma = (scale_table(table, quality) for table in (LUMA_TABLE, CHROMA_TABLE))
    return compress_with(x, luma, chroma)


def compress_with(x: Tensor, luma_steps: Tensor, chroma_steps: Tensor) -> Tensor:
    """JPEG with given quantisation tables and 4:2:0 colour.

    Args:
        x: (B, 3, H, W), any size.
        luma_steps, chroma_steps: (B, 8, 8), row = vertical frequency.
    """
    height, width = x.shape[-2:]
    padded = F.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
    luma, chroma = _to_ycc(padded * 255).split((1, 2), dim=1)
    luma = _quantise(luma, luma_steps)
    chroma = _quantise(F.avg_pool2d(chroma, 2), chroma_steps)
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    rgb = _to_rgb(torch.cat((luma, chroma), dim=1)) / 255
    return rgb[..., :height, :width].clamp(0, 1)


def scale_table(table: list[list[int]], quality: Tensor) -> Tensor:
    """(B, 8, 8) quantisation steps for (B,) qualities by libjpeg's rule."""
    quality = quality.clamp(1, 100)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).floor().view(-1, 1, 1)
    return ((torch.tensor(table, device=quality.device) * percent + 50) / 100).floor().clamp(1, 255)


def _quantise(plane: Tensor, steps: Tensor) -> Tensor:
    """Round the 8x8 DCT coefficients of (B, C, H, W) levels in 0–255 to multiples of the steps."""
    batch, channels, height, width = plane.shape
    basis = dct_basis(plane.device).to(plane)
    steps = steps.to(plane).view(batch, 1, 1, 1, 8, 8)
    blocks = (plane - 128).reshape(batch, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ ((coefficients / steps).round() * steps) @ basis
    return blocks.transpose(3, 4).reshape(plane.shape) + 128


def dct_basis(device: torch.device | None = None, size: int = 8) -> Tensor:
    """(size, size) orthonormal DCT-II: `basis @ block @ basis.T` are a block's coefficients."""
    n = torch.arange(size, dtype=torch.float32, device=device)
    basis = torch.cos(math.pi * n.view(-1, 1) * (2 * n + 1) / (2 * size)) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis


def _to_ycc(rgb: Tensor) -> Tensor:
    r, g, b = rgb.unbind(1)
    y = LUMA[0] * r + LUMA[1] * g + LUMA[2] * b
    return torch.stack((y, (b - y) * CB + 128, (r - y) * CR + 128), dim=1)


def _to_rgb(ycc: Tensor) -> Tensor:
    y, cb, cr = ycc.unbind(1)
    cb, cr = (cb - 128) / CB, (cr - 128) / CR
    r, b = y + cr, y + cb
    return torch.stack((r, (y - LUMA[0] * r - LUMA[2] * b) / LUMA[1], b), dim=1)
