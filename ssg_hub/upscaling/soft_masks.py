"""From the guide's soft labels on tiles to a mask of class ids, a map of semantic drift, and strengths by class.

Semantic drift at a pixel is the total variation distance between the guide's reading of the bicubic LR, p, and of the
SR, q: half the sum of |p - q| over the classes (Levin & Peres, Markov Chains and Mixing Times, sec. 4.1). It is the
least share of its belief that the guide must have moved: 0 for the same reading, 1 for classes that exclude each other.
"""

import difflib
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ConfigError
from ..images.canvas import Canvas
from .engines.base import CELL

UNCERTAIN = "uncertain"
UNCERTAIN_COLOR = (0, 0, 0)
CHUNK = 2**20  # numbers that are interpolated at a time


def total_variation(before: Tensor, after: Tensor) -> Tensor:
    """Semantic drift (1, h, w) in [0, 1] between two soft labels (K, h, w)."""
    return (after - before).abs_().sum(dim=0, keepdim=True).mul_(0.5).clamp_(0, 1)


def parse_strength(strength: float | dict[str, float], labels: list[str]) -> float | Tensor:
    """Check the names in a strength and bring it into the form in which it is applied.

    Args:
        strength: a number in [0, 1], or one for each class name; classes that are not named have 1. The numbers are
            checked already, by `Options`.
        labels: the guide's class names; empty without a guide.

    Returns:
        One number when it is the same everywhere, else one for each class: (K,) float32.

    Raises:
        ConfigError: unknown names.
    """
    if not isinstance(strength, dict):
        return float(strength)
    if not strength:
        return 1.0
    if not labels:
        raise ConfigError("strength by class needs a guide and this model has none. Give one number.")
    unknown = [name for name in strength if name not in labels]
    if unknown:
        near = difflib.get_close_matches(str(unknown[0]).lower(), labels, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"strength got an unknown class {unknown[0]!r}.{hint} This model knows {', '.join(labels)}.")
    by_class = [float(strength.get(name, 1.0)) for name in labels]
    return by_class[0] if len(set(by_class)) == 1 else torch.tensor(by_class, dtype=torch.float32, device="cpu")


class MaskSheet:
    """The mask while it is being filled: from blocks of soft labels, class ids of the result's pixels.

    Args:
        size: (width, height) of the mask, that of the finished picture.
        step: (x, y) mask pixels to one cell of the soft labels.
        classes: K; pixels without confidence get the id K.
        uncertain_below: the confidence (largest probability) under which a pixel is uncertain.
        ids: what takes the ids, (H, W) uint8; by default an array.
    """

    def __init__(
        self,
        size: tuple[int, int],
        step: tuple[float, float],
        classes: int,
        uncertain_below: float,
        ids: np.ndarray | Canvas | None = None,
    ):
        self.ids = np.zeros((size[1], size[0]), np.uint8) if ids is None else ids
        self.step, self.classes, self.uncertain_below = step, classes, uncertain_below
        self.counts = np.zeros(classes + 1, np.int64)

    def put(self, soft: Tensor, top: int, left: int) -> None:
        """Take soft labels (K, h, w) whose first cell is (top, left), one cell of overlap with earlier blocks."""
        rows = Taps(top, soft.shape[1], self.step[1], self.ids.shape[0])
        columns = Taps(left, soft.shape[2], self.step[0], self.ids.shape[1])
        band = max(1, CHUNK // (soft.shape[0] * max(1, len(columns))))
        for start in range(0, len(rows), band):
            part = rows.apply(soft, 1, start, start + band)
            confidence, ids = columns.apply(part, 2).max(dim=0)
            ids[confidence < self.uncertain_below] = self.classes
            self.counts += np.bincount(ids.flatten().numpy(), minlength=self.classes + 1)
            first = rows.start + start
            self.ids[first : first + len(ids), columns.start : columns.stop] = ids.numpy()

    def to_image(self, palette: list[tuple[int, int, int]]) -> Image.Image:
        """The mask as an indexed picture, with the colour of *uncertain* after those of the classes."""
        assert isinstance(self.ids, np.ndarray)  # what is drawn into a file is not kept
        image = Image.fromarray(self.ids)
        image.putpalette(mask_palette(palette).ravel().tolist())
        return image

    def describe(self, labels: list[str], palette: list[tuple[int, int, int]]) -> list[dict]:
        """What the mask holds, largest first: id, name, color (RGB, 0–255), share of the pixels."""
        names, colors = [*labels, UNCERTAIN], [*palette, UNCERTAIN_COLOR]
        found = [i for i in np.argsort(-self.counts, kind="stable") if self.counts[i]]
        return [
            {"id": int(i), "name": names[i], "color": list(colors[i]), "share": float(self.counts[i] / self.ids.size)}
            for i in found
        ]


def mask_palette(palette: list[tuple[int, int, int]]) -> np.ndarray:
    """The colours of a mask (K + 1, 3): of the classes, and of *uncertain*."""
    return np.array([*palette, UNCERTAIN_COLOR], np.uint8)


class Taps:
    """Linear interpolation, along one side, from a block of cells to the pixels whose centres lie between its cells'.

    Args:
        first: number of the block's first cell; 0 lies at the picture's edge.
        cells: how many there are.
        step: pixels to one cell.
        length: pixels of the picture along this side.
    """

    def __init__(self, first: int, cells: int, step: float, length: int):
        self.start = 0 if first == 0 else self._pixels_until(first, step)
        last = first + cells - 1
        self.stop = length if (last + 1) * step >= length - 1e-6 else self._pixels_until(last, step)
        centre = (torch.arange(self.start, self.stop, dtype=torch.float64) + 0.5) / step - 0.5 - first
        centre.clamp_(0, cells - 1)
        self.low = centre.floor().long()
        self.high = (self.low + 1).clamp_max(cells - 1)
        self.weight = (centre - self.low).float()

    def __len__(self) -> int:
        return len(self.low)

    def apply(self, block: Tensor, dim: int, start: int = 0, stop: int | None = None) -> Tensor:
        """The block with pixels `start` to `stop` of this side in place of its cells."""
        low, high, weight = (taps[start:stop] for taps in (self.low, self.high, self.weight))
        weight = weight.view(-1, 1) if dim == 1 else weight
        return torch.lerp(block.index_select(dim, low), block.index_select(dim, high), weight)

    @staticmethod
    def _pixels_until(cell: int, step: float) -> int:
        """How many pixels have their centre before the centre of a cell."""
        return math.ceil((cell + 0.5) * step - 0.5 - 1e-6)


class ReadingSheet:
    """What the guide takes each cell for, and how sure it is, while they are being filled: one byte each per cell.

    Args:
        cells: (width, height) of the picture in cells.
    """

    def __init__(self, cells: tuple[int, int]):
        self.ids, self.confidence = (np.zeros((cells[1], cells[0]), np.uint8) for _ in range(2))

    def put(self, soft: Tensor, top: int, left: int) -> None:
        """Take soft labels (K, h, w) whose first cell is (top, left)."""
        confidence, ids = soft.max(dim=0)
        place = slice(top, top + ids.shape[0]), slice(left, left + ids.shape[1])
        self.ids[place] = ids.byte().numpy()
        self.confidence[place] = confidence.mul(255).round_().byte().numpy()


class DriftSheet:
    """The drift map while it is being filled, one byte per cell.

    Args:
        cells: (width, height) of the picture in cells.
    """

    def __init__(self, cells: tuple[int, int]):
        self.values = np.zeros((cells[1], cells[0]), np.uint8)

    def put(self, drift: Tensor, top: int, left: int) -> None:
        """Take a finished part (1, h, w), [0, 1]."""
        block = drift[0].mul(255).round_().byte().numpy()
        self.values[top : top + block.shape[0], left : left + block.shape[1]] = block


def cell_span(scale: int) -> Callable[[int, int], tuple[int, int]]:
    """A function from spans of LR pixels to spans of cells; tiles start on whole cells."""

    def convert(start: int, stop: int) -> tuple[int, int]:
        return start * scale // CELL, -(-stop * scale // CELL)

    return convert
