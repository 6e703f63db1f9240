"""Several degradations in one batch: each sample is made by one of them, chosen at random."""

from torch import Tensor

from .interface import Degradation
from .ops import Generators, uniform


class Mixture(Degradation):
    """Chooses among degradations with equal chances; one that is listed n times has n chances.

    Args:
        parts: what it chooses from.
    """

    def __init__(self, parts: list[Degradation]):
        self.parts = parts

    def degrade_with_grain(self, hr: Tensor, scale: int, generator: Generators) -> tuple[Tensor, Tensor]:
        choice = uniform(0, len(self.parts), hr.shape[0], generator).long().clamp(max=len(self.parts) - 1).tolist()
        lr, grain = (hr.new_empty(*hr.shape[:2], *(side // scale for side in hr.shape[-2:])) for _ in range(2))
        for part in {id(part): part for part in self.parts}.values():  # one that is listed twice works once
            chosen = [index for index, number in enumerate(choice) if self.parts[number] is part]
            if chosen:
                own = [generator[index] for index in chosen] if isinstance(generator, list) else generator
                lr[chosen], grain[chosen] = part.degrade_with_grain(hr[chosen], scale, own)
        return lr, grain
