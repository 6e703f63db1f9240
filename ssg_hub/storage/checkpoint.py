"""The saved folder: finds a model, checks that it is complete and ours, and replaces it in one step."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..errors import CheckpointError, ConfigError
from . import BUILT_IN, EMBEDDED, find_path

FORMAT_VERSION = 1  # raised when an older release could no longer read what this one saves
PRETRAINED = Path(__file__).parents[1] / "pretrained"
CONFIG, CARD, WEIGHTS = "config.json", "README.md", "diffusion_pytorch_model"
INT8 = "generator_int8.safetensors"  # the generator in 8-bit integers, where a model has it
LARGEST_CONFIG = 10 * 2**20  # bytes
FLOATS, COUNTERS = {"F32", "F16", "BF16", "F64"}, {"I64", "I32", "U8", "I8", "I16", "BOOL"}
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")  # a name without a folder
VARIANT = re.compile(r"\w+")
SHARD_SIZE = re.compile(r"\s*(\d*\.?\d+)\s*[KMGT]B\s*", re.IGNORECASE)  # what huggingface_hub takes
HUB_OPTIONS = ("revision", "variant", "token", "cache_dir", "force_download", "local_files_only")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def open_checkpoint(name: str | Path | None, variant: str | None, revision: str | None, **options) -> tuple[str, Path]:
    """Find a saved model, downloading it where needed, and check that all of its files are there.

    Args:
        name: a folder, a Hub id, or, for a checkpoint inside the package, its name in BUILT_IN; None is "embedded".
        variant: which weights, for instance "fp16".
        revision: on the Hub.
        options: `token`, `cache_dir`, `force_download`, `local_files_only`.

    Returns:
        The name to call it by, and its folder.

    Raises:
        CheckpointError: there is no model, or it is damaged, a pickle, another library's, or from a newer release.
        HubError: see `ssg_hub.storage.hub`.
        ConfigError: a name that no variant can have.
    """
    check_variant(variant)
    folder = _find_folder(name)
    if folder is not None:
        shown = f"the {name or EMBEDDED} checkpoint" if built_in_folder(name or EMBEDDED) else str(name)
        read_config(folder, shown)
        _check_listed((path.name for path in folder.iterdir() if path.is_file()), variant, shown)
    else:
        shown = str(name)
        folder = _fetch(shown, variant, revision, options)
    return shown, folder


def built_in_folder(name: str | Path) -> Path | None:
    """Where a checkpoint inside the package lies, whether it is there or not; None for another name."""
    return PRETRAINED / BUILT_IN[name] if isinstance(name, str) and name in BUILT_IN else None


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
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"it has more than {LARGEST_CONFIG:,} bytes")
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
        raise CheckpointError(f"{shown} has format_version {version!r}; 1 to {FORMAT_VERSION} is needed.")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{shown} has format version {version}, and this release of ssg-hub reads up to {FORMAT_VERSION}. "
            "Upgrade with `pip install -U ssg-hub`."
        )


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


def weights_names(variant: str | None) -> tuple[str, str]:
    """The names of the weights as one file, and of the index when they are in shards."""
    suffix = f".{variant}" if variant else ""
    return f"{WEIGHTS}{suffix}.safetensors", f"{WEIGHTS}.safetensors.index{suffix}.json"


def shard_pattern(variant: str | None) -> str:
    """Glob pattern of the shards' names."""
    return f"{WEIGHTS}{f'.{variant}' if variant else ''}-*-of-*.safetensors"


def patterns_of(variant: str | None) -> list[str]:
    """Glob patterns of all files that hold a variant's weights, in whatever form."""
    return [*weights_names(variant), shard_pattern(variant), *([] if variant else [INT8])]


def check_weights(folder: Path, variant: str | None, expected: Mapping[str, torch.Tensor], shown: str) -> None:
    """Compare names, types and shapes in the headers of the weights with the network's, before any weight is read.

    Args:
        folder, variant, shown: the saved model, which of its weights, and the name to call it by.
        expected: the network's state dict; tensors on the "meta" device will do.

    Raises:
        CheckpointError: a file is damaged or truncated, or tensors are missing, unexpected, or of another kind.
    """
    found = _read_headers(folder, variant, shown)
    for names, what in (
        (set(expected) - set(found), "lack"),
        (set(found) - set(expected), "have, beyond what the config asks for,"),
    ):
        if keys := sorted(names):
            count = f"{len(keys)} tensor{'s' * (len(keys) > 1)}"
            raise CheckpointError(
                f"the weights of {shown} {what} {count}, for instance {keys[0]:.100}. "
                "Weights and config must be of one model: save it again, or get both from one revision."
            )
    for name, (dtype, shape) in found.items():
        wanted = expected[name]
        if shape != list(wanted.shape) or dtype not in (FLOATS if wanted.is_floating_point() else COUNTERS):
            raise CheckpointError(
                f"the weights of {shown} do not fit its config ({name} expected shape {list(wanted.shape)}, "
                f"{wanted.dtype}; got {shape}, {dtype}). Get both again."
            )


def read_weights(folder: Path, variant: str | None, prefix: str, shown: str) -> dict[str, torch.Tensor]:
    """A variant's tensors whose names begin with `prefix`, without it, in float32 and in memory of their own.

    Raises:
        CheckpointError: a file is missing, damaged or truncated.
    """
    found = {}
    for name in _weights_files(folder, variant, shown):
        with _reading(name, shown), safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  (it is no dict)
                if key.startswith(prefix):
                    tensor = file.get_tensor(key)
                    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
                    found[key.removeprefix(prefix)] = tensor.to(dtype, copy=True)
    return found


def own_memory(model: torch.nn.Module) -> None:
    """Copy the weights out of the mapped file: there they are unaligned, so that results differ in the last bit."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


@contextmanager
def replacing(folder: Path, variant: str | None) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` when the block ends well; the config last.

    Until then the folder is as it was, so that an interrupted save leaves no half model. Older weights of the same
    variant go, and integers that were made from them.

    Raises:
        CheckpointError: the folder cannot be written, the message says in what state it is; or it holds a config or a
            README of something else.
    """
    if folder.is_file():
        raise CheckpointError(f"{folder} is a file; a folder is needed to save a model. Choose another name.")
    existed, stage = folder.exists(), None
    left = "what was there before is untouched" if existed else "nothing was left behind"
    try:
        check_replaceable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        yield stage
        files = [path for path in stage.rglob("*") if path.is_file()]
        for path in sorted(files, key=lambda path: path.name == CONFIG):
            target = folder / path.relative_to(stage)
            target.parent.mkdir(exist_ok=True)
            shutil.copymode(stage / CONFIG, path)  # safetensors makes its files readable by their owner only
            os.replace(path, target)
            left = "it holds new files beside old ones, so save it again"
        _remove_old_weights(folder, variant, {path.name for path in files})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"the model could not be saved to {folder} ({error}). Make room or choose a folder that can be written; "
            f"{left}."
        ) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
        if not existed:
            with suppress(OSError):  # not empty: the save succeeded
                folder.rmdir()


def check_replaceable(folder: Path) -> None:
    """Refuse a folder where a save would replace another library's config, or a README of the user's.

    Raises:
        CheckpointError: it holds one of them.
    """
    for name, sign in ((CONFIG, b"generator_type"), (CARD, b"ssg_hub")):
        path = folder / name
        if path.is_file() and sign not in path.read_bytes():
            raise CheckpointError(
                f"{folder} has a {name} that is not of an SSGModel, and saving would replace it. Choose another "
                f"folder, or move that file."
            )


def _find_folder(name: str | Path | None) -> Path | None:
    """The folder that a name means; None when it is a Hub id."""
    name = EMBEDDED if name is None else name
    if (folder := built_in_folder(name)) is not None:
        if not (folder / CONFIG).is_file():
            raise CheckpointError(
                f"this installation has no {name} checkpoint. Reinstall ssg-hub, or name a folder or a Hub id."
            )
        return folder
    path = find_path(name)
    if path is not None and path.is_dir():
        return path
    if path is not None:
        raise CheckpointError(
            f"{name} is a file; a folder or a Hub id is needed. "
            "Weights in a file that ends in .pth, .pt, .ckpt or .safetensors go into --model, ssg_hub.load_model(…), "
            "or a model's load_generator(…)."
        )
    if isinstance(name, Path) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        place = name or "with an empty name"
        raise CheckpointError(f"there is no folder {place}. Give a folder that save_pretrained wrote, or a Hub id.")
    return None


def _fetch(repo_id: str, variant: str | None, revision: str | None, options: dict) -> Path:
    """Bring config and weights into the cache; returns the snapshot folder."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    from . import hub

    try:
        folder = hub.fetch_file(repo_id, CONFIG, revision=revision, **options).parent
    except RemoteEntryNotFoundError:
        raise CheckpointError(f"{repo_id} has no {CONFIG}; it is no saved model. Check id and revision.") from None
    read_config(folder, repo_id)
    single, index = weights_names(variant)

    def fetch(name: str) -> Path:
        return hub.fetch_file(repo_id, name, revision=folder.name, **options)  # the folder is named after the commit

    try:
        whole = not (folder / index).exists() and fetch(single)
    except RemoteEntryNotFoundError:
        _check_listed(hub.list_files(repo_id, folder.name, options.get("token")), variant, repo_id)
        whole = None
    for shard in () if whole else sorted(set(_read_index(fetch(index), repo_id).values())):
        try:
            fetch(shard)
        except RemoteEntryNotFoundError:
            raise CheckpointError(f"the weights of {repo_id} are incomplete: {shard} is missing.") from None
    hub.fetch_extra(repo_id, INT8, revision=folder.name, **options)
    return folder


def _check_listed(files: Iterable[str], variant: str | None, shown: str) -> None:
    """Raise CheckpointError, saying what is there instead, unless the weights are among the files."""
    files = list(files)
    if set(weights_names(variant)) & set(files):
        return
    ours = re.compile(rf"{WEIGHTS}(?:\.(\w+))?(?:-\d+-of-\d+)?\.safetensors")
    found = {match[1]: name for name in sorted(files) if (match := ours.fullmatch(name))}  # variant -> one of its files
    there = {other: name for other, name in found.items() if other != variant}
    wanted = f"weights of variant {variant!r}" if variant else f"{weights_names(None)[0]}"
    if there:
        offers = " or ".join(f"variant={v!r}" if v else "no variant" for v in sorted(there, key=str))
        advice = f"It has {', '.join(there.values())}, and can be loaded with {offers} in Python"
        if None not in there:
            load = f"SSGModel.from_pretrained({shown!r}, variant={next(iter(there))!r})"
            advice += f"; for the command line, save it once without: {load}.save_pretrained(FOLDER)"
        raise CheckpointError(f"{shown} has no {wanted}. {advice}.")
    if pickles := [name for name in files if name.endswith(PICKLES)]:
        raise CheckpointError(
            f"{shown} has its weights as a pickle ({pickles[0]}), which could run code when loaded, so it was refused. "
            "Ask its author for safetensors."
        )
    raise CheckpointError(f"{shown} has no {wanted}. Save or download the model again.")


def _read_headers(folder: Path, variant: str | None, shown: str) -> dict[str, tuple[str, list[int]]]:
    """The type and the shape of every tensor; a file must have a sound header and the length that this announces."""
    found: dict[str, tuple[str, list[int]]] = {}
    for name in _weights_files(folder, variant, shown):
        with _reading(name, shown), safe_open(folder / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  (it is no dict)
                part = file.get_slice(key)
                found[key] = (part.get_dtype(), part.get_shape())
    _, index = weights_names(variant)
    if (folder / index).is_file() and set(_read_index(folder / index, shown)) != set(found):
        raise CheckpointError(f"{index} of {shown} does not list what its shards hold. Get all of them again.")
    return found


def _weights_files(folder: Path, variant: str | None, shown: str) -> list[str]:
    """The names of the files with the weights: one, or shards, which diffusers prefers, too."""
    single, index = weights_names(variant)
    names = sorted(set(_read_index(folder / index, shown).values())) if (folder / index).is_file() else [single]
    for name in names:
        if not (folder / name).is_file():
            raise CheckpointError(f"the weights of {shown} are incomplete: {name} is missing. Get it again.")
    return names


@contextmanager
def _reading(name: str, shown: str) -> Iterator[None]:
    """What goes wrong inside is a CheckpointError about this file."""
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{name} of {shown} is damaged or truncated ({error}). Save or download the model again."
        ) from None


def _read_index(path: Path, shown: str) -> dict[str, str]:
    """Which shard holds each tensor; shards lie beside the index."""
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError
        listed = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not listed or not all(SHARD.fullmatch(name) for name in listed.values()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{path.name} of {shown} is damaged. Save or download the model again.") from None
    return listed


def _remove_old_weights(folder: Path, variant: str | None, fresh: set[str]) -> None:
    for path in (path for pattern in patterns_of(variant) for path in folder.glob(pattern)):
        if path.name not in fresh:
            path.unlink(missing_ok=True)
