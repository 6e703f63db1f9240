"""Finds a saved model by its name, inside the package, on this machine or on the Hub, with all of its files."""

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import CheckpointError
from . import BUILT_IN, EMBEDDED, find_path
from .config_file import CONFIG, read_config
from .weights_files import INT8, WEIGHTS, check_variant, read_index, weights_names

PRETRAINED = Path(__file__).parents[1] / "pretrained"
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
        ConfigError: a name that no variant can have, or one of another type.
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
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
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
    for shard in () if whole else sorted(set(read_index(fetch(index), repo_id).values())):
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
