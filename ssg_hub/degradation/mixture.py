"""Several degradations in one batch: each sample is made by one of them, chosen at random."""

import torch
from torch import Tensor

from .ops import Generators, uniform


class Mixture:
    """Chooses among degradations with equal chances.

    Args:
        parts: objects with `degrade(hr, scale, generator) -> lr`.
    """

    def __init__(self, parts: list):
        self.parts = parts

    def degrade(self, hr: Tensor, scale: int, generator: Generators) -> Tensor:
        """HR (B, 3, H, W) in [0, 1] to LR (B, 3, H/scale, W/scale); `generator` is one, or one per sample."""
        choice = uniform(0, len(self.parts), hr.shape[0], generator).long().clamp(max=len(self.parts) - 1)
        lr = hr.new_empty(*hr.shape[:2], *(side // scale for side in hr.shape[-2:]))
        for index, part in enumerate(self.parts):
            chosen = torch.nonzero(choice == index).flatten()
            if len(chosen):
                own = [generator[i] for i in chosen.tolist()] if isinstance(generator, list) else generator
                lr[chosen] = part.degrade(hr[chosen], scale, own)
        return lr
