"""Train as `ssg adapt` does, but on pairs by the camera's own recipe: is it the bank that holds an adaptation back?

With `--streets` the sharp pictures are frames of the drive that the camera filmed, not the photographs in the package.
"""

import io
import shutil

import numpy as np
from PIL import Image

from benchmarks.adapt.cameras import CAMERAS, SCALE
from benchmarks.adapt.places import photos, true_pairs
from benchmarks.evaluation_data import find_shared
from ssg_hub.adapting.materials import Materials, cut_own, cut_sharp, find_sharp
from ssg_hub.adapting.recipe import build_config
from ssg_hub.degradation.learning.estimate import learn_from
from ssg_hub.degradation.learning.pictures import read_pictures
from ssg_hub.evaluation.methods import index_pictures
from ssg_hub.loading import EMBEDDED, load_model
from ssg_hub.training.script import load_script

SEED = 7


def add_options(parser) -> None:
    parser.add_argument("--cameras", nargs="+", choices=list(CAMERAS), default=list(CAMERAS))
    parser.add_argument("--streets", action="store_true", help="sharp pictures of the same streets")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")


def run(options) -> None:
    for camera in options.cameras:
        folder = true_pairs(camera, options.streets)
        shutil.rmtree(folder, ignore_errors=True)
        materials = Materials(folder)
        pictures = read_pictures(photos(camera))
        bank = learn_from(pictures, SCALE)
        bank.save(folder / "bank")
        cut_own(materials, pictures.paths, seed=0)
        cut_sharp(materials, find_sharp(None), bank, seed=0)
        if options.streets:
            copy_streets(materials)
        spoil_source(materials, camera)
        train(materials, options.minutes)


def copy_streets(materials: Materials) -> None:
    """Put the drive's own frames in the place of the sharp pieces."""
    camvid = find_shared() / "data/camvid"
    frames = index_pictures(camvid / "train/images")
    shutil.rmtree(materials.source)
    materials.source.mkdir()
    for stem in (camvid / "target.txt").read_text().split():
        Image.open(frames[stem]).convert("RGB").save(materials.source / f"{stem}.png")


def spoil_source(materials: Materials, camera: str) -> None:
    """Write LR of every sharp piece, by the recipe that made the camera's pictures."""
    (materials.root / "lr").mkdir()
    for number, path in enumerate(sorted(materials.source.iterdir())):
        _, content = CAMERAS[camera](np.asarray(Image.open(path)) / 255.0, np.random.default_rng((SEED, number)))
        Image.open(io.BytesIO(content)).convert("RGB").save(materials.root / "lr" / path.name)


def train(materials: Materials, minutes: float) -> None:
    root, vgg = materials.root, find_shared() / "weights/vgg16_features_fp16.safetensors"
    start = load_model(EMBEDDED)
    config = build_config(
        materials, root / "bank", root / "training", start, EMBEDDED, EMBEDDED, vgg, minutes, seed=0, resume=False
    )
    load_script().train(type(config)(**{**config.model_dump(), "source_lr": str(root / "lr")}))
