"""What every way of upscaling shares: engine opened, tiles planned, and the report of the run."""

import time
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ..errors import ConfigError
from ..images.picture import Picture
from ..networks.guide import Guide
from ..networks.registry import Generator
from .calibration import Calibration
from .engines.base import Engine
from .engines.choice import open_engine
from .options import Options, output_size
from .pipeline import Job, Outcome
from .soft_masks import parse_strength
from .tiling import Grid, choose_tile, plan_grid

HONESTY = "An upscaled picture is an estimate: plates, faces and text may be invented; it is not evidence."
NOTES = {
    "tile_halved": "Memory ran out {times} time(s); those tiles were redone in parts.",
    "float32_redo": "Half precision did not suffice {times} time(s); that was redone in float32.",
}


class Networks(Protocol):
    """What is asked of a model, whatever its class; `ssg_hub.upscaler.Upscaler` has it."""

    @property
    def generator(self) -> Generator:
        """LR to SR."""

    @property
    def guide(self) -> Guide | None:
        """Names what is in a picture; or None."""

    @property
    def calibration(self) -> Calibration | None:
        """Makes drift a probability; or None."""

    @property
    def denoise_default(self) -> float:
        """The denoise strength where none is given, 0 to 1."""

    def generator_for(self, denoise: float = 1.0) -> Generator:
        """The generator for a denoise strength."""


@dataclass(frozen=True, eq=False)
class Setup:
    """One run before its picture is known.

    Args:
        engine: what runs the networks.
        options: what was asked for; denoise is a number.
        strength: as it is applied, see `parse_strength`.
        segments: whether mask and drift are made.
        calibration: of the model, or None.
        started: when the run began, by `time.perf_counter`.
    """

    engine: Engine
    options: Options
    strength: float | Tensor
    segments: bool
    calibration: Calibration | None
    started: float

    def plan(self, picture: Picture) -> Job:
        """The run for a picture."""
        return Job(
            picture,
            output_size(picture.size, self.options.outscale),
            plan_tiles(self.engine, picture.size, self.options.tile),
            self.engine,
            self.strength,
            self.options.color_fix,
            self.segments,
            self.options.uncertain_below,
            self.calibration,
        )

    def report(self, job: Job, outcome: Outcome, notes: list[str]) -> dict:
        """How the picture was made, as JSON holds it; called when the run has ended.

        Args:
            job, outcome: what was done, and what came of it.
            notes: sentences about the picture and its file.
        """
        engine, guide, options = self.engine, self.engine.guide, self.options
        notes = [*job.picture.notes, *notes]
        if options.segment and guide is None:
            notes.append("The model has no guide, so there is no mask and no drift.")
        notes += [NOTES[event].format(times=times) for event, times in sorted(engine.fallbacks.items())]
        report = {
            "input": {"width": job.picture.size[0], "height": job.picture.size[1], "mode": job.picture.mode},
            "output": {"width": job.size[0], "height": job.size[1]},
            "outscale": options.outscale,
            "scale": engine.scale,
            "strength": options.strength,
            "denoise": options.denoise,
            "color_fix": options.color_fix,
            "tile": longest_side(job.grid),
            "tiles": len(job.grid),
            "engine": engine.name,
            "device": str(engine.device),
            "dtype": engine.precision,
            "fallbacks": dict(engine.fallbacks),
        }
        if outcome.mask:
            report |= {
                "classes": outcome.mask.describe(guide.labels, guide.palette),
                "uncertain_id": outcome.mask.classes,
                "uncertain_below": options.uncertain_below,
                "calibrated": job.calibration is not None,
                "drift_mean": float(outcome.drift.values.mean() / 255),
            }
        seconds = round(time.perf_counter() - self.started, 3)
        return report | {"seconds": seconds, "notes": notes + engine.notes, "honesty": HONESTY}


def prepare(model: Networks, options: Options) -> Setup:
    """Open the engine for a model; the networks wait for the first tile.

    Raises:
        ConfigError: no model, or an option that this model or this machine cannot follow.
    """
    if not hasattr(model, "generator_for"):
        raise ConfigError(
            f"the model is of type {type(model).__name__}; an SSGModel is needed, such as ssg_hub.load_model gives."
        )
    started = time.perf_counter()
    if options.denoise is None:
        options = replace(options, denoise=model.denoise_default)
    # The guide is not made where it is not needed.
    guide = model.guide if options.segment or isinstance(options.strength, dict) else None
    labels = [] if guide is None else list(guide.labels)
    strength = parse_strength(options.strength, labels)
    if isinstance(strength, float) and not options.segment:  # the same for all classes
        guide = None
    segments = options.segment and guide is not None
    if segments and len(labels) > 255:
        raise ConfigError(f"the guide has {len(labels)} classes; a mask holds 255. Use segment=False or another guide.")
    generator = model.generator_for(options.denoise)
    engine = open_engine(generator, guide, options.engine, options.device, options.dtype)
    return Setup(engine, options, strength, segments, model.calibration if segments else None, started)


def plan_tiles(engine: Engine, size: tuple[int, int], tile: str | int | None) -> Grid:
    """The tiles of a picture of (width, height)."""
    side = choose_tile(engine.budget, engine.bytes_per_pixel) if isinstance(tile, str) else tile
    return plan_grid(size[1], size[0], side, engine.context)


def longest_side(grid: Grid) -> int:
    """The longest side of any tile."""
    return max(stop - start for start, stop in (*grid.rows, *grid.columns))
