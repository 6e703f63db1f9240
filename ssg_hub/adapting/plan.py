"""What was asked of an adaptation, and what its preparation came to: kept, so that the same line goes on."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from ..data.tables import settle_entry
from ..degradation import bank_files
from ..errors import ConfigError, ImageError
from ..images.formats import entries_of, list_pictures
from ..storage import settle_name
from ..storage.whole_file import whole_file

PLAN = "plan.json"
BEGUN = "plan.part"  # the first file in `work`: what lies beside it is ours


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

    def settled(self) -> dict:
        """As JSON holds it, with one form for each place, so that equal requests are equal however they are written."""
        places = {
            "pictures": str(Path(self.pictures).resolve()),
            "model": settle_name(self.model),
            "hr": self.hr and settle_entry(self.hr),
            "guide": self.guide and settle_name(self.guide),
        }
        return asdict(self) | places


def list_found(folder: Path) -> list:
    """[name, bytes] of every picture, so that a changed folder is noticed; None for a link to what is gone."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder. Give a folder of pictures by one camera.")
    sizes = ((path, path.stat().st_size if path.exists() else None) for path in list_pictures(folder))
    return [[path.relative_to(folder).as_posix(), size] for path, size in sizes]


def read_plan(folder: Path, request: Request) -> dict | None:
    """The plan of an earlier call with the same request; None where there is none yet.

    Raises:
        ConfigError: the folder holds anything else than an adaptation, or one with another request; it is inside the
            folder of pictures, or these are in its `work`.
    """
    work = folder / "work"
    if folder.resolve().is_relative_to(Path(request.pictures).resolve()):
        raise ConfigError(
            f"{folder} is inside the folder of pictures, {request.pictures}, so that what is made would be taken for "
            "pictures of the camera. Give -o a folder outside it."
        )
    if Path(request.pictures).resolve().is_relative_to(work.resolve()):
        raise ConfigError(f"the pictures are in {work}, which an adaptation replaces. Give -o another folder.")
    path = work / PLAN
    if not path.is_file():
        held = {entry.name for entry in entries_of(folder)}
        begun = (work / BEGUN).is_file()
        ours = {"work", bank_files.CONFIG, bank_files.TENSORS} if begun else {"work"}
        if held - ours or (work.exists() and not begun and not _is_empty(work)):
            raise ConfigError(f"{folder} holds other files. Give -o a new folder.")
        return None
    try:
        plan = json.loads(path.read_text())
        changed = [key for key, value in request.settled().items() if plan["request"][key] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Give -o a new folder.") from None
    if changed:
        what = "the pictures in it" if changed[0] == "found" else f"{changed[0]}"
        raise ConfigError(f"{folder} holds an adaptation with another request ({what} differ). Give -o a new folder.")
    return plan


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def begin(folder: Path) -> Path:
    """Make the folder's `work` anew, with the mark by which `read_plan` knows it; to be called after that."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    (work / BEGUN).touch()
    return work


def write_plan(folder: Path, request: Request, facts: dict) -> dict:
    """Keep what the preparation came to; returns the plan as `read_plan` would."""
    plan, work = {"request": request.settled(), **facts}, folder / "work"
    with whole_file(work / PLAN) as file:
        file.write(json.dumps(plan, indent=1).encode())
    return plan
