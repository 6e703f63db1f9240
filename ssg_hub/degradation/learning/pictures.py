"""LR pictures of a camera, read from a folder for the estimation of a bank."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import ImageError
from ...images.formats import list_pictures, name_endings
from ...images.levels import to_8_bit
from ...images.opening import open_picture
from ...images.reading import read_rgb
from ...storage import as_path
from .compression import Compression, read_tables
from .spectrum import SMALLEST

MOST_PICTURES = 300
MOST_PIXELS = 1024  # per side; the middle of larger pictures, cut on the grid of JPEG blocks
EXAMPLES, EXAMPLE_SIDE = 8, 64  # pieces of pictures that a bank keeps to be looked at


@dataclass
class Pictures:
    """LR pictures as they were read.

    Attributes:
        pixels: (H, W, 3), 8-bit RGB.
        tables: the JPEG tables in their files, None for formats without tables.
        names: of the files.
        paths: of the files.
        skipped: reason -> number of files that are left out.
        found: how many files there were; of more than `MOST_PICTURES` some are looked at.
    """

    pixels: list[np.ndarray] = field(default_factory=list)
    tables: list[Compression | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    found: int = 0

    def floats(self) -> list[np.ndarray]:
        return [pixels.astype(np.float32) / 255 for pixels in self.pixels]


def read_pictures(folder: str | Path) -> Pictures:
    """Read a folder (with its subfolders) or one file.

    Raises:
        ImageError: nothing there, nothing readable, or nothing large enough.
    """
    folder = as_path(folder)
    if not folder.exists():
        raise ImageError(f"{folder} is not there. Give a folder of LR pictures, or one picture.")
    files = [folder] if folder.is_file() else list_pictures(folder)
    if not files:
        raise ImageError(f"{folder} holds no pictures ({name_endings()}). Give a folder of LR pictures.")
    pictures = Pictures(found=len(files))
    if len(files) > MOST_PICTURES:
        files = [files[i] for i in np.linspace(0, len(files) - 1, MOST_PICTURES).round().astype(int)]
    for path in files:
        try:
            pixels, tables = read_picture(path)
        except ImageError:
            pictures.skipped["unreadable"] = pictures.skipped.get("unreadable", 0) + 1
            continue
        if min(pixels.shape[:2]) < SMALLEST:
            pictures.skipped["too small"] = pictures.skipped.get("too small", 0) + 1
            continue
        pictures.pixels.append(pixels)
        pictures.tables.append(tables)
        pictures.names.append(path.name)
        pictures.paths.append(path)
    if not pictures.pixels:
        reasons = ", ".join(f"{count} {reason}" for reason, count in pictures.skipped.items())
        raise ImageError(
            f"none of the pictures in {folder} can be used ({reasons}); sides of {SMALLEST} px are needed."
        )
    return pictures


def read_picture(path: Path) -> tuple[np.ndarray, Compression | None]:
    """The pixels (H, W, 3), 8-bit RGB, of a picture or of the middle of a large one; and its JPEG tables.

    Raises:
        ImageError: not a picture, damaged, or beyond the pixel limit.
    """
    pixels = to_8_bit(read_rgb(path))
    opened = open_picture(path)
    tables = None if opened.image is None else read_tables(opened.image, opened.orientation)
    top, left = (max(0, (side - MOST_PIXELS) // 2) // 16 * 16 for side in pixels.shape[:2])
    return pixels[top : top + MOST_PIXELS, left : left + MOST_PIXELS], tables


def cut_examples(pixels: list[np.ndarray]) -> Tensor:
    """The middles (n, 3, s, s), uint8, of a few pictures, for the contact sheet."""
    chosen = np.unique(np.linspace(0, len(pixels) - 1, EXAMPLES).round().astype(int))
    side = min(EXAMPLE_SIDE, *(min(pixels[i].shape[:2]) for i in chosen))
    corners = [[(length - side) // 2 for length in pixels[i].shape[:2]] for i in chosen]
    cut = [pixels[i][y : y + side, x : x + side] for i, (y, x) in zip(chosen, corners, strict=True)]
    return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).contiguous()
