"""`SRVGGNetCompact`, the light generator."""

import math
from typing import TYPE_CHECKING, Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from .registry import Generator, NcnnLayer

if TYPE_CHECKING:
    from .int8 import Int8

PRELU = 0.25  # the slope of torch's PReLU at first


class SRVGGNetCompact(Generator, name="compact"):
    """Real-ESRGAN's compact network (Wang et al., ICCV-W 2021): plain convolutions in LR space, then pixel shuffle.

    Args:
        features: channels of the trunk.
        convs: number of convolutions between the first and the last.
        scale: enlargement.

    Raises:
        ConfigError: see `OPTIONS`.
    """

    title = "SRVGGNetCompact"
    int8: "Int8"  # where there is one, beside the weights
    OPTIONS = {"features": range(1, 1025), "convs": range(257), "scale": range(1, 9)}

    def __init__(self, features: int = 64, convs: int = 16, scale: int = 4):
        super().__init__(features=features, convs=convs, scale=scale)
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convs):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)
        self._set_initial_weights()

    def forward(self, lr: Tensor) -> Tensor:
        residual = F.pixel_shuffle(self.body(lr), self.scale)
        return residual + F.interpolate(lr, scale_factor=self.scale, mode="nearest")

    def _set_initial_weights(self) -> None:
        """He initialisation for PReLU, biases zero, and a small residual at first.

        PyTorch's own initialisation shrinks the signal to two fifths in each layer. After 18 layers the picture has no
        influence on the residual, and training from scratch never begins.
        """
        convs = [layer for layer in self.body if isinstance(layer, nn.Conv2d)]
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight, a=PRELU)
            nn.init.zeros_(cast(Tensor, conv.bias))
        convs[-1].weight.data.mul_(0.1)

    @property
    def last_layer(self) -> nn.Parameter:
        return cast(nn.Parameter, self.body[-1].weight)

    @property
    def context(self) -> int:
        return self.options["convs"] + 2  # one pixel for each 3x3 convolution

    @classmethod
    def read_published(cls, state: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Convolutions and PReLUs in turn, numbered: body.0, body.1, …"""
        kernels = {int(parts[1]): kernel for name, kernel in state.items() if (parts := _numbered(name))}
        if not kernels or 0 not in kernels or kernels[0].ndim != 4:
            return None
        convs = [kernels[index] for index in sorted(kernels) if kernels[index].ndim == 4]
        if len(convs) < 2:
            return None
        features, channels = convs[0].shape[:2]
        scale = math.isqrt(convs[-1].shape[0] // 3)
        if channels != 3 or 3 * scale**2 != convs[-1].shape[0]:
            raise CheckpointError(
                f"a {cls.title} from {channels} to {convs[-1].shape[0]} channels, which is not from 3 to 3 x scale²; "
                "only RGB networks can be used."
            )
        return {"features": features, "convs": len(convs) - 2, "scale": scale}, state

    @classmethod
    def read_layers(cls, layers: list[NcnnLayer]) -> dict[str, Any] | None:
        widths = [layer.outputs for layer in layers if layer.kind == "Convolution"]
        if len(widths) < 2 or not any(layer.kind == "PReLU" for layer in layers):
            return None
        return {"features": widths[0], "convs": len(widths) - 2, "scale": math.isqrt(widths[-1] // 3)}


def _numbered(name: str) -> list[str] | None:
    """The parts of "body.N.weight"; None for another name."""
    parts = name.split(".")
    fits = len(parts) == 3 and parts[0] == "body" and parts[2] == "weight" and parts[1].isdecimal()
    return parts if fits and len(parts[1]) < 9 else None
