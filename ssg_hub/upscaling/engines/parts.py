"""A tile that does not fit into memory, done in overlapping parts."""

from collections.abc import Callable
from fractions import Fraction

from torch import Tensor

from ..tiling import Feather, Grid, plan_spans


def apply_to_parts(step: Callable[[Tensor], Tensor], tile: Tensor, side: int, ratio: Fraction) -> Tensor:
    """`step` on parts of a tile (C, h, w) of at most `side` pixels, cross-faded.

    Args:
        step: (C, h, w) → (K, ratio*h, ratio*w).
        ratio: the output's size relative to the input's, rounded up.
    """
    unit = max(1, ratio.denominator)  # parts of an SR tile start on whole cells
    grid = Grid(*(_scaled_spans(plan_spans(-(-length // unit), side // unit), unit) for length in tile.shape[-2:]))
    outputs = Grid(*(_scaled_spans(spans, ratio) for spans in (grid.rows, grid.columns)))
    whole: Tensor | None = None

    def place(part: Tensor, top: int, left: int) -> None:
        nonlocal whole
        if whole is None:
            whole = part.new_empty(part.shape[0], outputs.rows[-1][1], outputs.columns[-1][1])
        whole[:, top : top + part.shape[1], left : left + part.shape[2]] = part

    feather = Feather(outputs, place)
    for row, column in grid:
        feather.add(step(tile[:, slice(*grid.rows[row]), slice(*grid.columns[column])]), row, column)
    return whole


def _scaled_spans(spans: list[tuple[int, int]], ratio: Fraction | int) -> list[tuple[int, int]]:
    return [(int(start * ratio), int(stop * ratio)) for start, stop in spans]
