"""Regions that do not change are computed once: the SR of the frame before is kept wherever LR stayed as it was."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np

BLOCK = 16  # LR pixels a side: still or changed as one
CONTEXT = 16  # LR pixels around a region that are computed with it, because the generator looks beyond it
ROUND = 64  # regions are enlarged to multiples of it, so that engines see few shapes
CHANGE = 1.0  # levels of 255 by which the mean of 5x5 pixels may differ from what was computed
FEW = BLOCK * BLOCK // 16  # pixels of a block that may cross it: noise crosses any threshold somewhere
STRONG = 4.0  # levels that none may cross
CLEANER = 4  # times as many averaged frames make it worth to compute a region again
WORTH = 0.6  # the share of the frame above which it is computed whole
MOST_REGIONS = 8

Box = tuple[int, int, int, int]  # left, top, right, bottom in LR pixels


@dataclass
class Stills:
    """Upscales frame after frame, and of each only what changed.

    What is reused was computed from an LR whose 5x5 means differ by no more than CHANGE levels (a FEW in a block by no
    more than STRONG), and from more than a quarter as many averaged frames as are known now: a still region gets
    cleaner, and is computed again after 4 and 16 frames.

    Args:
        upscale: LR (h, w, 3) → SR of `ratio` times the size, same type.
        ratio: exact enlargement.

    Attributes:
        reused: the share of each frame's area that was reused, summed; `frames`: how many there were.
    """

    upscale: Callable[[np.ndarray], np.ndarray]
    ratio: Fraction
    reused: float = 0.0
    frames: int = 0
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def most_bytes(pixels: int, enlarged: int) -> int:
        """Most bytes of `arrays` for LR and SR of so many pixels, at 16 bits a channel."""
        rgb, count = 3 * 2, 4  # bytes of a pixel
        return pixels * (rgb + count) + enlarged * rgb

    def __call__(self, lr: np.ndarray, count: np.ndarray) -> np.ndarray:
        """SR of a frame.

        Args:
            lr: (h, w, 3), uint8 or uint16.
            count: (h, w), how many frames were averaged into each pixel.
        """
        self.frames += 1
        boxes = self._changed(lr, count) if self.arrays else None
        if boxes is None:
            sr = self.upscale(lr)
            self.arrays = {"lr": lr.copy(), "count": count.copy(), "sr": sr}
            return sr
        sr = self.arrays["sr"].copy()  # the former one may still be on its way to the encoder
        for box in boxes:
            self._renew(sr, lr, count, box)
        self.arrays["sr"] = sr
        self.reused += 1 - _area(boxes) / count.size
        return sr

    def forget(self) -> None:
        """Compute the next frame whole."""
        self.arrays = {}

    def _changed(self, lr: np.ndarray, count: np.ndarray) -> list[Box] | None:
        """Regions to compute; None for the whole frame."""
        unit = 1 if lr.dtype == np.uint8 else 257
        difference = cv2.blur((lr.astype(np.float32) - self.arrays["lr"]) / unit, (5, 5))
        change = np.abs(difference).max(axis=-1)
        cleaner = count >= CLEANER * self.arrays["count"]
        return plan_regions((change > CHANGE) | cleaner, change > STRONG)

    def _renew(self, sr: np.ndarray, lr: np.ndarray, count: np.ndarray, box: Box) -> None:
        left, top, right, bottom = box
        height, width = count.shape
        x, y = max(0, left - CONTEXT), max(0, top - CONTEXT)
        part = self.upscale(np.ascontiguousarray(lr[y : bottom + CONTEXT, x : right + CONTEXT]))
        inner = [int(edge * self.ratio) for edge in (top - y, bottom - y, left - x, right - x)]
        outer = [int(edge * self.ratio) for edge in (top, bottom, left, right)]
        sr[outer[0] : outer[1], outer[2] : outer[3]] = part[inner[0] : inner[1], inner[2] : inner[3]]
        region = (slice(top, bottom), slice(left, right))
        self.arrays["lr"][region], self.arrays["count"][region] = lr[region], count[region]


def can_reuse(size: tuple[int, int], outscale: float) -> Fraction | None:
    """The exact ratio where blocks of LR end on whole pixels of the result, as reuse needs it; else None."""
    ratio = Fraction(outscale).limit_denominator(1000)
    whole = float(ratio) == outscale and (BLOCK * ratio).denominator == 1
    return ratio if whole and all((side * ratio).denominator == 1 for side in size) else None


def plan_regions(changed: np.ndarray, strongly: np.ndarray) -> list[Box] | None:
    """Boxes around what changed.

    Args:
        changed: (h, w), bool; more than FEW in a block count.
        strongly: (h, w), bool; every one counts.

    Returns:
        Few boxes on the grid of blocks, a block wider than the change on each side; none when nothing changed; None
        when the whole frame is less work.
    """
    height, width = changed.shape
    marked = (_count_in_blocks(changed) > FEW) | (_count_in_blocks(strongly) > 0)
    blocks = cv2.dilate(marked.astype(np.uint8), np.ones((3, 3), np.uint8))
    _, _, found, _ = cv2.connectedComponentsWithStats(blocks, connectivity=8)
    boxes = [_box(x, y, columns, rows, width, height) for x, y, columns, rows, _ in found[1:].tolist()]
    if len(boxes) > MOST_REGIONS:
        left, top, right, bottom = zip(*boxes, strict=True)
        boxes = [(min(left), min(top), max(right), max(bottom))]
    work = _area(boxes, 2 * CONTEXT)
    return None if work > WORTH * height * width else boxes


def _count_in_blocks(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    padded = np.zeros((rows * BLOCK, columns * BLOCK), bool)
    padded[:height, :width] = mask
    return padded.reshape(rows, BLOCK, columns, BLOCK).sum(axis=(1, 3))


def _area(boxes: list[Box], margin: int = 0) -> int:
    return sum((right - left + margin) * (bottom - top + margin) for left, top, right, bottom in boxes)


def _box(x: int, y: int, columns: int, rows: int, width: int, height: int) -> Box:
    """A region of blocks as pixels, enlarged to multiples of ROUND within the frame."""
    left, right = _round_up(x * BLOCK, columns * BLOCK, width)
    top, bottom = _round_up(y * BLOCK, rows * BLOCK, height)
    return left, top, right, bottom


def _round_up(start: int, length: int, limit: int) -> tuple[int, int]:
    length = -(-length // ROUND) * ROUND
    stop = start + length
    if stop >= limit:
        start = max(0, (limit - length) // BLOCK * BLOCK)
        stop = limit
    return start, stop
