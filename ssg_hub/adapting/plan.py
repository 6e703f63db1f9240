"""What was asked of an adaptation, and what its preparation came to: kept, so that the same line goes on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..degradation import bank_files
from ..errors import ConfigError, ImageError
from ..images.formats import list_pictures

PLAN = "plan.json"


@dataclass(frozen=True)
class Request:
    """What was asked for; another request needs another folder.

    Attributes:
        pictures: the folder, and `found`, names and sizes of what is in it.
        model, hr, guide: names, or None. seed: of everything random.
        anyway: whether to go on in spite of what was noticed.
    """

    pictures: str
    found: list
    model: str
    hr: str | None
    guide: str | None
    seed: int
    anyway: bool


def list_found(folder: Path) -> list:
    """[name, bytes] of every picture, so that a changed folder is noticed."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder. Give a folder of pictures by one camera.")
    return [[path.relative_to(folder).as_posix(), path.stat().st_size] for path in list_pictures(folder)]


def read_plan(folder: Path, request: Request) -> dict | None:
    """The plan of an earlier call with the same request; refuses a folder that holds anything else."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; -o takes a folder. Choose another name.")
    path = folder / "work" / PLAN
    if not path.is_file():
        if folder.is_dir() and {entry.name for entry in folder.iterdir()} - {
            "work",
            bank_files.CONFIG,
            bank_files.TENSORS,
        }:
            raise ConfigError(f"{folder} holds other files. Give -o a new folder.")
        return None
    try:
        plan = json.loads(path.read_text())
        changed = [key for key, value in asdict(request).items() if plan["request"][key] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Give -o a new folder.") from None
    if changed:
        what = "the pictures in it" if changed[0] == "found" else f"{changed[0]}"
        raise ConfigError(f"{folder} holds an adaptation with another request ({what} differ). Give -o a new folder.")
    return plan


def write_plan(folder: Path, request: Request, facts: dict) -> dict:
    """Keep what the preparation came to; returns the plan as `read_plan` would."""
    plan, path = {"request": asdict(request), **facts}, folder / "work" / PLAN
    path.with_suffix(".part").write_text(json.dumps(plan, indent=1))
    path.with_suffix(".part").rename(path)
    return plan
