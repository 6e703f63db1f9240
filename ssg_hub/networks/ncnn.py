"""Published generators in ncnn's `.param` + `.bin` pairs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from .building import check_finite
from .registry import NcnnLayer, build_generator, generators

NCNN_FP16 = 0x01306B47  # ncnn's tag in front of weights that are stored in half precision
LARGEST_GRAPH = 2**22  # bytes of text; the largest generators have some tens of kB


def read_ncnn(param_path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Read a generator from ncnn's text graph and the `.bin` of the same name beside it.

    ncnn stores the layers in the order of execution, which is also the order of our state dict, so that no names are
    needed: only the widths, which are read from the graph.

    Returns:
        The generator type, its configuration, and its state dict (float32).

    Raises:
        CheckpointError: a file is missing or damaged, or is no ncnn graph of a generator that can be read so.
    """
    param_path = Path(param_path)
    bin_path = param_path.with_suffix(".bin")
    for path in (param_path, bin_path):
        if not path.is_file():
            raise CheckpointError(f"no ncnn file at {path}. Give the .param file, with its .bin beside it.")
    layers = _read_graph(param_path)
    generator_type, config = _recognise(layers, param_path.name)
    try:
        with torch.device("meta"):
            expected = build_generator(generator_type, config).state_dict()
    except ConfigError as error:
        raise CheckpointError(f"{param_path.name} cannot be used: {error}") from None
    tensors = _read_tensors(layers, bin_path)
    shapes = [tensor.shape for tensor in expected.values()]
    if [tensor.numel() for tensor in tensors] != [shape.numel() for shape in shapes]:
        raise CheckpointError(f"{param_path.name} does not have the layers of {generator_type} {config}.")
    state = {name: tensor.reshape(shape) for name, tensor, shape in zip(expected, tensors, shapes, strict=True)}
    check_finite(state, bin_path.name)
    return generator_type, config, state


def _read_graph(path: Path) -> list[tuple[NcnnLayer, bool]]:
    """The layers that have weights, each with whether it has biases."""
    layers = []
    try:
        if path.stat().st_size > LARGEST_GRAPH:
            raise ValueError("too long for a graph")
        for line in path.read_text(encoding="ascii").splitlines()[2:]:
            kind, *words = line.split() or [""]
            options = dict(word.split("=", 1) for word in words if "=" in word)
            if kind == "Convolution":
                layers.append((NcnnLayer(kind, int(options["0"]), int(options["6"])), options.get("5") == "1"))
            elif kind == "PReLU":
                layers.append((NcnnLayer(kind, int(options["0"]), 0), False))
            if layers and (min(layers[-1][0][1:]) < 0):
                raise ValueError("a negative size")
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{path.name} is no ncnn graph ({error}). Give the .param file of a generator.") from None
    return layers


def _recognise(layers: list[tuple[NcnnLayer, bool]], name: str) -> tuple[str, dict[str, Any]]:
    for generator_type, cls in generators().items():
        config = cls.read_layers([layer for layer, _ in layers])
        if config is not None:
            return generator_type, config
    raise CheckpointError(f"{name} is no graph of a generator that is known here. Give its .pth or .safetensors file.")


def _read_tensors(layers: list[tuple[NcnnLayer, bool]], path: Path) -> list[Tensor]:
    """Weights and biases in file order, flat."""
    data = path.read_bytes()
    offset, tensors = 0, []

    def take(count: int, dtype: type) -> Tensor:
        nonlocal offset
        size = count * np.dtype(dtype).itemsize
        if offset + size > len(data):
            raise CheckpointError(f"{path.name} ends before its last layer. Download it again.")
        values = np.frombuffer(data, dtype, count, offset).astype(np.float32)
        offset += (size + 3) // 4 * 4  # ncnn aligns to 4 bytes
        return torch.from_numpy(values)

    for (kind, outputs, weights), biased in layers:
        if kind == "PReLU":
            tensors.append(take(outputs, np.float32))
            continue
        tag = int.from_bytes(data[offset : offset + 4], "little")
        offset += 4
        if tag not in (0, NCNN_FP16):
            raise CheckpointError(f"{path.name} is quantised (tag {tag:#x}); fp16 or fp32 weights are needed.")
        tensors.append(take(weights, np.float16 if tag else np.float32))
        if biased:
            tensors.append(take(outputs, np.float32))
    return tensors
