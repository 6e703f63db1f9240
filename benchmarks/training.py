"""Throughput of the training script's adversarial stage against the plainest correct loop of the same step.

python -m benchmarks.training [--steps 12] [--rounds 3]        # the data is made up; prints a Markdown table
python -m benchmarks.training --mixed_precision bf16           # ours in bf16 against the plain loop in fp32

Both sides run in this process, by turns, on the same networks, sizes and crops: generator, U-Net discriminator, VGG16
(random weights: only the time counts), guide, EMA, gradient clipping. What is ours beside the mathematics (Accelerate,
bookkeeping, checks, the balance) is what the ratio shows.
"""

import argparse
import sys
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import train_accelerate  # noqa: E402
from benchmarks.document import describe_machine  # noqa: E402
from ssg_hub.data.crops import SourceCrops, TargetCrops, make_loader, sample_generators  # noqa: E402
from ssg_hub.data.tables import load_pictures  # noqa: E402
from ssg_hub.degradation import GenericPrior  # noqa: E402
from ssg_hub.networks.discriminators import UNetDiscriminator  # noqa: E402
from ssg_hub.networks.guide import Guide  # noqa: E402
from ssg_hub.networks.registry import build_generator  # noqa: E402
from ssg_hub.training.config import TrainConfig  # noqa: E402
from ssg_hub.training.losses import (  # noqa: E402
    PerceptualLoss,
    SourceLosses,
    deceive_loss,
    low_pass_consistency,
    real_fake_loss,
)
from ssg_hub.training.run import Run  # noqa: E402
from ssg_hub.training.segmentation import random_view, segmentation_loss  # noqa: E402
from ssg_hub.training.stage import Stage  # noqa: E402
from ssg_hub.training.validation import DevSet  # noqa: E402

GENERATOR = {"features": 64, "convs": 16, "scale": 4}
GUIDE = {"model_type": "ssg_lite_segmentation", "id2label": {str(i): f"class {i}" for i in range(11)}}
BATCH, TARGET_BATCH, HR_CROP, TARGET_CROP = 4, 2, 96, 192


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=12, help="per turn; the first two of each are not counted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mixed_precision", choices=("no", "bf16"), default="no", help="of ours; plain is fp32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(Path(folder))
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        waits = []
        for turn in range(options.rounds):
            seconds, wait = time_ours(data, Path(folder) / f"run{turn}", options.steps, options.mixed_precision)
            times["ours"].append(seconds)
            waits.append(wait)
            times["plain"].append(time_plain(data, options.steps))
    ratios = [ours / plain for ours, plain in zip(times["ours"], times["plain"], strict=True)]
    print(f"On: {describe_machine()}.\n")
    print("| loop | s per step (median of rounds) | source + target pictures/s |\n|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {median(values):.3f} | {(BATCH + TARGET_BATCH) / median(values):.2f} |")
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"\nours / plain: median {median(ratios):.3f} (each round: {each}).")
    print(f"Waiting for data: {100 * median(waits):.1f} % of our time.")


def make_data(folder: Path) -> Path:
    """16 frames of 480x360 with label maps, their LR, and VGG16 features; content does not matter here."""
    rng = np.random.default_rng(0)
    for name in ("hr/images", "hr/labels", "lr"):
        (folder / name).mkdir(parents=True)
    for index in range(16):
        frame = Image.fromarray(rng.integers(0, 255, (36, 48, 3), dtype=np.uint8)).resize((480, 360), Image.BICUBIC)
        frame.save(folder / f"hr/images/{index}.png")
        frame.reduce(4).save(folder / f"lr/{index}.png")
        Image.fromarray(rng.integers(0, 11, (360, 480), dtype=np.uint8)).save(folder / f"hr/labels/{index}.png")
    vgg = {}
    for index, (c_in, c_out) in {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256)}.items():
        vgg |= {f"{index}.weight": 0.05 * torch.randn(c_out, c_in, 3, 3), f"{index}.bias": torch.zeros(c_out)}
    for index in (12, 14):
        vgg |= {f"{index}.weight": 0.05 * torch.randn(256, 256, 3, 3), f"{index}.bias": torch.zeros(256)}
    save_file(vgg, folder / "vgg.safetensors")
    Guide(GUIDE).save_pretrained(folder / "guide")
    return folder


class TimedStage(Stage):
    """A stage that notes when each of its steps ended."""

    ends: list[float]

    def _after_step(self, progress) -> None:
        super()._after_step(progress)
        TimedStage.ends.append(time.perf_counter())
        TimedStage.latest = self

    def save(self) -> None:
        """Checkpoints are not part of a step."""


def time_ours(data: Path, output: Path, steps: int, mixed_precision: str) -> tuple[float, float]:
    """Median seconds per step of the script's own `adversarial`, and the share of its time spent waiting for data."""
    config = TrainConfig(
        output_dir=output,
        data_root=data,
        source=["hr"],
        target=["lr"],
        target_labels="hr/labels",
        guide_model=str(data / "guide"),
        perceptual_weights=data / "vgg.safetensors",
        adversarial_steps=steps,
        batch=BATCH,
        target_batch=TARGET_BATCH,
        hr_crop=HR_CROP,
        target_crop=TARGET_CROP,
        validate_every=10**9,
        tracker="none",
        mixed_precision=mixed_precision,
    )
    TimedStage.ends = [time.perf_counter()]
    train_accelerate.Stage = TimedStage
    run = Run(config)
    guide = Guide.from_pretrained(config.guide_model).requires_grad_(False)
    dev, objective = DevSet(config), SourceLosses(config, run.accelerator.device)
    with run.under_way():
        train_accelerate.adversarial(run, build_generator("compact", GENERATOR), guide, guide, dev, objective)
    stage = TimedStage.latest
    return _median_step(TimedStage.ends), stage.waited / stage.elapsed


def time_plain(data: Path, steps: int) -> float:
    """Median seconds per step of the same mathematics in bare PyTorch."""
    generator = build_generator("compact", GENERATOR).to(memory_format=torch.channels_last)
    discriminator = UNetDiscriminator(32).to(memory_format=torch.channels_last)
    average, guide = deepcopy(generator), Guide.from_pretrained(data / "guide").requires_grad_(False)
    perceptual, prior = PerceptualLoss(data / "vgg.safetensors"), GenericPrior()
    optimizer_g = torch.optim.Adam(generator.parameters(), 1e-4, betas=(0.9, 0.99))
    optimizer_d = torch.optim.Adam(discriminator.parameters(), 1e-4, betas=(0.9, 0.99))
    source = SourceCrops(load_pictures(["hr"], data), HR_CROP, 0)
    target = TargetCrops(load_pictures(["lr"], data, "hr/labels"), TARGET_CROP, 0, 4, 255)
    loaders = [iter(make_loader(c, b, 0, 1, 0, 1)) for c, b in ((source, BATCH), (target, TARGET_BATCH))]
    ends = [time.perf_counter()]
    for _ in range(steps):
        pairs, real = (next(loader) for loader in loaders)
        hr = pairs["hr"]
        lr = prior.degrade(hr, 4, sample_generators(pairs["seed"]))
        discriminator.requires_grad_(False)
        sr, sr_t = generator(lr), generator(real["lr"])
        view, label = random_view(sr_t, real["label"], real["seed"], 255)
        loss = F.l1_loss(sr, hr) + perceptual(sr, hr) + 0.1 * deceive_loss(discriminator(sr), hr.new_ones(len(hr)))
        loss = loss + 0.1 * segmentation_loss(guide(view), label, 255) + low_pass_consistency(sr_t, real["lr"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        optimizer_g.step()
        optimizer_g.zero_grad()
        with torch.no_grad():
            for mean, value in zip(average.parameters(), generator.parameters(), strict=True):
                mean.lerp_(value, 0.001)
        discriminator.requires_grad_(True)
        judged_hr, judged_sr = discriminator(torch.cat((hr, sr.detach()))).chunk(2)
        real_fake_loss(judged_hr, judged_sr, hr.new_ones(len(hr))).backward()
        torch.nn.utils.clip_grad_norm_(discriminator.parameters(), 1.0)
        optimizer_d.step()
        optimizer_d.zero_grad()
        ends.append(time.perf_counter())
    return _median_step(ends)


def _median_step(ends: list[float]) -> float:
    return median(b - a for a, b in zip(ends[2:], ends[3:], strict=False))


if __name__ == "__main__":
    main()
