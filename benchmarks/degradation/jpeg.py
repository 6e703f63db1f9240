"""Make LR pictures that suffered from nothing but reduction and JPEG, for the bank of configs/embedded, part 10.

python -m benchmarks.degradation jpeg                      # runs/sets/jpeg-photographs
ssg degradation estimate runs/sets/jpeg-photographs -o banks/jpeg
"""

import argparse
import random

from PIL import Image

from benchmarks.evaluation_data import MADE, SCALE, find_shared

FOLDER = MADE / "jpeg-photographs"
QUALITY = (28, 88)
SEED = 7


def run(options: argparse.Namespace) -> None:
    photos, draw = find_shared() / "data/photos", random.Random(SEED)
    bsds, sunhays, debian = (sorted((photos / name).iterdir()) for name in ("bsds", "sunhays", "debian"))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate([*sunhays, *debian, *bsds[::8]]):
        picture = Image.open(path).convert("RGB")
        size = (picture.width // SCALE, picture.height // SCALE)
        reduced = picture.resize(size, Image.Resampling.BICUBIC)
        reduced.save(FOLDER / f"{number:03d}.jpg", quality=draw.randint(*QUALITY))
    print(f"wrote {number + 1} pictures to {FOLDER}")
