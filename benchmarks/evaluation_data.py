"""The data of the benchmarks: the shared folder ($SSG_SHARED or ../shared), and the sets of LR pictures.

The sets are CamVid's dev and val part by its two cameras, and Kodak three times: reduced by PIL's bicubic, by that and
JPEG at quality 40, and by the generic degradation prior, seeded by the picture's number.
"""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.document import ROOT
from ssg_hub.degradation import GenericPrior
from ssg_hub.evaluation.methods import index_pictures, to_pixels
from ssg_hub.images.levels import to_8_bit
from ssg_hub.images.reading import read_picture

SCALE, VOID = 4, 11
JUDGE = ROOT / "benchmarks/judge"  # a segmenter that took part in no training of a generator or guide
CAMERAS = ("noisy", "phone")
HR_PARTS = {"dev": "train", "val": "val"}  # the frames of dev are among CamVid's training frames
MADE = ROOT / "runs/sets"  # made LR, the same at every call; git ignores it
JPEG_QUALITY = 40


@dataclass(frozen=True)
class PictureSet:
    """LR pictures with their HR by stem, and label maps where there are any."""

    name: str
    title: str
    lr: Path
    hr: Path
    labels: Path | None = None


def find_shared() -> Path:
    """The folder that holds data/ and weights/: $SSG_SHARED, or `shared` beside the repository."""
    shared = Path(os.environ.get("SSG_SHARED") or ROOT.parent / "shared")
    if not (shared / "data").is_dir():
        sys.exit(f"no data at {shared}; set SSG_SHARED to the folder with data/ and weights/.")
    return shared


def camvid_sets(shared: Path, part: str) -> list[PictureSet]:
    """The LR frames of "dev" or "val", one set a camera."""
    camvid = shared / "data/camvid"
    hr, labels = (camvid / HR_PARTS[part] / kind for kind in ("images", "labels"))
    return [
        PictureSet(f"camvid-{part}-{camera}", f"CamVid {part}, {camera}", camvid / f"{part}_lr" / camera, hr, labels)
        for camera in CAMERAS
    ]


def kodak_sets(shared: Path) -> list[PictureSet]:
    """Kodak in three kinds of LR, which are made if they do not exist yet."""
    hr = shared / "data/kodak"
    sets = []
    for kind, (title, make) in KODAK_LR.items():
        folder = MADE / f"kodak-{kind}"
        folder.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(index_pictures(hr).values()):
            pixels = to_pixels(read_picture(path))
            height, width = (side - side % SCALE for side in pixels.shape[:2])
            _write_changed(folder, path.stem, make(pixels[:height, :width], number))
        sets.append(PictureSet(f"kodak-{kind}", f"Kodak, {title}", folder, hr))
    return sets


def reduce_bicubic(hr: np.ndarray) -> Image.Image:
    """(H, W, 3) in [0, 1] to a quarter a side, by PIL."""
    size = (hr.shape[1] // SCALE, hr.shape[0] // SCALE)
    return Image.fromarray(to_8_bit(hr)).resize(size, Image.Resampling.BICUBIC)


def reduce_generic(hr: np.ndarray, number: int) -> Image.Image:
    """By the generic prior, drawn by the picture's number."""
    batch = torch.from_numpy(hr).permute(2, 0, 1)[None]
    lr = GenericPrior().degrade(batch, SCALE, torch.Generator().manual_seed(number))
    return Image.fromarray(to_8_bit(np.ascontiguousarray(lr[0].permute(1, 2, 0))))


def _as_png(picture: Image.Image) -> tuple[str, bytes]:
    return ".png", _encode(picture, "PNG")


def _as_jpeg(picture: Image.Image) -> tuple[str, bytes]:
    return ".jpg", _encode(picture, "JPEG", quality=JPEG_QUALITY)


def _encode(picture: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def _write_changed(folder: Path, stem: str, made: tuple[str, bytes]) -> None:
    """Write a file unless it is unchanged, so that files made from it stay newer."""
    path = folder / f"{stem}{made[0]}"
    if not path.is_file() or path.read_bytes() != made[1]:
        path.write_bytes(made[1])


KODAK_LR: dict[str, tuple[str, Callable[[np.ndarray, int], tuple[str, bytes]]]] = {
    "bicubic": ("bicubic", lambda hr, number: _as_png(reduce_bicubic(hr))),
    "generic": ("generic prior", lambda hr, number: _as_png(reduce_generic(hr, number))),
    "jpeg": (f"bicubic, JPEG {JPEG_QUALITY}", lambda hr, number: _as_jpeg(reduce_bicubic(hr))),
}
