"""Published weights: finds a generator in the files in which trainers leave one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from ..storage import expand_home
from .registry import build_generator, generators
from .tensor_files import check_plain, read_content

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
DEEPEST = 4  # wrappers around wrappers


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
    content = read_content(path)
    try:
        found = _recognise(content)
        if found is None:
            raise CheckpointError(_say_what_it_is(content))
        generator_type, config, state = found
        _check_fits(generator_type, config, state)
        check_plain(state, path.stat().st_size)
    except (CheckpointError, ConfigError) as error:
        raise CheckpointError(f"{path.name} cannot be used: {error}") from None
    return generator_type, config, {name: tensor.float() for name, tensor in state.items()}


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
