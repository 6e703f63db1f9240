"""What an int8 generator has to reach before it is kept, measured where it will run: in OpenVINO, against float32."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median

import torch
from torch import Tensor

from ..evaluation.metrics import color_drift
from ..networks.compact import SRVGGNetCompact
from ..networks.int8 import Int8, Int8Compact
from ..upscaling.engines import compiled
from ..upscaling.engines.openvino import EXAMPLES
from .pictures import CONSTANTS, Pictures

CLOSEST = 42.0  # dB from float32, all channels, mean over the pictures; more is better
MOST_LPIPS = 0.002  # by which LPIPS to the references may move, in each set
MOST_COLOR = 0.3  # CIELAB, mean local colour difference
MOST_CONSTANT = 1.5 / 255  # by which constant colours may move, inside of the picture
LEAST_GAIN = 1.2  # times as fast as float32: for less, a second file of weights is not worth it
SPEED_SIZE, SPEED_ROUNDS = (120, 160), 5


@dataclass(frozen=True)
class Gate:
    """One measured value and its limit."""

    name: str
    value: float
    limit: float
    passed: bool

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.name}: {self.value:.4g} (limit {self.limit:.4g})"


def measure_gates(
    generator: SRVGGNetCompact, int8: Int8, pictures: Pictures, lpips: Callable[[Tensor, Tensor], Tensor]
) -> list[Gate]:
    """Compare int8 with float32, as OpenVINO runs them.

    Raises:
        Refused: OpenVINO cannot run one of them.
    """
    with torch.inference_mode():
        exact = compiled.compile_network(generator, torch.float32, EXAMPLES["generator"])
        rounded = compiled.compile_network(Int8Compact(generator, int8), torch.float32, EXAMPLES["generator"])
    return compare(exact, rounded, generator.context, pictures, lpips)


def compare(
    exact: Callable[[Tensor], Tensor],
    rounded: Callable[[Tensor], Tensor],
    context: int,
    pictures: Pictures,
    lpips: Callable[[Tensor, Tensor], Tensor],
) -> list[Gate]:
    """Compare two ways through a generator.

    Where pictures have no references, the LPIPS between the two results stands for the amount that it moved by: it is
    the stricter measure.

    Args:
        exact, rounded: (1, 3, h, w) → (1, 3, s*h, s*w).
        context: LR pixels around a pixel that its SR depends on, to each side.
        pictures: to measure on.
        lpips: the distance of two pictures (1, 3, H, W).
    """
    with torch.inference_mode():
        decibels, moved, color = _measure(exact, rounded, pictures, lpips)
        shift = max(_constant_shift(exact, rounded, constant, context) for constant in CONSTANTS)
        faster = _speed_up(exact, rounded)
    return [
        Gate("dB from float32", decibels, CLOSEST, decibels >= CLOSEST),
        Gate("LPIPS moved by", moved, MOST_LPIPS, moved <= MOST_LPIPS),
        Gate("colour difference", color, MOST_COLOR, color <= MOST_COLOR),
        Gate("constant colours moved by", shift, MOST_CONSTANT, shift <= MOST_CONSTANT),
        Gate("times as fast as float32 here", faster, LEAST_GAIN, faster >= LEAST_GAIN),
    ]


def _measure(
    exact: Callable, rounded: Callable, pictures: Pictures, lpips: Callable[[Tensor, Tensor], Tensor]
) -> tuple[float, float, float]:
    """Mean dB, by how much LPIPS moved in the set where it moved most, and mean colour difference.

    One picture after the other, so that no more than the results for one are held.
    """
    decibels, colors = [], []
    moved: dict[str, list[float]] = {}
    with_references = any(hr is not None for hr in pictures.hr)
    for lr, hr, name in zip(pictures.lr, pictures.hr, pictures.sets, strict=True):
        one, other = exact(lr).clamp(0, 1), rounded(lr).clamp(0, 1)
        decibels.append(float(-10 * (one - other).square().mean().log10()))
        colors.append(float(color_drift(other, one)))
        if hr is not None:
            moved.setdefault(name, []).append(float(lpips(other, hr)) - float(lpips(one, hr)))
        elif not with_references:
            moved.setdefault("all", []).append(float(lpips(other, one)))
    return mean(decibels), max(abs(mean(values)) for values in moved.values()), mean(colors)


def _constant_shift(exact: Callable, rounded: Callable, color: tuple[float, ...], context: int) -> float:
    """The largest difference inside of a picture of one colour, where its edge is out of sight."""
    lr = torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1).repeat(1, 1, 2 * context + 8, 2 * context + 8)
    one, other = exact(lr).clamp(0, 1), rounded(lr).clamp(0, 1)
    edge = context * one.shape[-1] // lr.shape[-1]
    inside = (..., slice(edge, -edge), slice(edge, -edge))
    return float((one - other)[inside].abs().max())


def _speed_up(exact: Callable, rounded: Callable) -> float:
    """Float32's time by int8's: medians, one after the other."""
    tile = torch.full((1, 3, *SPEED_SIZE), 0.5)  # not random: the caller's random numbers are not ours to draw
    took: dict[Callable, list[float]] = {exact: [], rounded: []}
    for _ in range(SPEED_ROUNDS):
        for run, times in took.items():
            began = time.perf_counter()
            run(tile)
            times.append(time.perf_counter() - began)
    return median(took[exact]) / median(took[rounded])
