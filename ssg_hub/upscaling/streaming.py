"""Upscaling from file to file: rows are read, upscaled and written as they come, so that the height costs no memory."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ConfigError, ImageError
from ..images.canvas import Canvas, check_drawable, drawing
from ..images.metadata import Metadata
from ..images.picture import Picture
from ..images.resampling import resize_bicubic
from ..images.rows import MOST_PIXELS, open_rows
from ..images.writing import planes_of
from ..storage import as_path
from .options import Options
from .pipeline import Job, run_job
from .progress import Tracker, Watch
from .result import ColorSheet
from .setup import Networks, prepare
from .soft_masks import mask_palette

ROWS = 256  # of the drift or of a bicubic picture that are made at a time


@dataclass(frozen=True)
class FileResult:
    """What was written.

    Attributes:
        paths: the files, as far as they were wanted: "picture", "mask", "drift".
        size: (width, height) of the picture.
        report: as `UpscaleResult.report`; its notes include those about the file's format.
    """

    paths: dict[str, Path]
    size: tuple[int, int]
    report: dict


def upscale_file(
    model: Networks,
    source: str | os.PathLike,
    target: str | os.PathLike | None,
    mask: str | os.PathLike | None = None,
    drift: str | os.PathLike | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
    max_pixels: int = MOST_PIXELS,
    **options: Any,
) -> FileResult:
    """Enlarge a picture of any height from file to file; the pixels are those of `upscale`.

    Memory grows with the width of the picture, not with its height: a strip of tiles is held. The input is read by rows
    where it is a TIFF or a PNG that allows it (`ssg_hub.images.rows`), else it is held whole, a sixteenth of the result
    at x4. The drift is held at one byte for 4x4 pixels of SR.

    Args:
        model, watch, max_pixels: as for `upscale`.
        source: the file to read.
        target: the file to write: .png, or .tif, which is tiled, and a BigTIFF beyond 4 GB; None writes no picture.
        mask, drift: files for these, likewise, where they are wanted.
        overwrite: replace files that exist.
        options: see `ssg_hub.upscaling.options.Options`; all but `segment`.

    Raises:
        ImageError: a file that cannot be read or written, one that exists, or a format that cannot be streamed.
        ConfigError: an option is unknown or impossible, or a mask is wanted of a model without a guide.
        CheckpointError, SSGError: as `upscale`.
    """
    source = as_path(source)
    named = {"picture": target, "mask": mask, "drift": drift}
    paths = {name: as_path(path) for name, path in named.items() if path is not None}
    _check_paths(source, paths, overwrite)
    asked = [name for name in ("mask", "drift") if name in paths]
    also = ("mask", "drift", "overwrite", "watch", "max_pixels")
    setup = prepare(model, Options.gather("upscale_file", options, also, segment=bool(asked)))
    if asked and not setup.segments:
        raise ConfigError(f"this model has no guide, so there is no {' and no '.join(asked)}. Leave it out.")
    tracker = Tracker(watch)
    notes: list[str] = []
    tracker.enter("reading")
    with ExitStack() as stack:
        job = setup.plan(stack.enter_context(open_rows(source, max_pixels)))
        channels = (1 if job.picture.is_gray else 3) + (job.picture.alpha is not None)

        def open_canvas(name: str, channels: int, dtype: type, metadata: Metadata, palette=None) -> Canvas:
            shape = (job.size[1], job.size[0], channels)
            if name not in paths:
                return Canvas(shape, dtype, lambda rows: None)
            return stack.enter_context(drawing(paths[name], shape, dtype, metadata, notes, overwrite, palette))

        canvas = open_canvas("picture", channels, job.picture.values.dtype.type, job.picture.metadata)
        ids = map_canvas = None
        if asked:
            ids = open_canvas("mask", 1, np.uint8, Metadata(), mask_palette(setup.engine.guide.palette))
            map_canvas = open_canvas("drift", 1, np.uint8, Metadata())
        with setup.engine.running():
            outcome = run_job(job, tracker, StreamedColors(job, canvas), ids)
        if "drift" in paths:
            _draw_drift(outcome.drift.values, job, map_canvas)
        report = setup.report(job, outcome, notes)
    return FileResult(paths, job.size, report)


def _check_paths(source: Path, paths: dict[str, Path], overwrite: bool) -> None:
    """Refuse what cannot be written before anything is read."""
    for path in paths.values():
        check_drawable(path, overwrite)
        if os.path.realpath(path) == os.path.realpath(source):
            raise ImageError(f"{path} is the file that is read. Choose another name for the result.")
    if len({os.path.realpath(path) for path in paths.values()}) < len(paths):
        raise ImageError("picture, mask and drift need different names.")


class StreamedColors(ColorSheet):
    """The result's colours on a canvas.

    Args:
        job: what is done.
        canvas: takes them, (H, W, C).
    """

    def __init__(self, job: Job, canvas: Canvas):
        super().__init__(job.picture, job.size)
        self._canvas = canvas

    def place(self, part: Picture, top: int, left: int) -> None:
        width, height = part.size
        self._canvas[top : top + height, left : left + width] = planes_of(part)

    def finish(self) -> None:
        """Nothing: the file is written."""

    def enlarge(self) -> None:
        """By bicubic, some rows at a time."""
        width, height = self.size
        for top in range(0, height, ROWS):
            window = (0, top, width, min(top + ROWS, height))
            self.place(resize_bicubic(self.source, self.size, window), top, 0)


def _draw_drift(cells: np.ndarray, job: Job, canvas: Canvas) -> None:
    """The drift at the picture's size, as `UpscaleResult.drift` has it, some rows at a time."""
    (width, height), (step_x, step_y) = job.size, job.step
    image = Image.fromarray(cells)
    right, bottom = min(width / step_x, image.width), min(height / step_y, image.height)
    for top in range(0, height, ROWS):
        end = min(top + ROWS, height)
        box = (0, top * bottom / height, right, end * bottom / height)
        canvas[top:end, 0:width] = np.asarray(image.resize((width, end - top), Image.Resampling.BILINEAR, box))
