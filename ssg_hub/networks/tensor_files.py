"""Files of tensors that others wrote: read without running what they may contain, and checked for plain numbers."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError
from .building import check_finite

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTERS = (torch.int64, torch.int32, torch.uint8)  # of norms, say
WRITTEN_BY_TORCH = (b"PK", b"\x80")  # so files begin that torch.save wrote: an archive, or of old a bare pickle


def read_tensors(path: str | Path, what: str) -> dict[str, Tensor]:
    """Read a file of tensors by their names, as float32.

    Args:
        path: of the file, in a form that `read_content` takes.
        what: the file's content, for messages.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, or holds other tensors than plain finite numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no {what} at {path}. Give the path of a .safetensors or .pt file.")
    try:
        tensors = {name: value for name, value in read_content(path).items() if isinstance(value, Tensor)}
        check_plain(tensors, path.stat().st_size, FLOATS + COUNTERS)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is not a readable file of {what}: {error}") from error
    return {name: tensor.detach().float() for name, tensor in tensors.items()}


def pick(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...], path: str | Path, wanted: str) -> Tensor:
    """One tensor of a file, of the shape that is needed. Raises CheckpointError, which says what is `wanted`."""
    if name not in tensors:
        raise CheckpointError(f"{path} has no layer {name}; {wanted} are needed.")
    if tensors[name].shape != shape:
        raise CheckpointError(f"{path}: {name} is {tuple(tensors[name].shape)}, not {shape}; {wanted} are needed.")
    return tensors[name]


def read_content(path: Path) -> Mapping:
    """What a `.safetensors` file, or one of another name that `torch.save` wrote, holds; on the CPU.

    Read with `weights_only=True`, so that a pickle cannot run code; what it holds may still be anything.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, or holds no dict.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}. Give the path of a .pth or .safetensors file.")
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        _refuse_other(path)
        _refuse_packed(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file ({error}). Download it again.") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} is a pickle that holds more than tensors; loading it could run code, so it was refused. "
            "Ask its author for safetensors, or convert it in a sandbox that you trust."
        ) from error
    except CheckpointError:
        raise
    except Exception as error:  # a reader of foreign bytes: it fails in every way there is
        detail = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{path.name} holds weights that are damaged ({detail}). Download it again.") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}; a state dict of tensors is needed.")
    return content


def _refuse_other(path: Path) -> None:
    """Refuse what torch never wrote, such as a web page under the name of the weights: it is no code."""
    with open(path, "rb") as file:
        start = file.read(12)
    if not start:
        raise CheckpointError(f"{path.name} is empty (0 bytes). Download it again.")
    if not start.startswith(WRITTEN_BY_TORCH):
        raise CheckpointError(
            f"{path.name} is not a PyTorch checkpoint: it starts with {start!r}. Download the file with the weights."
        )


def _refuse_packed(path: Path) -> None:
    """PyTorch stores tensors as they are; a packed file can fill the memory with what it expands to."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > 2 * path.stat().st_size + 2**20:
            raise CheckpointError(
                f"{path.name} is packed and would expand to {size / 2**30:.1f} GiB of weights. "
                "Load it where you trust it, and save it again with torch.save."
            )


def check_plain(state: Mapping[str, Tensor], file_size: int, dtypes: tuple[torch.dtype, ...] = FLOATS) -> None:
    """Refuse what is no plain array of finite numbers, or is larger than the file that it came from.

    Args:
        state: tensors by name, as `read_content` gives them.
        file_size: bytes.
        dtypes: those that are allowed.

    Raises:
        CheckpointError: one is sparse, without values, of another dtype, NaN or infinite; or all are too large.
    """
    for name, tensor in state.items():
        if tensor.dtype not in dtypes or tensor.layout != torch.strided or tensor.is_meta:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{name} is {kind}, {tensor.layout}; plain numbers are needed.")
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > 2 * file_size:
        raise CheckpointError("its tensors are larger than the file itself. Download it again.")
    check_finite(state, "the file")
