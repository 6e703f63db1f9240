"""The pictures that int8 is fitted to, those held out to measure it on, and what is cut from them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError, ImageError
from ..evaluation.methods import index_pictures
from ..evaluation.metrics import ALEXNET_SMALLEST
from ..images.formats import composed, list_pictures, name_endings
from ..images.levels import to_8_bit
from ..images.reading import read_rgb
from ..images.resampling import to_floats

HELD_OUT = 5  # every fifth picture is not fitted to, but measured
MOST_PICTURES, MOST_HELD_OUT = 28, 24  # of all folders together
CROP = 64  # LR pixels a side that a picture gives for the fit
MEASURED = 256  # and those that one held out is measured on
CONSTANT = 48  # the side of pictures of one colour that join them, so that black and white are reached, and stay
CONSTANTS = ((0, 0, 0), (1, 1, 1), (0.5, 0.5, 0.5), (1, 0, 0), (0, 1, 0), (0, 0, 1))


@dataclass(frozen=True)
class Pictures:
    """Held-out pictures.

    Args:
        lr: (1, 3, h, w) each.
        hr: the reference of each, (1, 3, s*h, s*w), or None.
        sets: the set that each belongs to.
    """

    lr: list[Tensor]
    hr: list[Tensor | None]
    sets: list[str]


def gather(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    """The pictures of folders as `split` gives them.

    Raises:
        ConfigError: a folder without pictures.
        ImageError: none is left to fit to.
    """
    fitted, held_out = split([_find_pictures(folder) for folder in folders])
    if not fitted:
        places = ", ".join(map(str, folders))
        raise ImageError(
            f"the {len(held_out)} pictures of {places} are measured on, and leave none to fit to. Give a folder of "
            f"{HELD_OUT} or more."
        )
    return fitted, held_out


def split(folders: list[list[Path]]) -> tuple[list[Path], list[Path]]:
    """The pictures to fit to, and those to measure on: of each folder every fifth, so that each has its share.

    Nothing is there to fit to where all folders together have fewer than five pictures, or each has but one.
    """
    if sum(map(len, folders)) < HELD_OUT:
        return [], [path for paths in folders for path in paths]
    held_out = [path for paths in folders for path in _thin(paths[::HELD_OUT], MOST_HELD_OUT // len(folders) or 1)]
    fitted = [path for paths in folders for number, path in enumerate(paths) if number % HELD_OUT]
    return _thin(fitted, MOST_PICTURES), held_out


def read_crops(paths: list[Path]) -> list[Tensor]:
    """What is fitted to: the middle of each picture, (1, 3, h, w) in [0, 1], and pictures of one colour."""
    flat = [torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1) for color in CONSTANTS]
    return [_cut_middle(read_rgb(path), CROP) for path in paths] + [
        color.repeat(1, 1, CONSTANT, CONSTANT) for color in flat
    ]


def read_pictures(paths: list[Path], references: list[Path], scale: int) -> Pictures:
    """The middle of LR pictures, at most `MEASURED` pixels a side, with their references, as far as there are any.

    Args:
        paths: the LR pictures.
        references: folders of HR pictures with the same names.
        scale: HR pixels per LR pixel, per side.

    Raises:
        ConfigError: a folder without pictures, or two references of one name.
        ImageError: a picture that cannot be read or is too small for LPIPS, or a reference of another size.
    """
    known: dict[str, Path] = {}
    for folder in references:
        found = index_pictures(folder)
        if twice := sorted(known.keys() & found):
            raise ConfigError(
                f"--references have {known[twice[0]]} and {found[twice[0]]}, and pictures belong together by their "
                "names. Quantize with one of these folders, or rename their pictures."
            )
        known |= found
    lr, hr = [], []
    for path in paths:
        reference = known.get(composed(path.stem))
        small, large = read_rgb(path), None if reference is None else read_rgb(reference)
        if scale * min(small.shape[:2]) < ALEXNET_SMALLEST:
            raise ImageError(
                f"{path} has {small.shape[1]}x{small.shape[0]} pixels; to be measured on by LPIPS it needs "
                f"{-(-ALEXNET_SMALLEST // scale)} a side. Leave it out."
            )
        if large is not None and tuple(side // scale for side in large.shape[:2]) != small.shape[:2]:
            raise ImageError(f"{reference} is not {scale} times as large as {path}. Give other references.")
        height, width = (scale * side for side in small.shape[:2])  # what LR does not show is left out
        lr.append(_cut_middle(small, MEASURED))
        hr.append(None if large is None else _cut_middle(large[:height, :width], MEASURED, scale))
    return Pictures(lr, hr, [str(path.parent) for path in paths])


def _find_pictures(folder: Path) -> list[Path]:
    if not (found := list_pictures(folder)):
        raise ConfigError(f"--calibrate {folder} has no pictures ({name_endings()}). Give folders of LR pictures.")
    return found


def _thin(paths: list[Path], most: int) -> list[Path]:
    return paths[:: max(1, -(-len(paths) // most))]


def _cut_middle(pixels: np.ndarray, side: int, unit: int = 1) -> Tensor:
    """The middle of a picture, at most `side` times `unit` pixels wide and high.

    Args:
        pixels: (H, W, 3).
        side: in units.
        unit: pixels, in whole ones of which it is cut.

    Returns:
        (1, 3, h, w) in [0, 1], of 8 bits.
    """
    top, left = (max(0, length // unit - side) // 2 * unit for length in pixels.shape[:2])
    return to_floats(to_8_bit(pixels[top : top + side * unit, left : left + side * unit])).unsqueeze(0)
