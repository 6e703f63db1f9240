"""The picture sheet of an evaluation: the crops in which the methods differ most, side by side, as one PNG."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont

from ..images.levels import to_8_bit

CROP = 96  # side of a crop in SR pixels
ENLARGED = 2  # SR pixels are shown this many times larger, unfiltered
GAP, HEADER, FOOTER = 8, 26, 20
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


@dataclass
class Crop:
    """One crop of one picture, seen by all.

    Attributes:
        stem: the picture's name.
        difference: standard deviation over the methods, averaged over the crop, in [0, 1] units.
        corner: (x, y) of its upper left pixel in SR.
        views: column name -> (h, w, 3) uint8; "LR" is smaller than the others by the scale.
    """

    stem: str
    difference: float
    corner: tuple[int, int]
    views: dict[str, np.ndarray]


def choose_crop(stem: str, lr: np.ndarray, results: Mapping[str, np.ndarray], hr: np.ndarray | None = None) -> Crop:
    """Cut the square in which the methods' results differ most (or, of a single method, result and HR).

    Args:
        stem: the picture's name.
        lr: (h, w, 3) in [0, 1].
        results: method -> SR (H, W, 3) in [0, 1].
        hr: (H, W, 3) in [0, 1], or None.
    """
    compared = list(results.values())
    if len(compared) == 1 and hr is not None:
        compared.append(hr)
    spread = np.stack(compared).std(0).mean(-1)
    scale = spread.shape[0] // lr.shape[0]
    side = [min(CROP // scale, length) * scale for length in lr.shape[:2]]  # whole LR pixels
    step = max(scale, CROP // 4 // scale * scale)
    means = F.avg_pool2d(torch.from_numpy(spread)[None, None], side, step)[0, 0]
    best = int(means.argmax())
    y, x = best // means.shape[1] * step, best % means.shape[1] * step
    box = (slice(y, y + side[0]), slice(x, x + side[1]))
    lr_box = tuple(slice(part.start // scale, part.stop // scale) for part in box)
    views = {"LR": lr[lr_box], **{name: pixels[box] for name, pixels in results.items()}}
    if hr is not None:
        views["HR"] = hr[box]
    views = {name: to_8_bit(view) for name, view in views.items()}
    return Crop(stem, float(means.max()), (x, y), views)


def draw_sheet(crops: list[Crop]) -> Image.Image:
    """Lay the crops out: a row each, a column for each method, LR first and HR last.

    Args:
        crops: at least one, all with the same columns.

    Returns:
        An RGB picture.
    """
    names = list(crops[0].views)
    sides = [[length * ENLARGED for length in crop.views[names[-1]].shape[:2]] for crop in crops]
    column = max(width for _, width in sides)
    sheet_width = GAP + len(names) * (column + GAP)
    sheet = Image.new("RGB", (sheet_width, HEADER + sum(height + FOOTER for height, _ in sides) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    title, caption = ImageFont.load_default(15), ImageFont.load_default(12)
    for index, name in enumerate(names):
        x = GAP + index * (column + GAP) + column // 2
        draw.text((x, HEADER // 2), _fit(name, title, column), INK, title, anchor="mm")
    top = HEADER
    for crop, (height, width) in zip(crops, sides, strict=True):
        for index, name in enumerate(names):
            view = Image.fromarray(crop.views[name]).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(view, (GAP + index * (column + GAP), top))
        text = f"{crop.stem}  at {crop.corner[0]}, {crop.corner[1]}"
        draw.text((GAP, top + height + 2), text, FAINT, caption)
        top += height + FOOTER
    return sheet


def _fit(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Shorten a name that is wider than its column."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
