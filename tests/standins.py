"""Networks whose answers are known, in place of trained ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssg_hub.networks.registry import generators
from ssg_hub.plain_model import PlainModel

TINY_SEGFORMER = {  # a few thousand parameters; `id2label` is to be added
    "model_type": "segformer",
    "num_encoder_blocks": 2,
    "depths": [1, 1],
    "sr_ratios": [4, 2],
    "hidden_sizes": [8, 16],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "num_attention_heads": [1, 2],
    "mlp_ratios": [2, 2],
    "decoder_hidden_size": 16,
}


class Repeat(nn.Module):
    """Repeats each pixel: exact, and the same in tiles as in one piece. It says its scale only, as a user's own may."""

    def __init__(self, scale: int = 4):
        super().__init__()
        self.scale = scale
        self.gain = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, int]] = []

    def forward(self, lr: Tensor) -> Tensor:
        self.seen.append(tuple(lr.shape[-2:]))
        return F.interpolate(lr * self.gain, scale_factor=self.scale, mode="nearest")


class Shifted(Repeat):
    """A generator that adds a colour."""

    def __init__(self, shift: tuple[float, float, float]):
        super().__init__()
        self.register_buffer("shift", torch.tensor(shift).view(1, 3, 1, 1))

    def forward(self, lr: Tensor) -> Tensor:
        return super().forward(lr) + self.shift


class ColorGuide(nn.Module):
    """A guide that reads red as one class, green as another, blue as a third, from each cell of 4x4 pixels alone."""

    labels = ["red thing", "green thing", "blue thing"]
    palette = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]

    def __init__(self, certainty: float = 40.0):
        super().__init__()
        self.certainty = certainty

    def forward(self, image: Tensor) -> Tensor:
        return F.avg_pool2d(image, 4, ceil_mode=True, count_include_pad=False) * self.certainty


def make_model(generator: nn.Module | None = None, guide: nn.Module | None = None) -> PlainModel:
    """A model of these networks."""
    return PlainModel({}, generator or Repeat(), make_guide=lambda: guide)


def small_generators() -> list[tuple[str, dict]]:
    """(type, options) of small networks: every generator that there is, at each scale that it has of 1, 2 and 4."""
    found = []
    for name, cls in generators().items():
        wanted = {"features": 4, "growth": 2}
        options = {
            option: wanted.get(option, max(1, allowed[0])) if isinstance(allowed, range) else allowed[-1]
            for option, allowed in cls.OPTIONS.items()
        }
        found += [(name, options | {"scale": scale}) for scale in (1, 2, 4) if scale in cls.OPTIONS["scale"]]
    return found


class Difference(nn.Module):
    """In the place of a learned distance: mean absolute difference, (B,)."""

    def __init__(self):
        super().__init__()
        self.register_buffer("none", torch.zeros(0))

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        return (sr - hr).abs().mean((1, 2, 3))

    def read(self, picture: Tensor) -> list[Tensor]:
        return [picture]

    def compare(self, sr: list[Tensor], hr: list[Tensor]) -> Tensor:
        return self(sr[0], hr[0])
