"""Draw the contact sheet in docs/degradation.md: a camera made up from free photographs, learnt and shown.

    python benchmarks/degradation_sheet.py

Photographs that come with scikit-image (CC0 and public domain) are blurred along a slant, reduced to a quarter, given
shot noise and compressed to JPEG quality 70; `ssg degradation estimate` and `show` do the rest.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from document import ROOT
from PIL import Image
from skimage import data

from ssg_hub.cli import main as ssg
from ssg_hub.degradation.ops import gaussian_kernels, reduce_with

SHEET = ROOT / "docs" / "images" / "degradation.png"
WIDTHS, ANGLE = (3.2, 1.6), 60.0  # HR px, degrees
READ, SHOT, QUALITY = 2.0, 0.15, 70
SIDE = 384


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        camera, bank = Path(folder) / "camera", Path(folder) / "bank"
        camera.mkdir()
        for number, pixels in enumerate(cut()):
            spoil(pixels, number).save(camera / f"{number:02}.jpg", quality=QUALITY)
        ssg(["degradation", "estimate", str(camera), "-o", str(bank)])
        ssg(["degradation", "show", str(bank), "-o", str(SHEET)])


def cut() -> list[np.ndarray]:
    """Squares from the photographs: the four corners of each, as far as they differ."""
    squares = []
    for photograph in (data.chelsea()[:, :, :3], data.rocket(), data.astronaut(), data.coffee()):
        height, width = (min(SIDE, length // 4 * 4) for length in photograph.shape[:2])
        corners = {(y, x) for y in (0, photograph.shape[0] - height) for x in (0, photograph.shape[1] - width)}
        squares += [photograph[y : y + height, x : x + width] for y, x in sorted(corners)]
    return [square[: square.shape[0] // 4 * 4, : square.shape[1] // 4 * 4] for square in squares]


def spoil(pixels: np.ndarray, seed: int) -> Image.Image:
    widths = (torch.tensor([width]) for width in WIDTHS)
    kernel = gaussian_kernels(*widths, torch.tensor([np.radians(ANGLE)]).float(), 32)
    lr = reduce_with(torch.tensor(pixels).permute(2, 0, 1)[None].float(), kernel, 4)[0].permute(1, 2, 0).numpy()
    noise = np.random.default_rng(seed).normal(size=lr.shape) * np.sqrt(READ**2 + SHOT * lr)
    return Image.fromarray((lr + noise).round().clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
