"""The terms of the training objective; every one a mean that two processes and one compute alike."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.tables import open_label
from ..errors import CheckpointError
from ..networks.guide import IMAGENET_MEAN, IMAGENET_STD

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # pooled between


class VGG16Features(nn.Module):
    """VGG16 (Simonyan & Zisserman 2015) up to relu5_3, frozen; the last activation of each of its five blocks.

    Args:
        weights: safetensors file with torchvision's key names (`features.0.weight`, …); by default
            `timm/vgg16.tv_in1k` is fetched from the Hub.
        blocks: how many blocks are needed; the others are neither built nor read.

    Raises:
        CheckpointError: the file is missing, or lacks VGG16's convolutions.
    """

    def __init__(self, weights: str | Path | None = None, blocks: int = 5):
        super().__init__()
        layers: list[nn.Module] = []
        channels, self.taps = 3, []
        for widths in VGG16_BLOCKS[:blocks]:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self.taps.append(len(layers) - 1)
        self.layers = nn.Sequential(*layers)
        _load_vgg(self.layers, weights)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Activations (B, C, H / 2^i, W / 2^i) of block i, for pictures (B, 3, H, W) in [0, 1]."""
        x, activations = (image - self.mean) / self.std, []
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.taps:
                activations.append(x)
        return activations


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


class LPIPSLoss(nn.Module):
    """LPIPS with VGG16 (Zhang et al., CVPR 2018, v0.1), as a loss; evaluation measures the AlexNet variant.

    Args:
        heads: safetensors file with `vgg.lin0.model.1.weight` to `vgg.lin4.…`, the linear heads.
        weights: as `VGG16Features`.

    Raises:
        CheckpointError: a file is missing or lacks a layer.
    """

    def __init__(self, heads: str | Path, weights: str | Path | None = None):
        super().__init__()
        self.features = VGG16Features(weights)
        self.heads = nn.ParameterList(load_lpips_heads(heads, "vgg")).requires_grad_(False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Mean distance of `sr` from `hr`, both (B, 3, H, W) in [0, 1]; a scalar with a gradient to `sr`."""
        with torch.no_grad():
            wanted = [_unit(x) for x in self.features(hr)]
        distance = 0.0
        for x, y, head in zip(self.features(sr), wanted, self.heads, strict=True):
            distance = distance + ((_unit(x) - y).square() * head).sum(1).mean()
        return distance


def _unit(x: Tensor) -> Tensor:
    """Each pixel's feature vector at length 1, in float32 whatever the precision of the network."""
    x = x.float()
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-10)


def load_lpips_heads(path: str | Path, network: str) -> list[Tensor]:
    """The five linear heads (1, C, 1, 1) of LPIPS for "vgg" or "alex". Raises CheckpointError."""
    from safetensors.torch import load_file

    if not Path(path).is_file():
        raise CheckpointError(f"lpips_heads: no file at {path}. Give the safetensors file with LPIPS' linear heads.")
    state = load_file(path)
    try:
        return [state[f"{network}.lin{index}.model.1.weight"].float() for index in range(5)]
    except KeyError as error:
        raise CheckpointError(f"{path} has no {error}; LPIPS' heads, version 0.1, are needed.") from None


def real_fake_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The discriminator's loss: binary cross-entropy on its logits for HR and for SR (Goodfellow et al. 2014)."""
    return (F.softplus(-real).mean() + F.softplus(fake).mean()) / 2


def deceive_loss(fake: Tensor) -> Tensor:
    """The generator's loss: -log D(SR), the non-saturating form."""
    return F.softplus(-fake).mean()


def _relative_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean over the batch of |a - b| / |b|, each sample by its own size."""
    return ((a - b).abs().mean((1, 2, 3)) / b.abs().mean((1, 2, 3))).mean()


def _load_vgg(features: nn.Sequential, weights: str | Path | None) -> None:
    from safetensors.torch import load_file

    if weights is None:
        from huggingface_hub import hf_hub_download

        weights = hf_hub_download("timm/vgg16.tv_in1k", "model.safetensors")
    if not Path(weights).is_file():
        raise CheckpointError(
            f"no VGG16 weights at {weights}. Leave perceptual_weights out to fetch them from the Hub."
        )
    state = {name.removeprefix("features."): tensor.float() for name, tensor in load_file(weights).items()}
    try:
        features.load_state_dict({name: state[name] for name in features.state_dict()})
    except KeyError as error:
        raise CheckpointError(f"{weights} has no layer {error}; torchvision's VGG16 features are needed.") from None


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


def low_pass_consistency(sr: Tensor, lr: Tensor) -> Tensor:
    """L1 between SR and LR where both are blurred until neither noise nor detail is left: keeps colour, blocks drift.

    Args:
        sr: (B, 3, H, W); lr: (B, 3, H/scale, W/scale). Compared as means over 4x4 LR pixels.
    """
    side = 4
    return F.l1_loss(F.avg_pool2d(sr, side * sr.shape[-1] // lr.shape[-1]), F.avg_pool2d(lr, side))


def random_view(sr: Tensor, labels: Tensor, seeds: Tensor, void_id: int, reach: int = 8) -> tuple[Tensor, Tensor]:
    """Shift and flip each SR picture and its labels together, so that no pattern can fit the guide's pixel grid.

    Args:
        sr: (B, 3, H, W); labels: (B, H, W).
        seeds: (B,) int64; the view of a sample depends on its seed alone.
        reach: largest shift in pixels; what comes in at the edge repeats the edge and is void.
    """
    views, moved = [], []
    for picture, ids, seed in zip(sr, labels, seeds.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        down, right = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
        flip = bool(torch.randint(0, 2, (1,), generator=generator))
        height, width = ids.shape
        padded = F.pad(picture, [reach] * 4, mode="replicate")[:, down : down + height, right : right + width]
        shifted = F.pad(ids, [reach] * 4, value=void_id)[down : down + height, right : right + width]
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


def class_weights(table, classes: int) -> Tensor:
    """(K,) weights 1 / ln(1.02 + share of pixels) (Paszke et al. 2016, ENet), so that poles count beside roads.

    Args:
        table: pictures with a `label` column (see `tables.load_pictures`).
        classes: number of classes; other ids (void) are left out.
    """
    counts = np.zeros(classes)
    for row in table.select_columns("label"):
        ids = np.asarray(open_label(row["label"]))
        counts += np.bincount(ids[ids < classes], minlength=classes)
    return torch.from_numpy(1 / np.log(1.02 + counts / counts.sum())).float()
