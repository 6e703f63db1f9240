"""The network alone: our engines and peers on the same weights and tile, round by round, and the machine's ceiling."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.performance.ncnn_peer import NcnnNetwork
from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.int8 import Int8, Int8Compact
from ssg_hub.quantization.fit import fit_int8
from ssg_hub.upscaling.engines import compiled

Run = Callable[[torch.Tensor], torch.Tensor]
Size = tuple[int, int]  # (h, w) of the LR tile
EXAMPLES = [(24, 20), (17, 31)]


def measure_engines(generator: nn.Module, size: Size, rounds: int, compile: bool = False) -> dict[str, dict]:
    """Time each engine once a round, one after the other, so that drift of the machine affects all of them equally.

    Args:
        generator: float32 on the CPU.
        size: of the tile.
        rounds: how often.
        compile: also torch.compile, which takes minutes to start for a deep network.

    Returns:
        By engine: "seconds" (median), "all", "start" (seconds before the first tile), "difference" from eager torch;
        or "failed" with the reason.
    """
    tile = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs, found = {}, {}
        for name, make in _makers(generator, folder, compile).items():
            began = time.perf_counter()
            try:
                run = make()
                output = run(tile)
            except Exception as error:  # a peer that is not installed, or cannot run here
                found[name] = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"}
                continue
            runs[name] = run
            found[name] = {"start": time.perf_counter() - began, "all": [], "output": output}
        for _ in range(rounds):
            for name, run in runs.items():
                began = time.perf_counter()
                run(tile)
                found[name]["all"].append(time.perf_counter() - began)
    expected = found["torch, eager"]["output"]
    for entry in found.values():
        if "all" in entry:
            entry["seconds"] = median(entry["all"])
            entry["difference"] = float((entry.pop("output") - expected).abs().max())
            entry["start"] = max(0.0, entry["start"] - entry["seconds"])
    return found


def _makers(generator: nn.Module, folder: Path, compile: bool) -> dict[str, Callable[[], Run]]:
    def channels_last() -> Run:
        return lambda tile: generator(tile.contiguous(memory_format=torch.channels_last))

    makers = {
        "torch, eager": lambda: generator,  # as spandrel and most programs run it
        "torch, channels last (our torch engine)": channels_last,
        "ncnn": lambda: NcnnNetwork(generator, folder, torch.get_num_threads()),
        "OpenVINO, float32 (our default)": lambda: compiled.compile_network(generator, torch.float32, EXAMPLES),
    }
    if isinstance(generator, SRVGGNetCompact):
        int8 = int8_of(generator)
        name = f"OpenVINO, int8 in {sum(layer.step is not None for layer in int8.layers)} of {len(int8.layers)} layers"
        name += " (our default)" if has_int8(generator) else " (not shipped: it misses its gates)"
        rounded = Int8Compact(generator, int8)
        makers[name] = lambda: compiled.compile_network(rounded, torch.float32, EXAMPLES)
    if compile:
        makers["torch.compile"] = lambda: torch.compile(generator, dynamic=False)
    if compiled.has_bfloat16():
        makers["OpenVINO, bfloat16"] = lambda: compiled.compile_network(generator, torch.bfloat16, EXAMPLES)
    return makers


def has_int8(generator: nn.Module) -> bool:
    """Whether a generator comes with integers of its weights."""
    return getattr(generator, "int8", None) is not None and generator.int8.fits(generator)


def int8_of(generator: SRVGGNetCompact) -> Int8:
    """The generator's own integers, or, to see their speed, some for all layers but the first and the last."""
    if has_int8(generator):
        return generator.int8
    last = sum(isinstance(part, nn.Conv2d) for part in generator.body) - 1
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return fit_int8(generator, [noise], {0, last})


def count_operations(generator: nn.Module, size: Size) -> float:
    """Floating point operations of a tile's convolutions: two for each multiplication with its addition."""
    total = 0

    def count(layer: nn.Conv2d, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * layer.weight[0].numel() * output.numel()

    hooks = [layer.register_forward_hook(count) for layer in generator.modules() if isinstance(layer, nn.Conv2d)]
    with torch.inference_mode():
        generator(torch.zeros(1, 3, 24, 32))
    for hook in hooks:
        hook.remove()
    return total * size[0] * size[1] / (24 * 32)


def measure_ceiling(rounds: int) -> float:
    """The most float32 operations a second that a large 3x3 convolution reaches here, in torch or in OpenVINO."""
    best = 0.0
    for channels, side in ((64, 256), (128, 192), (256, 96)):
        layer = nn.Conv2d(channels, channels, 3, padding=1).eval()
        operations = 2 * layer.weight.numel() * side**2
        tile = torch.rand(1, channels, side, side)
        picture = torch.rand(1, 3, side, side)
        with torch.inference_mode():
            last = layer.to(memory_format=torch.channels_last)
            runs = [lambda x=tile, run=last: run(x.contiguous(memory_format=torch.channels_last))]
            wide = _Repeated(channels).eval()  # enough layers that the entry does not count
            entry = compiled.compile_network(wide, torch.float32, [(24, 20)])
            for run, work in ((runs[0], operations), (lambda x=picture, run=entry: run(x), operations * wide.times)):
                run()
                for _ in range(rounds):
                    began = time.perf_counter()
                    run()
                    best = max(best, work / (time.perf_counter() - began))
    return best


class _Repeated(nn.Module):
    """Many equal convolutions in a row."""

    times = 12

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(self.times)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(F.relu(self.first(x)))
