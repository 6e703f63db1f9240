"""What a guide's configuration may hold; checked before transformers, which trusts everything, sees it."""

import math
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError

LARGEST = 100_000  # of any whole number: sizes, counts, ids
DEEPEST, MOST_VALUES = 12, 50_000
LARGEST_INPUT_SCALE = 8
# How and where a network is to run, and code or weights to fetch for it; not what it is.
NOT_KEPT = {
    "_attn_implementation",
    "_commit_hash",
    "_name_or_path",
    "attn_implementation",
    "auto_map",
    "dtype",
    "experts_implementation",
    "name_or_path",
    "quantization_config",
    "torch_dtype",
    "use_pretrained_backbone",
}


def check_guide_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check a guide's configuration, so that building from it needs neither network nor more memory than its weights.

    Args:
        config: as `Guide` takes it, of JSON values.

    Returns:
        A copy with integers as keys of `id2label`, its `label2id` to match, and without what says how to run.

    Raises:
        ConfigError: a value of a wrong type, size or range, or one that would have to be fetched.
    """
    if not isinstance(config, Mapping):
        raise ConfigError(f"guide_config is a {type(config).__name__}; a dict of JSON values is needed.")
    if not isinstance(config.get("model_type"), str):
        raise ConfigError(
            f"guide_config has model_type {config.get('model_type')!r:.60}; a name such as 'segformer' is needed."
        )
    checked = _check_values(dict(config), "guide_config", 0, [MOST_VALUES])
    for name in ("image_mean", "image_std"):
        _check_numbers(checked, name, (1e-6 if name == "image_std" else -1e3, 1e3), 3)
    _check_numbers(checked, "input_scale", (1e-3, LARGEST_INPUT_SCALE))
    _check_palette(checked.get("palette"))
    if checked.get("id2label") is not None:
        labels = read_labels(checked["id2label"])
        checked["id2label"] = dict(enumerate(labels))
        checked["label2id"] = {label: index for index, label in enumerate(labels)}
    return checked


def read_labels(id2label: Mapping) -> list[str]:
    """The labels in the order of their ids, which must be 0, 1, 2, …, as numbers or texts. Raises ConfigError."""
    try:
        by_id = {int(index): label for index, label in id2label.items()}
    except (AttributeError, TypeError, ValueError):
        raise ConfigError(
            f"the guide's id2label is {id2label!r:.60}; a dict like {{0: 'sky', 1: 'road'}} is needed."
        ) from None
    if not by_id or sorted(by_id) != list(range(len(by_id))):
        raise ConfigError(f"the guide's id2label must count 0, 1, 2, …; it has {sorted(by_id)[:5]}….")
    return [str(by_id[index]) for index in range(len(by_id))]


def _check_values(value: Any, name: str, depth: int, left: list[int]) -> Any:
    """Check all values below, and return them without NOT_KEPT; `left` counts how many more there may be."""
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        raise ConfigError(f"{name} is nested too deeply or has too many values. Get the config again.")
    if isinstance(value, Mapping):
        if not isinstance(value, dict) or any(not isinstance(key, (str, int)) for key in value):
            value = {str(key): entry for key, entry in value.items()}
        if isinstance(value.get("backbone"), str) and value.get("backbone_config") is None:
            raise ConfigError(
                f"{name} names a backbone, {value['backbone']!r:.60}, that would have to be fetched. "
                "Save the guide with a backbone_config in place of it."
            )
        return {
            key: _check_values(entry, f"{name}.{key!s:.40}", depth + 1, left)
            for key, entry in value.items()
            if key not in NOT_KEPT
        }
    if isinstance(value, (list, tuple)):
        return [_check_values(entry, name, depth + 1, left) for entry in value]
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ConfigError(f"{name} is {str(value)[:40]}; at most {LARGEST:,} is possible. Get the config again.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} is {value}; a finite number is needed. Get the config again.")
    if not isinstance(value, (int, float)):
        raise ConfigError(f"{name} is a {type(value).__name__}; JSON values are needed.")
    return value


def _check_numbers(config: dict, name: str, bounds: tuple[float, float], count: int | None = None) -> None:
    value = config.get(name)
    if name not in config:
        return
    numbers = value if count and isinstance(value, list) else [value]
    real = all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers)
    if not real or len(numbers) != (count or 1) or not all(bounds[0] <= n <= bounds[1] for n in numbers):
        what = f"{count} numbers" if count else "a number"
        raise ConfigError(f"guide_config has {name} {value!r:.60}; {what} from {bounds[0]:g} to {bounds[1]:g} needed.")


def _check_palette(palette: Any) -> None:
    if palette is None:
        return
    for color in palette if isinstance(palette, list) else [palette]:
        whole = isinstance(color, list) and all(type(part) is int and 0 <= part <= 255 for part in color)
        if not whole or len(color) != 3:
            raise ConfigError(
                f"the guide's palette has {color!r:.60}; RGB triples of whole numbers 0 to 255 are needed."
            )
