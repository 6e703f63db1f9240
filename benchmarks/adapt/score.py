"""Score bicubic, the embedded model and the adapted one on frames of the same camera that nothing was adapted to.

Cameras can be scored one by one. Once all are, whole, with one judge and the present weights, docs/adapt.md gets the
table and its pictures.
"""

import json
import shutil
from pathlib import Path

from PIL import Image

from benchmarks.adapt.places import ALL, RUNS, add_cameras, held_out, model, truth
from benchmarks.document import ROOT, describe_machine, markdown_table, save_picture, write_section
from benchmarks.evaluation_data import JUDGE, SCALE, VOID, find_shared
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.figures import HEADINGS, format_figure
from ssg_hub.evaluation.methods import FromModel, bicubic
from ssg_hub.evaluation.picture_sheet import draw_sheet
from ssg_hub.evaluation.scoring import Measures, evaluate_folder
from ssg_hub.loading import EMBEDDED, load_guide, load_model
from ssg_hub.model import SSGModel
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.int8 import hash_weights

COLUMNS = ("psnr_y", "lpips", "dists", "miou")


def add_options(parser) -> None:
    add_cameras(parser)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth frame, for a quick look")
    parser.add_argument("--judge", default=str(JUDGE), help="segmentation model that no training saw")


def run(options) -> None:
    judge = load_guide(options.judge)
    distances = find_distances(str(find_shared() / "weights"))
    measures = Measures(SCALE, None, distances, judge, judge.labels, VOID)
    whole = options.every == 1
    scores = {}
    for camera in options.cameras:
        scores[camera], sheet = score(camera, options.every, measures)
        sheet.save(RUNS / f"{camera}.png")
        if whole:
            file = scores_file(camera, judge)
            sheet.save(file.with_suffix(".png"))
            file.write_text(json.dumps(scores[camera], indent=1))
    if whole:
        files = {camera: scores_file(camera, judge) for camera in ALL}
        scores = {camera: json.loads(file.read_text()) for camera, file in files.items() if file.is_file()}
    text = f"On: {describe_machine()}.\n\n{draw_table(scores)}"
    print(text)
    if whole and (left := [camera for camera in ALL if camera not in scores]):
        print(f"\ndocs/adapt.md is not written: {', '.join(left)} must be scored with these weights too.")
    elif whole:
        write_section("cameras", text, ROOT / "docs/adapt.md")
        for camera in ALL:
            if "adapted" in scores[camera]:
                save_picture(Image.open(files[camera].with_suffix(".png")), ROOT / f"docs/images/adapt-{camera}.webp")


def score(camera: str, every: int, measures: Measures) -> tuple[dict[str, dict], Image.Image]:
    """The figures of bicubic and of the camera's models, and where they differ most, as a picture."""
    models = {name: FromModel(model, segment=False) for name, model in load_models(camera).items()}
    methods = {"bicubic": bicubic} | models
    images, labels = truth(camera) / "images", truth(camera) / "labels"
    evaluation = evaluate_folder(thin(held_out(camera), every), methods, images, labels, measures, crops=4)
    return {name: evaluation.scores[name] for name in methods}, draw_sheet(evaluation.crops)


def load_models(camera: str) -> dict[str, SSGModel]:
    """The embedded model, and the adapted one if the camera's folder holds another."""
    models = {"embedded": load_model(EMBEDDED)}
    if is_there(model(camera)) and "adapted_from" in (found := load_model(model(camera))).config.trained_on:
        models["adapted"] = found
    return models


def draw_table(scores: dict[str, dict[str, dict]]) -> str:
    rows = [["camera", "", *(HEADINGS[figure] for figure in COLUMNS)]]
    for camera, found in scores.items():
        rows += [format_row(camera, name, figures, COLUMNS) for name, figures in found.items()]
        if "adapted" not in found and is_there(model(camera)):
            rows.append([camera, "adapted: not better, so embedded was handed back", *["" for _ in COLUMNS]])
    return markdown_table(rows)


def format_row(camera: str, name: str, figures: dict, columns: tuple[str, ...]) -> list[str]:
    return [camera, name, *(format_figure(figure, figures.get(figure), 3) for figure in columns)]


def scores_file(camera: str, judge: Guide) -> Path:
    """Where the figures of a whole set are kept, for these weights, so that cameras can be scored one by one."""
    networks = [*(model.generator for model in load_models(camera).values()), judge]
    return RUNS / f"{'-'.join([camera, *(hash_weights(network)[:12] for network in networks)])}.json"


def thin(folder: Path, every: int) -> Path:
    """The folder itself, or one with links to every Nth of its pictures."""
    if every == 1:
        return folder
    thinned = RUNS / f"every_{every}" / folder.name
    shutil.rmtree(thinned, ignore_errors=True)
    thinned.mkdir(parents=True)
    for path in sorted(folder.iterdir())[::every]:
        (thinned / path.name).symlink_to(path)
    return thinned


def is_there(folder: Path) -> bool:
    """Whether `run` has ended in this folder."""
    return (folder / "config.json").is_file()
