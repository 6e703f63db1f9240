"""Classical resampling of pictures, whole or by windows: Pillow's bicubic and Lanczos, and colour for clear pixels."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .picture import Picture

COLOR_SIGMA = 4.0  # LR pixels: below it lie the broad colours, above it noise and detail
COLOR_RADIUS = 10  # LR pixels at which the Gaussian of that width ends
MARGIN = 4  # source pixels around a window; bicubic enlargement reads 2
Window = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom excluded
Sides = tuple[int, int, int, int]  # pixels at the left, right, top and bottom


def resize_bicubic(picture: Picture, size: tuple[int, int], window: Window | None = None) -> Picture:
    """Enlarge by Pillow's bicubic at the picture's own depth; alpha is premultiplied for it and divided out after.

    In 8 bits this is `Image.resize(size, BICUBIC)` to the byte. In 16 bits each channel is resized as Pillow's I;16.

    Args:
        picture: what to enlarge.
        size: (width, height) of the whole result.
        window: the part of the result that is wanted; its neighbourhood is read, so that windows fit together.

    >>> resize_bicubic(Picture(np.array([[0, 255]], np.uint8)), (4, 1)).values.tolist()
    [[0, 53, 202, 255]]
    """
    left, top, right, bottom = window or (0, 0, *size)
    step_x, step_y = picture.size[0] / size[0], picture.size[1] / size[1]
    columns = _source_range(left * step_x, right * step_x, picture.size[0])
    rows = _source_range(top * step_y, bottom * step_y, picture.size[1])
    box = (
        left * step_x - columns.start,
        top * step_y - rows.start,
        min(right * step_x, picture.size[0]) - columns.start,
        min(bottom * step_y, picture.size[1]) - rows.start,
    )
    part = Picture(picture.values[rows, columns], None if picture.alpha is None else picture.alpha[rows, columns])
    resize = _resize_shallow if picture.bits == 8 else _resize_deep
    values, alpha = resize(part, (right - left, bottom - top), box)
    return picture.with_pixels(values, alpha)


def _source_range(start: float, stop: float, length: int) -> slice:
    return slice(max(0, math.floor(start) - MARGIN), min(length, math.ceil(stop) + MARGIN))


def _resize_shallow(part: Picture, size: tuple[int, int], box: tuple) -> tuple[np.ndarray, np.ndarray | None]:
    planes = np.asarray(part.to_image().resize(size, Image.Resampling.BICUBIC, box))
    if part.alpha is None:
        return planes, None
    return planes[..., 0] if part.is_gray else planes[..., :3], planes[..., -1]


def _resize_deep(part: Picture, size: tuple[int, int], box: tuple) -> tuple[np.ndarray, np.ndarray | None]:
    def resize(plane: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC, box)).astype(np.uint16)

    planes = [part.values] if part.is_gray else list(np.moveaxis(part.values, -1, 0))
    if part.alpha is None:
        alpha, resized = None, [resize(plane) for plane in planes]
    else:
        alpha, share = resize(part.alpha), part.alpha / 65535
        cover = np.maximum(alpha, 1) / 65535
        premultiplied = [resize(np.rint(plane * share).astype(np.uint16)) for plane in planes]
        resized = [np.minimum(np.rint(plane / cover), 65535).astype(np.uint16) for plane in premultiplied]
    return resized[0] if part.is_gray else np.stack(resized, axis=-1), alpha


def to_floats(values: np.ndarray) -> Tensor:
    """uint8 or uint16, (H, W) or (H, W, 3), as float32 (C, H, W) in [0, 1]."""
    planes = values[None] if values.ndim == 2 else np.moveaxis(values, -1, 0)
    return torch.from_numpy(planes.astype(np.float32, order="C")).div_(float(np.iinfo(values.dtype).max))


def resize_lanczos(image: Tensor, size: tuple[int, int], box: tuple[float, float, float, float]) -> Tensor:
    """Pillow's Lanczos on floats.

    Args:
        image: (C, H, W), float32 on the CPU.
        size: (width, height) of the result.
        box: left, top, right, bottom of the part of `image` that it shows, in pixels.

    Returns:
        (C, height, width), float32; it overshoots at edges as Lanczos does.
    """
    method = Image.Resampling.LANCZOS
    planes = [np.asarray(Image.fromarray(plane).resize(size, method, box)) for plane in image.numpy()]
    return torch.from_numpy(np.stack(planes))


def fill_transparent(picture: Picture) -> np.ndarray:
    """Give fully transparent pixels the colours around them, so that an edge of alpha is no edge of colour.

    What a file keeps under transparent pixels is arbitrary, often black or green; a generator or a filter that sees
    it draws it into the visible rim. The fill is the alpha-weighted (premultiplied) average of what is near, by
    push-pull over a pyramid (Gortler et al., The Lumigraph, SIGGRAPH 1996, sec. 3.4.3).

    Args:
        picture: with or without alpha.

    Returns:
        Its `values`, (H, W) or (H, W, 3) of the same type, changed only where alpha is (nearly) 0.
    """
    if picture.alpha is None or picture.alpha.min() > 0:
        return picture.values
    weight = torch.from_numpy(picture.alpha.astype(np.float32))[None, None] / picture.peak
    color = torch.from_numpy(picture.pixels).permute(2, 0, 1)[None]
    filled = _push_pull(color, weight)[0].permute(1, 2, 0).mul_(picture.peak).round_().numpy()
    filled = filled.astype(picture.values.dtype)
    return filled[..., 0] if picture.is_gray else filled


def _push_pull(color: Tensor, weight: Tensor) -> Tensor:
    """Colours (1, 3, H, W) where `weight` (1, 1, H, W) is above 0, filled from the next coarser level elsewhere."""
    height, width = weight.shape[-2:]
    if bool((weight > 0).all()) or height * width == 1:
        return color
    padding = (0, width % 2, 0, height % 2)
    total = F.avg_pool2d(F.pad(weight, padding), 2)
    mean = F.avg_pool2d(F.pad(color * weight, padding), 2) / total.clamp_min(1e-12)
    coarse = F.interpolate(_push_pull(mean, total), scale_factor=2, mode="nearest")[..., :height, :width]
    return torch.where(weight > 0, color, coarse)


def pull_colors(sr: Tensor, lr: Tensor, ignored: Sides = (0, 0, 0, 0)) -> Tensor:
    """Hold the SR's broad colours to those of the LR: add back what differs at low frequencies.

    The residual LR - downscale(SR) is smoothed (Gaussian, sigma COLOR_SIGMA) so that neither the LR's noise nor the
    SR's detail is touched, then enlarged and added.

    Args:
        sr: (3, s*H, s*W), [0, 1], float32 on the CPU.
        lr: (3, H, W), likewise.
        ignored: pixels at the LR's left, right, top and bottom whose SR is not to be relied upon. The inside is
            corrected as if the picture ended there.

    Returns:
        The corrected SR in [0, 1].
    """
    height, width = lr.shape[-2:]
    left, right, top, bottom = ignored
    residual = lr - F.adaptive_avg_pool2d(sr, (height, width))
    inside = residual[:, None, top : height - bottom, left : width - right]
    smooth = F.pad(_blur(inside, COLOR_SIGMA, COLOR_RADIUS), ignored, mode="replicate")
    shift = F.interpolate(smooth, size=sr.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return shift.add_(sr).clamp_(0, 1)


def _blur(planes: Tensor, sigma: float, radius: int) -> Tensor:
    """Gaussian blur of (N, 1, H, W), edges repeated."""
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=planes.dtype) / sigma) ** 2)
    taps /= taps.sum()
    planes = F.conv2d(F.pad(planes, (0, 0, radius, radius), mode="replicate"), taps.view(1, 1, -1, 1))
    return F.conv2d(F.pad(planes, (radius, radius, 0, 0), mode="replicate"), taps.view(1, 1, 1, -1))
