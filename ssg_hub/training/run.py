"""One run of the training script: its processes, folders, trackers, its record in `run.json`, and how it is stopped."""

import json
import logging
import os
import platform
import signal
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import ProjectConfiguration, set_seed
from PIL import Image

from ..data.streams import load_stream
from ..data.tables import fingerprint, load_pairs, load_pictures
from ..degradation import load_degradation
from ..errors import ConfigError
from .config import TrainConfig

log = logging.getLogger("train")
PACKAGES = ("torch", "accelerate", "diffusers", "transformers", "datasets", "numpy", "pillow")


class Stopped(Exception):
    """SIGTERM or SIGINT arrived, and a checkpoint was written."""


class Run:
    """What every stage shares.

    Attributes:
        accelerator: Accelerate's; one for the whole run.
        config: the run's configuration.
        checkpoints: folder of the checkpoints.

    Raises:
        ConfigError: the output folder holds another run and `resume` is not set, or the processes do not see each
            other.
    """

    def __init__(self, config: TrainConfig):
        self.config, self._began = config, time.monotonic()
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            mixed_precision=config.mixed_precision,
            gradient_accumulation_steps=config.gradient_accumulation,
            log_with=None if config.tracker == "none" else config.tracker,
            project_config=ProjectConfiguration(project_dir=str(config.output_dir), logging_dir=str(config.output_dir)),
            # the discriminator's spectral norm updates its buffers itself, alike on every process
            kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
        )
        _check_processes(self.accelerator)
        level = logging.INFO if self.accelerator.is_main_process else logging.ERROR
        logging.basicConfig(level=level, format="%(message)s")
        logging.getLogger("accelerate").setLevel(logging.WARNING)
        self.checkpoints = config.output_dir / "checkpoints"
        if config.resume is None and self.checkpoints.is_dir():
            raise ConfigError(
                f"{config.output_dir} already holds a run. "
                "Continue it with --resume latest, or give another output_dir."
            )
        self.accelerator.wait_for_everyone()
        set_seed(config.seed)
        self._stop_signal = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self.accelerator.init_trackers("logs")
        self.write_record(check_inputs(config))

    def _on_signal(self, number: int, frame) -> None:
        self._stop_signal = number

    def stop_requested(self) -> bool:
        """Whether any process was told to stop; to be asked by all of them at the same step."""
        return self._any_process(self._stop_signal != 0)

    def time_is_up(self) -> bool:
        """Whether `max_minutes` have passed on any process; to be asked by all of them at the same step."""
        limit = self.config.max_minutes
        return limit is not None and self._any_process(time.monotonic() - self._began >= 60 * limit)

    def _any_process(self, flag: bool) -> bool:
        if self.accelerator.num_processes == 1:
            return flag
        return self.accelerator.reduce(torch.tensor(int(flag), device=self.accelerator.device), "sum").item() != 0

    def report(self, title: str, scores: dict[str, float], step: int) -> None:
        """Print scores and send them to the tracker."""
        if scores:
            log.info("%s: %s", title, ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))
            self.accelerator.log({f"{title}/{name}": value for name, value in scores.items()}, step=step)

    def log_picture(self, name: str, picture: Image.Image, step: int) -> None:
        """Send a picture to the tracker."""
        for tracker in self.accelerator.trackers:
            options = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: np.asarray(picture)[None]}, step=step, **options)

    def write_record(self, data: dict[str, dict]) -> None:
        """Write `run.json`: configuration, versions, processes, device, and the fingerprint of each data entry."""
        if not self.accelerator.is_main_process:
            return
        config = self.config
        record = {
            "config": config.model_dump(mode="json"),
            "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            "processes": self.accelerator.num_processes,
            "device": str(self.accelerator.device),
            "data": data,
        }
        config.output_dir.mkdir(parents=True, exist_ok=True)
        (config.output_dir / "run.json").write_text(json.dumps(record, indent=2) + "\n")


def check_inputs(config: TrainConfig) -> dict[str, dict]:
    """Look at every file and data entry that the run will need, and return the entries' fingerprints.

    Raises:
        ConfigError: one that is missing or incomplete, before the first step instead of hours after it.
    """
    for name, value in config:
        if isinstance(value, Path) and name not in ("output_dir", "data_root") and not value.is_file():
            raise ConfigError(f"{name}: there is no file {value}. Correct the path, or leave the key out.")
    load_degradation(config.degradation)
    entries = [*config.guide_data, *config.target, *config.dev_lr, *filter(None, (config.dev_hr, config.dev_labeled))]
    for entry in {*config.guide_data, *filter(None, [config.dev_labeled])}:
        load_pictures([entry], config.data_root, labels=True)
    if config.target_labels:
        load_pictures(config.target, config.data_root, labels=config.target_labels)
    if config.source_lr:
        load_pairs(config.source, config.source_lr, config.data_root)
        entries.append(config.source_lr)
    if config.streaming:
        load_stream(config.source, config.data_root)
    else:
        entries += config.source
    return {entry: fingerprint(entry, config.data_root) for entry in entries}


def _check_processes(accelerator: Accelerator) -> None:
    world = int(os.environ.get("WORLD_SIZE", 1))
    if world != accelerator.num_processes:
        raise ConfigError(
            f"{world} processes were launched, but each believes that there are {accelerator.num_processes}. On CPUs "
            "launch with `accelerate launch --multi_gpu --num_processes N` or `ACCELERATE_USE_CPU=true torchrun`."
        )
    if accelerator.distributed_type.value == "DEEPSPEED":
        raise ConfigError("DeepSpeed cannot train two networks in one step here. Use DDP (accelerate's default).")
