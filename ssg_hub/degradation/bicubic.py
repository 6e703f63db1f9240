"""The textbook degradation: bicubic reduction and nothing else, the baseline that real pictures do not follow."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .ops import Generators, check_sides


class BicubicDegradation:
    """Reduce as PIL's bicubic filter does (antialiased, a = -0.5)."""

    def degrade(self, hr: Tensor, scale: int, generator: Generators | None = None) -> Tensor:
        """HR (B, 3, H, W) in [0, 1] to LR (B, 3, H/scale, W/scale); `generator` is not needed.

        Raises:
            ConfigError: a size that does not divide by the scale; LR would lie beside HR.
        """
        return self.degrade_with_grain(hr, scale, generator)[0]

    def degrade_with_grain(self, hr: Tensor, scale: int, generator: Generators | None = None) -> tuple[Tensor, Tensor]:
        """`degrade`, and the noise that is in LR: none."""
        check_sides(hr, scale)
        size = [side // scale for side in hr.shape[-2:]]
        lr = F.interpolate(hr, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        return lr, torch.zeros_like(lr)
