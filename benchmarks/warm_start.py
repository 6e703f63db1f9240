"""Two measurements behind the choices in docs/history.md, for a generator that starts from published weights.

    python -m benchmarks.warm_start [--steps 180]        # prints two Markdown tables; about two minutes on two cores

1. How much of the generator's gradient is left in bf16: the cosine of its gradient under LPIPS to that in fp32.
2. How fast each discriminator learns to tell the start's SR from HR, while the generator stands still: the share of
   held-out pairs whose HR has the larger mean logit, and the loss on them.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.document import describe_machine
from benchmarks.evaluation_data import find_shared
from ssg_hub.data.crops import SourceCrops, sample_generators
from ssg_hub.data.tables import load_pictures
from ssg_hub.degradation import GenericPrior
from ssg_hub.loading import load_model
from ssg_hub.networks.discriminators import build_discriminator
from ssg_hub.networks.perceptual import LPIPSVGG, VGG16Features
from ssg_hub.training.losses import real_fake_loss

START, VGG16 = "realesr_general_wdn_x4v3_fp16", "vgg16_features_fp16"
CROP, PAIRS, HELD_OUT, BATCH = 128, 480, 80, 4
DISCRIMINATORS = {"patch": 64, "unet": 32, "features": 64}  # and their width
RATE, REPORTS = 2e-4, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=180, help="of each discriminator")
    options = parser.parse_args()
    weights = find_shared() / "weights"
    generator = load_model(weights / f"{START}.safetensors").generator
    vgg = VGG16Features(weights / f"{VGG16}.safetensors")
    hr, sr = make_pairs(generator)
    print(f"On: {describe_machine()}. By: `python -m benchmarks.warm_start`.\n")
    print_gradients(generator, LPIPSVGG(weights=vgg), hr[:BATCH])
    print_discriminators(vgg, hr, sr, options.steps)


@torch.no_grad()
def make_pairs(generator: nn.Module) -> tuple[Tensor, Tensor]:
    """HR crops of photographs, and the start's SR of their degraded selves: (PAIRS, 3, CROP, CROP) each."""
    crops = SourceCrops(load_pictures(["photos/bsds"], find_shared() / "data"), CROP, seed=11)
    samples = [crops[position] for position in range(PAIRS)]
    hr = torch.stack([sample["hr"] for sample in samples])
    seeds = torch.tensor([sample["seed"] for sample in samples])
    lr = GenericPrior().degrade(hr, 4, sample_generators(seeds))
    return hr, torch.cat([generator(part).clamp(0, 1) for part in lr.split(16)])


def print_gradients(generator: nn.Module, lpips: LPIPSVGG, hr: Tensor) -> None:
    lr = F.interpolate(hr, scale_factor=0.25, mode="bicubic", antialias=True).clamp(0, 1)
    exact = gradient(generator, lpips, lr, hr, generator_bf16=False, lpips_bf16=False)
    print("| in bf16 | cosine to the fp32 gradient |\n|---|---|")
    for title, parts in {"LPIPS alone": (False, True), "the generator alone": (True, False)}.items():
        cosine = F.cosine_similarity(exact, gradient(generator, lpips, lr, hr, *parts), 0).item()
        print(f"| {title} | {cosine:.3f} |")
    print()


def gradient(
    generator: nn.Module, lpips: LPIPSVGG, lr: Tensor, hr: Tensor, generator_bf16: bool, lpips_bf16: bool
) -> Tensor:
    """The gradient of LPIPS by all of the generator's weights, as one vector."""
    with torch.autocast("cpu", torch.bfloat16, enabled=generator_bf16):
        sr = generator(lr)
    with torch.autocast("cpu", torch.bfloat16, enabled=lpips_bf16):
        loss = lpips(sr, hr).mean()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(generator.parameters()))])


def print_discriminators(vgg: VGG16Features, hr: Tensor, sr: Tensor, steps: int) -> None:
    moments = [steps * (number + 1) // REPORTS for number in range(REPORTS)]
    print("| discriminator | " + " | ".join(f"after {moment} steps" for moment in moments) + " |")
    print("|---" * (REPORTS + 1) + "|")
    for kind, width in DISCRIMINATORS.items():
        torch.manual_seed(0)
        discriminator = build_discriminator(kind, width)
        see = vgg if kind == "features" else lambda picture: [picture]
        found = train(discriminator, see, hr, sr, moments)
        print(f"| {kind} | " + " | ".join(f"{share:.0%}, loss {loss:.2f}" for share, loss in found) + " |")


def train(
    discriminator: nn.Module, see: Callable[[Tensor], list[Tensor]], hr: Tensor, sr: Tensor, moments: list[int]
) -> list[tuple[float, float]]:
    """Train on all pairs but the last HELD_OUT; what the others give at each moment: (share told apart, loss)."""
    optimizer = torch.optim.Adam(discriminator.parameters(), RATE, (0.9, 0.99))
    rng, found = np.random.default_rng(0), []
    for step in range(1, moments[-1] + 1):
        chosen = rng.integers(len(hr) - HELD_OUT, size=BATCH)
        with torch.no_grad():
            seen = see(torch.cat((hr[chosen], sr[chosen])))
        loss = real_fake_loss(*discriminator(*seen).chunk(2), hr.new_ones(BATCH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in moments:
            found.append(judge(discriminator, see, hr[-HELD_OUT:], sr[-HELD_OUT:]))
    return found


@torch.no_grad()
def judge(
    discriminator: nn.Module, see: Callable[[Tensor], list[Tensor]], hr: Tensor, sr: Tensor
) -> tuple[float, float]:
    real, fake = (torch.cat([discriminator(*see(part)) for part in pictures.split(16)]) for pictures in (hr, sr))
    told = real.flatten(1).mean(1) > fake.flatten(1).mean(1)
    return told.float().mean().item(), real_fake_loss(real, fake, hr.new_ones(len(hr))).item()


if __name__ == "__main__":
    main()
