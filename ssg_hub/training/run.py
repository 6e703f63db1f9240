"""One run of the training script: its processes, folders, trackers, its record in `run.json`, and how it is stopped."""

import json
import logging
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration, broadcast, set_seed
from PIL import Image

from ..devices import training_device
from ..errors import ConfigError, explain_disk
from ..processes.locking import alone_in
from ..processes.meeting import by_one, check_met, meet
from ..processes.signals import SAME_PRESS, requests_to_end, taking
from ..storage.whole_file import whole_file
from .checks import check_inputs, check_request
from .config import TrainConfig
from .resume import check_resume, describe_new_data

log = logging.getLogger("train")
PACKAGES = ("torch", "accelerate", "diffusers", "transformers", "datasets", "numpy", "pillow")


class Stopped(KeyboardInterrupt):
    """A signal asked the run to end, and a checkpoint was written."""


class Run:
    """What every stage shares.

    Attributes:
        accelerator: Accelerate's; one for the whole run.
        config: the run's configuration.
        checkpoints: folder of the checkpoints.
        ended_early: whether `max_minutes` ended a stage, so that no other stage begins.
        steps_made: steps of each stage that ended, over all sittings.

    Raises:
        ConfigError: nothing would be trained, the tracker is not installed, or the processes do not meet.
    """

    def __init__(self, config: TrainConfig):
        self.config, self._began = config, time.monotonic()
        check_request(config)
        self.accelerator = meet(lambda timeout: _accelerator(config, timeout))
        check_met(self.accelerator.num_processes)
        if self.accelerator.distributed_type.value == "DEEPSPEED":
            raise ConfigError("DeepSpeed cannot train two networks in one step here. Use DDP (accelerate's default).")
        level = logging.INFO if self.accelerator.is_main_process else logging.ERROR
        logging.basicConfig(level=level, format="%(message)s")
        logging.getLogger("accelerate").setLevel(logging.WARNING)
        self.checkpoints = config.output_dir / "checkpoints"
        self.ended_early = False
        self.steps_made: dict[str, int] = {}
        self._slots: list[_Slot] = []
        self.accelerator.wait_for_everyone()
        set_seed(config.seed)
        self._told_to_stop: float | None = None  # when

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Write the record, and run the trackers; meanwhile Ctrl-C and requests to end only set `interrupted`.

        No other run works in the output folder meanwhile.

        Raises:
            ConfigError: another run works there, or the folder holds one and `resume` is not set; inputs are missing.
            CheckpointError: `resume` names no checkpoint of this run.
            KeyboardInterrupt: Ctrl-C was pressed twice; of several processes none is ended so.
        """
        hook, threading.excepthook = threading.excepthook, _note_full_disk
        try:
            with taking((signal.SIGINT, *requests_to_end()), self._on_signal), self._alone():
                self.accelerator.init_trackers("logs")
                self._write_record(check_inputs(self.config))
                yield
                for tracker in self.accelerator.trackers:  # what they have yet to write can meet a full disk too
                    tracker.finish()
        finally:
            threading.excepthook = hook

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the output folder, by the main process for all, and refuse it where it holds another run."""
        with ExitStack() as held:
            by_one(self.accelerator.state, lambda: held.enter_context(alone_in(self.config.output_dir)))
            if self.config.resume is None and self.checkpoints.is_dir():
                raise ConfigError(
                    f"{self.config.output_dir} already holds a run. "
                    "Continue it with --resume latest, or give another output_dir."
                )
            check_resume(self.config, self.checkpoints)
            yield

    def _on_signal(self, number: int, frame) -> None:
        alone, now = self.accelerator.num_processes == 1, time.monotonic()
        if self._told_to_stop is None:
            self._told_to_stop = now
            again = " Ctrl-C once more ends it at once, without one." if alone else ""
            log.warning("the run ends after its next step, with a checkpoint.%s", again)
        elif alone and number == signal.SIGINT and now - self._told_to_stop > SAME_PRESS:
            raise KeyboardInterrupt

    def hold_states(self, *states) -> None:
        """Put these objects into checkpoints, in the place of those before: each has state_dict and load_state_dict."""
        while len(self._slots) < len(states):
            self._slots.append(_Slot())
            self.accelerator.register_for_checkpointing(self._slots[-1])
        for slot, state in zip_longest(self._slots, states):
            slot.holds = state

    @property
    def interrupted(self) -> bool:
        """Whether this process was told to stop."""
        return self._told_to_stop is not None

    def stop_requested(self) -> bool:
        """Whether any process was told to stop; to be asked by all of them at the same step."""
        return self.any_process(self.interrupted)

    def time_is_up(self) -> bool:
        """Whether `max_minutes` have passed on any process; to be asked by all of them at the same step."""
        limit = self.config.max_minutes
        return limit is not None and self.any_process(time.monotonic() - self._began >= 60 * limit)

    def agreed(self, value: float) -> float:
        """The main process' value, on all processes; to be asked by all of them."""
        if self.accelerator.num_processes == 1:
            return value
        return broadcast(torch.tensor(value, device=self.accelerator.device)).item()

    def any_process(self, flag: bool) -> bool:
        """Whether the flag is set on any process; to be asked by all of them."""
        if self.accelerator.num_processes == 1:
            return flag
        return self.accelerator.reduce(torch.tensor(int(flag), device=self.accelerator.device), "sum").item() != 0

    def settings(self) -> dict:
        """The configuration and the number of processes, as JSON values: what a checkpoint is written under."""
        return {**self.config.model_dump(mode="json"), "processes": self.accelerator.num_processes}

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

    def _write_record(self, data: dict[str, dict]) -> None:
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
        path = config.output_dir / "run.json"
        if config.resume and (changes := describe_new_data(_read_data(path), data)):
            log.warning("the pictures have changed since the last start, and the crops with them: %s", changes)
        config.output_dir.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write((json.dumps(record, indent=2) + "\n").encode())


def _read_data(record: Path) -> dict[str, dict]:
    """The fingerprints in the record of an earlier start; none where it cannot be read."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _accelerator(config: TrainConfig, timeout: timedelta) -> Accelerator:
    folder = str(config.output_dir)
    return Accelerator(
        cpu=training_device() == "cpu",
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation,
        log_with=None if config.tracker == "none" else config.tracker,
        project_config=ProjectConfiguration(project_dir=folder, logging_dir=folder),
        kwargs_handlers=[
            # the discriminator's spectral norm updates its buffers itself, alike on every process
            DistributedDataParallelKwargs(broadcast_buffers=False),
            InitProcessGroupKwargs(timeout=timeout),
        ],
    )


def _note_full_disk(details: threading.ExceptHookArgs) -> None:
    """A tracker writes in a thread of its own: where the disk is full it falls silent, and the run goes on."""
    sentence = explain_disk(details.exc_value) if isinstance(details.exc_value, OSError) else None
    if sentence is None:
        threading.__excepthook__(details)
    else:
        log.warning("%s Until then the log has gaps.", sentence)


class _Slot:
    """A place in a checkpoint. Accelerate cannot be told to forget an object, so it is given places for objects."""

    def __init__(self):
        self.holds = None

    def state_dict(self) -> dict:
        return {} if self.holds is None else self.holds.state_dict()

    def load_state_dict(self, state: dict) -> None:
        if self.holds is not None:
            self.holds.load_state_dict(state)
