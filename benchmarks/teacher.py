"""Pairs from which a small generator learns what a large one makes of bad photographs.

    python -m benchmarks.teacher large@3+weights/x4plus.safetensors@1 taught kept -o runs/sets/teacher
    python -m benchmarks.teacher large@3+weights/x4plus.safetensors@1 taught streets clean -o runs/sets/teacher-2
    python -m benchmarks.teacher large@3+weights/x4plus.safetensors@1 taught streets taught-clean -o runs/sets/teacher-3

Each kind is degraded crops, and what stands in the place of HR:

    taught   photographs by the generic prior and by JPEG; what the teacher makes of them, in the colours of HR
    kept     all pictures by the banks and by bicubic; what the pupil itself makes of them, so that it can do it still
    streets  CamVid's frames by the banks; what the teacher makes of them, in the colours of HR
    streets-hr  the same; HR
    clean    photographs by bicubic; HR
    taught-clean  the same; what the teacher makes of them

A teacher is written as for `benchmarks.candidates`. The pairs lie in `hr` and `lr`, for the keys `source` and
`source_lr`; a second run makes those that are missing; `--first N` makes fewer. Five hundred of the teacher's take
twenty minutes of one core.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from datasets import concatenate_datasets
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from benchmarks.candidates import HELD_OUT, load_mean
from benchmarks.evaluation_data import SCALE, find_shared
from ssg_hub.data.crops import SourceCrops, sample_generators
from ssg_hub.data.tables import load_pictures
from ssg_hub.degradation import load_degradation
from ssg_hub.images.resampling import pull_colors

STREETS = ("camvid/train#camvid/source.txt", "camvid/train#camvid/target.txt")
PHOTOGRAPHS = ("photos/bsds", "photos/bsds", "photos/sunhays", "photos/debian")
CROP = 256


@dataclass(frozen=True)
class Kind:
    """One kind of pairs: crops of which pictures, how degraded, and what stands in the place of HR."""

    folders: tuple[str, ...]
    degradation: str
    target: str  # "teacher", "pupil" or "hr"
    seed: int
    numbers: Iterable[int]


KINDS = {
    "taught": Kind(PHOTOGRAPHS, "generic+generic+generic+banks/jpeg", "teacher", 71, range(0, 1000, 2)),
    "kept": Kind(2 * STREETS + PHOTOGRAPHS, "banks/noisy+banks/phone+bicubic", "pupil", 71, range(500)),
    "streets": Kind(STREETS, "banks/noisy+banks/phone", "teacher", 72, range(500)),
    "streets-hr": Kind(STREETS, "banks/noisy+banks/phone", "hr", 72, range(1000)),
    "clean": Kind(PHOTOGRAPHS, "bicubic", "hr", 73, range(240)),
    "taught-clean": Kind(PHOTOGRAPHS, "bicubic", "teacher", 73, range(240)),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teacher", description=__doc__.partition("\n")[0])
    parser.add_argument("teacher", metavar="MODEL[@SHARE][+…]")
    parser.add_argument("kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--pupil", default="embedded", metavar="MODEL[@SHARE][+…]")
    parser.add_argument("--first", type=int, metavar="N", help="pairs of each kind; all of them unless given")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    for name in options.kinds:
        target = KINDS[name].target
        network = None if target == "hr" else load_mean(options.teacher if target == "teacher" else options.pupil)
        make_pairs(name, network, options.output, options.first)


@torch.inference_mode()
def make_pairs(name: str, network: Callable[[Tensor], Tensor] | None, output: Path, first: int | None) -> None:
    """Write the pairs of one kind, or the first of them; without a network the target is HR."""
    kind = KINDS[name]
    pictures, degradation = SourceCrops(learnable(kind.folders), CROP, kind.seed), load_degradation(kind.degradation)
    for number in tqdm(list(kind.numbers)[:first], desc=name, unit="pair", disable=None):
        place = output / "hr" / f"{name}-{number:04d}.png"
        if place.exists():
            continue
        crop = pictures[number]
        hr = crop["hr"][None]
        lr = degradation.degrade(hr, SCALE, sample_generators(torch.tensor([crop["seed"]])))
        lr = (lr.clamp(0, 1) * 255).round() / 255
        target = hr if network is None else pull_colors(network(lr)[0].clamp(0, 1), F.avg_pool2d(hr, SCALE)[0])[None]
        save(lr[0], output / "lr" / place.name)
        save(target[0], place)


def learnable(folders: Iterable[str]):
    """The pictures of the folders but for those that `benchmarks.candidates` chooses by."""
    tables = {folder: load_pictures([folder], find_shared() / "data") for folder in folders}
    learnt = {name: len(table) - HELD_OUT.get(Path(name).name, 0) for name, table in tables.items()}
    return concatenate_datasets([tables[name].select(range(learnt[name])) for name in folders])


def save(picture: Tensor, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(place)


if __name__ == "__main__":
    main()
