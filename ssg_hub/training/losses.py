"""The terms of the training objective; each is a mean that does not depend on the number of processes.

A new term on source pairs is a function here, a line in `SourceLosses`, and its weight, the key `NAME_weight`, in
`config.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.guide import Guide
from ..networks.perceptual import DISTS, LPIPSVGG, SharedFeatures, VGG16Features, find_vgg16
from .config import TrainConfig

LDL_WINDOW = 7  # side of the neighbourhood whose variance counts, odd
MESH_WINDOW = 8  # side of the windows in which a mesh is looked for, in LR pixels


@dataclass
class SourcePair:
    """A batch of source pictures, (B, 3, H, W) in [0, 1], and what a loss compares SR with.

    Attributes:
        lr: what the generator reads, of 1/scale the size.
        hr: the discriminator's real pictures.
        wanted: what pixels and features of SR are compared with: HR, sharpened where the config says so.
        judged: (B,), 1 for a picture that the discriminator reads, 0 for one without an adversarial term.
        corners: (B, 2), where in a picture of LR's whole extent `hr` and `wanted` begin, (down, right) in pixels.
    """

    lr: Tensor
    hr: Tensor
    wanted: Tensor
    judged: Tensor
    corners: Tensor

    def shown(self, sr: Tensor) -> Tensor:
        """The part of SR of `lr` that belongs to `hr`."""
        return cut_out(sr, self.corners, self.hr.shape[-1])


class SourceLosses:
    """The generator's objective on source pairs; no term is computed, and no network read, for a weight of 0.

    Build it before the first step: it reads the networks of the perceptual terms.

    Attributes:
        vgg: VGG16's activations, computed once per picture for all terms, or None if no term needs them.

    Raises:
        CheckpointError, HubError: weights that are missing, damaged or out of reach.
    """

    def __init__(self, config: TrainConfig, device: torch.device):
        self.config, self.vgg = config, None
        shared = bool(config.adversarial_weight) and config.discriminator == "features"
        if shared or config.lpips_weight:
            self.vgg = SharedFeatures(VGG16Features(find_vgg16(config.perceptual_weights)))
        networks: dict[str, nn.Module] = {}
        if config.perceptual_weight:
            networks["perceptual"] = PerceptualLoss(find_vgg16(config.perceptual_weights))
        if config.lpips_weight:
            networks["lpips"] = LPIPSVGG(config.lpips_heads, self.vgg)
        if config.dists_weight:
            networks["dists"] = DISTS(config.dists_heads, find_vgg16(config.perceptual_weights))
        memory = torch.channels_last if config.channels_last else torch.preserve_format
        for network in (self.vgg, *networks.values()):
            if network is not None:
                network.to(device, memory_format=memory)  # type: ignore[call-overload]  # torch's stub lacks it
        self.networks = networks

    def __call__(
        self, sr: Tensor, pair: SourcePair, critic: Callable[[Tensor], Tensor], average: nn.Module, guide: Guide | None
    ) -> dict[str, Tensor]:
        """The terms by name, each with its weight.

        Args:
            sr: of `pair.lr`, as `pair.shown` gives it, with its graph.
            pair: see `SourcePair`.
            critic: the discriminator's logits for SR, its own weights frozen.
            average: the generator's moving average.
            guide: frozen, or None.
        """
        terms = {
            "l1": lambda: F.l1_loss(sr, pair.wanted),
            "perceptual": lambda: self.networks["perceptual"](sr, pair.wanted),
            "lpips": lambda: self.networks["lpips"](sr, pair.wanted).mean(),
            "dists": lambda: self.networks["dists"](sr, pair.wanted).mean(),
            "ldl": lambda: artifact_loss(sr, pair.wanted, pair.shown(average(pair.lr)).detach()),
            "mesh": lambda: mesh_loss(sr, pair.wanted, self.config.scale),
            "guide_feature": lambda: guide_feature_loss(guide, sr, pair.wanted),
            "adversarial": lambda: deceive_loss(critic(sr), pair.judged),
        }
        weights = {name: getattr(self.config, f"{name}_weight") for name in terms}
        return {name: weights[name] * term() for name, term in terms.items() if weights[name]}


def artifact_loss(sr: Tensor, hr: Tensor, average: Tensor) -> Tensor:
    """L1 where SR has what neither HR nor a steadier generator has (LDL, Liang et al., CVPR 2022, eq. 5 to 8).

    A pixel counts by the local variance of the error, which invented texture has and blur has not; not at all where the
    moving average errs more than SR.

    Args:
        sr, hr: (B, 3, H, W) in [0, 1].
        average: SR of the generator's moving average.
    """
    error, steady_error = ((picture.detach() - hr).abs().sum(1, keepdim=True).float() for picture in (sr, average))
    padded = F.pad(error, [LDL_WINDOW // 2] * 4, mode="reflect")
    mean, square = (F.avg_pool2d(power, LDL_WINDOW, stride=1) for power in (padded, padded.square()))
    local = (square - mean.square()).clamp(min=0) * LDL_WINDOW**2 / (LDL_WINDOW**2 - 1)
    weight = error.var((1, 2, 3), keepdim=True) ** 0.2 * local
    weight = torch.where(error < steady_error, 0.0, weight)
    return (weight * (sr - hr).abs()).mean()


def mesh_loss(sr: Tensor, hr: Tensor, scale: int) -> Tensor:
    """How much more unevenly the detail of SR lies on the generator's grid than that of HR, which knows no such grid.

    A network that ends in a pixel shuffle makes `scale` x `scale` pixels of one; where some of them always have more
    detail than others, people see a mesh, and VGG16 hardly does (see `unevenness`). Its gradient moves detail from
    place to place, and does not pay for detail that is added everywhere.

    Args:
        sr, hr: (B, 3, H, W) in [0, 1].
    """
    return (unevenness(sr, scale) - unevenness(hr, scale)).clamp(min=0).mean()


def unevenness(pictures: Tensor, scale: int) -> Tensor:
    """Variance of a picture's detail over the places in blocks of `scale` pixels a side.

    Detail is the Laplacian of each channel, by its size, and with its sign as well: a checkerboard has one size
    everywhere, and one in colours none in gray. The mean size has no gradient: detail that is moved from one place to
    another counts, detail that is added or taken away everywhere does not.

    Args:
        pictures: (B, 3, H, W) in [0, 1], H and W at least scale + 2.

    Returns:
        (3B, h, w), for overlapping windows, relative to the square of the mean size.
    """
    x = pictures.float().flatten(0, 1).unsqueeze(1)
    detail = 4 * x[..., 1:-1, 1:-1] - x[..., :-2, 1:-1] - x[..., 2:, 1:-1] - x[..., 1:-1, :-2] - x[..., 1:-1, 2:]
    height, width = (side // scale * scale for side in detail.shape[-2:])
    places = F.pixel_unshuffle(detail[..., :height, :width], scale)
    window = min(MESH_WINDOW, *places.shape[-2:])
    size, signed = (F.avg_pool2d(values, window, stride=MESH_WINDOW // 2) for values in (places.abs(), places))
    variance = size.var(1, correction=0) + signed.var(1, correction=0)
    return variance / (size.mean(1).detach().square() + 1e-5)


def guide_feature_loss(guide: Guide, sr: Tensor, hr: Tensor) -> Tensor:
    """Distance of what the guide's trunk sees in SR and in HR (after SR4IR, Kim et al., CVPR 2024, eq. 4).

    L1, each map's relative to its own size, so that one weight fits every guide. The guide's weights must be frozen.
    """
    with torch.no_grad():
        wanted = guide.features(hr)
    distances = [_relative_l1(a.float(), b.float()) for a, b in zip(guide.features(sr), wanted, strict=True)]
    return torch.stack(distances).mean()


class PerceptualLoss(nn.Module):
    """L1 between VGG16 features (Johnson et al., ECCV 2016), each block's distance relative to its own size.

    Args:
        weights: as `VGG16Features`; the first three blocks are used.
    """

    def __init__(self, weights: str | Path | None = None):
        super().__init__()
        self.features = VGG16Features(weights, blocks=3)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Distance of `sr` from `hr`, both (B, 3, H, W) in [0, 1]; a scalar with a gradient to `sr`."""
        with torch.no_grad():
            wanted = self.features(hr)
        distances = [_relative_l1(a, b) for a, b in zip(self.features(sr), wanted, strict=True)]
        return torch.stack(distances).mean()


def real_fake_loss(real: Tensor, fake: Tensor, judged: Tensor) -> Tensor:
    """The discriminator's loss: binary cross-entropy on its logits for HR and for SR (Goodfellow et al. 2014).

    Args:
        real, fake: (B, …).
        judged: (B,), the weight of each picture.
    """
    return (_mean_of(F.softplus(-real), judged) + _mean_of(F.softplus(fake), judged)) / 2


def deceive_loss(fake: Tensor, judged: Tensor) -> Tensor:
    """The generator's loss: -log D(SR), the non-saturating form. Arguments as for `real_fake_loss`."""
    return _mean_of(F.softplus(-fake), judged)


def _mean_of(losses: Tensor, weights: Tensor) -> Tensor:
    """Mean over the batch of (B, …) losses, each sample's times its weight."""
    return (losses.flatten(1).mean(1) * weights).mean()


def _relative_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the batch of |a - b| / |b|, each sample by its own size."""
    return ((a - b).abs().mean((1, 2, 3)) / b.abs().mean((1, 2, 3))).mean()


def low_pass_consistency(sr: Tensor, lr: Tensor) -> Tensor:
    """L1 between SR and LR where both are blurred until neither noise nor detail is left: keeps colour, blocks drift.

    Args:
        sr: (B, 3, H, W); lr: (B, 3, H/scale, W/scale). Compared as means over 4x4 LR pixels.
    """
    side = 4
    return F.l1_loss(F.avg_pool2d(sr, side * sr.shape[-1] // lr.shape[-1]), F.avg_pool2d(lr, side))


def cut_out(pictures: Tensor, corners: Tensor, side: int) -> Tensor:
    """A square of each picture.

    Args:
        pictures: (B, C, H, H).
        corners: (B, 2), where each square begins, (down, right).
        side: of the squares.
    """
    if pictures.shape[-1] == side:
        return pictures
    places = zip(pictures, corners.tolist(), strict=True)
    return torch.stack([picture[:, down : down + side, right : right + side] for picture, (down, right) in places])
