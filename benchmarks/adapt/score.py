"""Score bicubic, the embedded model and the adapted one on frames of the same camera that nothing was adapted to.

All cameras with a judge are written into docs/adapt.md.
"""

import json
import shutil
from pathlib import Path

from benchmarks.adapt.cameras import KNOWN
from benchmarks.adapt.places import ALL, RUNS, add_cameras, held_out, model
from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import SCALE, VOID, find_shared
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.figures import HEADINGS, format_figure
from ssg_hub.evaluation.methods import FromModel, bicubic
from ssg_hub.evaluation.picture_sheet import draw_sheet
from ssg_hub.evaluation.scoring import Measures, evaluate_folder
from ssg_hub.loading import EMBEDDED, load_guide, load_model

COLUMNS = ("psnr_y", "lpips", "dists", "miou")


def add_options(parser) -> None:
    add_cameras(parser)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth frame, for a quick look")
    parser.add_argument("--judge", help="segmentation model that no training saw; without it there is no mIoU")


def run(options) -> None:
    camvid, rows = find_shared() / "data/camvid", [["camera", "", *(HEADINGS[figure] for figure in COLUMNS)]]
    judge = load_guide(options.judge) if options.judge else None
    distances = find_distances(str(find_shared() / "weights"))
    measures = Measures(SCALE, None, distances, judge, judge.labels if judge else [], VOID)
    for camera in options.cameras:
        truth = camvid / ("train" if camera == KNOWN else "val")
        models = {"embedded": EMBEDDED} | ({"adapted": model(camera)} if is_adapted(model(camera)) else {})
        methods = {"bicubic": bicubic} | {n: FromModel(load_model(m), segment=False) for n, m in models.items()}
        labels = truth / "labels" if judge else None
        lr = thin(held_out(camera), options.every)
        found = evaluate_folder(lr, methods, truth / "images", labels, measures, crops=4)
        draw_sheet(found.crops).save(RUNS / f"{camera}.png")
        (RUNS / f"{camera}.json").write_text(json.dumps(found.scores, indent=1))
        for name, scores in found.scores.items():
            if name in methods:
                rows.append([camera, name, *(format_figure(figure, scores.get(figure), 3) for figure in COLUMNS)])
    text = f"On: {describe_machine()}.\n\n{markdown_table(rows)}"
    print(text)
    if options.cameras == ALL and judge and options.every == 1:
        write_section("cameras", text, ROOT / "docs/adapt.md")


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


def is_adapted(folder: Path) -> bool:
    return (folder / "config.json").is_file()
