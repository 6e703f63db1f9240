"""The textbook degradation: bicubic reduction and nothing else, the baseline that real pictures do not follow."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .interface import Degradation
from .ops import Generators, check_sides


class BicubicDegradation(Degradation):
    """Reduce as PIL's bicubic filter does (antialiased, a = -0.5); there is no noise."""

    def degrade(self, hr: Tensor, scale: int, generator: Generators | None = None) -> Tensor:
        """As every degradation; `generator` is not needed."""
        return self.degrade_with_grain(hr, scale, generator)[0]

    def degrade_with_grain(self, hr: Tensor, scale: int, generator: Generators | None = None) -> tuple[Tensor, Tensor]:
        check_sides(hr, scale)
        size = [side // scale for side in hr.shape[-2:]]
        lr = F.interpolate(hr, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        return lr, torch.zeros_like(lr)
