"""The pipeline that every tile goes through: generator, strength, colours, guide, drift, and onto the sheets."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..images.canvas import Canvas
from ..images.levels import LUMA
from ..images.picture import Picture
from ..images.resampling import fill_transparent, pull_colors, resize_bicubic, resize_lanczos, to_floats
from .calibration import Calibration
from .engines.base import CELL, Engine
from .progress import Tracker
from .result import ColorSheet
from .soft_masks import DriftSheet, MaskSheet, ReadingSheet, cell_span, total_variation
from .tiling import Feather, Grid, Span, scale_span

# LR pixels by which a picture is continued beyond its edges for the generator. Its convolutions see zeros out there and
# tint what lies beside them: the borders of constant colours were up to 20 of 255 off, and are now as the inside. It is
# mirrored, because repeated pixels are no texture that a generator knows (LPIPS on 120x90 pictures: 0.006 worse).
MARGIN = 8


@dataclass(frozen=True, eq=False)
class Job:
    """What one run does.

    Args:
        picture: the input.
        size: (width, height) of the result.
        grid: the tiles, in input pixels.
        engine: what runs generator and guide.
        strength: one number, or one for each class: (K,).
        color_fix: hold the broad colours to the input's.
        segment: make mask and drift.
        uncertain_below: confidence under which a pixel is uncertain.
        calibration: makes the drift map one of probabilities; None leaves the semantic drift.
    """

    picture: Picture
    size: tuple[int, int]
    grid: Grid
    engine: Engine
    strength: float | Tensor
    color_fix: bool
    segment: bool
    uncertain_below: float
    calibration: Calibration | None = None

    @property
    def generates(self) -> bool:
        """Whether anything of the generator is wanted."""
        return isinstance(self.strength, Tensor) or self.strength > 0

    @property
    def kind(self) -> str:
        """The way of computing, as far as its pace depends on it."""
        return name_kind(self.engine, self.generates, self.segment, isinstance(self.strength, Tensor))

    @property
    def ratio(self) -> tuple[float, float]:
        """Pixels of the result to one of the input, (x, y); rounding the size makes them differ a little."""
        return self.size[0] / self.picture.size[0], self.size[1] / self.picture.size[1]

    @property
    def step(self) -> tuple[float, float]:
        """Pixels of the result to one cell of the soft mask, (x, y)."""
        return self.ratio[0] * CELL / self.engine.scale, self.ratio[1] * CELL / self.engine.scale


def name_kind(engine: Engine, generates: bool, segments: bool, by_class: bool) -> str:
    """A name for a way of computing: engine, device and precision, threads, networks, and how often they are asked."""
    networks = [engine.generator] * generates + [engine.guide] * (segments or by_class)
    sizes = "+".join(f"{type(part).__name__}{sum(p.numel() for p in part.parameters())}" for part in networks)
    flags = f"{' mask' * segments}{' classes' * by_class}"
    return f"{engine.name} {engine.device} {engine.precision} {torch.get_num_threads()} {sizes}{flags}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the sheet of colours returns (the picture) and, when segmented, what the guide says of it."""

    content: Image.Image | Picture | None
    mask: MaskSheet | None
    readings: ReadingSheet | None
    drift: DriftSheet | None


def run_job(
    job: Job, tracker: Tracker, colors: ColorSheet | None = None, ids: np.ndarray | Canvas | None = None
) -> Outcome:
    """Send every tile through the networks; call inside of `job.engine.running()`.

    Args:
        job: what is done.
        tracker: follows it.
        colors: takes the colours; by default a sheet in memory.
        ids: takes the mask's ids, (H, W); by default an array.
    """
    job.engine.tracker = tracker
    mask, readings, drift = None, None, None
    in_memory = colors is None
    colors = colors or ColorSheet(job.picture, job.size)
    add: list[Feather] = []
    if job.generates:
        rows, columns = (scale_span(job.picture.size[side], job.size[side]) for side in (1, 0))
        add.append(Feather(job.grid.scaled(rows, columns), colors.put))
    if job.segment:
        cells = job.grid.scaled(cell_span(job.engine.scale), cell_span(job.engine.scale))
        mask = MaskSheet(job.size, job.step, len(job.engine.guide.labels), job.uncertain_below, ids)
        extent = (cells.columns[-1][1], cells.rows[-1][1])
        readings = ReadingSheet(extent) if in_memory else None  # only a result that is looked at has a use for them
        drift = DriftSheet(extent)

        def put_labels(soft: Tensor, top: int, left: int) -> None:
            mask.put(soft, top, left)
            if readings:
                readings.put(soft, top, left)

        add += [Feather(cells, put_labels, context=1), Feather(cells, drift.put)]
    if add:
        opaque = Picture(fill_transparent(job.picture))
        tracker.begin(job.kind, job.grid.areas())
        for row, column in job.grid:
            # The parts get no name, so that they are gone before the next tile is computed.
            for feather, part in zip(add, process_tile(job, opaque, row, column), strict=True):
                feather.add(part, row, column)
            tracker.finish_tile()
        tracker.finish(job.kind)
    return Outcome(colors.finish() if job.generates else colors.enlarge(), mask, readings, drift)


def process_tile(job: Job, opaque: Picture, row: int, column: int) -> list[Tensor]:
    """Take one tile through generator, strength and guide.

    Args:
        job: what is done.
        opaque: the input without its alpha, with colours under transparent pixels.
        row, column: the tile's place in the grid.

    Returns:
        As far as the job makes them: colours (1 or 3, h, w) at the result's size; soft labels (K, cells, cells);
        drift (1, cells, cells), calibrated where the model is.
    """
    engine, strength = job.engine, job.strength
    rows, columns = job.grid.rows[row], job.grid.columns[column]
    sr = generate_tile(job, opaque, row, column) if job.generates else None
    bicubic = _bicubic_tile(job, opaque, rows, columns) if job.segment else None
    if isinstance(strength, Tensor):
        strength = _spread_strength(strength, engine.segment(_as_rgb(sr)), sr)
    parts = []
    if job.segment:
        if sr is None:
            labels = engine.segment(_as_rgb(bicubic))
            drift = torch.zeros_like(labels[:1])
        else:
            labels = engine.segment(_as_rgb(_blend(bicubic, sr, strength)))
            drift = total_variation(engine.segment(_as_rgb(bicubic)), labels)
        parts = [labels, job.calibration.probability(labels, drift) if job.calibration else drift]
    if sr is not None:
        parts.insert(0, finish_colors(job, sr, strength, rows, columns))
    return parts


def generate_tile(job: Job, opaque: Picture, row: int, column: int) -> Tensor:
    """SR (C, s*h, s*w) in [0, 1] of a tile; C is 1 for gray, 3 for RGB.

    Where the tile touches the picture's edge, the generator sees the picture mirrored beyond it.
    """
    rows, columns = job.grid.rows[row], job.grid.columns[column]
    lr = to_floats(opaque.values[slice(*rows), slice(*columns)])
    rgb, scale = _as_rgb(lr), job.engine.scale
    sides = zip((columns, rows), opaque.size, strict=True)
    left, right, top, bottom = (
        MARGIN * at_edge for (start, stop), length in sides for at_edge in (start == 0, stop == length)
    )
    mode = "reflect" if min(rgb.shape[1:]) > MARGIN else "replicate"  # there is too little to mirror
    padded = F.pad(rgb[None], (left, right, top, bottom), mode=mode)[0]
    sr = job.engine.generate(padded)
    sr = sr[:, scale * top : sr.shape[1] - scale * bottom, scale * left : sr.shape[2] - scale * right]
    if job.color_fix:
        sr = pull_colors(sr, rgb, job.grid.dropped(row, column))
    return sr if len(lr) == 3 else (sr * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)


def finish_colors(job: Job, sr: Tensor, strength: float | Tensor, rows: Span, columns: Span) -> Tensor:
    """Bring an SR tile to the result's size and blend it with the bicubic there.

    Args:
        sr: (C, s*h, s*w).
        strength: a number, or a map (1, s*h, s*w).
        rows, columns: the tile's place in the input.

    Returns:
        (C, h, w) of the tile on the result's canvas.
    """
    scale, (ratio_x, ratio_y) = job.engine.scale, job.ratio
    left, right = scale_span(job.picture.size[0], job.size[0])(*columns)
    top, bottom = scale_span(job.picture.size[1], job.size[1])(*rows)
    if (ratio_x, ratio_y) != (scale, scale):
        size = (right - left, bottom - top)
        edges = (
            left / ratio_x - columns[0],
            top / ratio_y - rows[0],
            right / ratio_x - columns[0],
            bottom / ratio_y - rows[0],
        )
        limits = (sr.shape[2], sr.shape[1]) * 2
        x0, y0, x1, y1 = (min(max(edge * scale, 0), limit) for edge, limit in zip(edges, limits, strict=True))
        box = (x0, y0, x1, y1)
        sr = resize_lanczos(sr, size, box).clamp_(0, 1)
        if isinstance(strength, Tensor):
            strength = resize_lanczos(strength, size, box).clamp_(0, 1)
    if not isinstance(strength, Tensor) and strength == 1:
        return sr
    return _blend(to_floats(resize_bicubic(job.picture, job.size, (left, top, right, bottom)).values), sr, strength)


def _bicubic_tile(job: Job, opaque: Picture, rows: Span, columns: Span) -> Tensor:
    """The tile by bicubic at the generator's scale: (C, s*h, s*w)."""
    scale = job.engine.scale
    size = (opaque.size[0] * scale, opaque.size[1] * scale)
    window = (columns[0] * scale, rows[0] * scale, columns[1] * scale, rows[1] * scale)
    return to_floats(resize_bicubic(opaque, size, window).values)


def _spread_strength(by_class: Tensor, labels: Tensor, sr: Tensor) -> Tensor:
    """Strengths (K,) through soft labels (K, cells, cells): a map (1, H, W) over an SR tile (C, H, W)."""
    by_cell = (by_class.view(-1, 1, 1) * labels).sum(0, keepdim=True)
    spread = F.interpolate(by_cell[None], scale_factor=CELL, mode="bilinear", align_corners=False)[0]
    return spread[:, : sr.shape[1], : sr.shape[2]]


def _blend(bicubic: Tensor, sr: Tensor, strength: float | Tensor) -> Tensor:
    if not isinstance(strength, Tensor) and strength == 1:
        return sr
    return torch.lerp(bicubic, sr, strength)


def _as_rgb(image: Tensor) -> Tensor:
    return image.expand(3, -1, -1)
