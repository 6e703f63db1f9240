"""The config of a saved model: read, and checked to be one of ours that this release understands."""

import json
from pathlib import Path

from ..errors import CheckpointError

FORMAT_VERSION = 1  # raised when an older release could no longer read what this one saves
CONFIG = "config.json"
LARGEST = 10 * 2**20  # bytes


def read_config(folder: Path, shown: str) -> dict:
    """Read a folder's config and check that it is one of ours that this release understands.

    Raises:
        CheckpointError: missing, not JSON, another library's, or newer.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{shown} has no {CONFIG}; it is no saved model. Give a folder that save_pretrained wrote."
        )
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"the {CONFIG} of {shown} is not JSON ({error}). Save or download it again.") from None
    if not isinstance(config, dict) or "generator_type" not in config:
        kind = (config.get("_class_name") or config.get("model_type")) if isinstance(config, dict) else None
        raise CheckpointError(
            f"{shown} is {f'a {kind}' if kind else 'a model of another library'}, not an SSGModel. "
            "A segmentation model goes into SSGModel.from_components(guide=…), ESRGAN weights into load_generator(…)."
        )
    check_format(config.get("format_version"), shown)
    if config.get("quantization_config") is not None:
        raise CheckpointError(
            f"the {CONFIG} of {shown} asks for quantised weights, which are not read here. Remove it."
        )
    return config


def check_format(version: object, shown: str) -> None:
    """Raise CheckpointError unless this release reads the given format version."""
    if type(version) is not int or version < 1:
        raise CheckpointError(f"{shown} has format_version {version!r:.60}; 1 to {FORMAT_VERSION} is needed.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{shown} has format version {version}, and this release of ssg-hub reads up to {FORMAT_VERSION}. "
            "Upgrade with `pip install -U ssg-hub`."
        )
