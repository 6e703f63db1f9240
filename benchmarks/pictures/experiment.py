"""Show what the experiment's rows make of pictures that are free to show: docs/images/experiment.png, from Kodak.

The LR pictures are made by the camera's estimated bank, so that they resemble what the rows were trained on; CamVid
itself must not be shown. Needs the models that `benchmarks.experiment run` has left in runs/.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.evaluation_data import find_shared
from benchmarks.experiment.jobs import MODEL
from benchmarks.experiment.protocol import CAMERAS, ROOT, STEPS, Training
from ssg_hub.degradation import load_degradation
from ssg_hub.evaluation.methods import FromModel, bicubic, index_pictures, to_bytes, to_pixels
from ssg_hub.evaluation.picture_sheet import draw_sheet
from ssg_hub.evaluation.scoring import Measures, evaluate_folder
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import load_model

SHOWN = ["bicubic", "bank", "generic-guide", "mixed-guide", "ssg"]
CROPS = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--camera", choices=CAMERAS, default="phone")


def run(options: argparse.Namespace) -> None:
    methods = {"interpolation": bicubic}
    for row in SHOWN:
        model = ROOT / Training(row, options.camera, 0, options.steps).folder / "model"
        if (model / MODEL).is_file():
            methods[row] = FromModel(load_model(str(model)), segment=False)
    kodak = find_shared() / "data/kodak"
    with tempfile.TemporaryDirectory() as lr:
        degrade(index_pictures(kodak), ROOT / "banks" / options.camera, Path(lr))
        evaluation = evaluate_folder(lr, methods, kodak, measures=Measures(scale=4), crops=CROPS)
    path = ROOT / "docs/images/experiment.png"
    draw_sheet(evaluation.crops).save(path, optimize=True)
    print(f"wrote {path.relative_to(ROOT)}")


@torch.inference_mode()
def degrade(pictures: dict[str, Path], bank: Path, output: Path) -> None:
    """Every second picture by the bank, seeded by its number."""
    degradation = load_degradation(str(bank))
    for index, (stem, path) in enumerate(list(pictures.items())[::2]):
        hr = torch.from_numpy(to_pixels(read_picture(path))).permute(2, 0, 1)[None]
        lr = degradation.degrade(hr, 4, torch.Generator().manual_seed(index))
        Image.fromarray(to_bytes(np.ascontiguousarray(lr[0].permute(1, 2, 0)))).save(output / f"{stem}.png")
