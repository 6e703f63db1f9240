"""Score on `val` what the experiment trained, and store the figures of every frame: results/…/ROW-seedN.json.

    python -m benchmarks.experiment score              # every row of the protocol, interpolation, start, peers
    python -m benchmarks.experiment score --partial    # the series ends here: what is finished; the rest is named
    python -m benchmarks.experiment score --part dev --limit 3   # a try: three frames of dev; keeps nothing

`val` is read once: nothing before all trainings are finished, or the series is ended. What is scored is not scored
again; several of these commands share the work. The code is that of `ssg evaluate`. The judge reads each result as it
is, moved by one pixel, and after JPEG: a pattern made for one network does not survive these.
"""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.curves import read_scalars
from benchmarks.evaluation_data import JUDGE, VOID
from benchmarks.experiment.jobs import START, Job, claim, row_jobs
from benchmarks.experiment.protocol import (
    CAMERAS,
    DATA,
    ROOT,
    RUNS,
    STEPS,
    UNTRAINED,
    state_file,
    trainings,
    untrained_result,
)
from benchmarks.experiment.rows import FIGURES, is_curve
from benchmarks.peers import peer_folder
from ssg_hub.evaluation import metrics
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.methods import (
    Case,
    FromFolder,
    FromModel,
    Method,
    Result,
    bicubic,
    index_pictures,
    to_pixels,
)
from ssg_hub.evaluation.scoring import Measures, PictureScore, evaluate_folder, pair_files, summarize
from ssg_hub.images.levels import to_8_bit
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import load_guide, load_model
from ssg_hub.networks.perceptual import DISTS

HR_FOLDERS = {"val": "val", "dev": "train"}
DISTS_EVERY = 4  # frames: VGG16 on whole frames takes longer than everything else together


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS, help=f"adversarial steps of a row (default {STEPS})")
    parser.add_argument("--partial", action="store_true", help="score what is finished, although some is missing")
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS), metavar="CAMERA")
    parser.add_argument(
        "--part", choices=("val", "dev"), default="val", help="dev: a look while choosing; keeps nothing"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N frames of dev, for a try")


@torch.no_grad()
def run(options: argparse.Namespace) -> None:
    if options.limit is not None and options.part == "val":
        sys.exit("val is read once, and whole. For a try: --part dev --limit N")
    jobs = row_jobs(options.steps)
    missing = {str(job.folder.relative_to(RUNS)): job.state for job in jobs if not job.finished}
    for name, state in missing.items():
        print(f"{name}: {state}")
    if missing and options.part == "val" and not options.partial:
        sys.exit(
            f"{len(missing)} of {len(jobs)} rows are missing; `val` is read once. Train them, or end with --partial."
        )
    judge, distances = load_guide(str(JUDGE)), find_distances(str(ROOT / "../shared/weights"))
    measures = Measures(scale=4, distances={"lpips": distances["lpips"]}, judge=judge, labels=judge.labels, void=VOID)
    scorer = Scorer(measures, distances["dists"], options.part, options.limit)
    for camera in options.cameras:
        for row in UNTRAINED:
            scorer.keep(untrained_result(row, camera), camera, partial(untrained_method, row, camera, options.part))
    for training, job in zip(trainings(options.steps), jobs, strict=True):
        if job.finished and training.camera in options.cameras:
            scorer.keep(training.result, training.camera, partial(trained_method, job), partial(training_facts, job))
    if options.part == "val":
        state_file(options.steps).parent.mkdir(parents=True, exist_ok=True)
        state_file(options.steps).write_text(json.dumps(missing, indent=1) + "\n")


@dataclass
class Scorer:
    """Scores methods on one part of the target drive, and keeps the scores of `val`.

    Attributes:
        measures: of `ssg evaluate`, with the judge.
        dists: DISTS, of every fourth frame.
        part: "val" or "dev".
        limit: how many frames, from the first; None: all.
    """

    measures: Measures
    dists: DISTS
    part: str
    limit: int | None = None

    def keep(
        self, file: Path, camera: str, make: Callable[[], Method | None], facts: Callable[[], dict] = dict
    ) -> None:
        """Score a method and write its file with the further facts, unless it is there or another process makes it."""
        with claim(RUNS / "scoring" / self.part / camera / file.stem) as mine:
            if not mine or (self.part == "val" and file.exists()):
                print(f"{file.stem}, {camera}: scored before, or now by another.", flush=True)
            elif (method := make()) is None:
                print(f"{file.stem}, {camera}: no pictures.", flush=True)
            else:
                scores = self.score(method, camera)
                summary = summarize(list(scores["plain"].values()), self.measures.labels)
                shown = (f"{name} {value:.4f}" for name, value in summary.items() if isinstance(value, float))
                print(f"{file.stem}, {camera}: {', '.join(shown)}", flush=True)
                if self.part == "val":
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(json.dumps({**facts(), **pack(scores)}, separators=(",", ":")) + "\n")

    def score(self, method: Method, camera: str) -> dict[str, dict[str, PictureScore]]:
        hr, labels = (DATA / HR_FOLDERS[self.part] / kind for kind in ("images", "labels"))
        with first_pictures(DATA / f"{self.part}_lr" / camera, self.limit) as lr:
            return score(method, lr, hr, labels, self.measures, self.dists)


@contextmanager
def first_pictures(folder: Path, limit: int | None) -> Iterator[Path]:
    """A folder with the first pictures of another alone; the folder itself where there is no limit."""
    if limit is None:
        yield folder
        return
    with TemporaryDirectory() as some:
        for path in list(index_pictures(folder).values())[:limit]:
            shutil.copy(path, some)
        yield Path(some)


def untrained_method(row: str, camera: str, part: str) -> Method | None:
    """Interpolation, HR itself, the common start, or a peer's folder of pictures; None where that is not whole."""
    if row == "interpolation":
        return bicubic
    if row == "hr":
        return FromFolder(DATA / HR_FOLDERS[part] / "images")
    if row == "start":
        return generated(START)
    folder = peer_folder(row, f"camvid-{part}-{camera}")
    made = {path.stem for path in folder.glob("*.png")}
    return FromFolder(folder) if made >= {path.stem for path in (DATA / f"{part}_lr" / camera).iterdir()} else None


def trained_method(job: Job) -> Method:
    return generated(job.folder / "model")


def generated(folder: Path) -> Method:
    """What a generator itself makes, without the correction of colours that `upscale` adds."""
    return FromModel(load_model(str(ROOT / folder)), segment=False, color_fix=False)


def score(
    method: Method, lr: Path, hr: Path, labels: Path, measures: Measures, dists: DISTS
) -> dict[str, dict[str, PictureScore]]:
    """All figures of a method on a folder, and the judge's on its changed pictures.

    Returns:
        variant ("plain", "shifted", "jpeg") -> stem -> score.
    """
    remembered = Remembered(method)
    variants = {"plain": remembered, "shifted": altered(remembered, shift), "jpeg": altered(remembered, jpeg)}
    read = evaluate_folder(
        lr, variants, None, labels, measures
    )  # by the judge; without HR, which it need not read again
    seen = evaluate_folder(lr, {"plain": remembered}, hr, None, measures).pictures["plain"]
    for index, case in enumerate(pair_files(lr, hr)):
        pair = [to_batch(p) for p in (remembered.pictures[case.stem] / 255, to_pixels(read_picture(case.hr)))]
        values = read.pictures["plain"][case.stem].values
        values |= seen[case.stem].values | {"flat_noise": metrics.flat_noise(*(p.double() for p in pair)).item()}
        values["dists"] = float("nan")
        if index % DISTS_EVERY == 0:
            values["dists"] = dists.compare(dists.read(pair[0]), read_reference(dists, case.hr)).item()
    return {name: read.pictures[name] for name in variants}


@cache
def read_reference(dists: DISTS, path: Path) -> list[Tensor]:
    """What DISTS sees in a frame's HR, once for all rows: 86 MB a frame of 480x360, a fifth of the time of scoring."""
    return dists.read(to_batch(to_pixels(read_picture(path))))


def to_batch(pixels: np.ndarray) -> Tensor:
    """(H, W, 3) to (1, 3, H, W) in fp32."""
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]


class Remembered:
    """A method that makes each picture once, and keeps it as bytes."""

    def __init__(self, method: Method):
        self.method, self.pictures = method, {}

    def __call__(self, case: Case, lr: np.ndarray, size: tuple[int, int]) -> Result:
        if case.stem not in self.pictures:
            self.pictures[case.stem] = to_8_bit(self.method(case, lr, size).pixels)
        return Result(self.pictures[case.stem].astype(np.float32) / 255)


def altered(method: Method, change: Callable[[np.ndarray], np.ndarray]) -> Method:
    return lambda case, lr, size: Result(change(method(case, lr, size).pixels))


def shift(pixels: np.ndarray) -> np.ndarray:
    """One pixel to the right and down; the edge is repeated."""
    return np.pad(pixels, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def jpeg(pixels: np.ndarray, quality: int = 90) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(to_8_bit(pixels)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


def pack(scores: dict[str, dict[str, PictureScore]]) -> dict:
    """What the report needs, frame by frame in the order of the drive, as JSON values.

    Returns:
        figures: name -> values of the plain variant. labelled: pixels by class. counts: variant -> hits and predicted
        pixels by class, which with `labelled` give IoU.
    """
    stems = sorted(scores["plain"])
    confusions = {name: [by_stem[stem].confusion for stem in stems] for name, by_stem in scores.items()}
    return {
        "figures": {name: [finite(scores["plain"][stem].values[name]) for stem in stems] for name in FIGURES},
        "labelled": [confusion.sum(1).tolist() for confusion in confusions["plain"]],
        "counts": {
            name: [[c.diagonal().tolist(), c.sum(0).tolist()] for c in found] for name, found in confusions.items()
        },
    }


def finite(value: float) -> float | None:
    """Five digits; JSON knows neither NaN nor infinity (the PSNR of HR itself)."""
    return round(value, 5) if abs(value) < float("inf") else None


def training_facts(job: Job) -> dict:
    """Cost and curves of a run, from what it left behind."""
    logged = read_scalars(ROOT / job.folder / "logs")
    curves = {tag: [(step, float(f"{v:.4g}")) for step, v in curve] for tag, curve in logged.items() if is_curve(tag)}
    return {"training": json.loads((ROOT / job.folder / "cost.json").read_text()), "curves": curves}
