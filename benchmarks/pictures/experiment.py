"""Show what the experiment's rows make of pictures that are free to show: docs/images/experiment_*.png, from Kodak.

Two sheets: the crops where five rows differ most, and those where SSG and generic + guide do. A row that is not trained
is left out and named. The LR pictures are made by the camera's estimated bank, so that they resemble what the rows were
trained on; CamVid itself must not be shown. Needs the models that `benchmarks.experiment run` has left in runs/.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.evaluation_data import find_shared
from benchmarks.experiment.jobs import MODEL
from benchmarks.experiment.protocol import CAMERAS, ROOT, STEPS, Training, picture
from ssg_hub.degradation import load_degradation
from ssg_hub.evaluation.methods import FromModel, Method, bicubic, index_pictures, to_pixels
from ssg_hub.evaluation.picture_sheet import Crop, draw_sheet
from ssg_hub.evaluation.scoring import Measures, evaluate_folder
from ssg_hub.images.levels import to_8_bit
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import load_model

SHEETS = {  # kind -> rows; the first also shows interpolation
    "": ("bicubic", "bank", "generic-guide", "mixed-guide", "ssg"),
    "guided": ("generic-guide", "ssg"),
}
CROPS = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--camera", choices=CAMERAS, default="phone")


def run(options: argparse.Namespace) -> None:
    kodak = find_shared() / "data/kodak"
    models = {row: ROOT / Training(row, options.camera, 0, options.steps).folder / "model" for row in SHEETS[""]}
    trained = {row: model for row, model in models.items() if (model / MODEL).is_file()}
    if missing := [row for row in models if row not in trained]:
        print(f"not trained, and so not shown: {', '.join(missing)}")
    methods = {r: FromModel(load_model(str(m)), segment=False, color_fix=False) for r, m in trained.items()}
    with tempfile.TemporaryDirectory() as lr:
        degrade(index_pictures(kodak), ROOT / "banks" / options.camera, Path(lr))
        for kind, crops in find_crops(Path(lr), kodak, methods).items():
            path = ROOT / "docs" / picture(options.camera, options.steps, kind)
            draw_sheet(crops).save(path, optimize=True)
            print(f"wrote {path.relative_to(ROOT)}")


def find_crops(lr: Path, hr: Path, methods: dict[str, Method]) -> dict[str, list[Crop]]:
    """The crops of each sheet that has at least two rows to compare, by its kind."""
    found = {}
    for kind, rows in SHEETS.items():
        compared = {row: methods[row] for row in rows if row in methods}
        if len(compared) > 1:
            shown = compared if kind else {"interpolation": bicubic} | compared
            found[kind] = evaluate_folder(lr, shown, hr, measures=Measures(scale=4), crops=CROPS).crops
    return found


@torch.inference_mode()
def degrade(pictures: dict[str, Path], bank: Path, output: Path) -> None:
    """Every second picture by the bank, seeded by its number."""
    degradation = load_degradation(str(bank))
    for index, (stem, path) in enumerate(list(pictures.items())[::2]):
        hr = torch.from_numpy(to_pixels(read_picture(path))).permute(2, 0, 1)[None]
        lr = degradation.degrade(hr, 4, torch.Generator().manual_seed(index))
        Image.fromarray(to_8_bit(np.ascontiguousarray(lr[0].permute(1, 2, 0)))).save(output / f"{stem}.png")
