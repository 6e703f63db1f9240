"""Community weights: read ESRGAN and Real-ESRGAN checkpoints, without running what they may contain."""

import pickle
import re
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError
from .registry import build_generator

NESTING = ("params_ema", "params", "state_dict", "generator")  # where trainers put the weights, the best first

# ESRGAN's first release numbered its layers; x4 only.
OLD_NAMES = [
    (r"^model\.0\.", "conv_first."),
    (r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3."),
    (r"^model\.1\.sub\.\d+\.(weight|bias)$", r"conv_body.\1"),
    (r"^model\.3\.", "conv_up1."),
    (r"^model\.6\.", "conv_up2."),
    (r"^model\.8\.", "conv_hr."),
    (r"^model\.10\.", "conv_last."),
]
# BasicSR before its renaming (also RealSR): trunk names in full.
MIDDLE_NAMES = [
    (r"^RRDB_trunk\.(\d+)\.RDB(\d)\.", r"body.\1.rdb\2."),
    (r"^trunk_conv\.", "conv_body."),
    (r"^upconv(\d)\.", r"conv_up\1."),
    (r"^HRconv\.", "conv_hr."),
]


def read_generator(path: str | Path) -> tuple[str, dict, dict[str, Tensor]]:
    """Read a generator's weights and infer its architecture from their shapes.

    Args:
        path: a `.pth`/`.pt` file (read with `weights_only=True`, so that a pickle cannot run code) or `.safetensors`.

    Returns:
        The generator type, its configuration, and its state dict (float32), ready for `build_generator`.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or not an RRDBNet or SRVGGNetCompact.
    """
    path = Path(path)
    state = _rename(_unnest(_read_file(path)))
    if "conv_first.weight" in state:
        generator_type, config = "rrdb", _infer_rrdb(state, path)
    elif "body.0.weight" in state and state["body.0.weight"].ndim == 4:
        generator_type, config = "compact", _infer_compact(state, path)
    else:
        raise CheckpointError(
            f"{path.name} holds {len(state)} tensors that are neither an RRDBNet nor a SRVGGNetCompact "
            f"(first names: {', '.join(list(state)[:3]) or 'none'}). Give an ESRGAN or Real-ESRGAN generator."
        )
    _check_fits(generator_type, config, state, path)
    return generator_type, config, {name: tensor.float() for name, tensor in state.items()}


def _read_file(path: Path) -> dict:
    if not path.is_file():
        raise CheckpointError(f"no weights file at {path}. Give the path of a .pth or .safetensors file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file ({error}). Download it again.") from error
    except pickle.UnpicklingError as error:
        # torch says "Weights only load failed" for what it refuses, and other words for what is no pickle at all
        if "weights only" in str(error).lower():
            raise CheckpointError(
                f"{path.name} is a pickle that holds more than tensors; loading it could run code, so it was refused. "
                "Ask its author for safetensors, or convert it in a sandbox that you trust."
            ) from error
        raise CheckpointError(f"{path.name} is not a PyTorch checkpoint. Download it again.") from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        raise CheckpointError(f"{path.name} is damaged or truncated ({error}). Download it again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} holds a {type(content).__name__}; a state dict of tensors is needed.")
    return content


def _unnest(content: dict) -> dict[str, Tensor]:
    for key in NESTING:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    if any(name.startswith("generator.") for name in content):  # a saved SSGModel: without its guide
        content = {name.removeprefix("generator."): content[name] for name in content if name.startswith("generator.")}
    return {name.removeprefix("module."): value for name, value in content.items() if isinstance(value, Tensor)}


def _rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if "model.0.weight" in state:
        rules = OLD_NAMES
    elif any(name.startswith("RRDB_trunk.") for name in state):
        rules = MIDDLE_NAMES
    else:
        return state
    return {_apply(rules, name): tensor for name, tensor in state.items()}


def _apply(rules: list[tuple[str, str]], name: str) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _infer_rrdb(state: dict[str, Tensor], path: Path) -> dict:
    features, channels = state["conv_first.weight"].shape[:2]
    scales = {3: 4, 12: 2, 48: 1}
    blocks = {int(match[1]) for name in state if (match := re.match(r"body\.(\d+)\.", name))}
    growth = state.get("body.0.rdb1.conv1.weight")
    if channels not in scales or growth is None:
        raise CheckpointError(
            f"{path.name} is an RRDBNet with {channels} input channels; only RGB networks can be used."
        )
    return {
        "features": features,
        "blocks": max(blocks) + 1,
        "growth": growth.shape[0],
        "scale": scales[channels],
    }


def _infer_compact(state: dict[str, Tensor], path: Path) -> dict:
    indices = sorted(int(name.split(".")[1]) for name in state if name.endswith(".weight"))
    last = state[f"body.{indices[-1]}.weight"]
    scale = round((last.shape[0] / 3) ** 0.5)
    if last.ndim != 4 or 3 * scale**2 != last.shape[0]:
        raise CheckpointError(
            f"{path.name} ends in {last.shape[0]} channels, which is not 3 x scale²; it is no RGB network."
        )
    convs = sum(state[f"body.{i}.weight"].ndim == 4 for i in indices) - 2
    return {"features": state["body.0.weight"].shape[0], "convs": convs, "scale": scale}


def _check_fits(generator_type: str, config: dict, state: dict[str, Tensor], path: Path) -> None:
    with torch.device("meta"):
        expected = build_generator(generator_type, config).state_dict()
    wrong = sorted(set(expected) ^ set(state))
    wrong += [name for name in expected if name in state and expected[name].shape != state[name].shape]
    if wrong:
        raise CheckpointError(
            f"{path.name} looks like {generator_type} {config} but {len(wrong)} of its tensors do not fit, "
            f"for instance {wrong[0]}. It is a variant of the network that cannot be used here."
        )
