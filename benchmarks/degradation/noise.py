"""Estimate known noise per brightness bin, and write docs/degradation.md.

Kodak and 24 of BSDS500, blurred and reduced to a quarter, get noise whose strength at each brightness is known, as they
would in a camera: before clipping and rounding. Of each bin of brightness, the strength that was estimated is compared
with the true one in the bin's middle.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch

from benchmarks.document import DEGRADATION, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import find_shared
from ssg_hub.degradation.learning.noise_patches import estimate_noise
from ssg_hub.degradation.learning.pictures import read_picture
from ssg_hub.degradation.noise import BINS, LUMA
from ssg_hub.degradation.ops import gaussian_kernels, reduce_with

CASES = {  # variance in levels of 255 squared: read^2 + shot * level
    "Gaussian, 3": (3.0, 0.0),
    "Gaussian, 8": (8.0, 0.0),
    "Gaussian, 15": (15.0, 0.0),
    "Poisson-Gaussian, 2 + 0.1 x": (2.0, 0.1),
    "Poisson-Gaussian, 3 + 0.4 x": (3.0, 0.4),
}
ALLOWED = 0.10
LEAST = 0.005  # share of the pixels that a bin must have to be counted


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    paths = [*sorted((shared / "data/kodak").glob("*")), *sorted((shared / "data/photos/bsds").glob("*"))[5::17][:24]]
    clean = [reduce(path) for path in paths]
    brightness = np.concatenate([picture.reshape(-1, 3) @ LUMA.numpy() for picture in clean])
    shares = np.histogram(brightness, BINS, (0, 255))[0] / len(brightness)
    used = [b for b in range(BINS) if shares[b] >= LEAST]
    rows = [["noise", *(f"{b * 16}–{b * 16 + 15}" for b in range(BINS)), "within 10 %"]]
    for name, (read, shot) in CASES.items():
        errors = estimate(clean, read, shot)
        cells = [f"{errors[b]:+.0%}" if b in used else "–" for b in range(BINS)]
        right = sum(abs(errors[b]) <= ALLOWED for b in used)
        rows.append([name, *cells, f"{right} of {len(used)}"])
    text = (
        f"On: {describe_machine()}. By: `python -m benchmarks.degradation noise`. {len(clean)} pictures of about "
        f"{clean[0].shape[1]}x{clean[0].shape[0]}. Error of sigma by brightness, mean of R, G and B, levels of 255; "
        f"bins with less than {LEAST:.1%} of the pixels are not counted:\n\n{markdown_table(rows)}"
    )
    print(text)
    write_section("noise", f"## Known noise\n\n{text}", DEGRADATION)


def reduce(path: Path) -> np.ndarray:
    """A picture at a quarter of its size, blurred as by a lens, in levels, not rounded."""
    hr = torch.tensor(read_picture(path)[0]).permute(2, 0, 1)[None].float()
    hr = hr[..., : hr.shape[-2] // 4 * 4, : hr.shape[-1] // 4 * 4]
    two = torch.full((1,), 2.2)
    return reduce_with(hr, gaussian_kernels(two, two, torch.zeros(1), 32), 4)[0].permute(1, 2, 0).double().numpy()


def estimate(clean: list[np.ndarray], read: float, shot: float) -> np.ndarray:
    """Relative errors (BINS,) of the estimated strength."""
    rng = np.random.default_rng(0)
    pictures = []
    for picture in clean:
        noisy = picture + rng.normal(size=picture.shape) * np.sqrt(read**2 + shot * picture)
        pictures.append((noisy.round().clip(0, 255) / 255).astype(np.float32))
    found = estimate_noise(pictures).levels.square().mean((0, 1)).sqrt().numpy() * 255
    true = [math.sqrt(read**2 + shot * (b + 0.5) * 256 / BINS) for b in range(BINS)]
    return found / true - 1
