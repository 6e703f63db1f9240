"""A saved degradation bank: two files in a folder or in a Hub repository, alone or beside a model."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path

import torch
from huggingface_hub import CommitInfo
from huggingface_hub.errors import RemoteEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import ConfigError, HubError
from ..storage import hub

FORMAT_VERSION = 1
TENSORS = "degradation.safetensors"
CONFIG = "degradation.json"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
SETTINGS = {"scale", "generic_share", "random_grid", "noise_notes", "report"}
SHAPES = {  # N records, P patches, k kernel side
    "kernels": "N k k",
    "luma_steps": "N 8 8",
    "chroma_steps": "N 8 8",
    "levels": "N 3 16",
    "patches": "P 3 16 16",
    "owners": "P",
}
CARD = """---
library_name: ssg_hub
tags:
- degradation-bank
- super-resolution
---

# Degradation bank

How one camera blurs, adds noise and compresses, learnt by ssg-hub from its pictures alone. Train on it with
`degradation: {repo_id}`, or load it:

```python
from ssg_hub.degradation.bank import DegradationBank

bank = DegradationBank.load("{repo_id}")
lr = bank.degrade(hr, {scale}, torch.Generator().manual_seed(0))
```

```
{description}
```
"""


def write_bank(folder: Path, config: dict, tensors: dict[str, Tensor]) -> None:
    """Write both files, whole or not at all; other files in the folder stay.

    Raises:
        ConfigError: the folder cannot be written.
    """
    stage = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        save_file({name: t.contiguous() for name, t in tensors.items()}, stage / TENSORS, metadata={"format": "pt"})
        (stage / CONFIG).write_text(json.dumps({"format_version": FORMAT_VERSION, **config}, indent=2) + "\n")
        for name in (TENSORS, CONFIG):
            shutil.copymode(stage / CONFIG, stage / name)  # safetensors makes its files readable by their owner only
            os.replace(stage / name, folder / name)
    except OSError as error:
        raise ConfigError(
            f"the degradation bank could not be saved to {folder} ({error.strerror or error}). Make room, or choose a "
            "folder that can be written."
        ) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)


def find_bank(name: str | Path, revision: str | None, token: str | bool | None) -> Path:
    """The folder of a bank: itself, or where the files of a Hub repository were downloaded to.

    Raises:
        ConfigError: neither a folder with a bank nor a repository with one.
        HubError: the Hub refused or was out of reach.
    """
    folder = Path(name)
    if folder.is_dir() or isinstance(name, Path) or not HUB_ID.fullmatch(name):
        if not (folder / CONFIG).is_file() or not (folder / TENSORS).is_file():
            raise ConfigError(
                f"{name} is no degradation bank: there must be a folder with {CONFIG} and {TENSORS}. Make one with "
                "`ssg degradation estimate PICTURES -o FOLDER`, or give the id of a Hub repository that has one."
            )
        return folder
    try:
        folder = hub.fetch_file(name, CONFIG, revision=revision, token=token).parent
        hub.fetch_file(name, TENSORS, revision=folder.name, token=token)  # of the same commit
    except HubError as error:
        raise HubError(f"there is no folder {name}, and as a Hub repository: {error}") from None
    except RemoteEntryNotFoundError:
        raise ConfigError(
            f"the repository {name} holds no degradation bank ({CONFIG}, {TENSORS}). Check the id and the revision; "
            "there is no folder of that name either."
        ) from None
    return folder


def read_bank(folder: Path, shown: str) -> tuple[dict, dict[str, Tensor]]:
    """Config and tensors of a bank, checked.

    Raises:
        ConfigError: damaged, incomplete, or of another format.
    """
    try:
        config, tensors = json.loads((folder / CONFIG).read_text()), load_file(folder / TENSORS)
        version = config["format_version"]
    except Exception as error:
        raise ConfigError(
            f"the degradation bank {shown} is damaged ({error}). Estimate or download it again."
        ) from None
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"the degradation bank {shown} has format {version}; this release reads {FORMAT_VERSION}. "
            "Upgrade ssg-hub, or estimate the bank again."
        )
    missing = (SETTINGS - set(config)) | (set(SHAPES) - set(tensors))
    if missing:
        raise ConfigError(f"the degradation bank {shown} lacks {', '.join(sorted(missing))}. Estimate it again.")
    sizes: dict[str, int] = {}
    for name, pattern in SHAPES.items():
        if not _fits(list(tensors[name].shape), pattern.split(), sizes) or not torch.isfinite(tensors[name]).all():
            raise ConfigError(
                f"{name} of the degradation bank {shown} has shape {list(tensors[name].shape)}, or values that are not "
                f"finite; ({pattern}) is needed, N and P alike in all tensors. Estimate or download it again."
            )
    return config, tensors


def _fits(shape: list[int], pattern: list[str], sizes: dict[str, int]) -> bool:
    """Whether a shape follows a pattern of numbers and names; the names' first sizes are noted and hold from then."""
    if len(shape) != len(pattern) or min(shape) < 1:
        return False
    wanted = [
        int(entry) if entry.isdigit() else sizes.setdefault(entry, n) for n, entry in zip(shape, pattern, strict=True)
    ]
    return shape == wanted


def push_bank(
    repo_id: str,
    config: dict,
    tensors: dict[str, Tensor],
    description: str,
    private: bool | None,
    revision: str | None,
    token: str | bool | None,
) -> CommitInfo:
    """Add a bank to a repository as one commit, with a card where there is none. Raises HubError."""
    repo_id = hub.open_repo(repo_id, private=private, revision=revision, token=token)
    with tempfile.TemporaryDirectory() as folder:
        write_bank(Path(folder), config, tensors)
        if "README.md" not in hub.list_files(repo_id, revision, token):
            (Path(folder) / "README.md").write_text(
                CARD.format(repo_id=repo_id, scale=config["scale"], description=description)
            )
        return hub.push_folder(
            Path(folder), repo_id, token=token, revision=revision, commit_message="Upload degradation bank"
        )
