"""Teach a generator to leave pictures of one colour as they are; its other results are held to what they were.

    python -m benchmarks.flat_colors runs/embedded-mean -o runs/embedded-flat [--steps 200]

Each step has a batch of crops, degraded as the recipe degrades them, on which the generator is to agree with itself as
it was, and a batch of plain colours, which it is to keep. L1 on both. About half a second a step on one core.
"""

import argparse
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.embedded import CONFIG
from ssg_hub.data.crops import make_loader
from ssg_hub.degradation import load_degradation
from ssg_hub.loading import load_model
from ssg_hub.training.batches import source_crops, source_pair
from ssg_hub.training.config import TrainConfig, parse_config

BATCH, CROP, RATE, SEED = 4, 128, 3e-5, 51
COLORS = torch.cartesian_prod(*[torch.tensor([0.0, 0.5, 1.0])] * 3)  # black, white, gray, the primaries, between
PLAIN_SIDE = (
    24  # LR pixels; the generator sees 34 beyond each, so zeros beyond the border are in sight, as in a picture
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flat_colors", description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--config", default=CONFIG, metavar="YAML", help="names the pictures and their degradation")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    config = parse_config(["--config", options.config]).model_copy(
        update={"flat_share": 0.0, "hr_crop": CROP, "seed": SEED}
    )
    model = load_model(options.model).float()
    print(f"before: {worst(model.generator)}")
    model.generator = keep_colors(model.generator, config, options.steps)
    print(f"after:  {worst(model.generator)}")
    model.half().save_pretrained(options.output)


def keep_colors(generator: nn.Module, config: TrainConfig, steps: int) -> nn.Module:
    """The generator after `steps` of Adam, its learning rate falling to 0."""
    before = deepcopy(generator).eval().requires_grad_(False)
    generator.train().requires_grad_(True)
    optimizer = torch.optim.Adam(generator.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    degradation, random = load_degradation(config.degradation), torch.Generator().manual_seed(SEED)
    batches = make_loader(source_crops(config), BATCH, rank=0, world=1, start=0, workers=0)
    for _ in tqdm(range(steps), unit="step", disable=None):
        lr = source_pair(next(batches), degradation, config).lr
        colors = plain_colors(random)
        loss = F.l1_loss(generator(lr), before(lr)) + F.l1_loss(generator(colors), enlarged(colors, config.scale))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return generator.eval().requires_grad_(False)


def plain_colors(random: torch.Generator) -> Tensor:
    """Six pictures (6, 3, side, side): three of the corners and middles of RGB, three of any colour."""
    corners = COLORS[torch.randint(len(COLORS), (3,), generator=random)]
    colors = torch.cat((corners, torch.rand(3, 3, generator=random)))
    return colors[:, :, None, None].expand(-1, -1, PLAIN_SIDE, PLAIN_SIDE).contiguous()


def enlarged(picture: Tensor, scale: int) -> Tensor:
    return picture.repeat_interleave(scale, -2).repeat_interleave(scale, -1)


@torch.no_grad()
def worst(generator: nn.Module) -> str:
    """The largest differences from plain colours, away from the border, in levels of 255."""
    lr = COLORS[:, :, None, None].expand(-1, -1, 96, 96)
    sr = generator.eval()(lr).clamp(0, 1)[:, :, 160:-160, 160:-160]
    levels = 255 * (sr - COLORS[:, :, None, None]).abs().amax((1, 2, 3))
    return ", ".join(
        f"{[round(255 * v) for v in color.tolist()]} {level:.1f}" for color, level in zip(COLORS, levels, strict=True)
    )


if __name__ == "__main__":
    main()
