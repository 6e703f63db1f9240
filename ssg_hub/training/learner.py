"""A network under training, with its optimizer, and what the processes that train it must have in common."""

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
        dropped: how many updates in a row had a gradient that is not finite, in this process.
    """

    network: nn.Module
    bare: nn.Module
    optimizer: AcceleratedOptimizer
    rate: float
    begins: int = 0
    dropped: int = 0


def prepare(accelerator: Accelerator, *pairs: tuple[nn.Module, torch.optim.Optimizer]) -> list[Learner]:
    """Hand networks and their optimizers to Accelerate, in this order: it names the files of a checkpoint by it."""
    networks, optimizers = zip(*pairs, strict=True)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]  # before a checkpoint brings its own
    prepared = accelerator.prepare(*networks, *optimizers)
    wrapped = zip(prepared[: len(pairs)], prepared[len(pairs) :], rates, strict=True)
    return [Learner(network, accelerator.unwrap_model(network), *rest) for network, *rest in wrapped]


@torch.no_grad()
def average_norms(network: nn.Module, accelerator: Accelerator) -> None:
    """Give all processes the mean of their batch norms' running statistics; to be asked by all of them.

    DDP shares gradients alone. Each process' statistics are of its own pictures, and a checkpoint holds those of the
    first: without this, every process would read on with another network, and a resumed run with other ones again.
    """
    if accelerator.num_processes == 1:
        return
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var) if tensor is not None]
    if not kept:
        return
    means = accelerator.reduce(torch.cat([tensor.float() for tensor in kept]), "mean")
    for tensor, mean in zip(kept, means.split([len(tensor) for tensor in kept]), strict=True):
        tensor.copy_(mean)
