"""One training stage from its first step to its last: batches in, progress, checkpoints, resume.

The training script keeps the mathematics; what every stage needs beside it is here.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .config import TrainConfig
from .data import CropDataset, make_loader
from .errors import CheckpointError


class Stage:
    """The position of a run in one stage.

    Args:
        accelerator: with the stage's networks and optimizers already prepared.
        config: of the run.
        name: "guide", "warmup", …; part of the checkpoints' names.
        steps: optimizer steps of the whole stage.
        averages: further objects with a state (the EMA) that belong into a checkpoint.
    """

    def __init__(self, accelerator, config: TrainConfig, name: str, steps: int, averages: tuple = ()):
        self.accelerator, self.config, self.name, self.steps, self.step = accelerator, config, name, steps, 0
        accelerator._custom_objects.clear()  # the previous stage's; accelerate has no public way to forget them
        accelerator.register_for_checkpointing(self, *averages)
        self.folder = config.output_dir / "checkpoints"

    def state_dict(self) -> dict:
        return {"step": self.step}

    def load_state_dict(self, state: dict) -> None:
        self.step = state["step"]

    def resume(self) -> None:
        """Continue from the newest checkpoint of this stage, if the config asks for it and there is one."""
        if self.config.resume is None:
            return
        checkpoint = latest_checkpoint(self.folder, self.name) if self.config.resume == "latest" else Path(self.config.resume)
        if checkpoint is None:
            return
        if not checkpoint.is_dir():
            raise CheckpointError(f"no checkpoint at {checkpoint}. Give --resume latest or one of {self.folder}.")
        if checkpoint.name.startswith(f"{self.name}-"):
            self.accelerator.load_state(str(checkpoint))

    def batches(self, dataset: CropDataset, batch: int) -> Iterator[dict[str, Tensor]]:
        """Yield batches on the device until the stage is done; after each, its bookkeeping is done.

        The loop body runs one micro-batch inside `accelerator.accumulate` and leaves its losses in `self.losses`.
        """
        accelerator, world = self.accelerator, self.accelerator.num_processes
        used = self.step * self.config.gradient_accumulation * batch * world
        loader = make_loader(dataset, batch, accelerator.process_index, world, used, self.config.workers)
        progress = tqdm(
            total=self.steps, initial=self.step, desc=self.name, disable=not accelerator.is_main_process, mininterval=5
        )
        self.losses: dict[str, Tensor] = {}
        if self.step < self.steps:
            for samples in loader:
                yield {key: value.to(accelerator.device, non_blocking=True) for key, value in samples.items()}
                if accelerator.sync_gradients:
                    self._finish_step(progress)
                if self.step >= self.steps:
                    break
        progress.close()

    def _finish_step(self, progress: tqdm) -> None:
        self.step += 1
        progress.update()
        if self.step % 10 == 0:
            losses = {name: float(value) for name, value in self.losses.items()}
            progress.set_postfix({name: f"{value:.4f}" for name, value in losses.items()})
            self.accelerator.log({f"{self.name}/{name}": value for name, value in losses.items()}, step=self.step)
        if self.step % self.config.checkpoint_every == 0 and self.step < self.steps:
            self.save()

    def learning_rate(self, base: float, warm_steps: int = 20) -> float:
        """Linear warm-up, then a half cosine to 1 % of `base`: a function of the step alone, so nothing to resume."""
        warm = min(1.0, (self.step + 1) / warm_steps)
        cosine = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * self.step / self.steps)).item())
        return base * warm * (0.01 + 0.99 * cosine)

    def next_due(self, every: int) -> bool:
        """Whether the step that is being finished is a multiple of `every`, or the last."""
        return (self.step + 1) % every == 0 or self.step + 1 == self.steps

    def save(self) -> None:
        """Write a checkpoint under a temporary name, rename it, and prune old ones."""
        final = self.folder / f"{self.name}-{self.step:07d}"
        temporary = self.folder / f".{final.name}.part"
        if self.accelerator.is_main_process:
            shutil.rmtree(temporary, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(temporary))
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
            prune_checkpoints(self.folder, self.name, self.config.checkpoints_kept)
        self.accelerator.wait_for_everyone()


def list_checkpoints(folder: Path, stage: str) -> list[Path]:
    """Complete checkpoints of a stage, oldest first."""
    return sorted(folder.glob(f"{stage}-[0-9]*"))


def latest_checkpoint(folder: Path, stage: str) -> Path | None:
    """The newest complete checkpoint of a stage, or None."""
    checkpoints = list_checkpoints(folder, stage)
    return checkpoints[-1] if checkpoints else None


def prune_checkpoints(folder: Path, stage: str, kept: int) -> None:
    """Remove all but the newest `kept` checkpoints of a stage."""
    for old in list_checkpoints(folder, stage)[:-kept]:
        shutil.rmtree(old)
