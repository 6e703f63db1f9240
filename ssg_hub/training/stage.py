"""One training stage from its first step to its last: batches in, updates, progress, checkpoints, resume.

The training script keeps the mathematics; what every stage needs beside it is here.
"""

import logging
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..data.crops import Crops, make_loader
from ..data.streams import make_stream_loader
from ..errors import SSGError
from ..networks.guide import Guide
from .checkpoints import prune_checkpoints, save_checkpoint
from .learner import Learner
from .resume import resume
from .run import Run, Stopped
from .validation import DevSet

log = logging.getLogger("train")
LOG_EVERY = 10  # steps
WARM_STEPS = 20  # over which a learning rate rises


class Stage:
    """The position of a run in one stage.

    Args:
        run: with the stage's networks and optimizers already prepared by its accelerator.
        name: "guide", "warmup", …; part of the checkpoints' names.
        steps: optimizer steps of the whole stage.
        states: further objects with `state_dict` and `load_state_dict` that belong into a checkpoint.
    """

    def __init__(self, run: Run, name: str, steps: int, states: tuple = ()):
        self.run, self.accelerator, self.config = run, run.accelerator, run.config
        self.name, self.steps, self.step = name, steps, 0
        self.is_last = False  # whether the step that is being made ends the stage
        self.skipped_updates = self.skipped_pictures = 0
        self.best: dict | None = None  # of the dev set's scores: {"name": checkpoint, "lpips": value}
        self.scores: dict[str, float] = {}  # of the latest validation
        self.losses: dict[str, Tensor] = {}
        self.waited = self.elapsed = 0.0  # seconds in this process: for data, and in all
        self.seconds = 0.0  # in the stage, over all sittings; counted where the clock is what counts
        run.hold_states(self, *states)
        resume(run, name)

    def state_dict(self) -> dict:
        names = ("step", "seconds", "skipped_updates", "skipped_pictures", "best", "scores")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def batches(self, crops: dict[str, tuple[Crops, int]]) -> Iterator[dict[str, dict[str, Tensor]]]:
        """Yield micro-batches on the device until the stage is done, and do the bookkeeping between them.

        Args:
            crops: {name: (crops, pictures per process)}; each batch has the same names.

        Raises:
            Stopped: after a signal, once a checkpoint is written.
        """
        loaders = [self._loader(*source) for source in crops.values()]
        with self._open_bar() as progress:
            began = time.perf_counter()
            earlier = self.seconds
            while self.step < self.steps and not (self.is_last and self.accelerator.sync_gradients):
                if self.by_clock:
                    self.seconds = self.run.agreed(earlier + time.perf_counter() - began)
                self._look_for_the_end()
                asked = time.perf_counter()
                samples = [next(loader) for loader in loaders]
                self.waited += time.perf_counter() - asked
                self.skipped_pictures += sum(int(sample.pop("skipped").sum()) for sample in samples)
                yield dict(zip(crops, [self._to_device(sample) for sample in samples], strict=True))
                if self.accelerator.sync_gradients:
                    self.step += 1
                    self.elapsed = time.perf_counter() - began
                    progress.update(self._bar_position() - progress.n)
                    self._after_step(progress)
        self.run.steps_made[self.name] = self.step

    def _open_bar(self) -> tqdm:
        total, unit = (round(60 * self.config.max_minutes), "s") if self.by_clock else (self.steps, "it")
        shown = {"desc": self.name, "unit": unit, "mininterval": 2, "disable": not self.accelerator.is_main_process}
        return tqdm(total=total, initial=self._bar_position(), **shown)

    def _bar_position(self) -> int:
        return min(round(self.seconds), round(60 * self.config.max_minutes)) if self.by_clock else self.step

    @property
    def by_clock(self) -> bool:
        """Whether the stage is measured in minutes instead of steps."""
        return self.config.anneal == "clock"

    @property
    def progress(self) -> float:
        """How far the stage is, from 0 to 1: by its steps, or by the clock; the same on all processes."""
        return min(1.0, self.seconds / (60 * self.config.max_minutes)) if self.by_clock else self.step / self.steps

    def _look_for_the_end(self) -> None:
        """Note whether the step to come is the stage's last: of its number, after its time, or after a signal."""
        if not self.is_last and self.step + 1 < self.steps and (reason := self._reason_to_end()):
            self.run.ended_early = True
            log.info("%s: %s ends at step %d of %d.", reason, self.name, self.step + 1, self.steps)
        self.is_last = self.is_last or self.run.ended_early or self.step + 1 >= self.steps

    def _reason_to_end(self) -> str | None:
        if self.progress >= 1 if self.by_clock else self.run.time_is_up():
            return "max_minutes are over"
        return "interrupted" if self.config.on_interrupt == "finish" and self.run.stop_requested() else None

    def _loader(self, crops: Crops, batch: int) -> Iterator[dict[str, Tensor]]:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        used = self.step * self.config.gradient_accumulation * batch * world
        make = make_loader if hasattr(crops.table, "__getitem__") else make_stream_loader
        return iter(make(crops, batch, rank, world, used, self.config.workers))

    def _to_device(self, sample: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self.accelerator.device, non_blocking=True) for name, value in sample.items()}

    def _after_step(self, progress: tqdm) -> None:
        if self.step % LOG_EVERY == 0 or self.is_last:
            losses = {name: float(value) for name, value in self.losses.items()}
            if self.skipped_pictures or self.skipped_updates:
                losses |= {"skipped_updates": self.skipped_updates, "skipped_pictures": self.skipped_pictures}
            losses["data_wait"] = self.waited / self.elapsed
            progress.set_postfix({name: f"{value:.4g}" for name, value in losses.items()})
            self.accelerator.log({f"{self.name}/{name}": value for name, value in losses.items()}, step=self.step)
        stop = self.config.on_interrupt == "stop" and self.run.stop_requested()
        is_best = self.best is not None and self.best["name"] == self._checkpoint_name(self.step)
        if stop or is_best or self.step % self.config.checkpoint_every == 0 or self.is_last:
            self.save()
        if stop and not self.is_last:
            raise Stopped(f"stopped at {self.name} step {self.step}; continue with --resume latest.")

    def update(self, learner: Learner) -> bool:
        """Clip, step and clear, at the end of an accumulation; a gradient that is not finite is dropped and counted.

        The norm is that of the gradient averaged over all processes, so that these agree on what is dropped.

        Returns:
            Whether the parameters were changed.

        Raises:
            SSGError: more than `max_skipped_updates` were dropped, in fp16 in a row: there the scaler tries a larger
                scale now and then, which is dropped where it is too large.
        """
        if not self.accelerator.sync_gradients:
            return False
        optimizer = learner.optimizer
        for group in optimizer.param_groups:
            group["lr"] = self._learning_rate(learner)
        norm = self._clip(learner)
        finite = bool(torch.isfinite(norm))
        if finite or self.accelerator.scaler is not None:  # the fp16 scaler must see what is not finite
            optimizer.step()
        optimizer.zero_grad()
        learner.dropped = 0 if finite else learner.dropped + 1
        if finite:
            return not optimizer.step_was_skipped
        self.skipped_updates += 1
        count = self.skipped_updates if self.accelerator.scaler is None else learner.dropped
        if count > self.config.max_skipped_updates:
            raise SSGError(
                f"{count} updates had gradients that are not finite, the last at {self.name} step "
                f"{self.step}. Lower the learning rate, or use bf16 or fp32; continue from an earlier checkpoint."
            )
        return False

    def _clip(self, learner: Learner) -> Tensor:
        """Clip a network's gradient to `max_grad_norm`, once it is back in its own units; returns the norm before."""
        parameters, limit = learner.network.parameters(), self.config.max_grad_norm
        if self.accelerator.scaler is None:
            return self.accelerator.clip_grad_norm_(parameters, limit)
        # Accelerate's clipping divides the gradients of all optimizers by the scale, also what the other networks have
        # accumulated so far: their next micro-batch would outweigh it by the scale.
        self.accelerator.unscale_gradients(learner.optimizer)
        return nn.utils.clip_grad_norm_(parameters, limit)

    def _learning_rate(self, learner: Learner) -> float:
        """Linear warm-up, then a half cosine to 1 % of the peak: by step and progress alone, so nothing to resume."""
        warm = min(1.0, (self.step - learner.begins + 1) / WARM_STEPS)
        return learner.rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * self.progress)) / 2)

    def validation_due(self) -> bool:
        """Whether the step that is being made is one to validate after."""
        due = (self.step + 1) % self.config.validate_every == 0 or self.is_last
        return self.accelerator.sync_gradients and due

    def gradients_due(self) -> bool:
        """Whether the step that is being made is one whose gradients are recorded."""
        every = self.config.gradients_every
        return self.accelerator.sync_gradients and bool(every) and (self.step + 1) % every == 0

    def record_scores(self, scores: dict[str, float]) -> None:
        """Report the scores of the step that is being made; the lowest `lpips` so far marks the best checkpoint."""
        self.run.report(f"{self.name}_dev", scores, self.step + 1)
        if "lpips" in scores and (self.best is None or scores["lpips"] < self.best["lpips"]):
            self.best = {"name": self._checkpoint_name(self.step + 1), **scores}
        self.scores = scores

    def validate(self, dev: DevSet, generator: nn.Module, guide: Guide | None) -> None:
        """Score the generator on the dev set, and save a sheet of what it makes of some of its pictures."""
        self.record_scores(dev.score(generator, self.accelerator))
        if dev.pairs and self.accelerator.is_main_process:
            sheet = dev.sheet(generator, guide)
            path = self.config.output_dir / "samples" / f"{self._checkpoint_name(self.step + 1)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            sheet.save(path)
            self.run.log_picture(f"{self.name}_dev/pictures", sheet, self.step + 1)

    def _checkpoint_name(self, step: int) -> str:
        return f"{self.name}-{step:07d}"

    def save(self) -> None:
        """Write a checkpoint and prune old ones."""
        save_checkpoint(self.accelerator, self.run.checkpoints, self._checkpoint_name(self.step), self.run.settings())
        if self.accelerator.is_main_process:
            best = self.best["name"] if self.best else None
            prune_checkpoints(self.run.checkpoints, self.name, self.config.checkpoints_kept, best)
        self.accelerator.wait_for_everyone()
