"""The weights of a saved model: compared with the network before any is read, and then read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError
from .weights_files import list_weights, read_index, weights_names

FLOATS, COUNTERS = {"F32", "F16", "BF16", "F64"}, {"I64", "I32", "U8", "I8", "I16", "BOOL"}


def check_weights(folder: Path, variant: str | None, expected: Mapping[str, torch.Tensor], shown: str) -> None:
    """Compare names, types and shapes in the headers of the weights with the network's, before any weight is read.

    Args:
        folder, variant, shown: the saved model, which of its weights, and the name to call it by.
        expected: the network's state dict; tensors on the "meta" device will do.

    Raises:
        CheckpointError: a file is damaged or truncated, or tensors are missing, unexpected, or of another kind.
    """
    found = _read_headers(folder, variant, shown)
    for names, what in (
        (set(expected) - set(found), "lack"),
        (set(found) - set(expected), "have, beyond what the config asks for,"),
    ):
        if keys := sorted(names):
            count = f"{len(keys)} tensor{'s' * (len(keys) > 1)}"
            raise CheckpointError(
                f"the weights of {shown} {what} {count}, for instance {keys[0]:.100}. "
                "Weights and config must be of one model: save it again, or get both from one revision."
            )
    for name, (dtype, shape) in found.items():
        wanted = expected[name]
        if shape != list(wanted.shape) or dtype not in (FLOATS if wanted.is_floating_point() else COUNTERS):
            raise CheckpointError(
                f"the weights of {shown} do not fit its config ({name} expected shape {list(wanted.shape)}, "
                f"{wanted.dtype}; got {shape}, {dtype}). Get both again."
            )


def read_weights(folder: Path, variant: str | None, prefix: str, shown: str) -> dict[str, torch.Tensor]:
    """A variant's tensors whose names begin with `prefix`, without it, in float32 and in memory of their own.

    Raises:
        CheckpointError: a file is missing, damaged or truncated.
    """
    found = {}
    for name in list_weights(folder, variant, shown):
        with _reading(name, shown), safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  (it is no dict)
                if key.startswith(prefix):
                    tensor = file.get_tensor(key)
                    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
                    found[key.removeprefix(prefix)] = tensor.to(dtype, copy=True)
    return found


def own_memory(model: torch.nn.Module) -> None:
    """Copy the weights out of the mapped file: there they are unaligned, so that results differ in the last bit."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def _read_headers(folder: Path, variant: str | None, shown: str) -> dict[str, tuple[str, list[int]]]:
    """The type and the shape of every tensor; a file must have a sound header and the length that this announces."""
    found: dict[str, tuple[str, list[int]]] = {}
    for name in list_weights(folder, variant, shown):
        with _reading(name, shown), safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  (it is no dict)
                part = file.get_slice(key)
                found[key] = (part.get_dtype(), part.get_shape())
    _, index = weights_names(variant)
    if (folder / index).is_file() and set(read_index(folder / index, shown)) != set(found):
        raise CheckpointError(f"{index} of {shown} does not list what its shards hold. Get all of them again.")
    return found


@contextmanager
def _reading(name: str, shown: str) -> Iterator[None]:
    """What goes wrong inside is a CheckpointError about this file."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{name} of {shown} is damaged or truncated ({error}). Save or download the model again."
        ) from None
