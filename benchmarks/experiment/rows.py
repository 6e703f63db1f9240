"""The rows that have been scored: their figures by frame, their differences, and what their trainings logged.

It reads no picture: only results/…/*.json.
"""

import json
from dataclasses import dataclass

import numpy as np

from benchmarks.curves import Curve
from benchmarks.experiment.bootstrap import block_weights, interval, weighted_mean, weighted_miou
from benchmarks.experiment.claims import Comparison
from benchmarks.experiment.protocol import ROWS, UNTRAINED, Training, trainings, untrained_result
from ssg_hub.evaluation.figures import format_figure, is_better_higher

COLUMNS = ("psnr_y", "ssim_y", "lpips", "dists", "color_drift", "flat_noise", "boundary_f", "miou")  # of the tables
FIGURES = [name for name in COLUMNS if name != "miou"]  # those that are kept of each frame
DEV = "adversarial_dev/lpips"
CURVES = {  # tag in the logs -> title
    "adversarial/l1": "L1 on source pairs",
    "adversarial/lpips": "LPIPS (VGG16) on source pairs",
    "adversarial/cross_entropy": "cross-entropy of the guide on target SR",
    "adversarial/guide_weight": "balanced weight of the guide loss",
    "adversarial/discriminator": "discriminator",
    DEV: "LPIPS on dev",
}
GRADIENT = "adversarial/gradient_"  # the tag of a loss's gradient norm begins with it
SHOWN = ["interpolation", "start", *ROWS, *(row for row in UNTRAINED if row not in ("interpolation", "start"))]
INTERPOLATED_DEV = {"phone": 0.705, "noisy": 0.783}  # LPIPS of bicubic on dev, by `benchmarks.results --dev`
RISE = 0.05  # of LPIPS on dev; a healthy row's differs by a hundredth between its last checks


@dataclass
class Scored:
    """A row's figures by frame, over its seeds.

    Attributes:
        values: figure -> (frames,), averaged over the seeds.
        counts: variant -> (frames, 3, classes), added over the seeds.
        training: cost of each seed's training.
        curves: seed -> what its training logged, by tag; empty for a row without training.
        by_seed: seed -> the same for one seed alone; empty where there is only one.
    """

    values: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    training: list[dict]
    curves: dict[str, dict[str, Curve]]
    by_seed: dict[str, "Scored"]

    @property
    def seeds(self) -> int:
        return max(1, len(self.by_seed))

    @property
    def frames(self) -> int:
        return len(self.counts["plain"])

    def seed(self, seed: str) -> "Scored | None":
        """One seed alone; None where it is not scored."""
        return self.by_seed.get(seed) if self.by_seed else self if seed in self.curves else None

    def value(self, figure: str, variant: str = "plain") -> float:
        """A figure over all frames."""
        return float(figure_draws(self, figure, variant, np.ones((1, self.frames), int))[0])

    def diverged(self, camera: str) -> list[str]:
        """The seeds whose training ended worse on dev than bicubic interpolation, or than it had been before.

        Such a row says that a training failed, and nothing about the method.
        """
        found = []
        for seed, curves in self.curves.items():
            checks = [value for _, value in curves.get(DEV, [])]
            if checks and checks[-1] > min(INTERPOLATED_DEV[camera], min(checks) + RISE):
                found.append(seed)
        return found


def is_curve(tag: str) -> bool:
    """Whether a logged figure is kept with a row's scores."""
    return tag in CURVES or tag.startswith(GRADIENT)


def load_rows(camera: str, steps: int) -> dict[str, Scored]:
    """Every row that has been scored, by name."""
    rows = {}
    for name in SHOWN:
        if name in UNTRAINED:
            files = {"0": untrained_result(name, camera)}
        else:
            seeds = sorted({training.seed for training in trainings(steps) if training.row == name})
            files = {str(seed): Training(name, camera, seed, steps).result for seed in seeds}
        records = {seed: json.loads(file.read_text()) for seed, file in files.items() if file.exists()}
        if records:
            rows[name] = read_row(records)
    return rows


def read_row(by_seed: dict[str, dict]) -> Scored:
    """A row from the kept record of each of its seeds."""
    records = list(by_seed.values())
    values = {name: np.mean([np.array(record["figures"][name], float) for record in records], 0) for name in FIGURES}
    labelled, counts = np.sum([record["labelled"] for record in records], 0), {}
    for variant in records[0]["counts"]:
        found = np.sum([record["counts"][variant] for record in records], 0)
        counts[variant] = np.stack([found[:, 0], labelled, found[:, 1]], 1)
    alone = {seed: read_row({seed: record}) for seed, record in by_seed.items()} if len(by_seed) > 1 else {}
    training = [record["training"] for record in records if "training" in record]
    curves = {seed: record.get("curves", {}) for seed, record in by_seed.items()}
    return Scored(values, counts, training, curves, alone)


def figure_draws(row: Scored, figure: str, variant: str, weights: np.ndarray) -> np.ndarray:
    """A figure of one row in each draw; the variants differ in mIoU alone, the others are kept of the plain one."""
    if figure == "miou":
        return weighted_miou(row.counts[variant], weights)
    return weighted_mean(row.values[figure], weights)


def compare(a: Scored, b: Scored, figure: str, variant: str = "plain") -> Comparison:
    """Figure of `a` minus figure of `b`, on the same draws of frames."""
    whole, draws = np.ones((1, a.frames), int), block_weights(a.frames)
    difference = [figure_draws(a, figure, variant, w) - figure_draws(b, figure, variant, w) for w in (whole, draws)]
    return Comparison(float(difference[0][0]), *interval(difference[1]), higher_is_better=is_better_higher(figure))


def with_interval(row: Scored, figure: str) -> str:
    """A figure over all frames with its interval, as a table shows it."""
    low, high = interval(figure_draws(row, figure, "plain", block_weights(row.frames)))
    return f"{show(figure, row.value(figure))} ({show(figure, low)}–{show(figure, high)})"


def show(figure: str, value: float) -> str:
    """A figure's value, as all tables of the experiment have it."""
    return format_figure(figure, value, of_shares=3)
