"""Replaces a saved model in one step, and nothing but a saved model."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from ..errors import CheckpointError
from .card import CARD
from .config_file import CONFIG
from .weights_files import patterns_of


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


def _remove_old_weights(folder: Path, variant: str | None, fresh: set[str]) -> None:
    for path in (path for pattern in patterns_of(variant) for path in folder.glob(pattern)):
        if path.name not in fresh:
            path.unlink(missing_ok=True)
