"""What an adaptation learns from and is judged by, as small PNG files: pieces of the user's pictures and of sharp ones.

Pieces, because a training step reads a crop and would otherwise decode a whole photograph for it; files, because an
interrupted adaptation goes on with the same ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from ..data.tables import cell_size, load_pictures, open_cell
from ..degradation.bank import DegradationBank
from ..errors import ConfigError, ImageError
from ..images.levels import to_8_bit
from ..images.reading import read_rgb
from ..images.resampling import to_floats
from .inspection import measure_detail

if TYPE_CHECKING:
    from datasets import Dataset

PHOTOGRAPHS = Path(__file__).with_name("photographs")  # freely licensed; see the README in it
TARGET_SIDE, TARGET_PIECES = 256, 400  # LR pixels; pieces in all
HR_SIDE, HR_PIECES, LEAST_HR = 256, 400, 8
HR_LONGEST = 2048  # a larger sharp picture is reduced first: no camera is sharp at that size
CUT = 2  # times as many sharp pieces are cut as are kept: in every photograph something is out of focus
HELD_SHARE, MOST_HELD, OWN_SIDE = 0.1, 12, 128  # of the user's pictures; LR pixels
PAIRS, PAIR_SIDE = 16, 256  # HR pieces, degraded by the bank
SHOWN, SHOWN_SIDE = 12, 160  # pictures of the report; LR pixels


@dataclass(frozen=True)
class Materials:
    """The folders of an adaptation's pieces.

    Attributes:
        target: LR pieces to learn from. source: sharp pieces.
        own: LR pieces of the pictures that were held back. pairs: LR by the bank, and HR, of sharp pieces held back.
        shown: LR pieces of the user's pictures for the report.
    """

    root: Path

    @property
    def target(self) -> Path:
        return self.root / "target"

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def own(self) -> Path:
        return self.root / "own"

    @property
    def pairs(self) -> tuple[Path, Path]:
        return self.root / "pairs/lr", self.root / "pairs/hr"

    @property
    def shown(self) -> Path:
        return self.root / "shown"


def hold_back(count: int) -> list[int]:
    """Which of so many pictures are kept for the comparison: a tenth, two to twelve, evenly spread."""
    held = min(MOST_HELD, max(2, round(HELD_SHARE * count)))
    return [round((i + 0.5) * count / held - 0.5) for i in range(held)]


def cut_own(materials: Materials, paths: list[Path], seed: int) -> None:
    """Cut the user's pictures: some held back, the others into pieces, twelve for the report.

    Args:
        paths: pictures that can be read.
        seed: of the places of the pieces.
    """
    held = set(hold_back(len(paths)))
    each = max(1, TARGET_PIECES // len(paths))
    shown = sorted([*held, *(i for i in _spread(len(paths)) if i not in held)][:SHOWN])
    for index, path in enumerate(paths):
        pixels, rng = to_8_bit(read_rgb(path)), np.random.default_rng((seed, index))
        if index in held:
            _write(materials.own, index, [_middle(pixels, OWN_SIDE)])
        else:
            _write(materials.target, index, _pieces(pixels, TARGET_SIDE, each, rng))
        if index in shown:
            _write(materials.shown, index, [_middle(pixels, SHOWN_SIDE)])


def find_sharp(hr: str | Path | None) -> "Dataset":
    """The sharp pictures that are large enough by their headers, at most 400 of a set, evenly spread.

    Args:
        hr: a folder, a Hub data set with a column `image`, or None for the photographs in the package.

    Returns:
        A table with the column `image`, not decoded.

    Raises:
        ConfigError: no such folder or set, or fewer than 8 that can be used.
    """
    table = load_pictures([str(PHOTOGRAPHS if hr is None else hr)])
    if len(table) > HR_PIECES:
        table = table.select(np.linspace(0, len(table) - 1, HR_PIECES).round().astype(int))
    large = [index for index, row in enumerate(table) if _is_large(row["image"])]
    if len(large) < LEAST_HR:
        raise ConfigError(
            f"{hr}: {len(large)} of {len(table)} sharp pictures can be used; {LEAST_HR} or more are needed, of at "
            f"least {PAIR_SIDE} px a side once the longer one is reduced to {HR_LONGEST}. Add some, or leave --hr out: "
            "the package has a few."
        )
    return table.select(large)


def _is_large(cell: dict) -> bool:
    """Whether a picture, reduced as it will be, has pieces for the comparison; False for what is none."""
    try:
        size = cell_size(cell)
    except ImageError:
        return False
    return min(size) * min(1, HR_LONGEST / max(size)) >= PAIR_SIDE


def cut_sharp(materials: Materials, table: "Dataset", bank: DegradationBank, seed: int) -> int:
    """Cut sharp pictures into source pieces and, of one in five, into pairs for the comparison.

    Args:
        table: from `find_sharp`.
        bank: makes LR of the pairs.
        seed: of the places of the pieces, and of the bank's draws.

    Returns:
        How many pictures there are.

    Raises:
        ConfigError: so many are damaged that fewer than 8 are left.
    """
    each, kept = max(1, CUT * HR_PIECES // len(table)), max(1, len(table) // 5)
    exams = {round((i + 0.5) * len(table) / kept - 0.5) for i in range(kept)}
    lr_folder, hr_folder = materials.pairs
    used = 0
    for pixels in _read_sharp(table):
        rng = np.random.default_rng((seed, 1, used))
        if used in exams:
            _write(hr_folder, used, _pieces(pixels, PAIR_SIDE, -(-CUT * PAIRS // kept), rng))
        else:
            _write(materials.source, used, _pieces(pixels, HR_SIDE, each, rng))
        used += 1
    if used < LEAST_HR:
        raise ConfigError(
            f"{len(table) - used} of {len(table)} sharp pictures are damaged; {LEAST_HR} or more are needed. Replace "
            "them, or leave --hr out: the package has a few."
        )
    _keep_sharpest(materials.source, HR_PIECES)
    _keep_sharpest(hr_folder, PAIRS)
    for index, (path, hr_piece) in enumerate(zip(_list(hr_folder), read_pieces(hr_folder), strict=True)):
        height, width = (side - side % bank.scale for side in hr_piece.shape[-2:])
        lr = bank.degrade(hr_piece[..., :height, :width], bank.scale, torch.Generator().manual_seed(seed + index))
        lr_folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(to_8_bit(lr[0].permute(1, 2, 0).numpy())).save(lr_folder / path.name)
    return used


def _keep_sharpest(folder: Path, most: int) -> None:
    """Delete all pieces but one of each `CUT`, those with the most fine detail, and of these keep so many."""
    paths = _list(folder)
    detail = np.array([measure_detail([np.asarray(Image.open(path))]) for path in paths])
    sharpest = np.sort(np.argsort(-detail, kind="stable")[: -(-len(paths) // CUT)])
    kept = sharpest[np.linspace(0, len(sharpest) - 1, min(most, len(sharpest))).round().astype(int)]
    for index in set(range(len(paths))) - set(kept.tolist()):
        paths[index].unlink()


def read_pieces(folder: Path) -> list[torch.Tensor]:
    """The pieces in a folder, (1, 3, h, w) in [0, 1], in the order of their names."""
    return [to_floats(np.asarray(Image.open(path).convert("RGB")))[None] for path in _list(folder)]


def _list(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def _read_sharp(table: "Dataset") -> Iterator[np.ndarray]:
    """The pixels (H, W, 3) uint8 of each picture, the large ones reduced; damaged ones are left out."""
    for row in table:
        try:
            picture = open_cell(row["image"])
        except ImageError:
            continue
        picture.thumbnail((HR_LONGEST, HR_LONGEST), Image.Resampling.LANCZOS)
        yield np.asarray(picture)


def _spread(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(int)).tolist()


def _pieces(pixels: np.ndarray, side: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Squares at random places; a picture that is hardly larger than one, once and whole."""
    if max(pixels.shape[:2]) <= 1.5 * side:
        return [pixels]
    corners = (tuple(int(rng.integers(max(length - side, 0) + 1)) for length in pixels.shape[:2]) for _ in range(count))
    return [pixels[y : y + side, x : x + side] for y, x in corners]


def _middle(pixels: np.ndarray, side: int) -> np.ndarray:
    y, x = (max(0, (length - side) // 2) for length in pixels.shape[:2])
    return pixels[y : y + side, x : x + side]


def _write(folder: Path, index: int, pieces: list[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(pieces):
        Image.fromarray(np.ascontiguousarray(piece)).save(folder / f"{index:04d}_{number:02d}.png")
