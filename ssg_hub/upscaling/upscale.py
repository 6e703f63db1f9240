"""Upscaling: a picture in; the enlarged picture, its mask, its semantic drift and a report out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import nn

from ..errors import ConfigError
from ..images.reading import MAX_PIXELS, read_picture
from .engines.base import Engine
from .engines.choice import open_engine
from .options import check_options, output_size
from .pace import known_pace
from .pipeline import Job, Outcome, name_kind, run_job
from .progress import Tracker, Watch
from .result import UpscaleResult
from .soft_masks import parse_strength
from .tiling import Grid, choose_tile, plan_grid

HONESTY = "An upscaled picture is an estimate: plates, faces and text may be invented; it is not evidence."
NOTES = {
    "tile_halved": "Memory ran out {times} time(s); those tiles were redone in parts.",
    "float32_redo": "Half precision did not suffice {times} time(s); that was redone in float32.",
}


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
    model: nn.Module,
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
    check_options(outscale=outscale, tile=tile)
    runner = open_engine(model.generator, model.guide, engine, device, dtype)
    grid = _plan(runner, size, tile)
    pace = known_pace(name_kind(runner, True, segment and model.guide is not None, False))
    seconds = None if pace is None else pace * sum(grid.areas()) / 1e6
    return Prediction(*output_size(size, outscale), _longest(grid), len(grid), seconds)


def upscale(
    model: nn.Module,
    image: Any,
    outscale: float = 4,
    tile: str | int | None = "auto",
    segment: bool = True,
    strength: float | dict[str, float] = 1.0,
    denoise: float = 1.0,
    color_fix: bool = False,
    uncertain_below: float = 0.5,
    engine: str | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    watch: Watch | None = None,
    max_pixels: int = MAX_PIXELS,
) -> UpscaleResult:
    """Enlarge a picture and say what is in it.

    The picture goes through the model in overlapping tiles; the whole of it never leaves the CPU's memory. Gray stays
    gray, alpha stays, 16 bits stay 16 bits. The model is left as it was.

    Args:
        model: with `.generator` (and its `.scale`) and `.guide` (or None), as `SSGModel`.
        image: whatever `read_picture` takes.
        outscale: how many times larger, 1 to 16; a scale other than the generator's uses a final Lanczos resize.
        tile: side of the tiles in input pixels, 16 or more; "auto" fits the device; None is the whole picture at once.
        segment: make mask, labels and drift (where the model has a guide).
        strength: 1 is the generator, 0 Pillow's bicubic to the byte; or {class name: strength}, through the soft mask.
        denoise: 1 gives clean pictures, 0 keeps the grain, where the model has two sets of weights
            (`SSGModel.generator_for`); through `model.upscale` the model's own default.
        color_fix: hold the broad colours to those of the input.
        uncertain_below: confidence of the guide, 0 to 1, under which a pixel is marked uncertain.
        engine: what computes: "torch"; "openvino", on a CPU; "auto" uses OpenVINO on a CPU where it can and torch
            elsewhere; None means what the environment variable `SSG_ENGINE` says, or "auto".
        device, dtype: device and precision to compute with, on a copy of the model; the model's own by default.
        on_progress: called with (tiles done, tiles in all) after each tile. An exception ends the run and propagates.
        watch: called with a `Progress` (stage, fraction, seconds left) at every change and about four times a second.
            An exception ends the run within a layer of the network, and propagates.
        max_pixels: largest input.

    Returns:
        The result. Mask and drift describe the returned picture, that is, at the requested strength.

    Raises:
        ImageError: the picture cannot be used.
        ConfigError: an option is unknown or impossible.
        CheckpointError: the model's output is not finite.
        SSGError: out of memory even in small tiles.
    """
    started = time.perf_counter()
    check_options(outscale, tile, strength, uncertain_below, engine, dtype, denoise)
    guide = model.guide if segment or isinstance(strength, dict) else None  # not made where it is not needed
    labels = [] if guide is None else list(guide.labels)
    by_class = parse_strength(strength, labels)
    segments = segment and guide is not None
    if segments and len(labels) > 255:
        raise ConfigError(f"the guide has {len(labels)} classes; a mask holds 255. Use segment=False or another guide.")
    generator = model.generator if denoise == 1 else model.generator_for(denoise)
    runner = open_engine(generator, guide, engine, device, dtype)
    tracker = Tracker(on_progress, watch)
    tracker.enter("reading")
    picture = read_picture(image, max_pixels)
    size = output_size(picture.size, outscale)
    grid = _plan(runner, picture.size, tile)
    job = Job(picture, size, grid, runner, by_class, color_fix, segments, uncertain_below)
    with runner.running():
        outcome = run_job(job, tracker)
    report = {
        "input": {"width": picture.size[0], "height": picture.size[1], "mode": picture.mode},
        "output": {"width": size[0], "height": size[1]},
        "outscale": outscale,
        "scale": runner.scale,
        "strength": {k: float(v) for k, v in strength.items()} if isinstance(strength, dict) else float(strength),
        "denoise": float(denoise),
        "color_fix": color_fix,
        "tile": _longest(grid),
        "tiles": len(grid),
        "engine": runner.name,
        "device": str(runner.device),
        "dtype": str(runner.dtype).removeprefix("torch."),
        "fallbacks": dict(runner.fallbacks),
    }
    return _finish(job, outcome, report, started, segment)


def _finish(job: Job, outcome: Outcome, report: dict, started: float, asked: bool) -> UpscaleResult:
    """Put the result together; `asked` says whether a mask was wanted."""
    guide = job.engine.guide
    notes = list(job.picture.notes)
    if asked and guide is None:
        notes.append("The model has no guide, so there is no mask and no drift.")
    notes += [NOTES[event].format(times=times) for event, times in sorted(job.engine.fallbacks.items())]
    notes += job.engine.notes
    mask, labels, drift, readings = None, [], None, None
    if outcome.mask:
        mask = outcome.mask.to_image(guide.palette)
        labels = outcome.mask.describe(guide.labels, guide.palette)
        drift = (Image.fromarray(outcome.drift.values), job.step)
        readings = (Image.fromarray(outcome.readings.ids), Image.fromarray(outcome.readings.confidence))
        report |= {
            "classes": labels,
            "uncertain_id": outcome.mask.classes,
            "uncertain_below": job.uncertain_below,
            "drift_mean": float(outcome.drift.values.mean() / 255),
        }
    report |= {"seconds": round(time.perf_counter() - started, 3), "notes": notes, "honesty": HONESTY}
    return UpscaleResult(outcome.content, mask, labels, drift, report, readings)


def _plan(engine: Engine, size: tuple[int, int], tile: str | int | None) -> Grid:
    side = choose_tile(engine.budget, engine.bytes_per_pixel) if tile == "auto" else tile
    return plan_grid(size[1], size[0], side, engine.context)


def _longest(grid: Grid) -> int:
    """The longest side of any tile."""
    return max(stop - start for start, stop in (*grid.rows, *grid.columns))
