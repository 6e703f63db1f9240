"""The terms of the training objective; each is a mean that does not depend on the number of processes.

A new term on source pairs is a function here, a line in `SourceLosses`, and its weight, the key `NAME_weight`, in
`config.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.tables import open_label
from ..networks.guide import Guide
from ..networks.perceptual import DISTS, LPIPSVGG, SharedFeatures, VGG16Features, find_vgg16
from .config import TrainConfig

LDL_WINDOW = 7  # side of the neighbourhood whose variance counts, odd
SHARPEN_RADIUS = 25  # half the width of the unsharp mask's Gaussian, in pixels
SHARPEN_THRESHOLD = 10 / 255  # detail below it is left as it is
VIEW_SHIFT = 8  # of a view against its picture, at most; in pixels
MESH_WINDOW = 8  # side of the windows in which a mesh is looked for, in LR pixels
LOVASZ_STRIDE = 2  # between the pixels that the Lovász loss counts: it sorts them all, once for each class


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


def sharpened(hr: Tensor, amount: float) -> Tensor:
    """HR with an unsharp mask, as Real-ESRGAN wants it (Wang et al., ICCV-W 2021, sec. 3.4): crisper edges, calm areas.

    Args:
        hr: (B, 3, H, W) in [0, 1].
        amount: how much of the detail is added; 0.5 is Real-ESRGAN's, 0 returns `hr` itself.
    """
    if amount == 0:
        return hr
    steps = torch.arange(-SHARPEN_RADIUS, SHARPEN_RADIUS + 1, device=hr.device, dtype=torch.float32)
    line = torch.exp(-((steps / (0.3 * (SHARPEN_RADIUS - 1) + 0.8)) ** 2) / 2)  # OpenCV's width for this size
    line = line / line.sum()

    def blur(x: Tensor) -> Tensor:
        mode = "reflect" if min(x.shape[-2:]) > SHARPEN_RADIUS else "replicate"
        padded = F.pad(x, [SHARPEN_RADIUS] * 4, mode=mode).flatten(0, 1).unsqueeze(1)
        return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1)).view_as(x)

    detail = hr - blur(hr)
    share = blur((detail.abs() > SHARPEN_THRESHOLD).float())
    return hr + share * ((hr + amount * detail).clamp(0, 1) - hr)


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


def with_grain(hr: Tensor, grain: Tensor, share: float) -> Tensor:
    """HR that keeps a share of the noise of its LR, enlarged bicubically: the target of a generator that keeps grain.

    Args:
        hr: (B, 3, H, W) in [0, 1]; grain: (B, 3, H/scale, W/scale), from `degrade_with_grain`.
        share: 0 is HR itself, 1 all of the noise.
    """
    if share == 0:
        return hr
    return (hr + share * F.interpolate(grain, size=hr.shape[-2:], mode="bicubic", align_corners=False)).clamp(0, 1)


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


def segmentation_loss(
    logits: Tensor, labels: Tensor, void_id: int, class_weights: Tensor | None = None, accelerator=None
) -> Tensor:
    """Cross-entropy per counted pixel (SSG-RWSR, eq. 4), at the labels' resolution, void left out.

    Args:
        logits: (B, K, h, w); enlarged bilinearly to the labels' size.
        labels: (B, H, W) int64 class ids.
        void_id: id that does not count.
        class_weights: (K,) or None.
        accelerator: sums the number of counted pixels over the processes, since these share one mean: DDP averages
            gradients over processes, whatever each has counted.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels, weight=class_weights, ignore_index=void_id, reduction="sum")
    counted = labels != void_id
    count = counted.sum().float() if class_weights is None else class_weights[labels[counted]].sum()
    if accelerator is not None:
        count = accelerator.reduce(count, "mean")
    return total / count.clamp(min=1)


def lovasz_loss(logits: Tensor, labels: Tensor, void_id: int) -> Tensor:
    """A smooth 1 - IoU, averaged over the classes that the labels hold (Berman et al., CVPR 2018, eq. 11 and 12).

    Cross-entropy counts pixels; this counts a pole as much as a road, and what is taken for a pole against it.

    Args:
        logits: (B, K, h, w); enlarged bilinearly. labels: (B, H, W) int64 class ids; every second pixel counts.
        void_id: id that does not count.
    """
    labels = labels[:, ::LOVASZ_STRIDE, ::LOVASZ_STRIDE]
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    counted = labels != void_id
    shares, ids = logits.softmax(1).movedim(1, -1)[counted], labels[counted]
    losses = []
    for index in ids.unique().tolist():
        inside = (ids == index).float()
        errors, order = (inside - shares[:, index]).abs().sort(descending=True)
        hits, misses = inside[order].cumsum(0), (1 - inside[order]).cumsum(0)
        jaccard = 1 - (inside.sum() - hits) / (inside.sum() + misses)
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
    return torch.stack(losses).mean() if losses else logits.sum() * 0


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


def random_view(sr: Tensor, labels: Tensor, seeds: Tensor, void_id: int) -> tuple[Tensor, Tensor]:
    """Shift and flip each SR picture and its labels together, so that no pattern can fit the guide's pixel grid.

    What comes in at an edge repeats the edge and is void.

    Args:
        sr: (B, 3, H, W); labels: (B, H, W).
        seeds: (B,) int64; the view of a sample depends on its seed alone.
    """
    views, moved = [], []
    for picture, ids, seed in zip(sr, labels, seeds.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        down, right = torch.randint(0, 2 * VIEW_SHIFT + 1, (2,), generator=generator).tolist()
        flip = bool(torch.randint(0, 2, (1,), generator=generator))
        height, width = ids.shape
        padded = F.pad(picture, [VIEW_SHIFT] * 4, mode="replicate")[:, down : down + height, right : right + width]
        shifted = F.pad(ids, [VIEW_SHIFT] * 4, value=void_id)[down : down + height, right : right + width]
        views.append(padded.flip(-1) if flip else padded)
        moved.append(shifted.flip(-1) if flip else shifted)
    return torch.stack(views), torch.stack(moved)


@torch.no_grad()
def pseudo_labels(teacher: nn.Module, lr: Tensor, scale: int, threshold: float, void_id: int) -> Tensor:
    """Labels by a teacher that reads the enlarged LR picture, void wherever it is not sure.

    Args:
        teacher: a guide; lr: (B, 3, h, w).
        threshold: confidence (largest softmax) from which a pixel counts.

    Returns:
        (B, scale*h, scale*w) int64.
    """
    size = [scale * side for side in lr.shape[-2:]]
    enlarged = F.interpolate(lr, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    logits = F.interpolate(teacher(enlarged).float(), size=size, mode="bilinear", align_corners=False)
    confidence, labels = logits.softmax(1).max(1)
    return torch.where(confidence >= threshold, labels, void_id)


def class_weights(table, classes: int, void_id: int, power: float = 1.0) -> Tensor:
    """(K,) weights 1 / ln(1.02 + share of pixels) (Paszke et al. 2016, ENet), so that poles count beside roads.

    Args:
        table: pictures with a `label` column (see `tables.load_pictures`).
        classes: number of classes; other ids are left out.
        void_id: id that does not count, whether it is below the number of classes or not.
        power: exponent of the weights, 0 to 1; below 1 rare classes are read less often where they are not.
    """
    counts = np.zeros(classes)
    for row in table.select_columns("label"):
        ids = np.asarray(open_label(row["label"]))
        counts += np.bincount(ids[(ids < classes) & (ids != void_id)], minlength=classes)
    return torch.from_numpy((1 / np.log(1.02 + counts / counts.sum())) ** power).float()
