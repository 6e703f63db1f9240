"""The experiment's protocol as data: rows, folders, and the training command of each. In words: docs/experiment.md."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path("runs/experiment")  # as seen from ROOT, where every command runs; git ignores it
RESULTS = ROOT / "benchmarks" / "experiment" / "results"
BASE = Path("configs/experiment/base.yaml")
DATA = Path("../shared/data/camvid")
JUDGE = Path("runs/judge/guide")

STEPS = 1500  # adversarial steps of a row
CAMERAS = ("phone", "noisy")
UNLABELED = {"guide_weight": 0, "guide_model": None, "target_labels": None}
UNGUIDED = {**UNLABELED, "target": []}
WARM_UP = {
    "degradation": "bicubic",
    "adversarial_steps": 0,
    "warmup_steps": 200,
    "batch": 8,
    "validate_every": 200,
    **UNGUIDED,
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        title: as the table names it.
        changes: keys of the base configuration that the row sets; `{camera}` is filled in. None: nothing is trained.
    """

    title: str
    changes: dict | None = field(default=None)


BICUBIC, GENERIC, BANK = ({"degradation": name} for name in ("bicubic", "generic", "banks/{camera}"))
TEACHER_STEPS = 60

# In the order of training: the most important rows come first, in case the series is interrupted.
ROWS = {
    "bank": Row("DA: pairs by the estimated bank", BANK | UNGUIDED),
    "ssg": Row("**DA + guide (SSG)**", BANK),
    "bicubic": Row("pairs by bicubic", BICUBIC | UNGUIDED),
    "bicubic-guide": Row("bicubic + guide", BICUBIC),
    "generic": Row("pairs by the generic prior", GENERIC | UNGUIDED),
    "generic-guide": Row("generic + guide", GENERIC),
    "bank-consistency": Row("DA + consistency with target LR, no guide", BANK | UNLABELED),
    "oracle": Row(
        "oracle: the true pairs",
        UNGUIDED | {"source": ["camvid/train#camvid/target.txt"], "source_lr": "camvid/target_lr/{camera}"},
    ),
    "ssg-pseudo": Row("SSG with pseudo-labels", BANK | {"target_labels": None, "teacher_steps": TEACHER_STEPS}),
}
UNTRAINED = {
    "hr": Row("HR itself"),
    "interpolation": Row("bicubic interpolation"),
    "start": Row("the common start, untrained further"),
    "animevideov3": Row("peer: realesr-animevideov3, 0.6 M"),
    "x4plus": Row("peer: Real-ESRGAN x4plus, 16.7 M"),
}


def warm_up_folder() -> Path:
    """The common start of all rows; it depends on no camera, and has its own seed."""
    return RUNS / "warm-up"


def run_folder(row: str, camera: str, seed: int, steps: int) -> Path:
    return RUNS / f"{steps}-steps" / camera / f"{row}-seed{seed}"


def result_file(row: str, camera: str, seed: int, steps: int) -> Path:
    """Where the scores of a row are kept; rows without training have neither seed nor steps."""
    if row in ROWS:
        return RESULTS / f"{steps}-steps" / camera / f"{row}-seed{seed}.json"
    return RESULTS / "untrained" / camera / f"{row}.json"


def warm_up_options() -> dict:
    return {"output_dir": str(warm_up_folder()), **WARM_UP}


def row_options(row: str, camera: str, seed: int, steps: int) -> dict:
    """The keys that make the base configuration one run: those of the row, the camera, the seed and the length."""
    changes = {key: _fill(value, camera) for key, value in ROWS[row].changes.items()}
    return {
        "output_dir": str(run_folder(row, camera, seed, steps)),
        "seed": seed,
        "adversarial_steps": steps,
        "generator_weights": str(warm_up_folder() / "model/diffusion_pytorch_model.safetensors"),
        "target": [f"camvid/target_lr/{camera}"],
        "dev_lr": [f"camvid/dev_lr/{camera}"],
        **changes,
    }


def train_command(options: dict) -> list[str]:
    """The launch line; `--resume latest` begins where a run was interrupted, or at the beginning."""
    line = [sys.executable, "train_accelerate.py", "--config", str(BASE), "--resume", "latest"]
    for key, value in options.items():
        line += [f"--{key}", json.dumps(value)]  # which is YAML too
    return line


def _fill(value: object, camera: str) -> object:
    return value.format(camera=camera) if isinstance(value, str) else value
