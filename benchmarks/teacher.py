"""Pairs from which a small generator learns what a large one makes of bad photographs.

    python -m benchmarks.teacher large@3+weights/x4plus.safetensors@1 -o runs/sets/teacher

Crops of the config's photographs are degraded by the generic prior and by JPEG; in the place of HR stands what the
teacher makes of them, in the colours of HR. As many crops of all its pictures are degraded by the banks and by bicubic,
with what the pupil itself makes of them, so that it keeps what it can do. A teacher is written as for
`benchmarks.candidates`. The pairs lie in `hr` and `lr`, for the keys `source` and `source_lr`; a second run makes those
that are missing. Twenty minutes on one core.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from datasets import concatenate_datasets
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from benchmarks.candidates import HELD_OUT, load_mean
from benchmarks.evaluation_data import SCALE
from ssg_hub.data.crops import SourceCrops, sample_generators
from ssg_hub.data.tables import load_pictures
from ssg_hub.degradation import load_degradation
from ssg_hub.images.resampling import pull_colors
from ssg_hub.training.config import TrainConfig, parse_config

CONFIG = "configs/embedded/10-photographs.yaml"
TAUGHT, KEPT = "generic+generic+generic+banks/jpeg", "banks/noisy+banks/phone+bicubic"
COUNT, CROP, SEED = 500, 256, 71


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teacher", description=__doc__.partition("\n")[0])
    parser.add_argument("teacher", metavar="MODEL[@SHARE][+…]")
    parser.add_argument("--pupil", default="embedded", metavar="MODEL[@SHARE][+…]")
    parser.add_argument("--config", default=CONFIG, metavar="YAML", help="names the pictures")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    config = parse_config(["--config", options.config])
    photographs = [folder for folder in config.source if folder.startswith("photos/")]
    for kind, folders, degradation, network in (
        ("taught", photographs, TAUGHT, options.teacher),
        ("kept", config.source, KEPT, options.pupil),
    ):
        pictures = SourceCrops(learnable(folders, config), CROP, SEED)
        make_pairs(kind, pictures, load_degradation(degradation), load_mean(network), options.output)


def learnable(folders: list[str], config: TrainConfig):
    """The pictures of the folders but for those that `benchmarks.candidates` chooses by."""
    tables = [load_pictures([folder], config.data_root) for folder in folders]
    kept = (len(table) - HELD_OUT.get(Path(folder).name, 0) for folder, table in zip(folders, tables, strict=True))
    return concatenate_datasets([table.select(range(count)) for table, count in zip(tables, kept, strict=True)])


@torch.inference_mode()
def make_pairs(kind: str, pictures: SourceCrops, degradation, network: nn.Module, output: Path) -> None:
    for number in tqdm(range(COUNT), desc=kind, unit="pair", disable=None):
        place = output / "hr" / f"{kind}-{number:04d}.png"
        if place.exists():
            continue
        crop = pictures[number]
        hr = crop["hr"][None]
        lr = degradation.degrade(hr, SCALE, sample_generators(torch.tensor([crop["seed"]])))
        lr = (lr.clamp(0, 1) * 255).round() / 255
        sr = pull_colors(network(lr)[0].clamp(0, 1), F.avg_pool2d(hr, SCALE)[0])
        save(lr[0], output / "lr" / place.name)
        save(sr, place)


def save(picture: Tensor, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(place)


if __name__ == "__main__":
    main()
