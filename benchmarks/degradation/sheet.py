"""Draw the contact sheet in docs/degradation.md: a camera made up from Kodak's photographs, learnt and shown.

The photographs, which are free to show, are blurred along a slanted axis, reduced to a quarter, given shot noise, and
compressed; `ssg degradation estimate` and `show` do the rest.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.document import ROOT
from benchmarks.evaluation_data import find_shared
from ssg_hub.cli import main as ssg
from ssg_hub.degradation.learning.pictures import read_picture
from ssg_hub.degradation.ops import gaussian_kernels, reduce_with

SHEET = ROOT / "docs" / "images" / "degradation.png"
WIDTHS, ANGLE = (3.2, 1.6), 60.0  # HR px, degrees
READ, SHOT, QUALITY = 2.0, 0.15, 70


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    paths = sorted((shared / "data" / "kodak").glob("*"))
    with tempfile.TemporaryDirectory() as folder:
        camera, bank = Path(folder) / "camera", Path(folder) / "bank"
        camera.mkdir()
        for number, path in enumerate(paths):
            spoil(read_picture(path)[0], number).save(camera / f"{path.stem}.jpg", quality=QUALITY)
        for words in (("estimate", camera, "-o", bank), ("show", bank, "-o", SHEET, "--overwrite")):
            if ssg(["degradation", *map(str, words)]):
                raise SystemExit(1)  # why, it has said


def spoil(pixels: np.ndarray, seed: int) -> Image.Image:
    widths = (torch.tensor([width]) for width in WIDTHS)
    kernel = gaussian_kernels(*widths, torch.tensor([np.radians(ANGLE)]).float(), 32)
    lr = reduce_with(torch.tensor(pixels).permute(2, 0, 1)[None].float(), kernel, 4)[0].permute(1, 2, 0).numpy()
    noise = np.random.default_rng(seed).normal(size=lr.shape) * np.sqrt(READ**2 + SHOT * lr)
    return Image.fromarray((lr + noise).round().clip(0, 255).astype(np.uint8))
