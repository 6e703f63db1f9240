"""Blur kernels from HR to LR: drawn from parameters, measured, and checked."""

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_SHIFT = 0.2  # LR pixels by which a kernel's centre of mass may lie off
MAX_NEGATIVE = 0.15  # share of a kernel's absolute mass; bicubic has 0.11
MAX_BORDER = 0.05  # share of the absolute mass within two pixels of the border
MAX_WIDTH = 2.0  # standard deviation in LR pixels


@dataclass
class Shape:
    """What a kernel does, by its second moments.

    Attributes:
        major, minor: standard deviations in HR pixels along the kernel's own axes.
        angle: of the major axis in radians, from the x axis towards the top of the picture, in [0, pi).
    """

    major: float
    minor: float
    angle: float


def kernel_size(scale: int) -> int:
    """Side of kernels for a reduction by `scale`: eight LR pixels, centred between HR pixels as LR pixels are."""
    return 8 * scale if scale % 2 == 0 else 8 * scale + 1


def render_kernels(log_area: Tensor, stretch: Tensor, motion: Tensor, size: int) -> Tensor:
    """Draw kernels: a Gaussian, or an isotropic Gaussian moved along a segment, or something between.

    Args:
        log_area: (N,) half the logarithm of the determinant of the covariance, in HR pixels squared.
        stretch: (N, 2) the rest of the covariance's logarithm: along x against y, and along the diagonal.
        motion: (N,) share from 0 to 1 of the stretch that is motion rather than defocus.
        size: side of the kernels.

    Returns:
        (N, size, size), non-negative, each summing to 1.
    """
    strength = torch.linalg.vector_norm(stretch, dim=1)
    major, minor = (log_area + strength).exp(), (log_area - strength).exp()
    angle = 0.5 * torch.atan2(stretch[:, 1], stretch[:, 0])
    along, across = torch.cos(angle), torch.sin(angle)
    segment = (motion * (major - minor)).clamp(min=0)
    across_variance = minor.view(-1, 1, 1)
    along_variance = (major - segment).view(-1, 1, 1)
    grid = torch.arange(size, dtype=log_area.dtype) - (size - 1) / 2
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    u = along.view(-1, 1, 1) * x + across.view(-1, 1, 1) * y
    v = -across.view(-1, 1, 1) * x + along.view(-1, 1, 1) * y
    kernels = torch.zeros(len(log_area), size, size, dtype=log_area.dtype)
    for position in torch.linspace(-1, 1, 33)[:-1] + 1 / 32:
        offset = (position * (3 * segment).sqrt()).view(-1, 1, 1)  # a segment of length L has variance L^2 / 12
        kernels += torch.exp(-0.5 * ((u - offset) ** 2 / along_variance + v**2 / across_variance))
    return kernels / kernels.sum((-2, -1), keepdim=True)


def measure_kernel(kernel: Tensor) -> tuple[Shape, Tensor]:
    """The shape of a kernel (k, k) and its centre of mass (y, x), in HR pixels from the middle."""
    kernel = kernel.double() / kernel.sum()
    grid = torch.arange(kernel.shape[-1]).double() - (kernel.shape[-1] - 1) / 2
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    centre = torch.stack(((kernel * y).sum(), (kernel * x).sum()))
    y, x = y - centre[0], x - centre[1]
    covariance = torch.stack([(kernel * a).sum() for a in (x * x, x * y, x * y, y * y)]).view(2, 2)
    values, vectors = torch.linalg.eigh(covariance)
    # rows of a picture count downwards, angles are counted upwards
    angle = torch.atan2(-vectors[1, 1], vectors[0, 1]) % torch.pi
    minor, major = values.clamp(min=0).sqrt().tolist()
    return Shape(major, minor, angle.item()), centre


def check_kernel(kernel: Tensor, scale: int) -> str:
    """Why a kernel cannot be a camera's: "off-centre", "negative", "too wide", "at the border"; empty if it can."""
    mass = kernel.abs().sum()
    if not torch.isfinite(mass) or kernel.sum() <= 0.1 * mass:
        return "negative"
    shape, centre = measure_kernel(kernel)
    border = torch.ones_like(kernel, dtype=torch.bool)
    border[2:-2, 2:-2] = False
    if kernel.clamp(max=0).abs().sum() > MAX_NEGATIVE * mass:
        return "negative"
    if centre.abs().max() > MAX_SHIFT * scale:
        return "off-centre"
    if shape.major > MAX_WIDTH * scale:
        return "too wide"
    if kernel[border].abs().sum() > MAX_BORDER * mass:
        return "at the border"
    return ""


def centre_kernel(kernel: Tensor) -> Tensor:
    """Move a kernel (k, k) by a fraction of a pixel so that its centre of mass is the middle; it sums to 1."""
    for _ in range(3):  # what is cut off at the border moves the centre a little
        kernel = kernel / kernel.sum()
        _, centre = measure_kernel(kernel)
        frequency = torch.fft.fftfreq(kernel.shape[-1]).double()
        turn = torch.exp(2j * torch.pi * (frequency.view(-1, 1) * centre[0] + frequency * centre[1]))
        kernel = torch.fft.ifft2(torch.fft.fft2(kernel.double()) * turn).real.float()
    return kernel / kernel.sum()
