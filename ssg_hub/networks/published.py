"""Published weights: read the files in which trainers leave a generator, without running what they may contain."""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from ..storage import expand_home
from .registry import build_generator, generators

# Where trainers put the weights: the key of a dict inside the file, the best first; then a prefix of their names.
NESTING = (
    "params_ema",
    "params-ema",
    "ema",
    "g_ema",
    "params",
    "generator",
    "net_g",
    "netG",
    "model",
    "network",
    "model_state_dict",
    "state_dict",
    "weights",
)
PREFIXES = ("module.", "_orig_mod.", "generator.", "net_g.", "netG.", "model.", "network.", "net.")
PLAIN = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
DEEPEST = 4  # wrappers around wrappers
WRITTEN_BY_TORCH = (b"PK", b"\x80")  # so files begin that torch.save wrote: an archive, or of old a bare pickle


def read_generator(path: str | Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Read a generator's weights and infer its architecture from their shapes.

    Args:
        path: a `.safetensors` file, or one of another name that `torch.save` wrote: it is read with
            `weights_only=True`, so that a pickle cannot run code.

    Returns:
        The generator type, its configuration, and its state dict (float32), ready for `build_generator`.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, or holds no weights of a generator known here.
    """
    path = Path(expand_home(str(path)))
    content = _read_file(path)
    try:
        found = _recognise(content)
        if found is None:
            raise CheckpointError(_say_what_it_is(content))
        generator_type, config, state = found
        _check_fits(generator_type, config, state)
        _check_numbers(state, path.stat().st_size)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path.name} cannot be used: {error}") from None
    return generator_type, config, {name: tensor.float() for name, tensor in state.items()}


def _read_file(path: Path) -> Mapping:
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


def _recognise(content: Mapping) -> tuple[str, dict[str, Any], dict[str, Tensor]] | None:
    for state in _candidates(content):
        for generator_type, cls in generators().items():
            found = cls.read_published(state)
            if found is not None:
                return generator_type, *found
    return None


def _candidates(content: Mapping, depth: int = 0) -> Iterator[dict[str, Tensor]]:
    """What the weights of a generator may be: what is nested in a dict, the dict itself, what shares a prefix."""
    if depth > DEEPEST:
        return
    nested = [key for key, value in content.items() if isinstance(value, Mapping)]
    for key in [*(key for key in NESTING if key in nested), *(key for key in nested if key not in NESTING)]:
        yield from _candidates(content[key], depth + 1)
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        return
    yield state
    for prefix in PREFIXES:
        if inner := {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}:
            yield from _candidates(inner, depth + 1)


def _say_what_it_is(content: Mapping) -> str:
    states = list(_candidates(content))
    largest = max(states, key=len, default={})
    titles = " or ".join(cls.title for cls in generators().values())
    return (
        f"it holds {len(largest)} tensors that are not those of a {titles} "
        f"(first names: {', '.join(list(largest)[:3]) or 'none'}). Give weights of one of these networks."
    )


def _check_fits(generator_type: str, config: dict[str, Any], state: dict[str, Tensor]) -> None:
    """Compare names and shapes with the network's, which is built without memory."""
    with torch.device("meta"):
        expected = build_generator(generator_type, config).state_dict()
    wrong = sorted(set(expected) ^ set(state))
    wrong += [name for name in expected if name in state and expected[name].shape != state[name].shape]
    if wrong:
        raise CheckpointError(
            f"it looks like {generator_type} {config} but {len(wrong)} of its tensors do not fit, "
            f"for instance {wrong[0]}. It is a variant of the network that cannot be used here."
        )


def _check_numbers(state: dict[str, Tensor], file_size: int) -> None:
    """Refuse what is no plain array of finite floats, or is larger than the file that it came from."""
    for name, tensor in state.items():
        if tensor.dtype not in PLAIN or tensor.layout != torch.strided or tensor.is_meta:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(f"{name} is {kind}, {tensor.layout}; plain floating-point weights are needed.")
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > 2 * file_size:
        raise CheckpointError("its tensors are larger than the file itself. Download it again.")
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{name} holds values that are not finite; its training failed. Use another checkpoint."
            )
