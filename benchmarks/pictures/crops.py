"""Show sixteen crops of Kodak beside the peers', and where a candidate fails: docs/images/crops.webp, failures.webp.

Eight crops are of the LR by the generic prior and eight of JPEG, one from each eighth of the set, where the rows differ
most; they are not hand-picked. The failures are the pictures on which the last candidate's LPIPS is furthest behind the
best of the other rows, each at the crop where it is furthest from HR.
"""

import argparse
from pathlib import Path

from benchmarks.document import ROOT, save_picture
from benchmarks.evaluation_data import SCALE, PictureSet, camvid_sets, find_shared, kodak_sets
from benchmarks.peers import peer_folder
from benchmarks.results.measuring import make
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.methods import FromFolder, Method, bicubic, to_pixels
from ssg_hub.evaluation.picture_sheet import Crop, choose_crop, draw_sheet
from ssg_hub.evaluation.scoring import Evaluation, Measures, evaluate_folder, pair_files
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import EMBEDDED, load_model

SHOWN_PEERS = ("general-x4v3", "x4plus")
SETS = ("kodak-generic", "kodak-jpeg")
CROPS_OF_A_SET, FAILURES = 8, 4


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--candidates", nargs="+", default=[f"{EMBEDDED}={EMBEDDED}"], metavar="NAME=MODEL")
    parser.add_argument("--camvid", action="store_true", help="of CamVid's dev part, which must not be shown")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs/images", metavar="DIR")


def run(options: argparse.Namespace) -> None:
    shared = find_shared()
    models = {name: load_model(where) for name, _, where in (text.partition("=") for text in options.candidates)}
    measures = Measures(SCALE, distances={"lpips": find_distances(str(shared / "weights"))["lpips"]})
    crops: list[Crop] = []
    failures: list[tuple[float, Crop]] = []
    for pictures in camvid_sets(shared, "dev") if options.camvid else kodak_sets(shared):
        if options.camvid or pictures.name in SETS:
            methods = list_methods(pictures, models)
            evaluation = evaluate_folder(pictures.lr, methods, pictures.hr, measures=measures, crops=CROPS_OF_A_SET)
            crops += [named(crop, pictures) for crop in evaluation.crops]
            failures += find_failures(pictures, methods, evaluation, list(models)[-1])
    worst = [crop for _, crop in sorted(failures, key=lambda pair: -pair[0])[:FAILURES]]
    options.output.mkdir(parents=True, exist_ok=True)
    for name, shown in (("crops", crops), ("failures", worst)):
        if shown:
            path = options.output / f"{name}.webp"
            save_picture(draw_sheet(shown), path)
            print(f"wrote {path}")


def list_methods(pictures: PictureSet, models: dict) -> dict[str, Method]:
    folders = {peer: peer_folder(peer, pictures.name) for peer in SHOWN_PEERS}
    folders |= {name: make(name, model, pictures) for name, model in models.items()}
    return {"bicubic": bicubic, **{name: FromFolder(folder) for name, folder in folders.items()}}


def named(crop: Crop, pictures: PictureSet) -> Crop:
    return Crop(f"{pictures.title}, {crop.stem}", crop.difference, crop.corner, crop.views)


def find_failures(
    pictures: PictureSet, methods: dict[str, Method], evaluation: Evaluation, candidate: str
) -> list[tuple[float, Crop]]:
    """(how far the candidate's LPIPS is behind the best of the others, crop) of the pictures where it is behind."""
    found = []
    for case in pair_files(pictures.lr, pictures.hr):
        lpips = {name: scores[case.stem].values["lpips"] for name, scores in evaluation.pictures.items()}
        behind = lpips.pop(candidate) - min(lpips.values())
        if behind > 0:
            lr, hr = (to_pixels(read_picture(path)) for path in (case.lr, case.hr))
            hr = hr[: SCALE * lr.shape[0], : SCALE * lr.shape[1]]
            made = {name: method(case, lr, hr.shape[1::-1]).pixels for name, method in methods.items()}
            worst = choose_crop(case.stem, lr, {candidate: made[candidate]}, hr)
            found.append((behind, named(cut(worst, lr, made, hr), pictures)))
    return found


def cut(place: Crop, lr, made: dict, hr) -> Crop:
    """All rows at the place of a crop."""
    (x, y), (height, width) = place.corner, place.views["HR"].shape[:2]
    views = {"LR": place.views["LR"]}
    for name, pixels in (*made.items(), ("HR", hr)):
        views[name] = (pixels[y : y + height, x : x + width].clip(0, 1) * 255).round().astype("uint8")
    return Crop(place.stem, place.difference, place.corner, views)
