"""The terms of the training objective."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .data import open_cell
from .errors import CheckpointError
from .guide import IMAGENET_MEAN, IMAGENET_STD

VGG16_LAYERS = [64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512]  # to relu4_3
VGG16_TAPS = {3: "relu1_2", 8: "relu2_2", 15: "relu3_3"}


class PerceptualLoss(nn.Module):
    """L1 between VGG16 features (Johnson et al., ECCV 2016), each layer's distance relative to the layer's own size.

    Args:
        weights: safetensors file with torchvision's key names (`features.0.weight` or `0.weight`, …); by default
            `timm/vgg16.tv_in1k` is fetched from the Hub.

    Raises:
        CheckpointError: the file lacks VGG16's convolutions.
    """

    def __init__(self, weights: str | Path | None = None):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in VGG16_LAYERS[: VGG16_LAYERS.index("pool", 6)]:  # relu3_3 is the last that is used
            if width == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        _load_vgg(self.features, weights)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Distance of `sr` from `hr`, both (B, 3, H, W) in [0, 1]; a scalar with a gradient to `sr`."""
        with torch.no_grad():
            wanted = self._taps(hr)
        distances = [F.l1_loss(a, b) / b.abs().mean() for a, b in zip(self._taps(sr), wanted, strict=True)]
        return torch.stack(distances).mean()

    def _taps(self, x: Tensor) -> list[Tensor]:
        x = (x - self.mean) / self.std
        taps = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in VGG16_TAPS:
                taps.append(x)
        return taps


def _load_vgg(features: nn.Sequential, weights: str | Path | None) -> None:
    from safetensors.torch import load_file

    if weights is None:
        from huggingface_hub import hf_hub_download

        weights = hf_hub_download("timm/vgg16.tv_in1k", "model.safetensors")
    state = {name.removeprefix("features."): tensor.float() for name, tensor in load_file(weights).items()}
    try:
        features.load_state_dict({name: state[name] for name in features.state_dict()})
    except KeyError as error:
        raise CheckpointError(f"{weights} has no VGG16 layer {error}; torchvision's VGG16 features are needed.") from None


def segmentation_loss(logits: Tensor, labels: Tensor, void_id: int, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy at the labels' resolution, void left out.

    Args:
        logits: (B, K, h, w); enlarged bilinearly to the labels' size.
        labels: (B, H, W) int64 class ids.
        void_id: id that does not count.
        class_weights: (K,) or None.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    return F.cross_entropy(logits, labels, weight=class_weights, ignore_index=void_id)


def class_weights(pictures, classes: int) -> Tensor:
    """(K,) weights 1 / ln(1.02 + share of pixels) (Paszke et al. 2016, ENet), so that poles count beside roads.

    Args:
        pictures: a dataset with an undecoded `label` column.
        classes: number of classes; other ids (void) are left out.
    """
    counts = np.zeros(classes)
    for row in pictures.select_columns("label"):
        ids = np.asarray(open_cell(row["label"]))
        counts += np.bincount(ids[ids < classes], minlength=classes)
    return torch.from_numpy(1 / np.log(1.02 + counts / counts.sum())).float()
