"""Upscaling: a picture in; the enlarged picture, its mask, its semantic drift and a report out."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from ..images.reading import MAX_PIXELS, read_picture
from .options import Options, output_size
from .pace import known_pace
from .pipeline import name_kind, run_job
from .progress import Tracker, Watch
from .result import UpscaleResult
from .setup import Networks, longest_side, plan_tiles, prepare


@dataclass(frozen=True)
class Prediction:
    """What an upscale would make.

    Attributes:
        width, height: the result's size in pixels.
        tile: the longest side of a tile in input pixels.
        tiles: how many there are.
        seconds: about how long it takes; None before this machine has done something similar.
    """

    width: int
    height: int
    tile: int
    tiles: int
    seconds: float | None = None


def predict(model: Networks, size: tuple[int, int], **options: Any) -> Prediction:
    """Say what `upscale` with these options would do, without doing it.

    Args:
        model, options: as for `upscale`.
        size: (width, height) of the input, upright.

    Raises:
        ConfigError: as `upscale`.
    """
    setup = prepare(model, Options.gather("predict", options))
    grid = plan_tiles(setup.engine, size, setup.options.tile)
    pace = known_pace(name_kind(setup.engine, True, setup.segments, False))
    seconds = None if pace is None else pace * sum(grid.areas()) / 1e6
    return Prediction(*output_size(size, setup.options.outscale), longest_side(grid), len(grid), seconds)


def upscale(
    model: Networks, image: Any, *, watch: Watch | None = None, max_pixels: int = MAX_PIXELS, **options: Any
) -> UpscaleResult:
    """Enlarge a picture and say what is in it.

    The picture goes through the model in overlapping tiles; the whole of it never leaves the CPU's memory. Gray stays
    gray, alpha stays, 16 bits stay 16 bits. The model is left as it was.

    Args:
        model: as `SSGModel`; what is asked of another class is in `Networks`.
        image: whatever `read_picture` takes.
        watch: called with a `Progress` (stage, fraction, seconds left, tiles) at every change and about four times a
            second. An exception ends the run within a layer of the network, and propagates.
        max_pixels: largest input.
        options: outscale, strength, tile, …: see `ssg_hub.upscaling.options.Options`.

    Returns:
        The result. Mask and drift describe the returned picture, that is, at the requested strength.

    Raises:
        ImageError: the picture cannot be used.
        ConfigError: an option is unknown or impossible.
        CheckpointError: the model's output is not finite.
        SSGError: out of memory even in small tiles.
    """
    setup = prepare(model, Options.gather("upscale", options, also=("watch", "max_pixels")))
    tracker = Tracker(watch)
    tracker.enter("reading")
    job = setup.plan(read_picture(image, max_pixels))
    with setup.engine.running():
        outcome = run_job(job, tracker)
    mask, drift, readings = None, None, None
    if outcome.mask:
        mask, drift = outcome.mask.to_image(job.engine.guide.palette), (Image.fromarray(outcome.drift.values), job.step)
        readings = (Image.fromarray(outcome.readings.ids), Image.fromarray(outcome.readings.confidence))
    report = setup.report(job, outcome, [])
    labels = report.get("classes", [])
    return UpscaleResult(outcome.content, mask, labels, drift, report, readings, job.calibration)
