"""Cutting a picture into overlapping tiles, and joining what comes of them without a seam or a second canvas."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ALIGN = 4  # tiles start at multiples of 4 LR pixels: generators fold 2x2 or 4x4, the mask has one cell for 4x4 pixels
# LR pixels that neighbours share at most. An RRDBNet, whose context is larger, differs from untiled by 3 of 255 at
# most; by 8 with 16. Where the context is a quarter of it or less, there is no difference.
OVERLAP = 32
LARGEST_AUTO_TILE = 256  # larger ones are no faster, and all that is kept on the CPU for one tile grows with them
Span = tuple[int, int]  # start and stop


@dataclass(frozen=True)
class Grid:
    """Rows and columns of tiles over a picture: each is a list of spans that overlap their neighbours."""

    rows: list[Span]
    columns: list[Span]

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    def __iter__(self):
        """(row number, column number) of every tile, row by row."""
        return ((row, column) for row in range(len(self.rows)) for column in range(len(self.columns)))

    def areas(self) -> list[int]:
        """Pixels of every tile, row by row."""
        return [(bottom - top) * (right - left) for top, bottom in self.rows for left, right in self.columns]

    def dropped(self, row: int, column: int) -> tuple[int, int, int, int]:
        """Pixels at a tile's left, right, top and bottom of which `Feather` keeps nothing."""
        return (*_dropped(self.columns, column), *_dropped(self.rows, row))

    def scaled(self, rows: "Scale", columns: "Scale") -> "Grid":
        """The same tiles on a canvas of another size."""
        return Grid([rows(*span) for span in self.rows], [columns(*span) for span in self.columns])


Scale = Callable[[int, int], Span]


def context_of(generator: nn.Module) -> int:
    """LR pixels around a pixel that its SR depends on, to each side: `Generator.context`.

    A network of another class, which a user put in the generator's place, may not say it; of these OVERLAP is assumed.
    """
    return getattr(generator, "context", OVERLAP)


def plan_grid(height: int, width: int, tile: int | None, context: int = OVERLAP) -> Grid:
    """Cut a picture into tiles of at most `tile` pixels a side, all about equal; None is one tile for all.

    Args:
        height, width: of the picture.
        tile: 16 or more.
        context: LR pixels around a pixel that its SR depends on, to each side (`context_of`).
    """
    return Grid(plan_spans(height, tile, context), plan_spans(width, tile, context))


def plan_spans(length: int, tile: int | None, context: int = OVERLAP) -> list[Span]:
    """Spans that cover 0…length: none longer than `tile` (16 or more), starts aligned, neighbours overlapping."""
    if tile is None or length <= tile:
        return [(0, length)]
    tile -= tile % ALIGN
    overlap = overlap_of(tile, context)
    count = math.ceil((length - overlap) / (tile - overlap))
    size = _align((length + (count - 1) * overlap) / count)
    starts = [_align(i * (length - size) / (count - 1)) for i in range(count)]
    return [(start, min(start + size, length)) for start in starts]


def overlap_of(tile: int, context: int = OVERLAP) -> int:
    """LR pixels that tiles of this size share; less for the small ones, where 32 would be most of the work.

    Four times the context is enough: `Feather` drops a quarter on each side.
    """
    return max(ALIGN, min(OVERLAP, 4 * context, tile // 4 - tile // 4 % ALIGN))


def scale_span(length: int, target: int) -> Scale:
    """A function from spans of 0…length to those pixels of 0…target that lie wholly inside."""
    ratio = target / length

    def scale(start: int, stop: int) -> Span:
        return math.ceil(start * ratio - 1e-6), target if stop == length else math.floor(stop * ratio + 1e-6)

    return scale


class Feather:
    """Joins overlapping tiles that arrive row by row, and hands on each part as soon as nothing more will change it.

    Only the strips that the next tiles overlap are held back. Within an overlap the tiles' outer quarters, which saw
    nothing beyond their edge, are dropped, and the rest is a linear cross-fade.

    Args:
        grid: the tiles on this canvas.
        emit: called with (part (C, h, w), top, left). Parts cover the canvas once, plus `context` pixels before them.
        context: pixels of what is already finished that a part brings along at its top and left.
    """

    def __init__(self, grid: Grid, emit: Callable[[Tensor, int, int], None], context: int = 0):
        self.grid, self.emit, self.context = grid, emit, context
        self.right: Tensor | None = None  # the end of the tile to the left
        self.above: Tensor | None = None  # the ends of the tiles above, over the whole width
        self.below: Tensor | None = None

    def add(self, tile: Tensor, row: int, column: int) -> None:
        """Take the next tile (C, h, w), in the grid's order. The tile is overwritten."""
        (top, bottom), (left, right) = self.grid.rows[row], self.grid.columns[column]
        if column:
            tile = self._join(self.right, tile, self.grid.columns[column - 1][1] - left, dim=2)
            left = right - tile.shape[2]
        if column + 1 < len(self.grid.columns):
            held = right - self.grid.columns[column + 1][0]
            self.right = tile[:, :, -held - self.context :].clone()
            tile = tile[:, :, :-held]
        if row:
            above = self.above[:, :, left : left + tile.shape[2]]
            tile = self._join(above, tile, self.grid.rows[row - 1][1] - top, dim=1)
            top = bottom - tile.shape[1]
        if row + 1 < len(self.grid.rows):
            held = bottom - self.grid.rows[row + 1][0]
            if self.below is None:
                width = self.grid.columns[-1][1]
                self.below = tile.new_empty(tile.shape[0], held + self.context, width)
            self.below[:, :, left : left + tile.shape[2]] = tile[:, -held - self.context :]
            tile = tile[:, :-held]
        self.emit(tile, top, left)
        if column + 1 == len(self.grid.columns):
            self.above, self.below = self.below, None

    def _join(self, before: Tensor, tile: Tensor, shared: int, dim: int) -> Tensor:
        """Cross-fade from `before` (its last `shared` pixels) into the start of `tile`, and put the context first."""
        weight = cross_fade(shared).to(tile.dtype).view(-1, 1) if dim == 1 else cross_fade(shared).to(tile.dtype)
        start = tile.narrow(dim, 0, shared)
        start.copy_(torch.lerp(before.narrow(dim, self.context, shared), start, weight))
        return torch.cat((before.narrow(dim, 0, self.context), tile), dim) if self.context else tile


def cross_fade(shared: int) -> Tensor:
    """Weights of the later of two tiles over the pixels they share: 0 in the first quarter, 1 in the last."""
    position = (torch.arange(shared) + 0.5) / max(shared, 1)
    return ((position - 0.25) * 2).clamp_(0, 1)


def _dropped(spans: list[Span], index: int) -> tuple[int, int]:
    """A quarter of what a span shares with its neighbours: before it, and after it."""
    start, stop = spans[index]
    before = spans[index - 1][1] - start if index else 0
    after = stop - spans[index + 1][0] if index + 1 < len(spans) else 0
    return before // 4, after // 4


def choose_tile(budget: int, bytes_per_pixel: int) -> int:
    """A tile size, 64 to 256, whose activations fit into `budget` bytes."""
    side = math.isqrt(budget // bytes_per_pixel)
    return min(max(side - side % 32, 64), LARGEST_AUTO_TILE)


def _align(position: float) -> int:
    return math.ceil(position / ALIGN - 1e-9) * ALIGN
