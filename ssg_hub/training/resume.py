"""Where a resumed run continues: which checkpoint each stage takes, and what has changed since."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError
from .checkpoints import DamagedCheckpoint, list_checkpoints, load_checkpoint, read_record, set_aside
from .config import TrainConfig

if TYPE_CHECKING:
    from .run import Run

log = logging.getLogger("train")
STAGES = ("guide", "teacher", "warmup", "adversarial")
# keys whose change alters no weight
UNREMARKABLE = {
    "output_dir",
    "resume",
    "tracker",
    "workers",
    "checkpoint_every",
    "checkpoints_kept",
    "validate_every",
    "gradients_every",
    "on_interrupt",
}
UNREMARKABLE |= {"max_minutes", "push_to_hub", "license", "license_note", "training_data", "save_dtype"}


def check_resume(config: TrainConfig, folder: Path) -> None:
    """Refuse a `resume` that names no checkpoint of this run.

    Raises:
        CheckpointError: there is no such folder, or it is no checkpoint of a stage of this run in `folder`.
    """
    known = [found.name for stage in STAGES for found in list_checkpoints(folder, stage)]
    if config.resume == "latest" and not known:
        log.warning("there is no checkpoint in %s yet: the run begins with its first step.", folder)
    if config.resume in (None, "latest"):
        return
    path = Path(config.resume)
    if not path.is_dir():
        raise CheckpointError(f"no checkpoint at {path}. Give --resume latest, or a checkpoint's folder.")
    stage = _stage_of(path)
    if path.resolve().parent != folder.resolve() or stage is None or not getattr(config, f"{stage}_steps"):
        raise CheckpointError(
            f"{path} is no checkpoint of this run. Give --resume latest, or the folder of one of its checkpoints in "
            f"{folder}: {', '.join(known) or 'there are none'}."
        )


def resume(run: "Run", stage: str) -> None:
    """Bring a stage's registered states to its checkpoint: the newest that is whole, or the one that was named.

    Newer ones are set aside, so that they are not taken for this run's. Changed settings are named in the log.

    Raises:
        CheckpointError: none is whole, or it is of other networks.
    """
    wanted = run.config.resume
    if wanted is None:
        return
    run.accelerator.wait_for_everyone()
    known = list_checkpoints(run.checkpoints, stage)[::-1]
    candidates = known if wanted == "latest" else _candidates(known, stage, Path(wanted))
    taken = next((checkpoint for checkpoint in candidates if _take(run, checkpoint)), None)
    if candidates and taken is None:
        names = ", ".join(checkpoint.name for checkpoint in candidates)
        raise CheckpointError(
            f"no checkpoint of the stage {stage} can be read ({names}). Restore one from a copy, or name an earlier "
            "stage's with --resume."
        )
    run.accelerator.wait_for_everyone()
    if run.accelerator.is_main_process:
        for newer in known:
            if taken is None or newer.name > taken.name:
                log.warning("moved %s to %s", newer.name, set_aside(newer).parent)
    run.accelerator.wait_for_everyone()


def _candidates(known: list[Path], stage: str, named: Path) -> list[Path]:
    """Of a stage's checkpoints, newest first: those it may take where one of this or another stage was named."""
    if stage == _stage_of(named):
        return [checkpoint for checkpoint in known if checkpoint.name == named.resolve().name]
    return known if STAGES.index(stage) < STAGES.index(_stage_of(named)) else []


def _take(run: "Run", checkpoint: Path) -> bool:
    """Load a checkpoint; False where it is damaged on any process."""
    settings, damage = {}, None
    try:
        settings = load_checkpoint(run.accelerator, checkpoint)
    except DamagedCheckpoint as error:
        damage = error
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_advise(run, checkpoint)}") from error
    if run.any_process(damage is not None):
        log.warning("%s The one before it is tried.", damage or f"{checkpoint} is damaged for another process.")
        return False
    changes = describe_changes(settings, run.settings())
    log.info("continuing from %s%s", checkpoint.name, f"; changed since then: {changes}" if changes else "")
    return True


def _advise(run: "Run", checkpoint: Path) -> str:
    changes = describe_changes(read_record(checkpoint)["settings"], run.settings())
    cause = f"Changed since then: {changes}. " if changes else ""
    return f"{cause}Restore its configuration, or start again with another output_dir."


def describe_changes(before: dict, now: dict) -> str:
    """The settings that differ and matter, as `key old -> new`; empty where none does."""
    keys = [key for key in now if key in before and key not in UNREMARKABLE and before[key] != now[key]]
    return ", ".join(f"{key} {before[key]} -> {now[key]}" for key in keys)


def describe_new_data(before: dict[str, dict], now: dict[str, dict]) -> str:
    """The data entries whose pictures are not those of the record before, as `fingerprint` has them; "" for none.

    >>> describe_new_data({"hr": {"pictures": 8, "sha256": "a"}}, {"hr": {"pictures": 9, "sha256": "b"}})
    'hr (8 pictures -> 9)'
    """
    changed = [entry for entry in now if entry in before and before[entry] != now[entry]]
    counts = {entry: (before[entry]["pictures"], now[entry]["pictures"]) for entry in changed}
    return ", ".join(
        f"{entry} ({f'{old} pictures -> {new}' if old != new else 'other names or sizes'})"
        for entry, (old, new) in counts.items()
    )


def _stage_of(path: Path) -> str | None:
    match = re.fullmatch(rf"({'|'.join(STAGES)})-\d+", path.resolve().name)
    return match[1] if match else None
