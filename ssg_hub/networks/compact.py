"""`SRVGGNetCompact`, the light generator."""

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError


class SRVGGNetCompact(nn.Module):
    """Real-ESRGAN's compact network (Wang et al., ICCV-W 2021): plain convolutions in LR space, then pixel shuffle.

    Args:
        features: channels of the trunk.
        convs: number of convolutions between the first and the last.
        scale: enlargement, 1 or more.

    Raises:
        ConfigError: for a scale below 1.
    """

    def __init__(self, features: int = 64, convs: int = 16, scale: int = 4):
        super().__init__()
        if not isinstance(scale, int) or scale < 1:
            raise ConfigError(f"SRVGGNetCompact got scale {scale!r}; it needs a whole number of at least 1.")
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convs):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, lr: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.body(lr), self.scale)
        return residual + F.interpolate(lr, scale_factor=self.scale, mode="nearest")

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight at which loss gradients are compared when the guide loss is balanced."""
        return self.body[-1].weight
