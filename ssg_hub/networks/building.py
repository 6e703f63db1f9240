"""Building networks from configurations that somebody else wrote: without memory, bounded, one at a time."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from ..errors import CheckpointError, ConfigError

# diffusers and transformers change torch for the whole process while they build or load a network (its initialisers,
# how it registers parameters, its default dtype); two threads that load at once must not see each other's changes.
ONE_AT_A_TIME = threading.RLock()
HOOKED = "_output_capturing_hooks_installed"  # transformers' note in a network that it has put its hooks into
MOST_LAYERS = 10_000  # parameters and submodules; the largest guides have some thousands
Networks = TypeVar("Networks")  # one, or a tuple of several


def sketch(build: Callable[[], Networks]) -> Networks:
    """Build networks on the "meta" device: their names, shapes and types, without memory for their weights.

    Raises:
        ConfigError: they have more than MOST_LAYERS parts; and whatever `build` raises.
    """
    with ONE_AT_A_TIME, torch.device("meta"), _counting():
        return build()


@contextmanager
def on_cpu() -> Iterator[None]:
    """New tensors are on the CPU inside, whatever `torch.set_default_device` says."""
    with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
        yield


@contextmanager
def as_usual() -> Iterator[None]:
    """New tensors are float32 and on the CPU inside, whatever torch's defaults were set to."""
    default = torch.get_default_dtype()
    if default == torch.float32:
        with on_cpu():
            yield
        return
    with ONE_AT_A_TIME, on_cpu():
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


@contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[None]:
    """Evaluation mode inside, and outside again what each submodule was in."""
    training = [part for module in modules if module is not None for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def is_of_transformers(hook: Callable) -> bool:
    """Whether transformers put this hook into a network itself, at the first pass, to give its hidden states."""
    return getattr(hook, "__module__", "").startswith("transformers.")


def first_odd(weights: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> str | None:
    """The first name, by the alphabet, that only one of two state dicts has, or that has two shapes; None for none."""
    shapes = ({(name, tensor.shape) for name, tensor in tensors.items()} for tensors in (weights, wanted))
    return min(set.symmetric_difference(*shapes), default=(None, None))[0]


def check_finite(weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Raise CheckpointError where a weight is NaN or infinite: pictures would come out black, or not at all."""
    for key, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.is_meta and not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"the weights of {name} hold values that are not finite, first in {key}: their training failed. "
                "Use other weights."
            )


@contextmanager
def _counting() -> Iterator[None]:
    thread, count = threading.get_ident(), 0

    def count_one(module: nn.Module, name: str, part: object) -> None:
        nonlocal count
        if threading.get_ident() == thread:
            count += 1
            if count > MOST_LAYERS:
                raise ConfigError(
                    f"the network has more than {MOST_LAYERS:,} layers and parameters. Correct its sizes."
                )

    hooks = [
        torch_module.register_module_module_registration_hook(count_one),
        torch_module.register_module_parameter_registration_hook(count_one),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
