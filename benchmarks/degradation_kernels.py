"""Estimate twelve known blur kernels from folders of LR pictures, with each estimator, and write docs/degradation.md.

    python benchmarks/degradation_kernels.py            # needs Kodak beside the repository, or --shared
    python benchmarks/degradation_kernels.py --noise 5  # noise of 5 levels of 255 on the LR

Every kernel makes a folder: Kodak's 24 photographs, which the natural prior has not seen, reduced by it to 192x128, as
they are and with noise. Each estimator sees the LR alone. KernelGAN trains a network per picture, so it gets fewer.
"""

import argparse
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from document import ROOT, describe_machine, markdown_table, write_section
from torch import Tensor
from tqdm import tqdm

from ssg_hub.degradation.estimate import Pictures, estimate_all_noise, estimate_kernels, read_picture
from ssg_hub.degradation.kernelgan import estimate_kernelgan
from ssg_hub.degradation.kernels import Shape, kernel_size, measure_kernel, render_kernels
from ssg_hub.degradation.ops import reduce_with

SCALE = 4
WIDTH_ERROR, ANGLE_ERROR, ORIENTED = 0.15, 15.0, 1.5
DOCUMENT = ROOT / "docs" / "degradation.md"
# a Gaussian of the same peak: by second moments, a bicubic kernel has no width at all
BICUBIC = Shape(SCALE / math.sqrt(2 * math.pi), SCALE / math.sqrt(2 * math.pi), 0.0)


@dataclass
class Known:
    """A kernel with standard deviations in HR pixels and the angle in degrees, counter-clockwise."""

    kind: str
    major: float
    minor: float
    angle: float = 0.0

    def render(self) -> Tensor:
        log_ratio, turn = math.log(self.major / self.minor), -2 * math.radians(self.angle)
        stretch = torch.tensor([[log_ratio * math.cos(turn), log_ratio * math.sin(turn)]])
        area, motion = torch.tensor([math.log(self.major * self.minor)]), torch.tensor([float(self.kind == "motion")])
        return render_kernels(area, stretch, motion, kernel_size(SCALE))[0]

    def __str__(self) -> str:
        oriented = f", {self.angle:.0f}°" if self.major > self.minor else ""
        return f"{self.kind} {self.major:g} x {self.minor:g}{oriented}"


KERNELS = (
    Known("isotropic", 1.5, 1.5),
    Known("isotropic", 2.0, 2.0),
    Known("isotropic", 2.7, 2.7),
    Known("isotropic", 3.5, 3.5),
    Known("anisotropic", 2.4, 1.5, 20),
    Known("anisotropic", 3.2, 1.6, 65),
    Known("anisotropic", 4.0, 2.0, 110),
    Known("anisotropic", 3.6, 2.4, 155),
    Known("motion", 2.4, 1.5, 0),
    Known("motion", 3.0, 1.5, 40),
    Known("motion", 4.0, 1.8, 95),
    Known("motion", 3.4, 2.0, 140),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, help="folder with data/ (default: $SSG_SHARED, ../shared)")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation, levels of 255 (default 0)")
    parser.add_argument("--kernelgan", type=int, default=1, metavar="N", help="pictures per folder for it (default 1)")
    arguments = parser.parse_args()
    shared = arguments.shared or Path(os.environ.get("SSG_SHARED") or ROOT.parent / "shared")
    paths = sorted((shared / "data" / "kodak").glob("*"))
    if not paths:
        parser.error(f"no pictures in {shared}/data/kodak; give --shared FOLDER")
    clean = [torch.tensor(read_picture(path)[0]).permute(2, 0, 1)[None] / 255 for path in paths]
    noise = f"noise of {arguments.noise:g}/255" if arguments.noise else "no noise"
    option = f" --noise {arguments.noise:g}" if arguments.noise else ""
    text = (
        f"On: {describe_machine()}. By: `python benchmarks/degradation_kernels.py{option}`. {len(clean)} pictures per "
        f"folder, {arguments.kernelgan} of them for KernelGAN. Errors of the widths along and across, and of the "
        f"angle; bold: within {WIDTH_ERROR:.0%} and, where the axis ratio is at least {ORIENTED}, {ANGLE_ERROR:.0f}°. "
        "The last column: the share of single pictures whose own estimate is.\n\n"
        + compare(clean, arguments.noise, arguments.kernelgan)
    )
    print(text)
    write_section(f"kernels, {noise}", f"### LR with {noise}\n\n{text}", DOCUMENT)


def compare(clean: list[Tensor], noise: float, kernelgan: int) -> str:
    rows = [["kernel, HR px", "parametric", "KernelGAN", "bicubic", "parametric, per picture"]]
    passed = np.zeros(4)
    for number, known in enumerate(tqdm(KERNELS, unit="kernel")):
        pictures = make_folder(clean, known.render(), noise, number)
        parametric = estimate_parametric(pictures)
        found = [measure_kernel(parametric.mean(0))[0]]
        if kernelgan:
            kernels = estimate_kernelgan(pictures.floats(), SCALE, most=kernelgan)[0].unique(dim=0)
            found.append(measure_kernel(kernels.mean(0))[0])
        else:
            found.append(None)
        found.append(BICUBIC)
        share = np.mean([is_right(measure_kernel(kernel)[0], known) for kernel in parametric])
        passed += [*(shape is not None and is_right(shape, known) for shape in found), share]
        rows.append([str(known), *(describe(shape, known) for shape in found), f"{share:.2f}"])
    counts = [f"{count:.0f} of {len(KERNELS)}" for count in passed[:3]]
    return markdown_table([*rows, ["within the limits", *counts, f"{passed[3] / len(KERNELS):.2f}"]])


def make_folder(clean: list[Tensor], kernel: Tensor, noise: float, seed: int) -> Pictures:
    """The camera's pictures, as `read_pictures` would give them."""
    generator = torch.Generator().manual_seed(seed)
    pixels = []
    for hr in clean:
        lr = reduce_with(hr, kernel[None], SCALE)
        lr = (lr + noise / 255 * torch.randn(lr.shape, generator=generator)).clamp(0, 1)
        pixels.append((lr[0] * 255).round().byte().permute(1, 2, 0).numpy())
    return Pictures(pixels, [None] * len(pixels), [str(i) for i in range(len(pixels))])


def estimate_parametric(pictures: Pictures) -> Tensor:
    noise = estimate_all_noise(pictures, [None] * len(pictures.pixels), 0)
    return estimate_kernels(pictures, noise, SCALE, "parametric", None, 0, lambda done, total: None)[0]


def errors(shape: Shape, known: Known) -> tuple[float, float, float]:
    turn = (math.degrees(shape.angle) - known.angle + 90) % 180 - 90
    return shape.major / known.major - 1, shape.minor / known.minor - 1, abs(turn)


def is_right(shape: Shape, known: Known) -> bool:
    along, across, turn = errors(shape, known)
    oriented = known.major / known.minor >= ORIENTED
    return max(abs(along), abs(across)) <= WIDTH_ERROR and (not oriented or turn <= ANGLE_ERROR)


def describe(shape: Shape | None, known: Known) -> str:
    if shape is None:
        return "–"
    along, across, turn = errors(shape, known)
    text = f"{along:+.0%} {across:+.0%}"
    if known.major > known.minor and shape is not BICUBIC:
        text += f" {turn:.0f}°"
    return f"**{text}**" if is_right(shape, known) else text


if __name__ == "__main__":
    main()
