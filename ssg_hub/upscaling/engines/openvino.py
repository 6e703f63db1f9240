"""The OpenVINO engine: the fastest way through a network on a CPU."""

from functools import cached_property

import torch
from torch import Tensor, nn

from ...networks.guide import Guide
from ...networks.int8 import Int8, Int8Compact
from ...networks.registry import Generator
from ...processes.forking import is_forked
from . import compiled
from .base import SMALLEST_SEEN, Engine, Finish
from .torch import TorchEngine

DTYPES = (torch.float32, torch.bfloat16)
# (h, w) at which a converted network is compared with torch: odd, and of another shape than the first
EXAMPLES = {
    "generator": [(24, 20), (17, 31)],
    "guide": [(SMALLEST_SEEN, SMALLEST_SEEN + 32), (SMALLEST_SEEN + 37, SMALLEST_SEEN + 3)],
}


class OpenVINOEngine(Engine):
    """Runs what OpenVINO converts, and leaves to torch what it refuses: the notes say so."""

    name, title = "openvino", "OpenVINO"

    @classmethod
    def reason_against(cls, generator: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        if device.type != "cpu":
            return f"runs on the CPU, not on {device}"
        if dtype not in DTYPES:
            return f"does not compute in {str(dtype).removeprefix('torch.')}"
        if not isinstance(generator, Generator):
            return f"runs the generators of ssg_hub.networks, not a {type(generator).__name__}"
        if is_forked():
            return "does not run in a process that was forked from one with a model"
        if not compiled.is_installed():
            return "is not installed (pip install openvino)"
        if dtype == torch.bfloat16 and not compiled.has_bfloat16():
            return "finds no bfloat16 in this CPU"
        return None

    def __init__(self, generator: Generator, guide: Guide | None, device: torch.device, dtype: torch.dtype):
        super().__init__(generator, guide, device, dtype)
        self._torch = TorchEngine(generator, guide, device, dtype)
        self._source = TorchEngine(generator, guide, device, torch.float32)
        self._networks: dict[str, compiled.CompiledNetwork | None] = {}

    @property
    def precision(self) -> str:
        return "int8" if self._int8 is not None else super().precision

    @cached_property
    def _int8(self) -> Int8 | None:
        """The generator's integers, where they may be used, and are of its present weights."""
        found = getattr(self.generator, "int8", None)
        usable = found is not None and self.allows_int8 and self.dtype == torch.float32 and compiled.has_int8()
        return found if usable and not compiled.is_altered(self.generator) and found.fits(self.generator) else None

    def infer(self, network: str, tile: Tensor, finish: Finish) -> Tensor:
        if network not in self._networks:
            with self.tracker.preparing():
                self._networks[network] = self._compile(network)
        run = self._networks[network]
        if run is None:
            self._torch.tracker = self.tracker
            return self._torch.infer(network, tile, finish)
        return finish(run(tile, self.tracker.tick))

    def in_float32(self) -> "OpenVINOEngine":
        return OpenVINOEngine(self.generator, self.guide, self.device, torch.float32)

    def _compile(self, network: str) -> compiled.CompiledNetwork | None:
        if network == "generator" and self._int8 is not None:
            try:
                return compiled.compile_network(Int8Compact(self.generator, self._int8), self.dtype, EXAMPLES[network])
            except compiled.Refused as refusal:
                self.notes.append(f"OpenVINO cannot run the generator in int8 ({refusal}); it ran in float32.")
                self._int8 = None
        try:
            return compiled.compile_network(self._source.module(network), self.dtype, EXAMPLES[network])
        except compiled.Refused as refusal:
            self.notes.append(f"OpenVINO cannot run the {network} ({refusal}); torch ran it.")
            if network == "generator":
                self.name = "torch"
            return None
