"""What guides take skies for, in photographs that none was trained on: boxes of regions.csv, read in embedded's SR.

    python -m benchmarks.skies embedded runs/embedded-26/guide

CamVid's skies are white, and no score on CamVid tells how a blue or an evening sky is read. Each box holds nothing but
sky, or no sky at all; it was marked by looking. Every second photograph is for choosing (dev), the others for reporting
(test). Four minutes on one core, and a minute or two for each further guide.
"""

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from tqdm import tqdm

from benchmarks.document import markdown_table
from benchmarks.evaluation_data import find_shared
from ssg_hub.images.reading import read_picture
from ssg_hub.images.resampling import to_floats
from ssg_hub.loading import load_guide, load_model
from ssg_hub.model import SSGModel
from ssg_hub.networks.guide import Guide

REGIONS = Path(__file__).with_name("regions.csv")
LR_SIDE = 240  # the longer side of the LR pictures
PARTS = ("dev", "test")
COLUMNS = (("sky", "sky"), ("sky", "road"), ("sky", "building"), ("other", "sky"))  # kind of box, label


@dataclass(frozen=True)
class Region:
    """A box of a picture, as fractions of its width and height, on nothing but sky or on none."""

    kind: str  # "sky" or "other"
    left: float
    top: float
    right: float
    bottom: float

    def cut(self, ids: np.ndarray) -> np.ndarray:
        """The label ids (H, W) of a picture that lie in the box, flat."""
        height, width = ids.shape
        rows = slice(round(self.top * height), round(self.bottom * height))
        return ids[rows, round(self.left * width) : round(self.right * width)].ravel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.skies", description=__doc__.partition("\n")[0])
    parser.add_argument("guides", nargs="+", metavar="GUIDE", help="a model's, or a folder of the guide alone")
    options = parser.parse_args()
    guides = {where: load_guide(where).eval() for where in options.guides}
    model, photographs = load_model(), find_shared() / "data/photos"
    for part in PARTS:
        regions = read_regions(part)
        shares = measure(model, guides, regions, photographs)
        rows = [["", *(f"{what} read as {label}" for what, label in COLUMNS)]]
        for where in guides:
            means = (np.mean(shares[where, what, label]) for what, label in COLUMNS)
            rows.append([where, *(f"{100 * mean:.1f} %" for mean in means)])
        print(f"\n{part}, {len(regions)} photographs\n\n{markdown_table(rows)}", flush=True)


def measure(
    model: SSGModel, guides: dict[str, Guide], regions: dict[str, list[Region]], photographs: Path
) -> dict[tuple[str, str, str], list[float]]:
    """(guide, kind of box, label) -> for each box, the share of its pixels that get the label."""
    shares = defaultdict(list)
    for name, boxes in tqdm(regions.items(), unit="picture", leave=False, disable=None):
        photograph = read_picture(photographs / name).to_image().convert("RGB")
        lr = ImageOps.contain(photograph, (LR_SIDE, LR_SIDE), Image.Resampling.BICUBIC)
        sr = model.upscale(lr, segment=False).image
        for where, guide in guides.items():
            ids = read_labels(guide, sr)
            for box, (kind, label) in product(boxes, COLUMNS):
                if kind == box.kind:
                    shares[where, kind, label].append(float((box.cut(ids) == guide.labels.index(label)).mean()))
    return shares


def read_regions(part: str) -> dict[str, list[Region]]:
    """The boxes of one part by picture, which is named below the folder of photographs."""
    regions = defaultdict(list)
    with REGIONS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            sides = (int(row[side]) / 100 for side in ("left", "top", "right", "bottom"))
            regions[row["picture"]].append(Region(row["kind"], *sides))
    return {name: regions[name] for name in sorted(regions)[PARTS.index(part) :: len(PARTS)]}


@torch.inference_mode()
def read_labels(guide: Guide, image: Image.Image) -> np.ndarray:
    """Label ids (h, w) at the guide's own resolution."""
    return guide(to_floats(np.asarray(image))[None])[0].argmax(0).numpy()


if __name__ == "__main__":
    main()
