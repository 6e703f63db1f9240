"""The torch engine: any device, any precision, any network."""

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from ...networks.guide import Guide
from ...networks.registry import Generator
from .base import Engine, Finish


class TorchEngine(Engine):
    """Runs the modules as they are, or copies of them where another device or precision is asked for."""

    name, title = "torch", "torch"

    def __init__(self, generator: Generator, guide: Guide | None, device: torch.device, dtype: torch.dtype):
        super().__init__(generator, guide, device, dtype)
        self._placed: dict[str, nn.Module] = {}

    def infer(self, network: str, tile: Tensor, finish: Finish) -> Tensor:
        tile = tile.contiguous(memory_format=torch.channels_last)  # as convolutions compute: no reordering
        with ticking(self.tracker.tick):
            return finish(self.module(network)(tile.to(self.device, self.dtype))).cpu().float()

    def in_float32(self) -> "TorchEngine":
        return TorchEngine(self.generator, self.guide, self.device, torch.float32)

    def free_memory(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def module(self, network: str) -> nn.Module:
        """The module where it computes."""
        if network not in self._placed:
            module = getattr(self, network)
            parameter = next(module.parameters(), None)
            if parameter is not None and (parameter.device, parameter.dtype) != (self.device, self.dtype):
                module = copy.deepcopy(module).to(self.device, self.dtype)
            self._placed[network] = module
        return self._placed[network]


@contextlib.contextmanager
def ticking(tick: Callable[[], None]) -> Iterator[None]:
    """Call `tick` before each layer that this thread computes inside."""
    mine = threading.get_ident()

    def call(module: nn.Module, inputs: tuple) -> None:
        if threading.get_ident() == mine:
            tick()

    hook = register_module_forward_pre_hook(call)
    try:
        yield
    finally:
        hook.remove()
