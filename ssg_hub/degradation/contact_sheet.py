"""The contact sheet of a bank: its kernels, its noise, and LR that it makes beside LR of the camera, as one PNG."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import ImageError
from .bank import DegradationBank
from .kernels import measure_kernel
from .learning.pictures import EXAMPLE_SIDE, EXAMPLES, cut_examples, read_pictures

CLEAN = Path(__file__).with_name("clean.webp")  # coffee cup, Rachel Michetti, CC0; comes with scikit-image
CELL = 2 * EXAMPLE_SIDE  # pixels
GAP, CAPTION, LINE = 8, 24, 18
PAPER, INK = (255, 255, 255), (20, 20, 20)
CONTRAST = 50  # gray levels that noise of unit strength has on the sheet


def draw_contact_sheet(
    bank: DegradationBank, lr: str | Path | None = None, hr: str | Path | None = None, seed: int = 0
) -> Image.Image:
    """Lay out what a bank has learnt.

    Args:
        bank: the bank.
        lr: folder of the camera's pictures; by default the pieces that the bank has kept of them.
        hr: folder of clean pictures from which LR is made; by default one photograph that comes with the package.
        seed: of the choice of records and pieces, and of the made LR.

    Returns:
        An RGB picture.

    Raises:
        ImageError: a folder without pictures, or clean pictures that are too small.
    """
    rng = np.random.default_rng(seed)
    real = bank.examples if lr is None else cut_examples(read_pictures(lr).pixels)
    rows = [
        ("Kernels, from narrow to wide; each cell is eight LR pixels wide", [_gray(k) for k in _spread(bank.kernels)]),
        ("Noise patches at equal strength", _show_noise(bank, rng)),
    ]
    if len(real):
        rows.append(("LR of the camera", _to_images(real)))
    rows.append(("LR that the bank makes", _to_images(_make(bank, hr, rng, seed))))
    return _lay_out(rows, bank.describe().splitlines())


def _spread(kernels: Tensor) -> list[Tensor]:
    """Up to eight kernels (k, k), evenly chosen by their width."""
    shapes = [measure_kernel(kernel)[0] for kernel in kernels]
    order = np.argsort([shape.major * shape.minor for shape in shapes])
    chosen = np.unique(np.linspace(0, len(order) - 1, EXAMPLES).round().astype(int))
    return [kernels[order[i]] for i in chosen]


def _gray(kernel: Tensor) -> Image.Image:
    scaled = (kernel / kernel.max()).clamp(0, 1).sqrt()  # faint parts show
    return Image.fromarray((scaled * 255).byte().numpy()).convert("RGB")


def _show_noise(bank: DegradationBank, rng: np.random.Generator) -> list[Image.Image]:
    patches = bank.noise.patches
    chosen = np.sort(rng.choice(len(patches), min(EXAMPLES, len(patches)), replace=False))
    return _to_images((patches[chosen] * CONTRAST + 128).clamp(0, 255).byte())


def _make(bank: DegradationBank, hr: str | Path | None, rng: np.random.Generator, seed: int) -> Tensor:
    """LR (n, 3, 64, 64), uint8, by the bank."""
    side = EXAMPLE_SIDE * bank.scale
    pictures = read_pictures(CLEAN if hr is None else hr).pixels
    large = [pixels for pixels in pictures if min(pixels.shape[:2]) >= side]
    if not large:
        raise ImageError(f"no picture in {hr} is clean HR of at least {side}x{side} px. Give larger ones with --hr.")
    crops = []
    for i in range(EXAMPLES):
        pixels = large[i * len(large) // EXAMPLES]
        top, left = (int(rng.integers(length - side + 1)) for length in pixels.shape[:2])
        crops.append(pixels[top : top + side, left : left + side])
    clean = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
    generators = [torch.Generator().manual_seed(seed + i) for i in range(EXAMPLES)]
    return (bank.degrade(clean, bank.scale, generators) * 255).round().byte()


def _to_images(pixels: Tensor) -> list[Image.Image]:
    return [Image.fromarray(p) for p in pixels.permute(0, 2, 3, 1).contiguous().numpy()]


def _lay_out(rows: list[tuple[str, list[Image.Image]]], lines: list[str]) -> Image.Image:
    font = ImageFont.load_default(13)
    width = GAP + EXAMPLES * (CELL + GAP)
    lines = [part for line in lines for part in _wrap(line, font, width - 2 * GAP)]
    height = GAP + len(rows) * (CAPTION + CELL + GAP) + LINE * len(lines) + GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, top = ImageDraw.Draw(sheet), GAP
    for caption, images in rows:
        draw.text((GAP, top), caption, INK, font)
        for column, image in enumerate(images):
            cell = image.resize((CELL, CELL), Image.Resampling.NEAREST)
            sheet.paste(cell, (GAP + column * (CELL + GAP), top + CAPTION))
        top += CAPTION + CELL + GAP
    for line in lines:
        draw.text((GAP, top), line, INK, font)
        top += LINE
    return sheet


def _wrap(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Break a line between words where it is wider than the sheet."""
    parts = [""]
    for word in line.split(" "):
        longer = f"{parts[-1]} {word}" if parts[-1] else word
        if font.getlength(longer) <= width:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts
