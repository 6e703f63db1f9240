"""The pictures: frames of CamVid with label maps that no guide was trained on, and LR of them.

The lists for training leave out what is near to `val` or to `dev`. Those frames lie in three stretches of the target
drive: the one after dev is for the fit, the two around val are for the report.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.adapt.cameras import CAMERAS as UNSEEN
from benchmarks.evaluation_data import CAMERAS, KODAK_LR, SCALE, VOID, find_shared
from ssg_hub.evaluation.methods import index_pictures, to_pixels
from ssg_hub.images.reading import read_picture

FIT_UNTIL = "0016E5_01300"  # the first stretch ends before it


@dataclass(frozen=True)
class Labelled:
    """An LR picture, as bytes of a file, and the label map (H, W) of its HR, uint8, with VOID where there is none."""

    kind: str
    stem: str
    lr: bytes
    labels: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        return self.labels != VOID


def for_fit(every: int = 1) -> Iterator[Labelled]:
    """Dev by its two cameras, and the first stretch by the generic prior, JPEG and bicubic; every Nth frame."""
    camvid = find_shared() / "data/camvid"
    for camera in CAMERAS:
        for stem, path in list(index_pictures(camvid / "dev_lr" / camera).items())[::every]:
            yield Labelled(camera, stem, path.read_bytes(), _labels(stem))
    for number, stem in enumerate([stem for stem in _left_out() if stem < FIT_UNTIL][::every]):
        for kind, (_, make) in KODAK_LR.items():
            yield Labelled(kind, stem, make(_hr(stem), number)[1], _labels(stem))


def for_report(every: int = 1) -> Iterator[Labelled]:
    """The other stretches by the three cameras of `benchmarks.adapt`, which no training saw."""
    for number, stem in list(enumerate(stem for stem in _left_out() if stem >= FIT_UNTIL))[::every]:
        for camera, spoil in UNSEEN.items():
            yield Labelled(camera, stem, spoil(_hr(stem), np.random.default_rng((7, number)))[1], _labels(stem))


def open_lr(picture: Labelled) -> Image.Image:
    return Image.open(io.BytesIO(picture.lr)).convert("RGB")


def _left_out() -> list[str]:
    camvid = find_shared() / "data/camvid"
    listed = {stem for name in ("dev", "source", "target") for stem in (camvid / f"{name}.txt").read_text().split()}
    return sorted(set(index_pictures(camvid / "train/images")) - listed)


def _hr(stem: str) -> np.ndarray:
    pixels = to_pixels(read_picture(index_pictures(find_shared() / "data/camvid/train/images")[stem]))
    height, width = (side - side % SCALE for side in pixels.shape[:2])
    return pixels[:height, :width]


def _labels(stem: str) -> np.ndarray:
    labels = np.asarray(Image.open(find_shared() / f"data/camvid/train/labels/{stem}.png"))
    height, width = (side - side % SCALE for side in labels.shape)
    return labels[:height, :width]
