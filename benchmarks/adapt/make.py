"""Make the cameras' pictures: 40 frames of the target drive to adapt to, and the val frames to score on."""

import shutil

import numpy as np

from benchmarks.adapt.cameras import CAMERAS, KNOWN, SCALE
from benchmarks.adapt.places import PICTURES, held_out, photos
from benchmarks.evaluation_data import find_shared
from ssg_hub.evaluation.methods import index_pictures, to_pixels
from ssg_hub.images.reading import read_picture


def run(options) -> None:
    camvid = find_shared() / "data/camvid"
    listed = (camvid / "target.txt").read_text().split()
    chosen = [listed[i] for i in np.linspace(0, len(listed) - 1, PICTURES).round().astype(int)]
    train, val = (index_pictures(camvid / part / "images") for part in ("train", "val"))
    for camera, spoil in CAMERAS.items():
        for folder, files in ((photos(camera), {stem: train[stem] for stem in chosen}), (held_out(camera), val)):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for number, (stem, path) in enumerate(files.items()):
                hr = to_pixels(read_picture(path))
                height, width = (side - side % SCALE for side in hr.shape[:2])
                ending, content = spoil(hr[:height, :width], np.random.default_rng((len(files), number)))
                (folder / f"{stem}{ending}").write_bytes(content)
            print(f"{folder}: {len(files)} pictures", flush=True)
    known = index_pictures(camvid / "target_lr" / KNOWN)
    for folder, files in (
        (photos(KNOWN), {stem: known[stem] for stem in chosen}),
        (
            held_out(KNOWN),
            index_pictures(camvid / "dev_lr" / KNOWN),
        ),  # of dev: val_lr is read for docs/results.md alone
    ):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in files.values():
            shutil.copyfile(path, folder / path.name)
        print(f"{folder}: {len(files)} pictures", flush=True)
