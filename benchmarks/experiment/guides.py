"""Measure what both guides recognise: on the target's LR, enlarged bicubically, and on each row's SR of dev.

Does the guide read the target's pictures well enough to teach anything, and would a better one read them better? `val`
is not read. What was measured before is kept; rows that have been trained since are added.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.evaluation_data import VOID
from benchmarks.experiment.jobs import GUIDE, claim, row_jobs
from benchmarks.experiment.protocol import CAMERAS, DATA, ROOT, RUNS, STEPS, UNTRAINED, guides_file, trainings
from benchmarks.experiment.score import HR_FOLDERS, Remembered, first_pictures, trained_method, untrained_method
from ssg_hub.evaluation.methods import Method, bicubic
from ssg_hub.evaluation.scoring import Measures, evaluate_folder
from ssg_hub.loading import EMBEDDED, load_guide

LABELS = DATA / HR_FOLDERS["dev"] / "labels"  # of the target's frames too


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS, help=f"adversarial steps of a row (default {STEPS})")
    parser.add_argument("--camera", choices=CAMERAS, default=CAMERAS[0])
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N frames, for a try; keeps nothing")


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    if not (ROOT / GUIDE).is_dir():
        sys.exit(f"no guide at {GUIDE}. Train it: python -m benchmarks.experiment run")
    guides = {"guide": load_guide(str(ROOT / GUIDE)), "embedded": load_guide(EMBEDDED)}
    file = guides_file(options.camera, options.steps)
    with claim(RUNS / "scoring/guides" / options.camera) as mine:
        if not mine:
            sys.exit("another process measures the guides of this camera.")
        record = json.loads(file.read_text()) if file.exists() and options.limit is None else {}
        for name, lr, method in readings(options.camera, options.steps):
            if name not in record:
                record[name] = read_by(guides, method, lr, LABELS, options.limit)
                print(
                    f"{name}: " + ", ".join(f"{guide} {miou:.3f}" for guide, miou in record[name].items()), flush=True
                )
                if options.limit is None:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(json.dumps(record, indent=1) + "\n")


def readings(camera: str, steps: int) -> Iterator[tuple[str, Path, Method]]:
    """(name, folder of LR, what makes SR of it) for everything that the guides are to read."""
    dev = DATA / "dev_lr" / camera
    yield "target LR", DATA / "target_lr" / camera, bicubic
    for row in UNTRAINED:
        if (method := untrained_method(row, camera, "dev")) is not None:
            yield row, dev, method
    for training, job in zip(trainings(steps), row_jobs(steps), strict=True):
        if job.finished and training.camera == camera and training.seed == 0:
            yield training.row, dev, trained_method(job)


def read_by(
    guides: dict[str, nn.Module], method: Method, lr: Path, labels: Path, limit: int | None = None
) -> dict[str, float]:
    """mIoU of each guide, by its name, on what a method makes of a folder of LR pictures."""
    made, found = Remembered(method), {}
    with first_pictures(lr, limit) as some:
        for name, guide in guides.items():
            measures = Measures(scale=4, judge=guide, labels=guide.labels, void=VOID)
            found[name] = round(evaluate_folder(some, {name: made}, None, labels, measures).scores[name]["miou"], 5)
    return found
