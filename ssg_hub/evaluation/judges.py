"""Load what judges pictures: a guide, which names what it sees in them, and LPIPS, from wherever they are."""

import importlib.util
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import CheckpointError, ConfigError
from .metrics import LPIPS

if TYPE_CHECKING:
    from ..model import SSGModel
    from ..networks.guide import Guide

EMBEDDED = "embedded"
LPIPS_VARIABLE = "SSG_LPIPS"
LPIPS_FILES = ("alexnet_features.safetensors", "lpips_heads_v0.1.safetensors")
LPIPS_PACKAGES = {"lpips": "weights/v0.1/alex.pth", "torchmetrics": "functional/image/lpips_models/alex.pth"}


def load_model(name: str) -> "SSGModel":
    """The embedded model, or one from a folder or the Hub, in evaluation mode; raises as `SSGModel.from_pretrained`."""
    from ..model import SSGModel

    return SSGModel.from_pretrained(None if name == EMBEDDED else name).eval()


def load_guide(name: str) -> "Guide":
    """The guide of an SSGModel, or a transformers segmentation model; from a folder or the Hub.

    Args:
        name: "embedded", a folder, or a Hub id.

    Raises:
        ConfigError: it is neither, or an SSGModel without a guide.
        HubError, CheckpointError: it cannot be had, or is damaged.
    """
    from ..networks.guide import Guide

    if name == EMBEDDED or _is_ssg_model(name):
        guide = load_model(name).guide
        if guide is None:
            raise ConfigError(f"{name} is an SSGModel without a guide. Give one with a guide.")
        return guide.eval()
    try:
        return Guide.from_pretrained(name).eval()
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"no segmentation model at {name} ({reason}). Give a folder or a Hub id.") from error


def _is_ssg_model(name: str) -> bool:
    from huggingface_hub.errors import EntryNotFoundError

    from ..storage.hub import fetch_file

    try:
        path = Path(name, "config.json") if Path(name).is_dir() else fetch_file(name, "config.json")
        return json.loads(path.read_text()).get("_class_name") == "SSGModel"
    except (EntryNotFoundError, OSError, ValueError):
        return False  # whatever it is, transformers says it better


def find_lpips(where: str | None = None) -> LPIPS | None:
    """Load LPIPS from the place given, or from where other tools have left its weights on this machine.

    Args:
        where: a folder with `alexnet_features.safetensors` and `lpips_heads_v0.1.safetensors`, or a Hub id with the
            two. None: the environment variable SSG_LPIPS; without it, torchvision's AlexNet in torch's cache together
            with the heads in an installed lpips or torchmetrics package (neither is imported).

    Returns:
        The metric, or None where nothing is given and nothing found.

    Raises:
        CheckpointError, HubError: the place given has no such weights.
    """
    where = where or os.environ.get(LPIPS_VARIABLE)
    if where and Path(where).is_dir():
        return LPIPS.from_files(*(Path(where, name) for name in LPIPS_FILES))
    if where:
        return LPIPS.from_hub(where, *LPIPS_FILES)
    features = sorted(Path(torch.hub.get_dir(), "checkpoints").glob("alexnet-owt-*.pth"))
    heads = [path for path in map(_find_in_package, LPIPS_PACKAGES) if path is not None]
    return LPIPS.from_files(features[0], heads[0]) if features and heads else None


def _find_in_package(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / LPIPS_PACKAGES[package]
    return path if path is not None and path.is_file() else None
