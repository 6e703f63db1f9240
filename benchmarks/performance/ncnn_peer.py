"""Our generators as ncnn runs them, written from their modules: the same weights in another program."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ssg_hub.networks.compact import SRVGGNetCompact
from ssg_hub.networks.rrdb import RESIDUAL_SCALE, RRDBNet

ADD, MULTIPLY, NEAREST, LEAKY_RELU = 0, 2, 1, 2


class Graph:
    """An ncnn network under construction: layers by lines of text, weights by bytes."""

    def __init__(self) -> None:
        self.layers: list[tuple[str, list[str], str, str]] = []  # type, inputs, output, parameters
        self.weights: list[np.ndarray] = []
        self.output = self.add("Input", [], "")

    def add(self, kind: str, inputs: list[str], parameters: str) -> str:
        """Append a layer; returns the name of what it puts out."""
        name = f"b{len(self.layers)}" if self.layers else "data"
        self.layers.append((kind, inputs, name, parameters))
        return name

    def convolve(self, layer: nn.Conv2d, source: str, leaky: bool = False) -> str:
        """A 3x3 convolution, with a leaky ReLU in it."""
        weight = layer.weight.detach().numpy()
        self.weights += [np.zeros(1, np.float32), weight.ravel(), layer.bias.detach().numpy()]  # 0: in float32
        activation = f" 9={LEAKY_RELU} -23310=1,2.0e-01" if leaky else ""
        return self.add("Convolution", [source], f"0={len(weight)} 1=3 4=1 5=1 6={weight.size}{activation}")

    def prelu(self, layer: nn.PReLU, source: str) -> str:
        self.weights.append(layer.weight.detach().numpy())
        return self.add("PReLU", [source], f"0={layer.weight.numel()}")

    def enlarge(self, source: str, times: int) -> str:
        return self.add("Interp", [source], f"0={NEAREST} 1={times:.1f} 2={times:.1f}")

    def add_scaled(self, source: str, residual: str, factor: float) -> str:
        scaled = self.add("BinaryOp", [residual], f"0={MULTIPLY} 1=1 2={factor:e}")
        return self.add("BinaryOp", [source, scaled], f"0={ADD}")

    def write(self, stem: Path) -> None:
        """Write stem.param and stem.bin; what several layers read goes through a Split, as ncnn wants it."""
        readers = Counter(name for _, inputs, _, _ in self.layers for name in inputs)
        lines, used, blobs = [], Counter(), 0
        for kind, inputs, output, parameters in self.layers:
            named = []
            for name in inputs:
                named.append(f"{name}_{used[name]}" if readers[name] > 1 else name)
                used[name] += 1
            lines.append(f"{kind} {output} {len(named)} 1 {' '.join([*named, output])} {parameters}".rstrip())
            blobs += 1
            if readers[output] > 1:
                copies = [f"{output}_{index}" for index in range(readers[output])]
                lines.append(f"Split split_{output} 1 {len(copies)} {output} {' '.join(copies)}")
                blobs += len(copies)
        stem.with_suffix(".param").write_text("\n".join(["7767517", f"{len(lines)} {blobs}", *lines]) + "\n")
        stem.with_suffix(".bin").write_bytes(b"".join(part.astype("<f4").tobytes() for part in self.weights))


def write_ncnn(generator: nn.Module, stem: Path) -> str:
    """Write a generator of scale 4; returns the name of its output."""
    graph = Graph()
    output = {SRVGGNetCompact: _compact, RRDBNet: _rrdb}[type(generator)](graph, generator)
    graph.write(stem)
    return output


def _compact(graph: Graph, generator: SRVGGNetCompact) -> str:
    x = graph.output
    for layer in generator.body:
        x = graph.convolve(layer, x) if isinstance(layer, nn.Conv2d) else graph.prelu(layer, x)
    x = graph.add("PixelShuffle", [x], f"0={generator.scale}")
    return graph.add("BinaryOp", [x, graph.enlarge(graph.output, generator.scale)], f"0={ADD}")


def _rrdb(graph: Graph, generator: RRDBNet) -> str:
    first = x = graph.convolve(generator.conv_first, graph.output)
    for block in generator.body:
        whole = x
        for dense in (block.rdb1, block.rdb2, block.rdb3):
            parts = [x]
            for layer in (dense.conv1, dense.conv2, dense.conv3, dense.conv4):
                seen = graph.add("Concat", list(parts), "0=0") if len(parts) > 1 else x
                parts.append(graph.convolve(layer, seen, leaky=True))
            last = graph.convolve(dense.conv5, graph.add("Concat", list(parts), "0=0"))
            x = graph.add_scaled(x, last, RESIDUAL_SCALE)
        x = graph.add_scaled(whole, x, RESIDUAL_SCALE)
    x = graph.add("BinaryOp", [first, graph.convolve(generator.conv_body, x)], f"0={ADD}")
    for layer in (generator.conv_up1, generator.conv_up2):
        x = graph.convolve(layer, graph.enlarge(x, 2), leaky=True)
    return graph.convolve(generator.conv_last, graph.convolve(generator.conv_hr, x, leaky=True))


class NcnnNetwork:
    """The generator in ncnn, in float32 on the CPU: (1, 3, h, w) → (1, 3, 4h, 4w)."""

    def __init__(self, generator: nn.Module, folder: Path, threads: int):
        import ncnn

        self._ncnn, self._net = ncnn, ncnn.Net()
        options = self._net.opt
        options.use_vulkan_compute, options.num_threads = False, threads
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
            setattr(options, name, False)
        self._output = write_ncnn(generator, folder / "net")
        self._net.load_param(str(folder / "net.param"))
        self._net.load_model(str(folder / "net.bin"))

    def __call__(self, tile: torch.Tensor) -> torch.Tensor:
        extractor = self._net.create_extractor()
        extractor.input("data", self._ncnn.Mat(np.ascontiguousarray(tile[0].numpy())).clone())
        status, output = extractor.extract(self._output)
        if status:
            raise RuntimeError(f"ncnn could not run the network (status {status})")
        return torch.from_numpy(np.array(output))[None]
