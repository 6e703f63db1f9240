"""Upscaling: a picture in; the enlarged picture, its mask, its semantic drift and a report out."""

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from ..images.reading import MAX_PIXELS, read_picture
from .engines.choice import open_engine
from .options import COLOR_FIX, check_options, output_size
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


def predict(
    model: Networks,
    size: tuple[int, int],
    outscale: float = 4,
    tile: str | int | None = "auto",
    segment: bool = True,
    engine: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> Prediction:
    """Say what `upscale` with these arguments would do, without doing it.

    Args:
        size: (width, height) of the input, upright.
        model, outscale, tile, segment, engine, device, dtype: as for `upscale`.

    Raises:
        ConfigError: as `upscale`.
    """
    check_options(outscale=outscale, tile=tile, segment=segment)
    runner = open_engine(model.generator, model.guide, engine, device, dtype)
    grid = plan_tiles(runner, size, tile)
    pace = known_pace(name_kind(runner, True, segment and model.guide is not None, False))
    seconds = None if pace is None else pace * sum(grid.areas()) / 1e6
    return Prediction(*output_size(size, outscale), longest_side(grid), len(grid), seconds)


def upscale(
    model: Networks,
    image: Any,
    outscale: float = 4,
    tile: str | int | None = "auto",
    segment: bool = True,
    strength: float | dict[str, float] = 1.0,
    denoise: float = 1.0,
    color_fix: bool = COLOR_FIX,
    uncertain_below: float = 0.5,
    engine: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    watch: Watch | None = None,
    max_pixels: int = MAX_PIXELS,
) -> UpscaleResult:
    """Enlarge a picture and say what is in it.

    The picture goes through the model in overlapping tiles; the whole of it never leaves the CPU's memory. Gray stays
    gray, alpha stays, 16 bits stay 16 bits. The model is left as it was.

    Args:
        model: as `SSGModel`; what is asked of another class is in `Networks`.
        image: whatever `read_picture` takes.
        outscale: how many times larger, 1 to 16; a scale other than the generator's uses a final Lanczos resize.
        tile: side of the tiles in input pixels, 16 or more; "auto" fits the device; None is the whole picture at once.
        segment: make mask, labels and drift (where the model has a guide).
        strength: 1 is the generator, 0 Pillow's bicubic to the byte; or {class name: strength}, through the soft mask.
        denoise: 1 gives clean pictures, 0 keeps the grain, where the model has two sets of weights
            (`SSGModel.generator_for`); through `model.upscale` the model's own default.
        color_fix: hold the broad colours to those of the input (`ssg_hub.images.resampling.pull_colors`); False leaves
            them to the generator.
        uncertain_below: confidence of the guide, 0 to 1, under which a pixel is marked uncertain.
        engine: what computes: "torch"; "openvino", on a CPU; "auto" uses OpenVINO on a CPU where it can and torch
            elsewhere; None means what the environment variable `SSG_ENGINE` says, or "auto".
        device, dtype: device and precision to compute with, on a copy of the model; the model's own by default.
        watch: called with a `Progress` (stage, fraction, seconds left, tiles) at every change and about four times a
            second. An exception ends the run within a layer of the network, and propagates.
        max_pixels: largest input.

    Returns:
        The result. Mask and drift describe the returned picture, that is, at the requested strength.

    Raises:
        ImageError: the picture cannot be used.
        ConfigError: an option is unknown or impossible.
        CheckpointError: the model's output is not finite.
        SSGError: out of memory even in small tiles.
    """
    setup = prepare(
        model, outscale, tile, segment, strength, denoise, color_fix, uncertain_below, engine, device, dtype
    )
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
