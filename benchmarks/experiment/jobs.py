"""The trainings of the experiment as jobs: the command of each, what it needs, what it makes, and how far it is."""

import fcntl
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.experiment.protocol import BASE, CAMERAS, CONFIGS, DATA, ROOT, RUNS, STEPS, trainings

START, GUIDE = RUNS / "start/model", RUNS / "guide-2/guide"
MODEL = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Job:
    """One command that may be interrupted and repeated.

    Attributes:
        folder: what it leaves behind, beside `train.log` and `cost.json`; as seen from ROOT, like all paths here.
        command: what runs.
        makes: the file that it writes last.
        needs: files that other jobs make.
        steps: of how many steps it consists.
    """

    folder: Path
    command: tuple[str, ...]
    makes: Path
    needs: tuple[Path, ...] = ()
    steps: int | None = None

    @property
    def finished(self) -> bool:
        return (ROOT / self.makes).is_file()

    @property
    def ready(self) -> bool:
        return all((ROOT / need).is_file() for need in self.needs)

    @property
    def step(self) -> int:
        """The step of the newest checkpoint: where the job goes on."""
        names = (path.name for path in (ROOT / self.folder / "checkpoints").glob("*-*"))
        return max((int(found[1]) for name in names if (found := re.fullmatch(r"[a-z]+-(\d+)", name))), default=0)

    @property
    def state(self) -> str:
        if self.finished:
            return "finished"
        if not self.step:
            return "not begun"
        return f"cut short at step {self.step:,} of {self.steps:,}"


@contextmanager
def claim(folder: Path) -> Iterator[bool]:
    """Whether this process may work on what belongs to a folder: no other process does while the context lasts."""
    (ROOT / folder).mkdir(parents=True, exist_ok=True)
    with open(ROOT / folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def all_jobs(steps: int = STEPS, overrides: dict | None = None) -> list[Job]:
    """Everything there is to do, in the order in which it is done; `overrides` are keys of every row, for a try."""
    return [*preparations(), *row_jobs(steps, overrides)]


def preparations() -> list[Job]:
    """What the rows share: the start, the guide in its two parts, the cameras' banks."""
    first = RUNS / "guide/guide"
    return [
        bank_job(CAMERAS[0]),
        training_job(CONFIGS / "start.yaml", RUNS / "start", START / MODEL, 2500),
        training_job(CONFIGS / "guide.yaml", RUNS / "guide", first / "model.safetensors", 400),
        training_job(
            CONFIGS / "guide-2.yaml", RUNS / "guide-2", GUIDE / "model.safetensors", 300, (first / "model.safetensors",)
        ),
        *(bank_job(camera) for camera in CAMERAS[1:]),
    ]


def row_jobs(steps: int = STEPS, overrides: dict | None = None) -> list[Job]:
    """A job for each of `protocol.trainings`, in the same order."""
    jobs = []
    for training in trainings(steps):
        options = training.options | (overrides or {})
        needs = [START / MODEL]
        if options.get("guide_model", str(GUIDE)) == str(GUIDE):
            needs.append(GUIDE / "model.safetensors")
        if "banks/" in options.get("degradation", ""):
            needs.append(bank_file(training.camera))
        makes = training.folder / "model" / MODEL
        jobs.append(training_job(BASE, training.folder, makes, steps, tuple(needs), options))
    return jobs


def training_job(
    config: Path, folder: Path, makes: Path, steps: int, needs: tuple[Path, ...] = (), options: dict | None = None
) -> Job:
    """A run of the training script; `--resume latest` begins where it was interrupted, or at the beginning."""
    line = [sys.executable, "train_accelerate.py", "--config", str(config), "--resume", "latest"]
    for key, value in (options or {}).items():
        line += [f"--{key}", json.dumps(value)]  # which is YAML too
    return Job(folder, tuple(line), makes, needs, steps)


def bank_job(camera: str) -> Job:
    """Learn a camera's degradation from its LR pictures alone."""
    line = (sys.executable, "-m", "ssg_hub", "degradation", "estimate", str(DATA / "target_lr" / camera))
    return Job(RUNS / f"bank-{camera}", (*line, "-o", f"banks/{camera}"), bank_file(camera))


def bank_file(camera: str) -> Path:
    return Path(f"banks/{camera}/degradation.safetensors")
