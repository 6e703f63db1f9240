"""A saved degradation bank: two files in a folder or in a Hub repository, alone or beside a model."""

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import CommitInfo
from huggingface_hub.errors import RemoteEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import ConfigError, HubError
from ..storage import find_path, hub, is_folder

FORMAT_VERSION = 1
SCALES = (1, 2, 4)
TENSORS = "degradation.safetensors"
CONFIG = "degradation.json"
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
GET_ANOTHER = "Estimate or download it again."
LARGEST_CONFIG = 10 * 2**20  # bytes
LARGEST_KERNEL = 256  # HR pixels a side
SETTINGS = {"scale", "generic_share", "random_grid", "noise_notes", "report"}
FLOATS = {"F16", "BF16", "F32", "F64"}


class Wanted(NamedTuple):
    """What a tensor must be: its shape (N records, P patches, k kernel side, others free), dtypes, and bounds."""

    shape: str
    dtypes: set[str]
    low: float
    high: float


WANTED = {
    "kernels": Wanted("N k k", FLOATS, -1, 1),
    "luma_steps": Wanted("N 8 8", FLOATS, 0, 65535),
    "chroma_steps": Wanted("N 8 8", FLOATS, 0, 65535),
    "levels": Wanted("N 3 16", FLOATS, 0, 1),
    "patches": Wanted("P 3 16 16", FLOATS, -1000, 1000),
    "owners": Wanted("P", {"I64", "I32"}, -1, 2**31),
    "examples": Wanted("n 3 h w", {"U8"}, 0, 255),
}
OPTIONAL = {"examples"}  # banks of an earlier edition have none, and those on the Hub
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
        copies = {name: t.contiguous().clone() for name, t in tensors.items()}  # safetensors refuses shared memory
        save_file(copies, stage / TENSORS, metadata={"format": "pt"})
        (stage / CONFIG).write_text(json.dumps({"format_version": FORMAT_VERSION, **config}, indent=2) + "\n")
        for name in (TENSORS, CONFIG):
            shutil.copymode(stage / CONFIG, stage / name)  # safetensors makes its files readable by their owner only
            os.replace(stage / name, folder / name)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"the degradation bank could not be saved to {folder} ({reason}). Make room, or choose a folder that can "
            "be written."
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
    if isinstance(name, str) and HUB_ID.fullmatch(name) and not is_folder(name):
        return _fetch_bank(name, revision, token)
    folder = find_path(name)
    if folder is None or not all((folder / part).is_file() for part in (CONFIG, TENSORS)):
        raise ConfigError(
            f"{str(name) or 'an empty name':.200} is no degradation bank: there must be a folder with {CONFIG} and "
            f"{TENSORS}. Make one with `ssg degradation estimate PICTURES -o FOLDER`, or give the id of a Hub "
            "repository that has one."
        )
    return folder


def _fetch_bank(name: str, revision: str | None, token: str | bool | None) -> Path:
    """The folder to which the files of a repository were downloaded; errors as of `find_bank`."""
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
    """Config and tensors of a bank, checked: the tensors' headers before their content takes memory.

    Raises:
        ConfigError: damaged, incomplete, of another format, or with values that no camera gives.
    """
    config = _read_config(folder / CONFIG, shown)
    try:
        with safe_open(folder / TENSORS, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in set(file.keys()) & set(WANTED)}
            _check_headers({name: (part.get_dtype(), part.get_shape()) for name, part in parts.items()}, config, shown)
            tensors = {name: file.get_tensor(name) for name in parts}
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"the degradation bank {shown} is damaged ({error}). {GET_ANOTHER}") from None
    # in float32 before they are compared: half precision takes a bound beyond its range for infinity
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    _check_values(tensors, shown)
    return config, tensors


def _read_config(path: Path, shown: str) -> dict:
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"{CONFIG} has more than {LARGEST_CONFIG:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
        version = config["format_version"]
    except (ValueError, OSError, RecursionError, KeyError, TypeError) as error:
        raise ConfigError(f"the degradation bank {shown} is damaged ({error!r:.200}). {GET_ANOTHER}") from None
    if version != FORMAT_VERSION:
        raise ConfigError(
            f"the degradation bank {shown} has format {version!r:.40}; this release reads {FORMAT_VERSION}. "
            "Upgrade ssg-hub, or estimate the bank again."
        )
    if missing := SETTINGS - set(config):
        raise ConfigError(f"the degradation bank {shown} lacks {', '.join(sorted(missing))}. Estimate it again.")
    share, report = config["generic_share"], config["report"]
    for name, fits, need in (
        ("scale", type(config["scale"]) is int and config["scale"] in SCALES, "1, 2 or 4"),
        ("generic_share", type(share) in (int, float) and 0 <= share <= 1, "a number from 0 to 1"),
        ("random_grid", isinstance(config["random_grid"], bool), "true or false"),
        ("noise_notes", _is_texts(config["noise_notes"]), "a list of sentences"),
        ("report", isinstance(report, dict) and _is_texts(report.get("notes", [])), "a dict, its notes sentences"),
    ):
        if not fits:
            raise ConfigError(
                f"{name} of the degradation bank {shown} is {config[name]!r:.60}; {need} is needed. {GET_ANOTHER}"
            )
    return config


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


def _check_headers(found: dict[str, tuple[str, list[int]]], config: dict, shown: str) -> None:
    if missing := set(WANTED) - OPTIONAL - set(found):
        raise ConfigError(f"the degradation bank {shown} lacks {', '.join(sorted(missing))}. Estimate it again.")
    sizes: dict[str, int] = {}
    for name, wanted in WANTED.items():
        dtype, shape = found.get(name, (None, []))
        if dtype is None:
            continue
        if dtype not in wanted.dtypes or not _fits(shape, wanted.shape.split(), sizes):
            raise ConfigError(
                f"{name} of the degradation bank {shown} has shape {shape}, {dtype}; ({wanted.shape}) of "
                f"{' or '.join(sorted(wanted.dtypes))} is needed, N and P alike in all tensors. {GET_ANOTHER}"
            )
    side, scale = sizes["k"], config["scale"]
    if not scale <= side <= LARGEST_KERNEL or (side - scale) % 2:
        raise ConfigError(
            f"the kernels of the degradation bank {shown} are {side} px wide, which cannot be centred for scale "
            f"{scale}, or is above {LARGEST_KERNEL}. {GET_ANOTHER}"
        )


def _check_values(tensors: dict[str, Tensor], shown: str) -> None:
    for name, tensor in tensors.items():
        low, high = WANTED[name].low, WANTED[name].high
        if name == "owners":
            high = len(tensors["kernels"]) - 1
        if not ((tensor >= low) & (tensor <= high)).all():  # false for NaN too
            raise ConfigError(
                f"{name} of the degradation bank {shown} holds values that are not finite, or not from {low:g} to "
                f"{high:g}. {GET_ANOTHER}"
            )
    if (tensors["kernels"].sum((1, 2)) - 1).abs().max() > 0.01:
        raise ConfigError(f"a kernel of the degradation bank {shown} does not sum to 1. {GET_ANOTHER}")


def _fits(shape: list[int], pattern: list[str], sizes: dict[str, int]) -> bool:
    """Whether a shape follows a pattern of numbers and names; the names' first sizes are noted and hold from then."""
    if len(shape) != len(pattern):
        return False
    sides = list(zip(shape, pattern, strict=True))
    if any(side < 1 and entry.isupper() for side, entry in sides):
        return False
    return all(side == (int(e) if e.isdecimal() else sizes.setdefault(e, side)) for side, e in sides)


def push_bank(
    repo_id: str,
    config: dict,
    tensors: dict[str, Tensor],
    description: str,
    private: bool | None,
    revision: str | None,
    token: str | bool | None,
) -> CommitInfo:
    """Add a bank to a repository as one commit, with a card where there is none.

    Raises:
        HubError: the Hub refused or was out of reach.
        ConfigError: a name that no repository can have, or the folder for temporary files is full.
    """
    hub.check_id(repo_id)
    with tempfile.TemporaryDirectory() as folder:
        write_bank(Path(folder), config, tensors)  # first: no repository is made for what cannot be saved
        repo_id = hub.open_repo(repo_id, private=private, revision=revision, token=token)
        if "README.md" not in hub.list_files(repo_id, revision, token):
            (Path(folder) / "README.md").write_text(
                CARD.format(repo_id=repo_id, scale=config["scale"], description=description), encoding="utf-8"
            )
        return hub.push_folder(
            Path(folder), repo_id, token=token, revision=revision, commit_message="Upload degradation bank"
        )
