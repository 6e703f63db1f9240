"""Checkpoints on disk: complete or absent, known by their hashes, the newest few and the best kept."""

import hashlib
import json
import shutil
from pathlib import Path

from accelerate import Accelerator

from ..errors import CheckpointError

RECORD = "checkpoint.json"  # the settings of the run at that step, and size and hash of every other file


class DamagedCheckpoint(CheckpointError):
    """A checkpoint that cannot be read; the one before may be whole."""


def save_checkpoint(accelerator: Accelerator, folder: Path, name: str, settings: dict) -> Path:
    """Write the state of every process under a temporary name and rename it when it is whole.

    Args:
        accelerator: whose networks, optimizers and registered objects are saved.
        folder: of the checkpoints.
        name: STAGE-STEP.
        settings: JSON values to keep beside it, for `load_checkpoint`.

    Raises:
        CheckpointError: the disk is full or not writable; nothing half-written stays, earlier checkpoints are intact.
    """
    final, temporary = folder / name, folder / f".{name}.part"
    if accelerator.is_main_process:
        for remains in folder.glob(".*.part"):  # of a process that was killed
            shutil.rmtree(remains, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(temporary))
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            files = {path.name: _describe(path) for path in sorted(temporary.iterdir())}
            (temporary / RECORD).write_text(json.dumps({"settings": settings, "files": files}, indent=1))
    except Exception as error:  # torch, safetensors and the system each have their own for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint {final} could not be written ({error}). Earlier ones are intact: make room on the disk, "
            "then continue with --resume latest."
        ) from error
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    accelerator.wait_for_everyone()
    return final


def load_checkpoint(accelerator: Accelerator, checkpoint: Path) -> dict:
    """Bring networks, optimizers and registered objects to what a checkpoint holds.

    Returns:
        The settings that were saved beside it.

    Raises:
        DamagedCheckpoint: files are missing or not what was written.
        CheckpointError: it is whole, but of other networks.
    """
    record = read_record(checkpoint)
    try:
        accelerator.load_state(str(checkpoint))
    except Exception as error:  # torch and accelerate each have their own
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"{checkpoint} is of other networks than this run's ({reason}).") from error
    return record["settings"]


def read_record(checkpoint: Path) -> dict:
    """What was saved beside a checkpoint, `settings` and `files`, once every file is found as it was written.

    Raises:
        DamagedCheckpoint: a file is missing, or not what was written.
    """
    try:
        record = json.loads((checkpoint / RECORD).read_text())
        changed = [name for name, facts in dict(record["files"]).items() if _describe(checkpoint / name) != facts]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{checkpoint} is damaged ({error}).") from None
    if changed:
        raise DamagedCheckpoint(f"{checkpoint} is damaged: {changed[0]} is not as it was written.")
    return record


def list_checkpoints(folder: Path, stage: str) -> list[Path]:
    """Complete checkpoints of a stage, oldest first."""
    return sorted(folder.glob(f"{stage}-[0-9]*"))


def prune_checkpoints(folder: Path, stage: str, kept: int, best: str | None) -> None:
    """Remove all but the newest `kept` checkpoints of a stage and the one named `best`."""
    for old in list_checkpoints(folder, stage)[:-kept]:
        if old.name != best:
            old = old.rename(folder / f".{old.name}.part")  # a removal that is interrupted leaves no checkpoint behind
            shutil.rmtree(old)


def set_aside(checkpoint: Path) -> Path:
    """Move a checkpoint out of the way, into the folder `set_aside` beside it."""
    place = checkpoint.parent / "set_aside" / checkpoint.name
    place.parent.mkdir(exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    return checkpoint.rename(place)


def _describe(path: Path) -> list:
    """Size and SHA-256 of a file, as JSON has them."""
    with open(path, "rb") as file:
        return [path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()]
