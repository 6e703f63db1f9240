"""`SPAN`, a light generator with attention that has no parameters of its own."""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from .registry import Generator

RGB_MEAN, RANGE = (0.4488, 0.4371, 0.4040), 255.0  # DIV2K's mean and the published networks' input range


class Conv3XC(nn.Module):
    """A 3x3 convolution made of three in a row (1x1, 3x3, 1x1; twice as wide inside) and a 1x1 beside them.

    Nothing but linear maps, so they are always computed as the one 3x3 kernel that they amount to: the output and the
    gradients are those of the four layers (SPAN, sec. 3.3, "re-parameterization").
    """

    def __init__(self, c_in: int, c_out: int):
        super().__init__()
        self.sk = nn.Conv2d(c_in, c_out, 1)
        self.conv = nn.Sequential(
            nn.Conv2d(c_in, 2 * c_in, 1), nn.Conv2d(2 * c_in, 2 * c_out, 3), nn.Conv2d(2 * c_out, c_out, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        kernel, bias = self.fuse()
        return F.conv2d(x, kernel.to(x.dtype), bias.to(x.dtype), padding=1)

    def fuse(self) -> tuple[Tensor, Tensor]:
        """The kernel (c_out, c_in, 3, 3) and the bias (c_out,) of the whole, in float32 at least."""
        own = self.sk.weight
        precise = torch.promote_types(own.dtype, torch.float32)
        with torch.autocast(own.device.type, enabled=False):
            convs = [cast(nn.Conv2d, layer) for layer in self.conv]
            first, middle, last = (layer.weight.to(precise) for layer in convs)
            bias, middle_bias, last_bias = (layer.bias.to(precise) for layer in convs)
            first, last, beside = first[:, :, 0, 0], last[:, :, 0, 0], own.to(precise)
            kernel = torch.einsum("om,mnyx,ni->oiyx", last, middle, first) + F.pad(beside, (1, 1, 1, 1))
            bias = last @ (middle.sum((2, 3)) @ bias + middle_bias) + last_bias + self.sk.bias.to(precise)
        return kernel, bias


class SPAB(nn.Module):
    """Three convolutions whose output is weighted by a symmetric function of itself (SPAN, eq. 3 to 5)."""

    def __init__(self, features: int):
        super().__init__()
        self.c1_r = Conv3XC(features, features)
        self.c2_r = Conv3XC(features, features)
        self.c3_r = Conv3XC(features, features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and what its first convolution puts out, activated."""
        first = F.silu(self.c1_r(x))
        third = self.c3_r(F.silu(self.c2_r(first)))
        return (third + x) * (torch.sigmoid(third) - 0.5), first


class SPAN(Generator, name="span"):
    """Swift Parameter-free Attention Network (Wan et al., CVPR-W 2024, fig. 2): six blocks in LR space, pixel shuffle.

    Args:
        features: channels of the trunk (published: 48 and 52).
        scale: enlargement.
        norm: whether the input is centred on DIV2K's mean and brought to the range of 255, as in the paper; some
            community networks are trained without.

    Raises:
        ConfigError: see `OPTIONS`.
    """

    title = "SPAN"
    mean: Tensor
    OPTIONS = {"features": range(1, 513), "scale": range(1, 9), "norm": (False, True)}

    def __init__(self, features: int = 48, scale: int = 4, norm: bool = True):
        super().__init__(features=features, scale=scale, norm=norm)
        self.norm = norm
        self.conv_1 = Conv3XC(3, features)
        for index in range(1, 7):
            self.add_module(f"block_{index}", SPAB(features))
        self.conv_2 = Conv3XC(features, features)
        self.conv_cat = nn.Conv2d(4 * features, features, 1)
        self.upsampler = nn.Sequential(nn.Conv2d(features, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1), persistent=False)
        if norm:  # the trunk works in the input's range, SR is in [0, 1]: otherwise a new network begins with +-20
            for parameter in self.upsampler.parameters():
                parameter.data.div_(RANGE)

    def forward(self, lr: Tensor) -> Tensor:
        shallow = self.conv_1((lr - self.mean) * RANGE if self.norm else lr)
        x, inner, outputs = shallow, None, []
        for index in range(1, 7):
            x, inner = getattr(self, f"block_{index}")(x)
            outputs.append(x)
        joined = torch.cat((shallow, self.conv_2(x), outputs[0], inner), dim=1)
        return self.upsampler(self.conv_cat(joined))

    @property
    def last_layer(self) -> nn.Parameter:
        return cast(nn.Parameter, self.upsampler[0].weight)

    @property
    def context(self) -> int:
        return 21  # one pixel for each 3x3 convolution: 1 + 6 * 3 + 1 + 1

    @classmethod
    def read_published(cls, state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Published files also hold the fused kernels, which may be stale, and a marker `no_norm` where norm is off."""
        first, last = state.get("conv_1.sk.weight"), state.get("upsampler.0.weight")
        if first is None or last is None or "block_1.c1_r.sk.weight" not in state or (first.ndim, last.ndim) != (4, 4):
            return None
        features, channels = first.shape[:2]
        scale = math.isqrt(last.shape[0] // 3)
        if channels != 3 or 3 * scale**2 != last.shape[0]:
            raise CheckpointError(
                f"a SPAN from {channels} to {last.shape[0]} channels, which is not from 3 to 3 x scale²; "
                "only RGB networks can be used."
            )
        options = {"features": features, "scale": scale, "norm": "no_norm" not in state}
        return options, {name: state[name] for name in state if ".eval_conv." not in name and name != "no_norm"}
