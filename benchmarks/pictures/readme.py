"""Make the picture in the README from one of the demo's free examples: the input, bicubic, ours, the mask."""

import argparse

from PIL import Image

from benchmarks.document import ROOT
from ssg_hub import SSGModel

EXAMPLE = ROOT / "ssg_hub/demo/examples/street_house.jpg"
BOX = (440, 60, 800, 400)  # of the result
GAP = 8  # pixels between panels


def run(options: argparse.Namespace) -> None:
    """Four panels of one height, side by side."""
    result = SSGModel.from_pretrained().upscale(EXAMPLE)
    image = result.image
    small = Image.open(EXAMPLE).convert("RGB")
    panels = [small.resize(image.size, method) for method in (Image.NEAREST, Image.BICUBIC)]
    panels += [image, result.overlay(alpha=0.5)]
    width, height = BOX[2] - BOX[0], BOX[3] - BOX[1]
    sheet = Image.new("RGB", (len(panels) * (width + GAP) - GAP, height), "white")
    for index, panel in enumerate(panels):
        sheet.paste(panel.crop(BOX), (index * (width + GAP), 0))
    path = ROOT / "docs/images/readme.png"
    path.parent.mkdir(exist_ok=True)
    sheet.save(path)
    print(f"wrote {path.relative_to(ROOT)}")
