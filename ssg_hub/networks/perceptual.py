"""VGG16 and the distances between pictures that are built on it: LPIPS (VGG variant) and DISTS; for losses and metrics.

Every distance takes `sr` and `hr`, both (B, 3, H, W), RGB in [0, 1], or one `hr` for all, and returns (B,), 0 for equal
pictures; the gradient flows to `sr` alone. Their heads are in the package, VGG16 is not. The LPIPS that ranks models,
AlexNet's, is in `evaluation.metrics` and never a loss.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import HubError, ImageError
from .guide import IMAGENET_MEAN, IMAGENET_STD
from .tensor_files import pick, read_tensors

VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # pooled between
VGG16_REPOSITORY = "timm/vgg16.tv_in1k"
HEADS = Path(__file__).with_name("perceptual_heads.safetensors")  # LPIPS' and DISTS', as published; see NOTICE
SMALLEST = 16  # pixels: four poolings leave one


class VGG16Features(nn.Module):
    """VGG16 (Simonyan & Zisserman 2015) up to relu5_3, frozen; the last activation of each of its five blocks.

    Args:
        weights: file with torchvision's key names (`features.0.weight`, …), as `read_tensors` takes it; by default
            `timm/vgg16.tv_in1k` is fetched from the Hub.
        blocks: how many blocks are needed; the others are neither built nor read.
        pooling: the layer between blocks, one without weights.

    Raises:
        CheckpointError: the file is missing, or lacks VGG16's convolutions.
        HubError: the Hub is out of reach.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, weights: str | Path | None = None, blocks: int = 5, pooling: type[nn.Module] = nn.MaxPool2d):
        super().__init__()
        layers: list[nn.Module] = []
        channels, self.taps = 3, []
        for widths in VGG16_BLOCKS[:blocks]:
            if layers:
                layers.append(pooling(2))
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            self.taps.append(len(layers) - 1)
        self.layers = nn.Sequential(*layers)
        _load_vgg16(self.layers, fetch_vgg16() if weights is None else Path(weights))
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


class SharedFeatures(nn.Module):
    """Computes the activations of a picture once for all callers: it remembers the two newest pictures.

    Args:
        features: what computes them: a network such as `VGG16Features`, or a function.
    """

    def __init__(self, features: Callable[[Tensor], list[Tensor]]):
        super().__init__()
        self.features = features
        self._known: list[tuple[Tensor, list[Tensor]]] = []

    def forward(self, image: Tensor) -> list[Tensor]:
        """As `features`; a picture is recognised if it is the same tensor."""
        for known, activations in self._known:
            if known is image:
                return activations
        activations = self.features(image)
        self._known = [(image, activations), *self._known[:1]]
        return activations


class LPIPSVGG(nn.Module):
    """LPIPS with VGG16 (Zhang et al., CVPR 2018, v0.1).

    Args:
        heads: file with the linear heads, keys `vgg.lin0.model.1.weight`, … or `lin0.model.1.weight`, …; by default
            those inside the package.
        weights: as `VGG16Features`; or these features themselves, to share them.

    Raises:
        CheckpointError: a file is missing, or lacks a layer.
        HubError: the Hub is out of reach.
    """

    def __init__(self, heads: str | Path | None = None, weights: str | Path | nn.Module | None = None):
        super().__init__()
        heads = HEADS if heads is None else heads
        linear = read_tensors(heads, "LPIPS heads")
        prefix = "vgg." if any(name.startswith("vgg.") for name in linear) else ""
        names = [f"{prefix}lin{index}.model.1.weight" for index in range(len(VGG16_BLOCKS))]
        shapes = [(1, widths[-1], 1, 1) for widths in VGG16_BLOCKS]
        self.features = weights if isinstance(weights, nn.Module) else VGG16Features(weights)
        self.heads = nn.ParameterList(
            pick(linear, name, shape, heads, "LPIPS' heads for VGG16, version 0.1,")
            for name, shape in zip(names, shapes, strict=True)
        ).requires_grad_(False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Distance (B,) of `sr` from `hr`. Raises ImageError: shapes that differ, or sides under 16 pixels."""
        _check_pair(sr, hr)
        with torch.no_grad():
            wanted = self.features(hr)
        maps = zip(self.features(sr), wanted, self.heads, strict=True)
        return torch.stack([_direction_distance(x, y, head) for x, y, head in maps]).sum(0)


class DISTS(nn.Module):
    """Deep Image Structure and Texture Similarity (Ding et al., TPAMI 2020, eq. 6 to 8), as a distance.

    Means (texture) and correlations (structure) of each feature map are compared, not its pixels: one grass may stand
    for another. The authors judge pictures whose shorter side is 256.

    Args:
        heads: file with the weights `alpha` and `beta`, (1, 1475, 1, 1) each, such as `weights.pt` of the PyPI package
            `DISTS-pytorch`; by default those inside the package.
        weights: as `VGG16Features`.

    Raises:
        CheckpointError: a file is missing, or lacks a layer.
        HubError: the Hub is out of reach.
    """

    STABLE = 1e-6  # c1 and c2 of the paper

    texture: Tensor
    structure: Tensor

    def __init__(self, heads: str | Path | None = None, weights: str | Path | None = None):
        super().__init__()
        self.channels = [3] + [widths[-1] for widths in VGG16_BLOCKS]
        heads = HEADS if heads is None else heads
        tensors, shape = read_tensors(heads, "DISTS heads"), (1, sum(self.channels), 1, 1)
        alpha, beta = (
            pick(tensors, name, shape, heads, "DISTS' alpha and beta").flatten() for name in ("alpha", "beta")
        )
        total = alpha.sum() + beta.sum()
        self.register_buffer("texture", alpha / total)
        self.register_buffer("structure", beta / total)
        self.features = VGG16Features(weights, pooling=L2Pool)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Distance (B,) of `sr` from `hr`. Raises ImageError: shapes that differ, or sides under 16 pixels."""
        _check_pair(sr, hr)
        with torch.no_grad():
            wanted = self.read(hr.detach())
        return self.compare(self.read(sr), wanted)

    def read(self, picture: Tensor) -> list[Tensor]:
        """All that the distance depends on: the picture itself and its activations; to read an `hr` once for many."""
        return [picture, *self.features(picture)]

    def compare(self, sr: list[Tensor], hr: list[Tensor]) -> Tensor:
        """Distance (B,) of two pictures from what `read` gives for each."""
        similarity = sr[0].new_zeros(len(sr[0]), dtype=torch.float32)
        weights = zip(self.texture.split(self.channels), self.structure.split(self.channels), strict=True)
        for x, y, (texture, structure) in zip(sr, hr, weights, strict=True):
            means, correlations = _similar_statistics(x, y, self.STABLE)
            similarity = similarity + means @ texture + correlations @ structure
        return 1 - similarity


class L2Pool(nn.Module):
    """Pooling without aliasing (Hénaff & Simoncelli 2016): the root of the local mean square under a Hanning window.

    Args:
        stride: reduction per side; the window is 2 * stride - 1 pixels wide.
    """

    window: Tensor

    def __init__(self, stride: int):
        super().__init__()
        self.stride, self.size = stride, 2 * stride - 1
        line = torch.from_numpy(np.hanning(self.size + 2)[1:-1])
        window = line.view(-1, 1) * line
        self.register_buffer("window", (window / window.sum()).float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # squares leave the range of half precision, and the root's gradient needs the small constant
        with torch.autocast(x.device.type, enabled=False):
            window = self.window.expand(x.shape[1], 1, -1, -1)
            power = F.conv2d(x.float().square(), window, None, self.stride, self.size // 2, groups=x.shape[1])
            return (power + 1e-12).sqrt()


def fetch_vgg16() -> Path:
    """VGG16 with torchvision's weights from the Hub, or from its cache. Raises HubError."""
    from ..storage.hub import fetch_file

    return fetch_file(VGG16_REPOSITORY, "model.safetensors")


def find_vgg16(given: str | Path | None) -> Path:
    """The file of VGG16's weights: the one given as `perceptual_weights`, or the Hub's; else a HubError names that."""
    if given is not None:
        return Path(given)
    try:
        return fetch_vgg16()
    except HubError as error:
        raise HubError(f"{error} perceptual_weights takes VGG16 from a file.") from error


def _load_vgg16(features: nn.Sequential, path: Path) -> None:
    state = {name.removeprefix("features."): tensor for name, tensor in read_tensors(path, "VGG16 weights").items()}
    needed = features.state_dict()
    wanted = "torchvision's VGG16 features"
    features.load_state_dict({name: pick(state, name, tuple(x.shape), path, wanted) for name, x in needed.items()})


def _check_pair(sr: Tensor, hr: Tensor) -> None:
    fits = sr.ndim == 4 and sr.shape[1:] == hr.shape[1:] and len(hr) in (1, len(sr))
    if not fits or sr.shape[1] != 3 or min(sr.shape[-2:]) < SMALLEST:
        raise ImageError(
            f"the pictures to compare are {tuple(sr.shape)} and {tuple(hr.shape)}; both must be the same (B, 3, H, W) "
            f"with sides of at least {SMALLEST} pixels. Crop or resize them."
        )


def _direction_distance(x: Tensor, y: Tensor, head: Tensor) -> Tensor:
    """LPIPS of one activation, (B, C, H, W) each, weighted by `head` (1, C, 1, 1): (B,)."""
    return ((_unit(x) - _unit(y)).square() * head).sum(1).mean((1, 2))


def _similar_statistics(x: Tensor, y: Tensor, stable: float) -> tuple[Tensor, Tensor]:
    """DISTS' similarity of means and of structure of one activation, (B, C, H, W) each: two of (B, C), at most 1."""
    x, y = x.float().flatten(2), y.float().flatten(2)
    mean_x, mean_y = x.mean(2), y.mean(2)
    off_x, off_y = x - mean_x.unsqueeze(2), y - mean_y.unsqueeze(2)
    means = (2 * mean_x * mean_y + stable) / (mean_x.square() + mean_y.square() + stable)
    spread = off_x.square().mean(2) + off_y.square().mean(2)
    return means, (2 * (off_x * off_y).mean(2) + stable) / (spread + stable)


def _unit(x: Tensor) -> Tensor:
    """Each pixel's feature vector at length 1, in float32 whatever the precision of the network."""
    x = x.float()
    return x * torch.rsqrt(x.square().sum(1, keepdim=True) + 1e-10)
