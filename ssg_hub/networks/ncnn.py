"""Published generators in ncnn's `.param` + `.bin` pairs, and pruning of an RRDBNet.

Pruning keeps some of an RRDBNet's blocks. The residual trunk survives it well enough to be a warm start: a few minutes
of training bring back what was lost, at a fraction of the cost of the full network.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from .registry import build_generator

NCNN_FP16 = 0x01306B47  # ncnn's tag in front of weights that are stored in half precision


def read_ncnn(param_path: str | Path) -> tuple[str, dict, dict[str, Tensor]]:
    """Read an RRDBNet or SRVGGNetCompact from ncnn's text graph and the `.bin` of the same name beside it.

    ncnn stores the layers in the order of execution, which is also the order of our state dict, so that no names are
    needed: only the widths, which are read from the graph.

    Returns:
        The generator type, its configuration, and its state dict (float32).

    Raises:
        CheckpointError: a file is missing, or is no ncnn graph of one of the two networks.
    """
    param_path = Path(param_path)
    bin_path = param_path.with_suffix(".bin")
    for path in (param_path, bin_path):
        if not path.is_file():
            raise CheckpointError(f"no ncnn file at {path}. Give the .param file, with its .bin beside it.")
    layers = [line.split() for line in param_path.read_text().splitlines()[2:] if line.strip()]
    tensors = _read_ncnn_tensors(layers, bin_path)
    generator_type, config = _infer_ncnn(layers, tensors, param_path)
    with torch.device("meta"):
        expected = build_generator(generator_type, config).state_dict()
    shapes = [tensor.shape for tensor in expected.values()]
    if [tensor.numel() for tensor in tensors] != [shape.numel() for shape in shapes]:
        raise CheckpointError(f"{param_path.name} does not have the layers of {generator_type} {config}.")
    state = {name: tensor.reshape(shape) for name, tensor, shape in zip(expected, tensors, shapes, strict=True)}
    return generator_type, config, state


def _read_ncnn_tensors(layers: list[list[str]], bin_path: Path) -> list[Tensor]:
    """Weights and biases in file order, flat."""
    data = bin_path.read_bytes()
    offset, tensors = 0, []

    def take(count: int, dtype: type) -> Tensor:
        nonlocal offset
        size = count * np.dtype(dtype).itemsize
        if offset + size > len(data):
            raise CheckpointError(f"{bin_path.name} ends before its last layer. Download it again.")
        values = np.frombuffer(data, dtype, count, offset).astype(np.float32)
        offset += (size + 3) // 4 * 4  # ncnn aligns to 4 bytes
        return torch.from_numpy(values)

    for kind, options in ((layer[0], dict(part.split("=") for part in layer if "=" in part)) for layer in layers):
        if kind == "Convolution":
            tag = int.from_bytes(data[offset : offset + 4], "little")
            offset += 4
            if tag not in (0, NCNN_FP16):
                raise CheckpointError(f"{bin_path.name} is quantised (tag {tag:#x}); fp16 or fp32 weights are needed.")
            tensors.append(take(int(options["6"]), np.float16 if tag else np.float32))
            if options.get("5") == "1":
                tensors.append(take(int(options["0"]), np.float32))
        elif kind == "PReLU":
            tensors.append(take(int(options["0"]), np.float32))
    return tensors


def _infer_ncnn(layers: list[list[str]], tensors: list[Tensor], path: Path) -> tuple[str, dict]:
    kinds = [layer[0] for layer in layers]
    widths = [int(part[2:]) for layer in layers if layer[0] == "Convolution" for part in layer if part.startswith("0=")]
    if not widths:
        raise CheckpointError(f"{path.name} has no convolution; it is no generator.")
    if "PReLU" in kinds:
        scale = round((widths[-1] / 3) ** 0.5)
        return "compact", {"features": widths[0], "convs": len(widths) - 2, "scale": scale}
    channels = tensors[0].numel() // (9 * widths[0])
    scale = {3: 4, 12: 2, 48: 1}.get(channels)
    if scale is None or len(widths) < 21:
        raise CheckpointError(f"{path.name} is neither an RRDBNet nor a SRVGGNetCompact.")
    blocks = (len(widths) - 6) // 15
    return "rrdb", {"features": widths[0], "blocks": blocks, "growth": widths[1], "scale": scale}


def keep_blocks(config: dict, state: dict[str, Tensor], kept: list[int]) -> tuple[dict, dict[str, Tensor]]:
    """Keep only the RRDBs with the given indices, in that order, renumbered from 0.

    Raises:
        ConfigError: an index that the network does not have.
    """
    if bad := [index for index in kept if not 0 <= index < config["blocks"]]:
        raise ConfigError(f"block {bad[0]} asked for, but the network has blocks 0 to {config['blocks'] - 1}.")
    pruned = {name: tensor for name, tensor in state.items() if not name.startswith("body.")}
    for new, old in enumerate(kept):
        prefix = f"body.{old}."
        pruned |= {f"body.{new}.{n.removeprefix(prefix)}": t for n, t in state.items() if n.startswith(prefix)}
    return {**config, "blocks": len(kept)}, pruned
