"""Pictures that the degradation tests make for themselves: scenes with natural statistics, spoilt in known ways."""

import struct
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ssg_hub.degradation.kernels import kernel_size
from ssg_hub.degradation.ops import gaussian_kernels, reduce_with


@cache
def draw_scene(seed: int, size: tuple[int, int] = (512, 384), smallest: float = 5) -> Tensor:
    """Dead leaves (1, 3, H, W): discs that hide each other, of sizes as in nature, so that the spectrum is natural.

    `smallest` is the radius of the smallest disc in pixels. A scene is drawn once: leave its values as they are.
    """
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size[0] * 2, size[1] * 2), tuple(rng.integers(40, 200, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(1500):
        radius = 2 * smallest / rng.uniform(0.0005, 1) ** 0.5
        x, y = rng.uniform(0, image.width), rng.uniform(0, image.height)
        color = tuple(int(c) for c in rng.integers(30, 220) + rng.integers(-20, 20, 3))
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
    pixels = np.asarray(image.reduce(2), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


def even_kernel(major: float, minor: float, angle: float = 0.0) -> Tensor:
    """A Gaussian (32, 32) for x4; `angle` in degrees, counter-clockwise."""
    values = (torch.tensor([value]) for value in (major, minor, np.radians(angle)))
    return gaussian_kernels(*(value.float() for value in values), kernel_size(4))[0]


def spoil(hr: Tensor, kernel: Tensor, sigma: float = 0.0, seed: int = 0) -> np.ndarray:
    """LR (h, w, 3), 8 bits, by a kernel and white noise of `sigma` levels."""
    lr = reduce_with(hr, kernel[None], 4)
    lr = lr + sigma / 255 * torch.randn(lr.shape, generator=torch.Generator().manual_seed(seed))
    return (lr[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def write_camera(
    folder: Path,
    count: int = 6,
    kernel: Tensor | None = None,
    sigma: float = 4.0,
    quality: int | None = None,
    smallest: float = 5,
) -> Path:
    """A camera's pictures of 128x96: PNG, or JPEG of a quality."""
    folder.mkdir(parents=True)
    kernel = even_kernel(2.4, 1.6, 30) if kernel is None else kernel
    for seed in range(count):
        image = Image.fromarray(spoil(draw_scene(seed, smallest=smallest), kernel, sigma, seed))
        if quality is None:
            image.save(folder / f"{seed}.png")
        else:
            image.save(folder / f"{seed}.jpg", quality=quality)
    return folder


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a PNG: length, kind, data, checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
