"""A network under training, with its optimizer."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn


@dataclass
class Learner:
    """A network that is trained.

    Attributes:
        network: as Accelerate wraps it: the one to call, so that processes share its gradients.
        bare: the network itself: to be frozen, averaged and saved.
        optimizer: prepared by Accelerate.
        rate: the learning rate's peak.
        begins: the step of the stage from which it learns; its learning rate rises from there.
    """

    network: nn.Module
    bare: nn.Module
    optimizer: AcceleratedOptimizer
    rate: float
    begins: int = 0


def prepare(accelerator: Accelerator, *pairs: tuple[nn.Module, torch.optim.Optimizer]) -> list[Learner]:
    """Hand networks and their optimizers to Accelerate, in this order: it names the files of a checkpoint by it."""
    networks, optimizers = zip(*pairs, strict=True)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]  # before a checkpoint brings its own
    prepared = accelerator.prepare(*networks, *optimizers)
    wrapped = zip(prepared[: len(pairs)], prepared[len(pairs) :], rates, strict=True)
    return [Learner(network, accelerator.unwrap_model(network), *rest) for network, *rest in wrapped]
