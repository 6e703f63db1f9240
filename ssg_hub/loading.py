"""Loads a model or a guide by its name, for the command line, the page, training and evaluation.

A name is "embedded" or "large" (the checkpoints inside the package), a folder that `save_pretrained` wrote, a Hub id,
or, for a model, a file with the weights of a published generator (`.pth`, `.safetensors`).
"""

import contextlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, refuse_unknown
from .storage import BUILT_IN, EMBEDDED, LARGE, find_path, is_folder

if TYPE_CHECKING:
    from .model import SSGModel
    from .networks.guide import Guide
    from .plain_model import PlainModel

__all__ = [
    "BUILT_IN",
    "EMBEDDED",
    "LARGE",
    "is_weights_file",
    "load_guide",
    "load_model",
    "load_networks",
    "seek_model",
]
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHTS_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


def load_model(name: str | Path = EMBEDDED, **hub_options: Any) -> "SSGModel":
    """Load a model by its name, in evaluation mode.

    Args:
        name: "embedded" (fast), "large" (best quality, some sixteen times the time), a folder, a Hub id, or a file
            with a published generator's weights, which becomes a model without a guide.
        hub_options: `revision`, `token`, `local_files_only`, … as `SSGModel.from_pretrained` takes them; for a file
            with weights those of the Hub alone, which have no effect.

    Raises:
        CheckpointError: there is no model of this name, or it is damaged, unsafe, or of another kind.
        ConfigError: an unknown option.
        HubError: the Hub refused or is out of reach.

    >>> load_model("embedded").scale
    4
    """
    from .model import SSGModel
    from .storage.finding import HUB_OPTIONS

    if is_weights_file(name):
        refuse_unknown("load_model of a file with weights", hub_options, HUB_OPTIONS)
        smallest = SSGModel.from_components("compact", generator_config={"features": 1, "convs": 0})
        return smallest.float().load_generator(name)
    return SSGModel.from_pretrained(name, **hub_options)


def load_networks(name: str | Path = EMBEDDED, **hub_options: Any) -> "PlainModel":
    """Load a model for inference only, in a fraction of the time: no saving, no training, no diffusers.

    Args:
        name, hub_options: as for `load_model`; those of the Hub alone, without `torch_dtype` and `device_map`.

    Raises:
        CheckpointError, ConfigError, HubError: as `load_model`.

    >>> load_networks("embedded").scale
    4
    """
    from .plain_model import read_model, read_weights_file
    from .storage.finding import HUB_OPTIONS

    refuse_unknown("load_networks", hub_options, HUB_OPTIONS)
    return read_weights_file(name) if is_weights_file(name) else read_model(name, **hub_options)


def load_guide(name: str | Path = EMBEDDED, **hub_options: Any) -> "Guide":
    """Load a guide by its name, in evaluation mode: the guide of an SSGModel, or a transformers segmentation model.

    Args:
        name: "embedded", "large", a folder, or a Hub id.
        hub_options: as for `load_model`.

    Raises:
        ConfigError: it is neither, or an SSGModel without a guide.
        CheckpointError: it is missing or damaged.
        HubError: the Hub refused or is out of reach.

    >>> load_guide("embedded").labels[:3]
    ['sky', 'building', 'pole']
    """
    from .networks.guide import Guide

    if not _is_ssg_model(name, hub_options):
        return Guide.from_pretrained(name, **hub_options)
    guide = load_model(name, **hub_options).guide
    if guide is None:
        raise ConfigError(f"{name} is an SSGModel without a guide. Give one with a guide.")
    return guide


def seek_model(name: str | Path) -> None:
    """Fail before torch is imported where a model of the Hub is neither in the cache nor within reach.

    Every other name, right or wrong, is left to the loading.

    Raises:
        HubError: the Hub refused or is out of reach.
    """
    if find_path(name) is not None or is_weights_file(name) or not HUB_ID.fullmatch(str(name)):
        return
    from huggingface_hub.errors import EntryNotFoundError

    from .storage.hub import fetch_file

    with contextlib.suppress(EntryNotFoundError):
        fetch_file(str(name), "config.json")


def is_weights_file(name: str | Path) -> bool:
    """Whether a name is that of a file with a generator's weights, by its ending."""
    return not is_folder(name) and Path(name).suffix.lower() in WEIGHTS_SUFFIXES


def _is_ssg_model(name: str | Path, hub_options: dict) -> bool:
    from huggingface_hub.errors import EntryNotFoundError

    from .storage.finding import built_in_folder
    from .storage.hub import fetch_file

    if built_in_folder(name) is not None:
        return True
    folder = find_path(name)
    try:
        path = fetch_file(str(name), "config.json", **hub_options) if folder is None else folder / "config.json"
        return json.loads(path.read_text(encoding="utf-8")).get("_class_name") == "SSGModel"
    except (EntryNotFoundError, OSError, ValueError, AttributeError, RecursionError):
        return False  # for anything else, transformers has the better message
