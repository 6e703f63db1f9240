"""The experiment's protocol as data: its rows, their order, and what they need. In words: docs/experiment.md."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = Path("runs/experiment")  # as seen from ROOT, where every command runs; git ignores it
RESULTS = ROOT / "benchmarks" / "experiment" / "results"
CONFIGS = Path("configs/experiment")
BASE = CONFIGS / "base.yaml"
DATA = Path("../shared/data/camvid")

STEPS = 1200  # adversarial steps of a row
CAMERAS = ("phone", "noisy")
UNLABELED = {"guide_weight": 0, "guide_model": None, "target_labels": None}
UNGUIDED = {**UNLABELED, "target": []}
STRONG = {"guide_model": "embedded"}
TEACHER_STEPS = 60


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        title: as the table names it.
        changes: keys of the base configuration that the row sets; `{camera}` is filled in. None: nothing is trained.
    """

    title: str
    changes: dict | None = field(default=None)


def source(*names: str) -> dict:
    """The key for source pairs by these degradations, all equally often."""
    return {"degradation": "+".join(names)}


BICUBIC, GENERIC, PHOTO_BANK = "bicubic", "generic", "banks/{camera}"
BANK, MIXED = source(PHOTO_BANK), source(PHOTO_BANK, GENERIC)
QUARTER, THREE_QUARTERS = source(PHOTO_BANK, *[GENERIC] * 3), source(*[PHOTO_BANK] * 3, GENERIC)

ROWS = {
    "bicubic": Row("pairs by bicubic", source(BICUBIC) | UNGUIDED),
    "generic": Row("pairs by the generic prior", source(GENERIC) | UNGUIDED),
    "bank": Row("DA: pairs by the estimated bank", BANK | UNGUIDED),
    "mixed": Row("bank + generic", MIXED | UNGUIDED),
    "bank-consistency": Row("DA + consistency with target LR, no guide", BANK | UNLABELED),
    "bicubic-guide": Row("bicubic + guide", source(BICUBIC)),
    "generic-guide": Row("generic + guide", source(GENERIC)),
    "ssg": Row("**DA + guide (SSG)**", BANK),
    "mixed-guide": Row("bank + generic + guide", MIXED),
    "ssg-strong": Row("SSG with a guide that knows the target drive", BANK | STRONG),
    "generic-guide-strong": Row("generic + guide that knows the target drive", source(GENERIC) | STRONG),
    "ssg-pseudo": Row("SSG with pseudo-labels", BANK | {"target_labels": None, "teacher_steps": TEACHER_STEPS}),
    "mixed25": Row("1/4 bank, 3/4 generic", QUARTER | UNGUIDED),
    "mixed75": Row("3/4 bank, 1/4 generic", THREE_QUARTERS | UNGUIDED),
    "mixed25-guide": Row("1/4 bank, 3/4 generic + guide", QUARTER),
    "mixed75-guide": Row("3/4 bank, 1/4 generic + guide", THREE_QUARTERS),
    "oracle": Row(
        "oracle: the true pairs",
        UNGUIDED | {"source": ["camvid/train#camvid/target.txt"], "source_lr": "camvid/target_lr/{camera}"},
    ),
}
UNTRAINED = {
    "interpolation": Row("bicubic interpolation"),
    "start": Row("the common start, untrained further"),
    "general-wdn-x4v3": Row("peer: realesr-general-wdn-x4v3, 1.2 M"),
    "x4plus": Row("peer: Real-ESRGAN x4plus, 16.7 M"),
    "hr": Row("HR itself"),
}
TITLES = {name: row.title for name, row in (ROWS | UNTRAINED).items()}

# The order of training: a stop after any run leaves the most telling table. (camera, seeds, rows); of each line all
# rows of one seed come before those of the next.
COMPARED = ("ssg", "bank", "bicubic-guide", "bicubic")  # by (b) and (c)
ORDER = (
    ("phone", (0,), ("bank", "ssg", "bicubic-guide", "bicubic", "generic-guide", "mixed-guide", "generic")),
    ("phone", (0,), ("bank-consistency", "mixed", "ssg-strong")),
    ("phone", (1, 2), COMPARED),
    ("noisy", (0,), (*COMPARED, "mixed-guide", "generic-guide")),
    ("phone", (0,), ("mixed25-guide", "mixed75-guide", "mixed25", "mixed75")),
    ("phone", (1, 2), ("mixed-guide", "generic-guide")),
    ("phone", (0,), ("generic-guide-strong", "oracle", "ssg-pseudo")),
)


@dataclass(frozen=True)
class Training:
    """One row of one camera and seed, at one length."""

    row: str
    camera: str
    seed: int
    steps: int = STEPS

    @property
    def folder(self) -> Path:
        return RUNS / f"{self.steps}-steps" / self.camera / f"{self.row}-seed{self.seed}"

    @property
    def result(self) -> Path:
        return RESULTS / f"{self.steps}-steps" / self.camera / f"{self.row}-seed{self.seed}.json"

    @property
    def options(self) -> dict:
        """The keys that make the base configuration this run: those of the row, the camera, the seed, the length."""
        filled = {
            key: value.format(camera=self.camera) if isinstance(value, str) else value
            for key, value in ROWS[self.row].changes.items()
        }
        return {
            "output_dir": str(self.folder),
            "seed": self.seed,
            "adversarial_steps": self.steps,
            "target": [f"camvid/target_lr/{self.camera}"],
            "dev_lr": [f"camvid/dev_lr/{self.camera}"],
            **filled,
        }


def trainings(steps: int = STEPS) -> list[Training]:
    """Every run of the protocol, in its order."""
    return [Training(row, camera, seed, steps) for camera, seeds, rows in ORDER for seed in seeds for row in rows]


def untrained_result(row: str, camera: str) -> Path:
    """Where the scores of a row without training are kept."""
    return RESULTS / "untrained" / camera / f"{row}.json"


def state_file(steps: int) -> Path:
    """Which rows were missing when `val` was read, and how far they were."""
    return RESULTS / f"{steps}-steps" / "missing.json"


def guides_file(camera: str, steps: int) -> Path:
    """Where the guides' mIoU is kept."""
    return RESULTS / f"{steps}-steps" / camera / "guides.json"


def picture(camera: str, steps: int, kind: str = "") -> Path:
    """A picture of the experiment as seen from docs/: crops of five rows, of the two "guided" ones, or the "curves"."""
    return Path("images") / f"experiment_{camera}_{steps}{kind and '_' + kind}.png"
