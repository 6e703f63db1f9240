"""A light semantic segmentation network, which runs without transformers; `lite_transformers` has it as one of theirs.

EfficientNet-Lite (ReLU6, no squeeze-and-excitation: exact in fp16 and quick on a CPU) with a small feature pyramid:
4 M parameters with the smallest trunk.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

MODEL_TYPE = "ssg_lite_segmentation"

# EfficientNet-Lite (Tan & Le 2019 without swish and SE), seven stages: expansion, kernel, stride of the first block
STAGES = [(1, 3, 1), (6, 3, 2), (6, 5, 2), (6, 3, 2), (6, 5, 1), (6, 5, 2), (6, 3, 1)]
TRUNKS = {  # name -> channels and blocks of each stage
    "lite0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
    "lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
}
TAPPED_STAGES = (1, 2, 4, 6)  # the pyramid reads what these put out, at strides 4, 8, 16 and 32


class LiteConfig:
    """The network's configuration: its values as attributes, by the names that transformers gives them.

    Args:
        width: channels in the pyramid.
        trunk: one of TRUNKS.
        id2label: class names by their ids.
        values: `label2id`, and what `Guide` keeps with a network: `palette`, `image_mean`, `image_std`, `input_scale`.
            Others, such as transformers' own, are left out.
    """

    model_type = MODEL_TYPE
    palette: list[tuple[int, int, int]]
    KEPT = ("label2id", "palette", "image_mean", "image_std", "input_scale")

    def __init__(self, width: int = 96, trunk: str = "lite0", id2label: dict[int, str] | None = None, **values: Any):
        self.width, self.trunk = width, trunk
        self.id2label = {0: "LABEL_0", 1: "LABEL_1"} if id2label is None else id2label
        for name in self.KEPT:
            if values.get(name) is not None:
                setattr(self, name, values[name])

    def to_diff_dict(self) -> dict[str, Any]:
        """All values."""
        return dict(vars(self))

    def to_json_string(self) -> str:
        """All values as JSON."""
        return json.dumps(vars(self), sort_keys=True)


class Segmented(NamedTuple):
    """What the network returns, by the names of transformers' `SemanticSegmenterOutput`."""

    logits: Tensor
    hidden_states: tuple[Tensor, ...] | None = None


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; the names are those of the published weights."""

    def __init__(self, expansion: int, kernel: int, stride: int, c_in: int, c_out: int):
        super().__init__()
        hidden = c_in * expansion
        self.expands, self.residual = expansion > 1, stride == 1 and c_in == c_out
        if self.expands:
            self._expand_conv = nn.Conv2d(c_in, hidden, 1, bias=False)
            self._bn0 = _norm(hidden)
        self._depthwise_conv = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        self._bn1 = _norm(hidden)
        self._project_conv = nn.Conv2d(hidden, c_out, 1, bias=False)
        self._bn2 = _norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """The convolutional trunk; returns the features at strides 4, 8, 16 and 32, of `widths` channels."""

    def __init__(self, name: str):
        if name not in TRUNKS:
            raise ConfigError(f"the light guide's trunk is {name!r:.60}; it must be one of {', '.join(TRUNKS)}.")
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = _norm(32)
        blocks, ends, c_in = [], [], 32
        for (expansion, kernel, stride), c_out, repeats in zip(STAGES, *TRUNKS[name], strict=True):
            for repeat in range(repeats):
                blocks.append(InvertedResidual(expansion, kernel, stride if repeat == 0 else 1, c_in, c_out))
                c_in = c_out
            ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self.taps = [ends[stage] for stage in TAPPED_STAGES]
        self.widths = [TRUNKS[name][0][stage] for stage in TAPPED_STAGES]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        features = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self.taps:
                features.append(x)
        return features


class Pyramid(nn.Module):
    """Top-down feature pyramid with global context; sums everything at stride 4."""

    def __init__(self, channels: list[int], width: int, classes: int):
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c_in, width, 1) for c_in in channels)
        self.context = nn.Conv2d(channels[-1], width, 1)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                nn.Conv2d(width, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for _ in channels
        )
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = self.context(features[-1].mean((-2, -1), keepdim=True))
        for feature, lateral, smooth in reversed(list(zip(features, self.laterals, self.smooth, strict=True))):
            x = smooth(lateral(feature) + _resize_to(x, feature))
        return self.classify(self.dropout(x))


class LiteSegmentation(nn.Module):
    """Normalised pictures `pixel_values` (B, 3, H, W) to logits (B, K, H/4, W/4)."""

    def __init__(self, config: LiteConfig):
        super().__init__()
        self.config = config
        self.backbone = EfficientNetLite(config.trunk)
        self.decode_head = Pyramid(self.backbone.widths, config.width, len(config.id2label))
        self.apply(init_weights)

    def forward(self, pixel_values: Tensor, output_hidden_states: bool = False) -> Segmented:
        features = self.backbone(pixel_values)
        return Segmented(self.decode_head(features), tuple(features) if output_hidden_states else None)

    def load_backbone(self, state: dict[str, Tensor]) -> None:
        """Start the trunk from ImageNet weights in the published names; the classifier among them is left out."""
        wanted = self.backbone.state_dict()
        self.backbone.load_state_dict({name: state[name] for name in wanted})

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that transformers reads back, once `lite_transformers` is imported."""
        from .lite_transformers import to_transformers

        to_transformers(self).save_pretrained(folder)


def init_weights(module: nn.Module) -> None:
    """Initialise a layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _resize_to(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
