"""The weight of the guide loss, set by gradient norms instead of by hand; and how strong each loss pulls."""

import numpy as np
import torch
from torch import Tensor, nn

LOWEST, HIGHEST = 1e-4, 10.0  # clamp of the weight


class GradientBalance:
    """The weight of the guide loss from gradient norms at the last layer (as VQGAN's, Esser et al. 2021, eq. 7).

    weight = share * |gradient of the other losses| / |gradient of the guide loss|, clamped, refreshed every few steps.
    The gradients, not their norms, are averaged over the processes, so that every process has the weight that one
    process with the whole batch would have.

    Args:
        accelerator: of the run.
        last_layer: the parameter at which gradients are compared.
        share: how strong the guide's gradient is to be, relative to that of the other losses.
        fixed: a weight to use instead, never refreshed.
        every: refresh interval in steps.
    """

    def __init__(
        self,
        accelerator,
        last_layer: nn.Parameter,
        share: float = 0.5,
        fixed: float | None = None,
        every: int = 16,
    ):
        self.accelerator, self.last_layer, self.share = accelerator, last_layer, share
        self.every = every
        self.fixed, self.weight, self.refreshed = fixed, fixed, -1

    def state_dict(self) -> dict:
        return {"weight": self.weight, "refreshed": self.refreshed}

    def load_state_dict(self, state: dict) -> None:
        if self.fixed is None:  # a number in the config holds, whatever the run had before
            self.weight, self.refreshed = state["weight"], state["refreshed"]

    def __call__(self, others: Tensor, guide_loss: Tensor, step: int) -> float:
        """The weight for this step; both losses still need their graphs."""
        due = self.weight is None or step % self.every == 0
        if self.fixed is None and due and step != self.refreshed:
            norms = [self._norm(loss) for loss in (others, guide_loss)]
            ratio = self.share * norms[0] / max(norms[1], 1e-12)
            if np.isfinite(ratio):
                self.weight = float(min(max(ratio, LOWEST), HIGHEST))
            self.refreshed = step
        return LOWEST if self.weight is None else self.weight

    def norms(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """The norm of each loss's gradient at the last layer, by `gradient_NAME`; their graphs are kept."""
        return {f"gradient_{name}": self._norm(loss) for name, loss in losses.items()}

    def _norm(self, loss: Tensor) -> float:
        (gradient,) = torch.autograd.grad(loss, self.last_layer, retain_graph=True)
        return self.accelerator.reduce(gradient.float(), "mean").norm().item()
