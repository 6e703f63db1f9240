"""Score on `val` what the experiment trained, and store the figures of every frame: results/…/ROW-seedN.json.

    python -m benchmarks.experiment.score                      # camera phone, seed 0: all rows, interpolation, peers
    python -m benchmarks.experiment.score --without oracle     # a row that will not be trained, given up in writing

`val` is read once: no trained row before all are finished, or given up by name. The code is that of `ssg evaluate`.
The judge reads each result as it is, moved by one pixel, and after JPEG: a pattern made for one network does not
survive these.
"""

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.curves import read_scalars
from benchmarks.evaluation_data import VOID
from benchmarks.experiment.protocol import DATA, JUDGE, ROOT, ROWS, RUNS, UNTRAINED, result_file, run_folder
from benchmarks.experiment.protocol import warm_up_folder as start_folder
from benchmarks.experiment.report import CURVES, FIGURES
from benchmarks.experiment.train import add_selection, is_finished, selected
from benchmarks.peers import peer_folder
from ssg_hub.evaluation import metrics
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.methods import Case, FromFolder, FromModel, Method, Result, bicubic, to_bytes, to_pixels
from ssg_hub.evaluation.scoring import Measures, PictureScore, evaluate_folder, pair_files, summarize
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import load_guide, load_model

HR_FOLDERS = {"val": "val", "dev": "train"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_selection(parser)
    parser.add_argument("--untrained", nargs="*", choices=UNTRAINED, default=list(UNTRAINED), help="rows beside them")
    parser.add_argument("--without", nargs="+", choices=ROWS, default=[], metavar="ROW", help="rows that are given up")
    parser.add_argument(
        "--part", choices=("val", "dev"), default="val", help="dev: a look while choosing; keeps nothing"
    )
    options = parser.parse_args()
    if options.part == "val" and options.rows and (missing := unfinished(options)):
        parser.error(f"{missing[0]} is not finished; `val` is read once, after all rows. Train it, or --without ROW.")
    measures, hr = load_measures(), DATA / HR_FOLDERS[options.part] / "images"
    for camera in options.cameras:
        lr = DATA / f"{options.part}_lr" / camera
        for row in options.untrained:
            method = untrained_method(row, camera, options.part, lr, hr)
            score_to(result_file(row, camera, 0, 0), method, camera, measures, options.part)
    for camera, seed, row in selected(options):
        folder = run_folder(row, camera, seed, options.steps)
        if is_finished(ROOT / folder):
            method = model_method(folder / "model", RUNS / "sr" / options.part / folder.relative_to(RUNS))
            file = result_file(row, camera, seed, options.steps)
            score_to(file, method, camera, measures, options.part, training_facts(folder))
    return 0


def unfinished(options: argparse.Namespace) -> list[Path]:
    """The runs of the whole protocol, whatever part of it is to be scored now, that are neither there nor given up."""
    everything = argparse.Namespace(**{**vars(options), "rows": [row for row in ROWS if row not in options.without]})
    folders = [run_folder(row, camera, seed, options.steps) for camera, seed, row in selected(everything)]
    return [folder for folder in folders if not is_finished(ROOT / folder)]


def load_measures() -> Measures:
    judge = load_guide(str(JUDGE))
    lpips = find_distances(str(ROOT / "../shared/weights"))["lpips"]
    return Measures(scale=4, distances={"lpips": lpips}, judge=judge, labels=judge.labels, void=VOID)


def untrained_method(row: str, camera: str, part: str, lr: Path, hr: Path) -> Method | None:
    """Interpolation, HR itself, the common start, or a peer's folder of pictures; None where that is not whole."""
    if row == "interpolation":
        return bicubic
    if row == "hr":
        return FromFolder(hr)
    if row == "start":
        return model_method(start_folder() / "model", RUNS / "sr/start" / camera)
    folder = peer_folder(row, f"camvid-{part}-{camera}")
    made = {path.stem for path in folder.glob("*.png")}
    return FromFolder(folder) if made >= {path.stem for path in lr.iterdir()} else None


def model_method(model: Path, sr: Path) -> Method:
    return FromModel(load_model(str(model)), save_to=sr, overwrite=True, segment=False)


def score_to(
    file: Path, method: Method | None, camera: str, measures: Measures, part: str, facts: dict | None = None
) -> None:
    """Score one row and write its file, unless it is there already."""
    if method is None or (part == "val" and file.exists()):
        print(f"{file.stem}: {'no pictures' if method is None else 'scored before'}.", flush=True)
        return
    hr, labels = (DATA / HR_FOLDERS[part] / kind for kind in ("images", "labels"))
    scores = score(method, DATA / f"{part}_lr" / camera, hr, labels, measures)
    summary = summarize(list(scores["plain"].values()), measures.labels)
    shown = (f"{name} {value:.4f}" for name, value in summary.items() if isinstance(value, float))
    print(f"{file.stem}: {', '.join(shown)}", flush=True)
    record = {**(facts or {}), **pack(scores)}
    if part == "val":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, separators=(",", ":")) + "\n")


def score(method: Method, lr: Path, hr: Path, labels: Path, measures: Measures) -> dict[str, dict[str, PictureScore]]:
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
    for case in pair_files(lr, hr):
        noise = flat_noise(remembered.pictures[case.stem], to_pixels(read_picture(case.hr)))
        read.pictures["plain"][case.stem].values |= seen[case.stem].values | {"flat_noise": noise}
    return {name: read.pictures[name] for name in variants}


class Remembered:
    """A method that makes each picture once, and keeps it as bytes."""

    def __init__(self, method: Method):
        self.method, self.pictures = method, {}

    def __call__(self, case: Case, lr: np.ndarray, size: tuple[int, int]) -> Result:
        if case.stem not in self.pictures:
            self.pictures[case.stem] = to_bytes(self.method(case, lr, size).pixels)
        return Result(self.pictures[case.stem].astype(np.float32) / 255)


def altered(method: Method, change: Callable[[np.ndarray], np.ndarray]) -> Method:
    return lambda case, lr, size: Result(change(method(case, lr, size).pixels))


def shift(pixels: np.ndarray) -> np.ndarray:
    """One pixel to the right and down; the edge is repeated."""
    return np.pad(pixels, ((1, 0), (1, 0), (0, 0)), mode="edge")[:-1, :-1]


def jpeg(pixels: np.ndarray, quality: int = 90) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(to_bytes(pixels)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / 255


def flat_noise(sr: np.ndarray, hr: np.ndarray) -> float:
    """`metrics.flat_noise` of SR (H, W, 3) uint8 and HR (H, W, 3) in [0, 1]."""
    batches = (torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1)[None].double() for p in (sr / 255, hr))
    return metrics.flat_noise(*batches).item()


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


def training_facts(folder: Path) -> dict:
    """Cost and curves of a run, from what it left behind."""
    logged = read_scalars(folder / "logs")
    curves = {tag: [(step, float(f"{value:.4g}")) for step, value in logged[tag]] for tag in CURVES if tag in logged}
    return {"training": json.loads((folder / "cost.json").read_text()), "curves": curves}


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    sys.exit(main())
