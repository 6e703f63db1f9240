"""`RRDBNet`, the generator of ESRGAN, Real-ESRGAN and the paper."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

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


class RRDBNet(nn.Module):
    """ESRGAN's generator (Wang et al., ECCV-W 2018), with Real-ESRGAN's pixel-unshuffle for x2 and x1.

    Args:
        features: channels of the trunk.
        blocks: number of RRDBs (ESRGAN: 23).
        growth: channels that each dense convolution adds.
        scale: 1, 2 or 4. The network always enlarges four times; x2 and x1 fold the input by 2 and by 4 first.

    Raises:
        ConfigError: for another scale.
    """

    def __init__(self, features: int = 64, blocks: int = 23, growth: int = 32, scale: int = 4):
        super().__init__()
        if scale not in (1, 2, 4):
            raise ConfigError(f"RRDBNet got scale {scale!r}; it is defined for 1, 2 and 4. Choose one of these.")
        self.scale = scale
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
        """The weight at which loss gradients are compared when the guide loss is balanced."""
        return self.conv_last.weight


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
