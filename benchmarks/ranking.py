"""Rank what networks make of photographs by eye, without knowing which made which.

    python -m benchmarks.ranking sheets embedded=embedded new=runs/embedded-12/model -o runs/ranking
    python -m benchmarks.ranking table runs/ranking

The first writes a sheet for each of sixteen crops: LR, the results under letters in an order that changes from sheet to
sheet, HR. The crops are those where the results differ most: of every third picture that no training saw
(`benchmarks.candidates`; --sets noisy phone for streets), or, with --kodak, those of `benchmarks.pictures crops`.
Whoever ranks writes a line for each sheet into `ranks.csv` beside them, letters from best to worst: 00,BDAC. The second
command tells who made what.
"""

import argparse
import csv
import json
import random
import string
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from benchmarks.candidates import all_sets, load_mean
from benchmarks.evaluation_data import CAMERAS, find_shared, kodak_sets
from benchmarks.peers import weights_file
from benchmarks.pictures.crops import CROPS_OF_A_SET, SETS, list_methods, named
from ssg_hub.evaluation.picture_sheet import Crop, choose_crop
from ssg_hub.evaluation.scoring import evaluate_folder
from ssg_hub.loading import load_model

PHOTOGRAPHS = ["generic prior", "JPEG"]
HELD_OUT_SETS = [*CAMERAS, *PHOTOGRAPHS, "bicubic"]  # those of `benchmarks.candidates`
EVERY, SEED = 3, 11
TILE, GAP, CAPTION = 480, 10, 24
KEY, RANKS = "key.json", "ranks.csv"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranking", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    sheets = commands.add_parser("sheets", help="write the sheets and their key")
    sheets.add_argument(
        "candidates", nargs="+", metavar="NAME=MODEL", help="of held-out photographs, NAME=MODEL[@SHARE][+…]"
    )
    sheets.add_argument("--peers", nargs="*", default=["general-x4v3"], help="of Kodak always general-x4v3 and x4plus")
    sheets.add_argument("--sets", nargs="+", choices=HELD_OUT_SETS, default=PHOTOGRAPHS, help="of the held-out ones")
    sheets.add_argument("--kodak", action="store_true", help="for the end; the candidates as `upscale` gives them")
    sheets.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    sheets.set_defaults(run=write_sheets)
    table = commands.add_parser("table", help=f"read {RANKS}, print the ranks")
    table.add_argument("output", type=Path, metavar="DIR")
    table.set_defaults(run=tell_ranks)
    options = parser.parse_args()
    options.run(options)


def write_sheets(options: argparse.Namespace) -> None:
    candidates = dict(text.split("=", 1) for text in options.candidates)
    crops = kodak_crops(candidates) if options.kodak else held_out_crops(candidates, options.peers, options.sets)
    options.output.mkdir(parents=True, exist_ok=True)
    rng, key = random.Random(SEED), {}
    for number, crop in enumerate(crops):
        names = [name for name in crop.views if name not in ("LR", "HR", "bicubic")]
        rng.shuffle(names)
        draw(crop, names).save(options.output / f"{number:02d}.png")
        key[f"{number:02d}"] = {"title": crop.stem, "made_by": names}
    (options.output / KEY).write_text(json.dumps(key, indent=1))
    print(f"wrote {len(key)} sheets to {options.output}")


def held_out_crops(candidates: dict[str, str], peers: list[str], names: list[str]) -> Iterator[Crop]:
    shared = find_shared()
    networks = {peer: load_model(str(weights_file(peer, shared))).generator.eval() for peer in peers}
    networks |= {name: load_mean(where) for name, where in candidates.items()}
    sets = all_sets(shared)
    for name in names:
        for number, (lr, hr) in enumerate(list(sets[name])[::EVERY]):
            made = {row: run_network(network, lr) for row, network in networks.items()}
            yield choose_crop(f"{name}, {EVERY * number}", to_array(lr), made, to_array(hr))


def kodak_crops(candidates: dict[str, str]) -> Iterator[Crop]:
    models = {name: load_model(where) for name, where in candidates.items()}
    for pictures in kodak_sets(find_shared()):
        if pictures.name in SETS:
            methods = list_methods(pictures, models)
            for crop in evaluate_folder(pictures.lr, methods, pictures.hr, crops=CROPS_OF_A_SET).crops:
                yield named(crop, pictures)


@torch.inference_mode()
def run_network(network: nn.Module, lr: Tensor) -> np.ndarray:
    return to_array(network(lr).clamp(0, 1))


def to_array(picture: Tensor) -> np.ndarray:
    return picture[0].permute(1, 2, 0).numpy()


def draw(crop: Crop, names: list[str]) -> Image.Image:
    """LR, the results under letters, and HR, each enlarged to one size, in two rows."""
    results = {letter: crop.views[name] for letter, name in lettered(names).items()}
    tiles = {"LR": crop.views["LR"], **results, "HR": crop.views["HR"]}
    columns = (len(tiles) + 1) // 2
    sheet = Image.new("RGB", (columns * (TILE + GAP), 2 * (TILE + CAPTION + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for index, (title, view) in enumerate(tiles.items()):
        left, top = index % columns * (TILE + GAP), index // columns * (TILE + CAPTION + GAP)
        pen.text((left + 4, top), title, "black", font)
        how = Image.Resampling.NEAREST if title == "LR" else Image.Resampling.BICUBIC
        sheet.paste(Image.fromarray(view).resize((TILE, TILE), how), (left, top + CAPTION))
    return sheet


def lettered(names: list[str]) -> dict[str, str]:
    """Letter -> name, in order."""
    return dict(zip(string.ascii_uppercase, names, strict=False))


def tell_ranks(options: argparse.Namespace) -> None:
    key = json.loads((options.output / KEY).read_text())
    with open(options.output / RANKS, newline="") as file:
        lines = {row[0]: row[1].strip().upper() for row in csv.reader(file) if row}
    ranked = {}
    for number, sheet in key.items():
        made_by, letters = lettered(sheet["made_by"]), lines.get(number, "nothing")
        if sorted(letters) != sorted(made_by):
            raise SystemExit(f"{RANKS}: sheet {number} needs each letter of {''.join(made_by)} once, got {letters}.")
        ranked[number] = [made_by[letter] for letter in letters]
        print(f"| {sheet['title']} | {', '.join(ranked[number])} |")
    names = sorted(next(iter(ranked.values())))
    places = {name: [order.index(name) + 1 for order in ranked.values()] for name in names}
    print(f"\n| | mean rank (1 to {len(names)}) | best | worst |\n|---|---|---|---|")
    for name in sorted(names, key=lambda name: np.mean(places[name])):
        print(f"| {name} | {np.mean(places[name]):.1f} | {places[name].count(1)} | {places[name].count(len(names))} |")


if __name__ == "__main__":
    main()
