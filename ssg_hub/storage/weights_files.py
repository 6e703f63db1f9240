"""The files that hold a saved model's weights: their names, by variant, and the index where they are in shards."""

import json
import re
from pathlib import Path

from ..errors import CheckpointError, ConfigError

WEIGHTS = "diffusion_pytorch_model"  # the names begin so
INT8 = "generator_int8.safetensors"  # the generator in 8-bit integers, where a model has it
LARGEST_INDEX = 10 * 2**20  # bytes
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")  # a name without a folder
VARIANT = re.compile(r"\w+")
SHARD_SIZE = re.compile(r"\s*(\d*\.?\d+)\s*[KMGT]B\s*", re.IGNORECASE)  # what huggingface_hub takes


def weights_names(variant: str | None) -> tuple[str, str]:
    """The names of the weights as one file, and of the index when they are in shards."""
    suffix = f".{variant}" if variant else ""
    return f"{WEIGHTS}{suffix}.safetensors", f"{WEIGHTS}.safetensors.index{suffix}.json"


def patterns_of(variant: str | None) -> list[str]:
    """Glob patterns of all files that hold a variant's weights, in whatever form."""
    shards = f"{WEIGHTS}{f'.{variant}' if variant else ''}-*-of-*.safetensors"
    return [*weights_names(variant), shards, *([] if variant else [INT8])]


def list_weights(folder: Path, variant: str | None, shown: str) -> list[str]:
    """The names of the files with the weights: one, or shards, which diffusers prefers, too.

    Raises:
        CheckpointError: one of them is missing, or the index is damaged.
    """
    single, index = weights_names(variant)
    names = sorted(set(read_index(folder / index, shown).values())) if (folder / index).is_file() else [single]
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"the weights of {shown} are incomplete: {name} is missing. Get it again.")
    return names


def read_index(path: Path, shown: str) -> dict[str, str]:
    """Which shard holds each tensor; shards lie beside the index. Raises CheckpointError where it is damaged."""
    try:
        if path.stat().st_size > LARGEST_INDEX:
            raise ValueError
        listed = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not listed or not all(SHARD.fullmatch(name) for name in listed.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path.name} of {shown} is damaged. Save or download the model again.") from None
    return listed


def check_variant(variant: object) -> None:
    """Raise ConfigError unless this is None or can be a part of a file's name: "fp16"."""
    if variant is not None and not (isinstance(variant, str) and VARIANT.fullmatch(variant)):
        raise ConfigError(f"variant is {variant!r:.60}; it must be letters and digits, such as 'fp16', or None.")


def check_shard_size(size: object) -> None:
    """Raise ConfigError unless this is a number of bytes above 0, or a text such as "2GB"."""
    match = SHARD_SIZE.fullmatch(size) if isinstance(size, str) else None
    amount = float(match[1]) if match else size
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not amount > 0:
        raise ConfigError(
            f"max_shard_size is {size!r:.60}; it must be a number of bytes above 0, or a text such as '500MB' or '2GB'."
        )
