"""`RRDBNet`, the generator of ESRGAN, Real-ESRGAN and the paper."""

import re
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from .registry import Generator, NcnnLayer

CHANNELS = {3: 4, 12: 2, 48: 1}  # input channels of the first convolution -> scale: x2 and x1 fold the input
# ESRGAN's first release numbered its layers; x4 only.
OLD_NAMES = [
    (r"^model\.0\.", "conv_first."),
    (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"^model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
    (r"^model\.3\.", "conv_up1."),
    (r"^model\.6\.", "conv_up2."),
    (r"^model\.8\.", "conv_hr."),
    (r"^model\.10\.", "conv_last."),
]
# BasicSR before its renaming (also RealSR): trunk names in full.
MIDDLE_NAMES = [
    (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"^trunk_conv\.", "conv_body."),
    (r"^upconv(\d)\.", r"conv_up\1."),
    (r"^HRconv\.", "conv_hr."),
]
RESIDUAL_SCALE = 0.2  # ESRGAN: residual branches are scaled down so that deep stacks train without BatchNorm


class ResidualDenseBlock(nn.Module):
    """Five densely connected 3x3 convolutions with a scaled residual (Zhang et al. 2018; Wang et al. 2018, fig. 4)."""

    def __init__(self, features: int, growth: int):
        super().__init__()
        self.conv1 = nn.Conv2d(features, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(features + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(features + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(features + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            dense = torch.cat((dense, F.leaky_relu(conv(dense), 0.2)), dim=1)
        return x + RESIDUAL_SCALE * self.conv5(dense)


class RRDB(nn.Module):
    """Residual-in-residual dense block: three dense blocks inside one more scaled residual."""

    def __init__(self, features: int, growth: int):
        super().__init__()
        self.rdb1 = ResidualDenseBlock(features, growth)
        self.rdb2 = ResidualDenseBlock(features, growth)
        self.rdb3 = ResidualDenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(Generator, name="rrdb"):
    """ESRGAN's generator (Wang et al., ECCV-W 2018), with Real-ESRGAN's pixel-unshuffle for x2 and x1.

    Args:
        features: channels of the trunk.
        blocks: number of RRDBs (ESRGAN: 23).
        growth: channels that each dense convolution adds.
        scale: 1, 2 or 4. The network always enlarges four times; x2 and x1 fold the input by 2 and by 4 first.

    Raises:
        ConfigError: see `OPTIONS`.
    """

    title = "RRDBNet"
    OPTIONS = {"features": range(1, 1025), "blocks": range(1, 129), "growth": range(1, 257), "scale": (1, 2, 4)}

    def __init__(self, features: int = 64, blocks: int = 23, growth: int = 32, scale: int = 4):
        super().__init__(features=features, blocks=blocks, growth=growth, scale=scale)
        self.fold = 4 // scale
        self.conv_first = nn.Conv2d(3 * self.fold**2, features, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_up2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_hr = nn.Conv2d(features, features, 3, padding=1)
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)
        for block in self.modules():
            if isinstance(block, ResidualDenseBlock):
                _scale_initial_weights(block, 0.1)

    def forward(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2:]
        x = lr
        if self.fold > 1:
            x = F.pixel_unshuffle(_pad_to_multiple(lr, self.fold), self.fold)
        first = self.conv_first(x)
        x = first + self.conv_body(self.body(first))
        x = F.leaky_relu(self.conv_up1(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        x = F.leaky_relu(self.conv_up2(F.interpolate(x, scale_factor=2, mode="nearest")), 0.2)
        sr = self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))
        return sr[..., : self.scale * height, : self.scale * width]

    @property
    def last_layer(self) -> nn.Parameter:
        return cast(nn.Parameter, self.conv_last.weight)

    @property
    def context(self) -> int:
        # 15 convolutions a block, one before and one after them, and 2 for the four on the enlarged grids
        return (15 * self.options["blocks"] + 4) * self.fold

    @classmethod
    def read_published(cls, state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """By today's names (BasicSR), those of RealSR, or those of ESRGAN's first release."""
        state = _rename(state)
        first, dense = state.get("conv_first.weight"), state.get("body.0.rdb1.conv1.weight")
        if first is None or dense is None or first.ndim != 4 or dense.ndim != 4:
            return None
        features, channels = first.shape[:2]
        if channels not in CHANNELS:
            raise CheckpointError(f"an RRDBNet with {channels} input channels; only RGB networks can be used.")
        blocks = 1 + max(int(match[1]) for name in state if (match := re.match(r"body\.(\d{1,9})\.", name)))
        return {
            "features": features,
            "blocks": blocks,
            "growth": dense.shape[0],
            "scale": CHANNELS[channels],
        }, state

    @classmethod
    def read_layers(cls, layers: list[NcnnLayer]) -> dict[str, Any] | None:
        """The six convolutions outside of the trunk, and fifteen for each block."""
        if len(layers) < 21 or any(layer.kind != "Convolution" for layer in layers):
            return None
        scale = CHANNELS.get(layers[0].weights // (9 * layers[0].outputs or 1))
        if scale is None:
            return None
        blocks = (len(layers) - 6) // 15
        return {"features": layers[0].outputs, "blocks": blocks, "growth": layers[1].outputs, "scale": scale}


def keep_blocks(config: dict, state: dict[str, Tensor], kept: Sequence[int]) -> tuple[dict, dict[str, Tensor]]:
    """Keep only the RRDBs with the given indices, in that order, renumbered from 0.

    The result still works as a warm start: a few minutes of training recover what was lost, at a fraction of the cost
    of the full network.

    Raises:
        ConfigError: an index that the network does not have, or none at all.
    """
    if not kept:
        raise ConfigError("no block is kept; at least one is needed.")
    if bad := [index for index in kept if not 0 <= index < config["blocks"]]:
        raise ConfigError(f"block {bad[0]} asked for, but the network has blocks 0 to {config['blocks'] - 1}.")
    pruned = {name: tensor for name, tensor in state.items() if not name.startswith("body.")}
    for new, old in enumerate(kept):
        prefix = f"body.{old}."
        pruned |= {f"body.{new}.{n.removeprefix(prefix)}": t for n, t in state.items() if n.startswith(prefix)}
    return {**config, "blocks": len(kept)}, pruned


def _rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under today's names."""
    if "model.0.weight" in state:
        rules = OLD_NAMES
    elif any(name.startswith("RRDB_trunk.") for name in state):
        rules = MIDDLE_NAMES
    else:
        return state
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Extend the right and lower edges by repetition until both sides divide by `multiple`."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate")  # also by nothing: a branch would not survive tracing


def _scale_initial_weights(module: nn.Module, factor: float) -> None:
    """He initialisation times `factor`, biases zero (ESRGAN, sec. 3.1: smaller initialisation eases deep training)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(factor)
            nn.init.zeros_(layer.bias)
