"""From a model to an ONNX file that other programs run, checked against torch before it is kept."""

import copy
import importlib.util
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, ImageError, SSGError
from ..images.formats import check_target
from ..storage import as_path
from .building import evaluating

if TYPE_CHECKING:
    from ..model import SSGModel

PARTS = ("generator", "guide", "both")
OPSETS = range(11, 24)  # before, enlargement is another one; after, torch 2.13 has none. What it lacks it prints whole
OPSET = 17  # most runtimes support it
SIZES = ((64, 96), (101, 67), (65, 128))  # (h, w): traced at the first, compared at all
TOLERANCE = 1e-4  # from torch, relative to the largest value or 1; seen: 1e-7


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: the file.
        inputs, outputs: names, in order.
        difference: the largest from torch over all sizes tried, in units of the output.
        metadata: the metadata stored in the file.
    """

    path: Path
    inputs: list[str]
    outputs: list[str]
    difference: float
    metadata: dict[str, str]


def export_onnx(
    model: "SSGModel",
    path: str | os.PathLike,
    part: str = "generator",
    opset: int = OPSET,
    overwrite: bool = False,
    denoise: float = 1,
) -> Exported:
    """Write a model's networks as ONNX: pictures of any height and width, float32, RGB in [0, 1].

    The input is (batch, 3, height, width). Output `sr` is (batch, 3, s*height, s*width), not clamped; `logits` is
    (batch, classes, h, w). "guide" reads any picture; "both" gives `sr` and the guide's `logits` of it.

    Args:
        model: an SSGModel.
        path: a file name that ends in .onnx.
        part: "generator", "guide" or "both".
        opset: version of ONNX's operators.
        overwrite: replace a file that exists.
        denoise: of the generator, as for `upscale`.

    Raises:
        ConfigError: an unknown part or opset, a denoise strength that the model does not have, a model without a guide,
            or a package that is missing.
        ImageError: the file exists, or cannot be written.
        CheckpointError: a network that cannot be exported, or that ONNX Runtime does not compute as torch does.
    """
    path = as_path(path)
    _check_request(model, path, part, opset, overwrite)
    network, inputs, outputs = _network(model, part, denoise)
    try:
        with evaluating(network), tempfile.TemporaryDirectory(prefix=".ssg-export-", dir=path.parent) as folder:
            draft = Path(folder) / path.name
            with _refusals(opset):
                _trace(network, draft, inputs, outputs, opset)
                metadata = _describe(model, part, opset, draft)
                difference = _compare(network, draft, outputs)
            os.replace(draft, path)
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
    return Exported(path, inputs, outputs, difference, metadata)


class _Both(nn.Module):
    """Generator and guide in one graph."""

    def __init__(self, generator: nn.Module, guide: nn.Module):
        super().__init__()
        self.generator, self.guide = generator, guide

    def forward(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        sr = self.generator(lr)
        return sr, self.guide(sr.clamp(0, 1))


def _check_request(model: "SSGModel", path: Path, part: str, opset: int, overwrite: bool) -> None:
    if part not in PARTS:
        raise ConfigError(f"part is {part!r}; known are {', '.join(PARTS)}.")
    if opset not in OPSETS:
        raise ConfigError(
            f"opset is {opset}; {OPSETS[0]} to {OPSETS[-1]} can be exported, {OPSET} suits most programs."
        )
    if part != "generator" and model.guide is None:
        raise ConfigError("this model has no guide; only its generator can be exported. Use part='generator'.")
    if path.suffix.lower() != ".onnx":
        raise ConfigError(f"{path.name} does not end in .onnx. Give a name that does.")
    if missing := [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"to export, {' and '.join(missing)} must be installed: pip install 'ssg-hub[export]'.")
    check_target(path, overwrite)


def _network(model: "SSGModel", part: str, denoise: float) -> tuple[nn.Module, list[str], list[str]]:
    """The module of a part on the CPU in float32, and the names of its inputs and outputs."""
    network: nn.Module
    if part == "generator":
        network, inputs, outputs = model.generator_for(denoise), ["lr"], ["sr"]
    elif part == "guide":
        network, inputs, outputs = model.guide, ["image"], ["logits"]
    else:
        network, inputs, outputs = _Both(model.generator_for(denoise), model.guide), ["lr"], ["sr", "logits"]
    parameter = next(network.parameters())
    if (parameter.device.type, parameter.dtype) != ("cpu", torch.float32):
        network = copy.deepcopy(network).to("cpu", torch.float32)
    return network, inputs, outputs


@contextmanager
def _refusals(opset: int) -> Iterator[None]:
    """What torch, onnx and ONNX Runtime refuse inside is a CheckpointError: their own errors share no base."""
    try:
        yield
    except (SSGError, OSError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"this model cannot be exported with opset {opset} ({reason}). Try another opset."
        ) from error


def _trace(network: nn.Module, draft: Path, inputs: list[str], outputs: list[str], opset: int) -> None:
    axes = {name: {0: "batch", 2: f"{name}_height", 3: f"{name}_width"} for name in (*inputs, *outputs)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes that tracing might take as constants: the comparison tells
        torch.onnx.export(
            network,
            (torch.full((1, 3, *SIZES[0]), 0.5),),
            str(draft),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=opset,
            dynamo=False,
        )


def _describe(model: "SSGModel", part: str, opset: int, draft: Path) -> dict[str, str]:
    """Write into the file what it is, and check that it is valid ONNX."""
    import onnx

    from .. import __version__

    graph = onnx.load(draft)
    graph.producer_name, graph.producer_version = "ssg-hub", __version__
    metadata = {
        "part": part,
        "opset": str(opset),
        "input": "RGB, float32 in [0, 1], (batch, 3, height, width)",
        "license": model.config.license or "not stated",
        "note": "An upscaled picture is an estimate, not evidence.",
    }
    if part != "guide":
        metadata |= {"scale": str(model.scale), "generator": model.config.generator_type}
    if part != "generator":
        metadata |= {"labels": json.dumps(model.labels), "palette": json.dumps(model.palette)}
    for key, value in metadata.items():
        entry = graph.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(graph)
    onnx.save(graph, draft)
    return metadata


def _compare(network: nn.Module, draft: Path, outputs: list[str]) -> float:
    """The largest difference between ONNX Runtime and torch; raises CheckpointError where it is too large."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(draft), options, providers=["CPUExecutionProvider"])
    largest = 0.0
    for size in SIZES:
        picture = np.random.default_rng(0).random((1, 3, *size), dtype=np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(picture))
        found = session.run(None, {session.get_inputs()[0].name: picture})
        for name, one, other in zip(outputs, expected if len(outputs) > 1 else [expected], found, strict=True):
            one = one.numpy()
            bound = TOLERANCE * max(1.0, float(np.abs(one).max()))
            difference = float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")
            if not difference <= bound:
                raise CheckpointError(
                    f"for a picture of {size[1]}x{size[0]} the exported {name} differs from torch by {difference:.2g}; "
                    f"{bound:.2g} is allowed. This model cannot be exported faithfully; nothing was written."
                )
            largest = max(largest, difference)
    return largest
