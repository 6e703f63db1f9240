"""A compact generator in 8-bit integers: what is stored of it, and the network that computes as the integers do.

The weights lie on a grid of 8 bits, a step for each output channel; the input of each convolution on one of 256 levels
with a zero among them. A file belongs to one set of weights, whose hash it holds: with any other it is not used.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import CheckpointError
from ..storage.weights_files import INT8
from .compact import SRVGGNetCompact
from .registry import Generator

LEVELS, MOST = 256, 127  # levels of an input; the largest step of a weight, to each side of 0
# what is raised where the file, or the JSON in its header, is not as `pack` makes it: Infinity is no whole number
DAMAGED = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class Layer:
    """A convolution.

    Args:
        weight: (out, in, 3, 3) float32; on the grid where the layer is quantised.
        bias: (out,).
        step: (out,) of the weight's grid; None where the layer computes in float32.
        scale, zero: of the input's levels: value = (level - zero) * scale.
    """

    weight: Tensor
    bias: Tensor
    step: Tensor | None = None
    scale: float = 1.0
    zero: int = 0

    def quantise_input(self, x: Tensor) -> Tensor:
        """The input (B, in, h, w) on its levels; as it is where the layer computes in float32."""
        if self.step is None:
            return x
        return x.div(self.scale).round_().add_(self.zero).clamp_(0, LEVELS - 1).sub_(self.zero).mul_(self.scale)


@dataclass(frozen=True, eq=False)
class Int8:
    """The layers of a generator in order, the hash of the weights that they were made from, and what was measured."""

    source: str
    layers: list[Layer]
    facts: dict = field(default_factory=dict)

    def fits(self, generator: nn.Module) -> bool:
        """Whether it was made from this generator's present weights."""
        return isinstance(generator, SRVGGNetCompact) and hash_weights(generator) == self.source


class Int8Compact(Generator):
    """A generator that computes in float32 what the integers give: for measuring, and for engines to convert.

    Args:
        generator: the one that it was made from.
        int8: its layers.
    """

    OPTIONS = SRVGGNetCompact.OPTIONS
    title = "SRVGGNetCompact in int8"

    def __init__(self, generator: Generator, int8: Int8):
        super().__init__(**generator.options)
        self.plain = SRVGGNetCompact(**generator.options)
        self.plain.load_state_dict(generator.state_dict())
        self.layers = int8.layers
        convs = [layer for layer in self.plain.body if isinstance(layer, nn.Conv2d)]
        for conv, layer in zip(convs, int8.layers, strict=True):
            conv.weight.data, conv.bias.data = layer.weight.clone(), layer.bias.clone()
        self.grid = [(layer.scale, layer.zero) for layer in int8.layers if layer.step is not None]
        self.eval().requires_grad_(False)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, grid={self.grid}"

    def forward(self, lr: Tensor) -> Tensor:
        x, layers = lr, iter(self.layers)
        for part in self.plain.body:
            x = part(next(layers).quantise_input(x) if isinstance(part, nn.Conv2d) else x)
        return F.pixel_shuffle(x, self.scale) + F.interpolate(lr, scale_factor=self.scale, mode="nearest")

    @property
    def last_layer(self) -> nn.Parameter:
        return self.plain.last_layer

    @property
    def context(self) -> int:
        return self.plain.context


def hash_weights(generator: nn.Module) -> str:
    """SHA-256 of a network's weights in float32, by name."""
    digest = hashlib.sha256()
    for name, tensor in generator.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy())
    return digest.hexdigest()


def pack(int8: Int8) -> bytes:
    """The content of a file; integers as such, layers in float32 as float32."""
    tensors, levels = {}, {}
    for number, layer in enumerate(int8.layers):
        weight = layer.weight
        if layer.step is not None:
            weight = (weight / layer.step.view(-1, 1, 1, 1)).round().to(torch.int8)
            tensors[f"{number}.step"] = layer.step.contiguous()
            levels[str(number)] = [layer.scale, layer.zero]
        tensors |= {f"{number}.weight": weight.contiguous(), f"{number}.bias": layer.bias.contiguous()}
    metadata = {"source": int8.source, "levels": json.dumps(levels), "facts": json.dumps(int8.facts)}
    return save(tensors, {"format": "pt", **metadata})


def read_int8(path: Path, generator: nn.Module) -> Int8:
    """Read a file that `pack` made, for a generator whose shapes it must have.

    Raises:
        CheckpointError: damaged, or of another network.
    """
    shapes = [tuple(part.weight.shape) for part in generator.modules() if isinstance(part, nn.Conv2d)]
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            levels, layers = json.loads(metadata["levels"]), []
            for number, shape in enumerate(shapes):
                weight, bias = file.get_tensor(f"{number}.weight"), file.get_tensor(f"{number}.bias").float()
                step = file.get_tensor(f"{number}.step").float() if str(number) in levels else None
                widths = [bias.shape] if step is None else [bias.shape, step.shape]
                if tuple(weight.shape) != shape or any(width != shape[:1] for width in widths):
                    raise ValueError(f"layer {number} has other shapes")
                weight = weight.float() if step is None else weight.float() * step.view(-1, 1, 1, 1)
                scale, zero = levels.get(str(number), (1.0, 0))
                if not (0 < float(scale) < 1e6 and 0 <= int(zero) < LEVELS):
                    raise ValueError(f"layer {number} has impossible levels")
                if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
                    raise ValueError(f"layer {number} holds values that are not finite")
                layers.append(Layer(weight, bias, step, float(scale), int(zero)))
            return Int8(metadata["source"], layers, json.loads(metadata["facts"]))
    except DAMAGED as error:
        raise CheckpointError(
            f"{path} is damaged or of another model ({error}). Make it again with `ssg quantize`."
        ) from None


def attach(generator: nn.Module, folder: Path) -> None:
    """Let a generator know of the int8 beside its weights, if there is one made from them."""
    path = folder / INT8
    if isinstance(generator, SRVGGNetCompact) and path.is_file():
        generator.int8 = read_int8(path, generator)


def pack_attached(generator: nn.Module) -> bytes | None:
    """The file for a generator's integers; None where it has none of its present weights."""
    found = getattr(generator, "int8", None)
    return pack(found) if found is not None and found.fits(generator) else None
