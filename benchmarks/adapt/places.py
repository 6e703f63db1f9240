"""Where this benchmark's pictures and models are; git ignores them."""

from pathlib import Path

from benchmarks.adapt.cameras import CAMERAS, KNOWN
from benchmarks.document import ROOT
from benchmarks.evaluation_data import find_shared

RUNS = ROOT / "runs/adapt"
ALL = [*CAMERAS, KNOWN]
PICTURES = 40  # LR pictures that the user of the command has


def add_cameras(parser) -> None:
    parser.add_argument("--cameras", nargs="+", choices=ALL, default=ALL)


def photos(camera: str) -> Path:
    """The folder that `ssg adapt` gets."""
    return RUNS / "photos" / camera


def held_out(camera: str) -> Path:
    """LR pictures of frames that nothing was adapted to."""
    return RUNS / "held_out" / camera


def truth(camera: str) -> Path:
    """The part of CamVid with `images` and `labels` of the frames in `held_out`."""
    return find_shared() / "data/camvid" / ("train" if camera == KNOWN else "val")


def model(camera: str) -> Path:
    return RUNS / "models" / camera


def trained(camera: str) -> Path:
    """What the training ended with, before it was decided how far to go."""
    return model(camera) / "work/training/model"


def true_pairs(camera: str, streets: bool) -> Path:
    """A training on pairs by the camera's own recipe."""
    return RUNS / ("streets" if streets else "photographs") / camera
