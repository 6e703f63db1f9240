"""Find the learned distances: LPIPS (AlexNet), which ranks models, and DISTS (VGG16), so that nothing is tuned to one.

Their heads are in the package. The two ImageNet networks that they read pictures with are not: they are taken from a
folder or the Hub, or from where other tools have left them on this machine.
"""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..errors import CheckpointError
from ..networks.perceptual import DISTS, VGG16_REPOSITORY
from ..storage import as_path
from .metrics import LPIPS

VARIABLE = "SSG_LPIPS"
DISTANCES: dict[str, Callable[[Path], nn.Module]] = {
    "lpips": LPIPS.from_files,
    "dists": lambda weights: DISTS(weights=weights),
}
NETWORKS = {"lpips": "AlexNet", "dists": "VGG16"}
FILES = {  # in a folder or repository; the first that is there
    "lpips": ("alexnet_features.safetensors",),
    "dists": ("vgg16_features.safetensors", "vgg16_features_fp16.safetensors"),
}
TORCH_FILES = {"lpips": "alexnet-owt-*.pth", "dists": "vgg16-*.pth"}  # torchvision's, in torch's cache


def find_distances(where: str | None = None) -> dict[str, nn.Module]:
    """Load LPIPS and DISTS, as far as their networks are found; nothing is downloaded unless asked for.

    Args:
        where: a folder or Hub id with `alexnet_features.safetensors` (for LPIPS), `vgg16_features.safetensors` (for
            DISTS), or both. None: the environment variable SSG_LPIPS; without it, torchvision's files in torch's cache,
            and VGG16 in the Hub's.

    Returns:
        "lpips" and "dists", those that were found -> distance (B,) of (sr, hr), (B, 3, H, W) in [0, 1].

    Raises:
        CheckpointError: the place given has neither network, or a damaged one.
        HubError: the Hub refused or was out of reach.
    """
    where = where or os.environ.get(VARIABLE)
    if not where:
        found = {name: _find_cached(name) for name in DISTANCES}
    else:
        found = {name: _find_in(where, FILES[name]) for name in DISTANCES}
        if not any(found.values()):
            names = " nor ".join(files[0] for files in FILES.values())
            raise CheckpointError(f"{where} has neither {names}: LPIPS and DISTS need one each. Give another place.")
    return {name: DISTANCES[name](path) for name, path in found.items() if path is not None}


def explain_missing(name: str) -> str:
    """One line on a distance that was not found: what it lacks, and where to put it."""
    return (
        f"{name.upper()} is not measured: no {NETWORKS[name]} here. Give --lpips FOLDER or HUB_ID with "
        f"{FILES[name][0]}, or set {VARIABLE}."
    )


def _find_in(where: str, names: tuple[str, ...]) -> Path | None:
    from huggingface_hub.errors import EntryNotFoundError

    from ..storage.hub import fetch_file

    if (folder := as_path(where)).is_dir():
        return next((path for path in (folder / name for name in names) if path.is_file()), None)
    for name in names:
        try:
            return Path(fetch_file(where, name))
        except EntryNotFoundError:
            continue
    return None


def _find_cached(distance: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    files = sorted(Path(torch.hub.get_dir(), "checkpoints").glob(TORCH_FILES[distance]))
    if distance == "dists":
        cached = try_to_load_from_cache(VGG16_REPOSITORY, "model.safetensors")
        files += [Path(cached)] if isinstance(cached, str) else []
    return files[0] if files else None
