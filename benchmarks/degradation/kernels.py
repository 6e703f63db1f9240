"""Estimate twelve known blur kernels from folders of LR pictures, with each estimator, and write docs/degradation.md.

Every kernel makes a folder: Kodak's 24 photographs, which the natural prior has not seen, reduced by it to 192x128, as
they are, with white noise, and as JPEG. The estimators see only the LR. KernelGAN trains a network per picture, so it
gets one.
"""

import argparse
import io
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from benchmarks.document import DEGRADATION, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import find_shared
from ssg_hub.degradation.kernels import Shape, kernel_size, measure_kernel, render_kernels
from ssg_hub.degradation.learning.compression import read_tables
from ssg_hub.degradation.learning.estimate import estimate_all_noise, estimate_kernels
from ssg_hub.degradation.learning.kernelgan import estimate_kernelgan
from ssg_hub.degradation.learning.pictures import Pictures, read_picture
from ssg_hub.degradation.ops import reduce_with

SCALE = 4
CASES = {  # noise: standard deviation, levels of 255; JPEG quality
    "no noise": (0.0, None),
    "noise 5/255": (5.0, None),
    "noise 3/255, JPEG 85": (3.0, 85),
    "noise 3/255, JPEG 70": (3.0, 70),
}
WIDTH_ERROR, ANGLE_ERROR, ORIENTED = 0.15, 15.0, 1.5
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


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=("parametric", "kernelgan"), default="parametric")
    parser.add_argument(
        "--most", type=int, default=1, metavar="N", help="pictures per folder for KernelGAN (default 1)"
    )


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    paths = sorted((shared / "data" / "kodak").glob("*"))
    clean = [torch.tensor(read_picture(path)[0]).permute(2, 0, 1)[None] / 255 for path in paths]
    if options.method == "parametric":
        name, option, count, estimator = "The parametric estimator", "", len(clean), estimate_parametric
        columns = {"bicubic": [BICUBIC] * len(KERNELS)}
    else:
        name, option, count = "KernelGAN", " --method kernelgan", options.most
        estimator, columns = partial(estimate_gan, most=count), {}
    for title in list(CASES)[: len(CASES) if options.method == "parametric" else 2]:
        folders = (make_folder(clean, known.render(), *CASES[title], i) for i, known in enumerate(KERNELS))
        columns[title] = [estimator(folder) for folder in tqdm(folders, title, len(KERNELS))]
        text = (
            f"On: {describe_machine()}. By: `python -m benchmarks.degradation kernels{option}`. Pictures per folder "
            f"that were looked at: {count}. Errors of the widths along and across, and of the angle, of the camera's "
            f"mean kernel; bold: within {WIDTH_ERROR:.0%} and, where the axis ratio is at least {ORIENTED}, "
            f"{ANGLE_ERROR:.0f}°; in brackets the share of single pictures whose own kernel is.\n\n{compare(columns)}"
        )
        write_section(f"kernels, {options.method}", f"### {name}\n\n{text}", DEGRADATION)
    print(text)


def compare(columns: dict[str, list[Shape | Tensor]]) -> str:
    """A table: a row per kernel, a column per list of estimates: one shape, or kernels (N, k, k) of the pictures."""
    rows = [["kernel, HR px", *columns]]
    passed = np.zeros(len(columns), int)
    for known, answers in zip(KERNELS, zip(*columns.values(), strict=True), strict=True):
        means = [a if isinstance(a, Shape) else measure_kernel(a.mean(0))[0] for a in answers]
        texts = [describe(mean, known) for mean in means]
        for i, answer in enumerate(answers):
            if isinstance(answer, Tensor) and len(answer) > 1:
                texts[i] += f" ({np.mean([is_right(measure_kernel(kernel)[0], known) for kernel in answer]):.2f})"
        passed += [is_right(mean, known) for mean in means]
        rows.append([str(known), *texts])
    return markdown_table([*rows, ["within the limits", *(f"{count} of {len(KERNELS)}" for count in passed)]])


def make_folder(clean: list[Tensor], kernel: Tensor, noise: float, quality: int | None, seed: int) -> Pictures:
    """The camera's pictures, as `read_pictures` would give them."""
    generator = torch.Generator().manual_seed(seed)
    pictures = Pictures()
    for number, hr in enumerate(clean):
        lr = reduce_with(hr, kernel[None], SCALE)
        lr = (lr + noise / 255 * torch.randn(lr.shape, generator=generator)).clamp(0, 1)
        image = Image.fromarray((lr[0] * 255).round().byte().permute(1, 2, 0).numpy())
        if quality:
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            image = Image.open(buffer)
        pictures.tables.append(read_tables(image))
        pictures.pixels.append(np.asarray(image))
        pictures.names.append(str(number))
    return pictures


def estimate_parametric(pictures: Pictures) -> Tensor:
    noise = estimate_all_noise(pictures, pictures.tables, 0)
    return estimate_kernels(pictures, pictures.tables, noise, SCALE, "parametric", None, 0, lambda done, total: None)[0]


def estimate_gan(pictures: Pictures, most: int) -> Tensor:
    return estimate_kernelgan(pictures.floats(), SCALE, most=most)[0].unique(dim=0)


def errors(shape: Shape, known: Known) -> tuple[float, float, float]:
    turn = (math.degrees(shape.angle) - known.angle + 90) % 180 - 90
    return shape.major / known.major - 1, shape.minor / known.minor - 1, abs(turn)


def is_right(shape: Shape, known: Known) -> bool:
    along, across, turn = errors(shape, known)
    oriented = known.major / known.minor >= ORIENTED
    return max(abs(along), abs(across)) <= WIDTH_ERROR and (not oriented or turn <= ANGLE_ERROR)


def describe(shape: Shape, known: Known) -> str:
    along, across, turn = errors(shape, known)
    text = f"{along:+.0%} {across:+.0%}"
    if known.major > known.minor and shape is not BICUBIC:
        text += f" {turn:.0f}°"
    return f"**{text}**" if is_right(shape, known) else text
