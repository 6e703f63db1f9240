"""Compare LR that a bank makes with LR of the camera: spectra and noise, beside bicubic and the generic prior.

A bank is estimated from the target pictures of each camera alone. Then LR is made, from the HR frames of the *source*
drives, other scenes than the target's, and, for this comparison only, from those of the target drive itself, where all
that differs is the degradation. Both are measured in the same way as the camera's pictures:

- power spectra of luma and of chroma (Cb and Cr together), averaged over pictures, in rings of frequency;
- noise: in 8x8 blocks, the deviation that a second-difference filter leaves (Immerkaer, CVIU 1996), which sees neither
  planes nor edges along the axes; of each brightness bin the 5th percentile, where blocks are smooth; luma and chroma.

Distances are root mean squares of the differences in decibels. "The scenes" is the distance between the HR frames of
the two drives, both reduced by bicubic: the distance that other scenes alone would cause.

The mean kernel of a bank is compared with that of the camera, which is measured for this comparison from the target's
own HR: least squares over all pixels of every sixth pair.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.document import DEGRADATION, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import find_shared
from ssg_hub.data.crops import sample_generators
from ssg_hub.degradation import BicubicDegradation, GenericPrior
from ssg_hub.degradation.kernels import measure_kernel
from ssg_hub.degradation.learning.estimate import learn_bank

CAMERAS = ("noisy", "phone")
RINGS = 12
TILE = 64
BINS = 8
SMOOTH_SHARE, LEAST_BLOCKS = 0.05, 400
YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
ROUNDING = 1 / 255**2 / 12  # power of the rounding to 8 bits; nothing below it can be distinguished
LUMA = YCC[0].view(3, 1, 1)
SECOND_DIFFERENCE = torch.tensor([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6  # unit variance for white noise


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--banks", type=Path, help="keep the estimated banks there")


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    camvid = shared / "data" / "camvid"
    source, target = (frames(camvid, name) for name in ("source", "target"))
    sets = {"source": source, "target": target}
    known = {"bicubic": BicubicDegradation(), "generic prior": GenericPrior()}
    made = {name: {key: measure(make(d, hr)) for key, hr in sets.items()} for name, d in known.items()}
    head = ["spectra, dB", "noise, dB", "both, dB"]
    rows = [["camera", "LR by", *head, *(f"same scenes: {cell}" for cell in head)]]
    sigmas = [["camera", "LR by", *(f"{b * 256 // BINS}–{(b + 1) * 256 // BINS - 1}" for b in range(BINS))]]
    estimates = []
    for camera in CAMERAS:
        folder = camvid / "target_lr" / camera
        began = time.process_time()
        bank = learn_bank(folder)
        seconds = time.process_time() - began
        estimates.append(f"*{camera}* ({seconds:.0f} s of CPU): " + "; ".join(bank.describe().splitlines()[1:4]) + ".")
        pairs = [(hr, read(path)) for hr, path in list(zip(target, sorted(folder.iterdir()), strict=True))[::6]]
        true, own = (describe(kernel) for kernel in (kernel_of_pairs(pairs), bank.kernels.mean(0)))
        estimates.append(f"Its mean kernel: {own}; measured from pairs of LR and HR: {true}.")
        if options.banks:
            bank.save(options.banks / camera)
        real = measure([read(path) for path in sorted(folder.iterdir())])
        sigmas.append([camera, "the camera", *(show(power) for power in real[1][0])])
        by_bank = {key: measure(make(bank, hr)) for key, hr in sets.items()}
        for name, found in {**made, "its bank": by_bank}.items():
            rows.append([camera, name, *distances(found["source"], real), *distances(found["target"], real)])
            sigmas.append([camera, name, *(show(power) for power in found["target"][1][0])])
    rows.append(["", "(the scenes)", *distances(made["bicubic"]["source"], made["bicubic"]["target"]), "", "", ""])
    text = (
        f"On: {describe_machine()}. By: `python -m benchmarks.degradation cameras`. {len(target)} target pictures per "
        f"camera; LR made from {len(source)} source frames and, “same scenes”, from the target's own HR. Distance from "
        f"the camera's pictures:\n\n{markdown_table(rows)}\n\n"
        f"Luma noise by that measure, same scenes, in levels of 255, by brightness:\n\n{markdown_table(sigmas)}\n\n"
        "What was estimated: " + " ".join(estimates)
    )
    print(text)
    write_section("cameras", f"## Two cameras\n\n{text}", DEGRADATION)


def kernel_of_pairs(pairs: list[tuple[Tensor, Tensor]], side: int = 24) -> Tensor:
    """The kernel (side, side) that takes the luma of HR to that of LR best; clipped pixels and edges are left out."""
    gram, product = torch.zeros(side**2, side**2).double(), torch.zeros(side**2).double()
    for hr, lr in pairs:
        padded = F.pad((hr * LUMA).sum(1, keepdim=True), [(side - 4) // 2] * 4, mode="reflect")
        windows, values = F.unfold(padded, side, stride=4)[0], (lr * LUMA).sum(1)[0]
        inside = (values > 0.03) & (values < 0.97)
        inside[:4], inside[-4:], inside[:, :4], inside[:, -4:] = False, False, False, False
        windows, values = windows[:, inside.flatten()], values[inside]
        gram, product = gram + (windows @ windows.T).double(), product + (windows @ values).double()
    ridge = 1e-5 * gram.diagonal().mean() * torch.eye(side**2).double()
    return torch.linalg.solve(gram + ridge, product).view(side, side).flip(0, 1)  # windows correlate, kernels convolve


def describe(kernel: Tensor) -> str:
    shape = measure_kernel(kernel)[0]
    return f"{shape.major:.2f} x {shape.minor:.2f} HR px"


def frames(camvid: Path, name: str) -> list[Tensor]:
    return [read(camvid / "train" / "images" / f"{stem}.webp") for stem in (camvid / f"{name}.txt").read_text().split()]


def read(path: Path) -> Tensor:
    """(1, 3, H, W) in [0, 1]."""
    return torch.tensor(np.asarray(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 255


def make(degradation, pictures: list[Tensor]) -> list[Tensor]:
    """LR in steps of 1/255, seeded by the picture's number."""
    lr = (degradation.degrade(hr, 4, sample_generators([i])) for i, hr in enumerate(pictures))
    return [(x * 255).round() / 255 for x in lr]


def measure(pictures: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Power (2, RINGS) and noise (2, BINS), NaN where there is too little, of luma and chroma."""
    power, strengths, brightness = [], [], []
    for rgb in pictures:
        planes = torch.einsum("kc,bchw->bkhw", YCC, rgb)
        power.append(spectrum(planes[0]))
        residual = F.conv2d(planes.transpose(0, 1), SECOND_DIFFERENCE[None, None], padding=1).transpose(0, 1)
        blocks = F.avg_pool2d(residual.square(), 8)
        strengths.append(torch.stack((blocks[0, 0], blocks[0, 1:].mean(0))).flatten(1))
        brightness.append(F.avg_pool2d(planes[:, :1], 8).flatten())
    strengths, brightness = torch.cat(strengths, dim=1), torch.cat(brightness)
    noise = torch.full((2, BINS), torch.nan)
    for b in range(BINS):
        mine = strengths[:, (brightness * BINS).long().clamp(max=BINS - 1) == b]
        if mine.shape[1] >= LEAST_BLOCKS:
            noise[:, b] = mine.quantile(SMOOTH_SHARE, dim=1)
    return torch.stack(power).mean(0).numpy(), noise.numpy()


def spectrum(planes: Tensor) -> Tensor:
    """Mean periodogram (2, RINGS) of Hann-windowed tiles of (3, h, w), luma and chroma, by frequency."""
    tiles = planes.unfold(1, TILE, TILE // 4).unfold(2, TILE, TILE // 4).reshape(3, -1, TILE, TILE)
    window = torch.outer(torch.hann_window(TILE, periodic=False), torch.hann_window(TILE, periodic=False))
    tiles = (tiles - tiles.mean((-2, -1), keepdim=True)) * window
    power = torch.fft.fft2(tiles).abs().square().mean(1) / window.square().sum()
    power = torch.stack((power[0], power[1:].mean(0))).flatten(1)
    frequency = torch.fft.fftfreq(TILE)
    radius = torch.hypot(frequency.view(-1, 1), frequency).flatten()
    ring = ((radius - 0.04) / (0.5 - 0.04) * RINGS).floor().long()
    return torch.stack([power[:, ring == r].mean(1) for r in range(RINGS)], dim=1)


def distances(found: tuple[np.ndarray, np.ndarray], real: tuple[np.ndarray, np.ndarray]) -> list[str]:
    """Of spectra, of noise, and of both together."""
    values = [distance(a, b) for a, b in zip(found, real, strict=True)]
    return [f"{value:.2f}" for value in (*values, np.hypot(*values) / 2**0.5)]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square of the differences in decibels of two arrays of powers."""
    return float(np.sqrt(np.nanmean((10 * np.log10(np.maximum(a, ROUNDING) / np.maximum(b, ROUNDING))) ** 2)))


def show(power: float) -> str:
    return "–" if np.isnan(power) else f"{255 * power**0.5:.1f}"
