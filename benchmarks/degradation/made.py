"""Check made LR: its registration to HR, its colours, and how fast it is made, and write docs/degradation.md.

Registration: the offset of the mean LR of 8 draws against the bicubic reduction, by least squares on its slopes; the
mean over the pictures, since noise shifts each of them by chance, and the standard error of that. Colours: the means of
R, G and B over all pictures and draws against those of HR; noise averages out, so what is left is a cast. Speed:
processor time for a batch of crops, and for a training step of the lightest generator on the same batch (L1, forward,
backward, Adam), in turns in one process.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.document import DEGRADATION, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import find_shared
from ssg_hub.data.crops import sample_generators
from ssg_hub.degradation import BicubicDegradation, GenericPrior
from ssg_hub.degradation.kernels import measure_kernel
from ssg_hub.degradation.learning.estimate import learn_bank
from ssg_hub.degradation.learning.pictures import read_picture
from ssg_hub.networks.registry import build_generator

SCALE, DRAWS, CROP, BATCH, TURNS = 4, 8, 192, 8, 5
EDGE = 6  # LR pixels left out, where the two ways of mirroring differ


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    torch.set_num_threads(1)
    makers = {
        f"bank of *{camera}*": learn_bank(shared / "data/camvid/target_lr" / camera) for camera in ("noisy", "phone")
    }
    makers["generic prior"] = GenericPrior()
    hr = torch.cat([crop(path) for path in sorted((shared / "data/kodak").glob("*"))])
    step = training_step(hr[:BATCH, :, :CROP, :CROP])
    rows = [["LR by", "centre of kernels, HR px", "offset, HR px", "cast, of 255", "images/s", "share of a step"]]
    for name, maker in makers.items():
        kernels = getattr(maker, "kernels", [])
        centre = max((measure_kernel(kernel)[1].abs().max().item() for kernel in kernels), default=None)
        offset, error, cast = register_and_compare(maker, hr)
        seconds, share = race(lambda maker=maker: make(maker, hr[:BATCH, :, :CROP, :CROP], 0), step)
        cells = ["–" if centre is None else f"{centre:.4f}", f"{offset:.3f} ± {error:.3f}", f"{cast:.2f}"]
        rows.append([name, *cells, f"{BATCH / seconds:.0f}", f"{share:.1%}"])
    text = (
        f"On: {describe_machine()}, one thread. By: `python -m benchmarks.degradation made`. {len(hr)} Kodak crops, "
        f"{DRAWS} draws each. Speed: batches of {BATCH} crops of {CROP}x{CROP} HR; the "
        f"step is that of SRVGGNetCompact (64 features, 16 layers), the lightest there is, with L1 alone:\n\n"
        f"{markdown_table(rows)}"
    )
    print(text)
    write_section("made", f"## Registration, colours, speed\n\n{text}", DEGRADATION)


def crop(path: Path) -> Tensor:
    """The middle 384x384 of a picture."""
    pixels = torch.tensor(read_picture(path)[0]).permute(2, 0, 1)[None] / 255
    top, left = ((length - 384) // 2 for length in pixels.shape[-2:])
    return pixels[..., top : top + 384, left : left + 384]


def make(maker, hr: Tensor, seed: int) -> Tensor:
    return maker.degrade(hr, SCALE, sample_generators(torch.arange(len(hr)) + 1000 * seed))


def register_and_compare(maker, hr: Tensor) -> tuple[float, float, float]:
    """Offset in HR pixels along the worse axis, mean and standard error; and the largest cast over the channels."""
    lr = torch.stack([make(maker, hr, seed) for seed in range(DRAWS)]).mean(0)
    reference = BicubicDegradation().degrade(hr, SCALE)
    offsets = SCALE * torch.stack([measure_offset(a, b) for a, b in zip(lr, reference, strict=True)])
    error = (offsets.std(0) / len(offsets) ** 0.5).max().item()
    cast = 255 * (lr.mean((0, 2, 3)) - hr.mean((0, 2, 3))).abs().max().item()
    return offsets.mean(0).abs().max().item(), error, cast


def measure_offset(a: Tensor, b: Tensor) -> Tensor:
    """(y, x) in pixels by which a (3, h, w) lies off b, beside differences of blur, brightness and contrast."""
    a, b = (x.mean(0).double() for x in (a, b))
    smooth = torch.ones(1, 1, 3, 3).double() / 9
    a, b = (F.conv2d(x[None, None], smooth, padding=1)[0, 0] for x in (a, b))
    gy, gx = torch.gradient(b)
    curvature = torch.stack((torch.gradient(gy)[0], torch.gradient(gx)[1], torch.gradient(gy)[1]))
    columns = [gy, gx, *curvature, b, torch.ones_like(b)]
    inner = slice(EDGE, -EDGE)
    design = torch.stack([c[inner, inner].flatten() for c in columns], dim=1)
    return -torch.linalg.lstsq(design, (a - b)[inner, inner].reshape(-1, 1)).solution[:2, 0]


def training_step(hr: Tensor) -> Callable[[], None]:
    generator = build_generator("compact", {"features": 64, "convs": 16, "scale": SCALE})
    optimizer = torch.optim.Adam(generator.parameters(), lr=1e-4)
    lr = BicubicDegradation().degrade(hr, SCALE)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.l1_loss(generator(lr), hr).backward()
        optimizer.step()

    return step


def race(degrade: Callable[[], Tensor], step: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of processor time for a batch, and median ratio to a training step's; the first turn warms up."""
    seconds, ratios = [], []
    for _ in range(TURNS + 1):
        spent = [time_one(action) for action in (degrade, step)]
        seconds.append(spent[0])
        ratios.append(spent[0] / spent[1])
    return median(seconds[1:]), median(ratios[1:])


def time_one(action: Callable) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began
