"""What every degradation does: it makes LR from HR, and says which noise it put there."""

from abc import ABC, abstractmethod

from torch import Tensor

from .ops import Generators


class Degradation(ABC):
    """A way in which LR is made; all randomness comes from the generator."""

    def degrade(self, hr: Tensor, scale: int, generator: Generators) -> Tensor:
        """Make LR pictures.

        Args:
            hr: (B, 3, H, W), RGB in [0, 1]; H and W divisible by `scale`.
            scale: reduction from HR to LR.
            generator: one CPU generator, or one per sample.

        Returns:
            (B, 3, H/scale, W/scale) in [0, 1], registered to HR (centre-aligned).

        Raises:
            ConfigError: a scale that it cannot make, or a size that does not divide by it.
        """
        return self.degrade_with_grain(hr, scale, generator)[0]

    @abstractmethod
    def degrade_with_grain(self, hr: Tensor, scale: int, generator: Generators) -> tuple[Tensor, Tensor]:
        """`degrade`, and the noise in LR: the difference from the same LR without noise, both before compression.

        Returns:
            LR as `degrade` makes it, and its grain, both (B, 3, H/scale, W/scale).
        """
