"""The comparison that decides: what a model makes of pictures that it was not adapted to, before and after."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..evaluation.distances import find_distances
from ..evaluation.metrics import color_drift, flat_noise, psnr_y
from ..images.levels import to_8_bit
from ..networks.guide import Guide
from ..networks.perceptual import DISTS
from ..networks.registry import Generator
from ..training.segmentation import pseudo_labels
from .inspection import measure_detail
from .materials import Materials, read_pieces

MARGIN = 1.0  # points by which the sum must fall
COLORS = (
    (0, 0, 0),
    (64, 64, 64),
    (128, 128, 128),
    (192, 192, 192),
    (255, 255, 255),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
)
FLAT_SIDE, EDGE, ALLOWED = 24, 6, 2.0  # LR pixels of a one-colour picture and of its edge; levels that it may be off
VOID, SURE = 255, 0.9  # the confidence from which the teacher's word counts
LEAST_SURE = 0.02  # of the pixels; below it the guide has nothing to say about these pictures


@dataclass(frozen=True)
class Figure:
    """A figure of the comparison; lower is better for each.

    Attributes:
        title: for people.
        points: what one unit of it counts in the sum.
        decimals: that are shown.
        limit: by how much it may become worse; beyond that a model is refused, whatever its sum. A figure with a limit
            cannot add to the sum: it guards what the others would sell.
    """

    title: str
    points: float
    decimals: int
    limit: float | None = None


FIGURES = {
    "lpips": Figure("LPIPS", 100, 3),
    "dists": Figure("DISTS", 100, 3),
    "error": Figure("error of brightness, dB of PSNR-Y", 5, 2, limit=0.3),
    "color": Figure("colour, ΔE", 2, 2),
    "flat_noise": Figure("noise in flat parts, levels", 1, 2),
    "softness": Figure("softness of SR of your pictures, dB", 3, 1, limit=3.0),
    "disagreement": Figure("guide and teacher disagree, % of pixels", 0.25, 1),
    "constants": Figure(f"one-colour pictures, levels off beyond {ALLOWED:g}", 0.25, 1),
}


class Exam:
    """Held-back pictures, and what they are measured with.

    The pairs are made by the bank, so they do not show what the bank has missed: a model may learn to smooth away what
    the camera does and the bank does not. Then SR of the user's own pictures loses fine detail. There is no HR to say
    whether a loss is one, so every loss counts, and none is a gain.

    Args:
        materials: with pairs and the user's own held-back pieces.
        distances: "lpips" and "dists", those that could be found.
        teacher: reads the enlarged LR; None without a guide.
    """

    def __init__(self, materials: Materials, distances: Mapping[str, nn.Module], teacher: Guide | None):
        self.lr, self.hr = (read_pieces(folder) for folder in materials.pairs)
        self.own, self.distances, self.teacher = read_pieces(materials.own), distances, teacher

    @torch.inference_mode()
    def sit(self, generator: Generator) -> dict[str, float]:
        """The figures of a generator, by the names of FIGURES; those that cannot be measured are left out."""
        device, scale = next(generator.parameters()).device, generator.scale
        found: dict[str, list[float]] = {}

        def note(name: str, value: Tensor | float) -> None:
            found.setdefault(name, []).append(float(value))

        own = []
        for lr, hr in zip(self.lr, self.hr, strict=True):
            sr = _upscale(generator, lr.to(device))
            hr = hr.to(device)[..., : sr.shape[-2], : sr.shape[-1]]
            for name, distance in self.distances.items():
                note(name, distance(sr, hr))
            note("error", -psnr_y(sr, hr))
            note("color", color_drift(sr, hr))
            note("flat_noise", flat_noise(sr, hr))
        for lr in self.own:
            lr = lr.to(device)
            sr = _upscale(generator, lr)
            own.append(_to_pixels(sr))
            note("color", color_drift(sr, lr))
            note("flat_noise", flat_noise(sr, _smooth(lr, scale)))
            if self.teacher is not None:
                _compare_readings(note, self.teacher, sr, lr, scale)
        sure = found.pop("sure", [])
        if sure and np.mean(sure) < LEAST_SURE:
            found.pop("disagreement", None)
        found["softness"] = [-measure_detail(own)]
        found["constants"] = [max(0.0, _worst_constant(generator, device) - ALLOWED)]
        return {name: float(np.mean(found[name])) for name in FIGURES if name in found}


def count_points(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What each figure adds to the sum: positive where it has become better."""
    gains = {name: before[name] - after[name] for name in FIGURES if name in before and name in after}
    counted = {name: gain if FIGURES[name].limit is None else min(gain, 0.0) for name, gain in gains.items()}
    return {name: FIGURES[name].points * gain for name, gain in counted.items()}


def is_better(points: Mapping[str, float]) -> bool:
    """Whether the sum of the points reaches the margin, and no figure became worse than it may."""
    return sum(points.values()) >= MARGIN and find_excess(points) is None


def find_excess(points: Mapping[str, float]) -> str | None:
    """The name of a figure that became worse than it may, if there is one."""
    limits = {name: figure.points * figure.limit for name, figure in FIGURES.items() if figure.limit is not None}
    return next((name for name, limit in limits.items() if points.get(name, 0.0) < -limit), None)


def tell_refusal(points: Mapping[str, float]) -> str:
    """Why weights with these points are not handed over, as the end of a sentence."""
    name = find_excess(points)
    if name is None:
        return f"and {MARGIN:g} are needed"
    figure = FIGURES[name]
    return f"but {figure.title}: worse by {-points[name] / figure.points:.2f}, and {figure.limit:g} is allowed"


def _to_pixels(batch: Tensor) -> np.ndarray:
    return to_8_bit(batch[0].permute(1, 2, 0).cpu().numpy())


def _upscale(generator: Generator, lr: Tensor) -> Tensor:
    """SR in the 256 levels that a picture file has."""
    return (generator(lr).float().clamp(0, 1) * 255).round() / 255


def _smooth(lr: Tensor, scale: int) -> Tensor:
    """The user's picture without noise or detail, enlarged: it says where the picture is flat."""
    blurred = F.avg_pool2d(F.pad(lr, [2] * 4, mode="reflect"), 5, stride=1)
    return F.interpolate(blurred, scale_factor=scale, mode="bicubic", align_corners=False).clamp(0, 1)


def _compare_readings(note, teacher: Guide, sr: Tensor, lr: Tensor, scale: int) -> None:
    """In percent of the pixels of which the teacher, reading the enlarged LR, is sure."""
    wanted = pseudo_labels(teacher, lr, scale, SURE, VOID)
    counted = wanted != VOID
    note("sure", counted.float().mean())
    if counted.any():
        logits = F.interpolate(teacher(sr).float(), size=wanted.shape[-2:], mode="bilinear", align_corners=False)
        note("disagreement", 100 * (logits.argmax(1) != wanted)[counted].float().mean())


def _worst_constant(generator: Generator, device: torch.device) -> float:
    """By how many levels the worst pixel of the worst one-colour picture is off, its edge left out."""
    flat = torch.tensor(COLORS, device=device).view(-1, 3, 1, 1).expand(-1, -1, FLAT_SIDE, FLAT_SIDE) / 255
    sr = _upscale(generator, flat)
    edge = EDGE * generator.scale
    return float((sr - flat[..., :1, :1])[..., edge:-edge, edge:-edge].abs().max() * 255)


def find_measures(vgg: Path, where: str | None) -> dict[str, nn.Module]:
    """DISTS on the VGG16 that training uses, and LPIPS (AlexNet) where its network is found."""
    found: dict[str, nn.Module] = {"dists": DISTS(weights=vgg)}
    lpips = find_distances(where).get("lpips")
    return {"lpips": lpips, **found} if lpips is not None else found
