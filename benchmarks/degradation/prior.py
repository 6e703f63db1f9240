"""Learn the natural prior of the kernel estimator from sharp photographs, and write it into the package.

Pictures: every tenth of BSDS500 by name, every second of Sun & Hays, the wallpapers, and every eighth street frame of
the *source* drives. The pictures that the estimator is tested on, Kodak and the target drive, are not among them.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.evaluation_data import find_shared
from ssg_hub.degradation.learning.pictures import read_picture
from ssg_hub.degradation.learning.spectrum import BUILT_IN, TILE, NaturalPrior

SCALE = 4


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    pictures = [read_picture(path)[0].astype(np.float32) / 255 for path in tqdm(choose(shared / "data"))]
    pictures = [picture for picture in pictures if min(picture.shape[:2]) >= TILE * SCALE]
    prior = NaturalPrior.from_pictures(pictures, SCALE)
    values = {name: np.round(value, 6).tolist() for name, value in prior.to_dict().items()}
    BUILT_IN.write_text(json.dumps(values) + "\n")
    print(f"wrote {BUILT_IN} from {len(pictures)} photographs")


def choose(data: Path) -> list[Path]:
    frames = (data / "camvid/source.txt").read_text().split()[::8]
    photos = [sorted((data / "photos" / name).iterdir()) for name in ("bsds", "sunhays", "debian")]
    return [
        *photos[0][::10],
        *photos[1][::2],
        *photos[2],
        *(data / f"camvid/train/images/{name}.webp" for name in frames),
    ]
