"""Checkpoints on disk: complete or absent, the newest few and the best kept."""

import shutil
from pathlib import Path

from ..errors import CheckpointError


def save_checkpoint(accelerator, folder: Path, name: str) -> Path:
    """Write the state of every process under a temporary name and rename it when it is whole.

    Raises:
        CheckpointError: the disk is full or not writable; nothing half-written stays, earlier checkpoints are intact.
    """
    final, temporary = folder / name, folder / f".{name}.part"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
    accelerator.wait_for_everyone()
    try:
        accelerator.save_state(str(temporary))
    except Exception as error:  # torch, safetensors and the system each have their own for a full disk
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint {final} could not be written ({error}). Earlier ones are intact: make room on the disk, "
            "then continue with --resume latest."
        ) from error
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    accelerator.wait_for_everyone()
    return final


def list_checkpoints(folder: Path, stage: str) -> list[Path]:
    """Complete checkpoints of a stage, oldest first."""
    return sorted(folder.glob(f"{stage}-[0-9]*"))


def prune_checkpoints(folder: Path, stage: str, kept: int, best: str | None) -> None:
    """Remove all but the newest `kept` checkpoints of a stage and the one named `best`."""
    for old in list_checkpoints(folder, stage)[:-kept]:
        if old.name != best:
            shutil.rmtree(old)
