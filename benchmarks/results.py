"""Score the embedded checkpoint against bicubic, on CamVid's two cameras and on Kodak, and write docs/results.md.

    python benchmarks/results.py            # needs the folder of evaluation data beside the repository, or --shared

Kodak comes in two kinds of LR: reduced by PIL's bicubic, and by the generic degradation prior, seeded by the picture's
number. The figures are those of `ssg evaluate`: 8-bit pictures, PSNR and SSIM of the luma without a border of 4 pixels.
Only a whole run on the embedded checkpoint writes the document.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from document import RESULTS, describe_machine, markdown_table, write_section
from evaluation_data import parse_with_shared
from PIL import Image
from tqdm import tqdm

from ssg_hub.commands.evaluate import COLUMNS, format_scores
from ssg_hub.degradation import GenericPrior
from ssg_hub.evaluation.judges import EMBEDDED, LPIPS_FILES, load_model
from ssg_hub.evaluation.methods import FromModel, bicubic, index_pictures, to_bytes, to_pixels
from ssg_hub.evaluation.metrics import LPIPS
from ssg_hub.evaluation.picture_sheet import draw_sheet
from ssg_hub.evaluation.scoring import REFERENCE, Evaluation, Measures, evaluate_folder
from ssg_hub.images.reading import read_picture

FIGURES = ["psnr_y", "ssim_y", "lpips", "color_drift"]
CAMERAS = ("noisy", "phone")
SHEET = "results.png"  # of Kodak, which anyone may show; sheets of CamVid come by --sheets
AIMS = {"lpips": 0.50, "miou": 0.55}  # of the first embedded checkpoint, beside more PSNR and SSIM than bicubic


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED, help="folder or Hub id; prints only")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write picture sheets of all sets there")
    parser.add_argument("--limit", type=int, help="only so many pictures of each set, for a try")
    arguments, shared = parse_with_shared(parser)
    model = load_model(arguments.model).to(arguments.device)
    lpips = LPIPS.from_files(*(shared / "weights" / name for name in LPIPS_FILES)).to(arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        sets = collect_sets(shared / "data", Path(folder), model.scale, arguments.limit)
        evaluations = {name: score(name, *folders, model, lpips) for name, folders in sets.items()}
        iou = score_guide(model, shared / "data/camvid/val", Path(folder), arguments.limit)
    text = "\n\n".join(
        [
            f"{describe_model(arguments.model, model)}. On: {describe_machine()}. By: `python benchmarks/results.py`.",
            table_of_figures(evaluations),
            table_of_iou(iou),
            table_of_aims(evaluations, iou),
            "Kodak, LR by the generic prior: from each eighth of the set, the crop where the methods differ most.\n\n"
            f"![crops of Kodak]({SHEET})",
        ]
    )
    print(text)
    if arguments.limit is None and arguments.model == EMBEDDED:
        draw_sheet(evaluations["Kodak, generic prior"].crops).save(RESULTS.with_name(SHEET), optimize=True)
        write_section("embedded checkpoint", "## The embedded checkpoint\n\n" + text)
    if arguments.sheets:
        arguments.sheets.mkdir(parents=True, exist_ok=True)
        for name, evaluation in evaluations.items():
            draw_sheet(evaluation.crops).save(arguments.sheets / f"{name.replace(', ', '-')}.png")
    return 0


def collect_sets(data: Path, folder: Path, scale: int, limit: int | None) -> dict[str, tuple[Path, Path]]:
    """Set name -> (LR folder, HR folder)."""
    sets = {}
    for part, hr in (("dev", "train/images"), ("val", "val/images")):
        for camera in CAMERAS:
            lr = data / "camvid" / f"{part}_lr" / camera
            sets[f"CamVid {part}, {camera}"] = (take(lr, folder / part / camera, limit), data / "camvid" / hr)
    kodak = list(index_pictures(data / "kodak").values())[:limit]
    for kind, reduce in (("bicubic", reduce_bicubic), ("generic prior", reduce_generic)):
        lr = folder / kind
        lr.mkdir()
        for index, path in enumerate(kodak):
            hr = to_pixels(read_picture(path))
            height, width = (side - side % scale for side in hr.shape[:2])
            Image.fromarray(reduce(hr[:height, :width], scale, index)).save(lr / f"{path.stem}.png")
        sets[f"Kodak, {kind}"] = (lr, data / "kodak")
    return sets


def take(source: Path, folder: Path, limit: int | None) -> Path:
    """The folder itself, or one of links to its first pictures."""
    if limit is None:
        return source
    folder.mkdir(parents=True)
    for path in list(index_pictures(source).values())[:limit]:
        (folder / path.name).symlink_to(path)
    return folder


def reduce_bicubic(hr: np.ndarray, scale: int, index: int) -> np.ndarray:
    size = (hr.shape[1] // scale, hr.shape[0] // scale)
    return np.asarray(Image.fromarray(to_bytes(hr)).resize(size, Image.Resampling.BICUBIC))


def reduce_generic(hr: np.ndarray, scale: int, index: int) -> np.ndarray:
    batch = torch.from_numpy(hr).permute(2, 0, 1)[None]
    lr = GenericPrior().degrade(batch, scale, torch.Generator().manual_seed(index))
    return to_bytes(lr[0].permute(1, 2, 0).numpy())


def score(name: str, lr: Path, hr: Path, model, lpips: LPIPS) -> Evaluation:
    methods = {"bicubic": bicubic, "model": FromModel(model, segment=False)}
    with tqdm(desc=name, unit="picture", leave=False, disable=None) as bar:

        def on_progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return evaluate_folder(
            lr, methods, hr, measures=Measures(scale=model.scale, lpips=lpips), crops=8, on_progress=on_progress
        )


def score_guide(model, val: Path, folder: Path, limit: int | None) -> dict:
    """The guide on the HR pictures of CamVid's val part: a "super-resolution" of scale 1 without a method."""
    images = take(val / "images", folder / "val-images", limit)
    measures = Measures(scale=1, judge=model.guide, labels=model.labels)
    return evaluate_folder(images, {}, images, val / "labels", measures).scores[REFERENCE]


def describe_model(name: str, model) -> str:
    config = ", ".join(f"{key} {value}" for key, value in model.config.generator_config.items())
    parts = {"generator": model.generator, "guide": model.guide}
    sizes = [f"{part} {sum(p.numel() for p in net.parameters()) / 1e6:.1f} M" for part, net in parts.items()]
    return f"{Path(name).name}: {model.config.generator_type} ({config}), {' and '.join(sizes)} parameters"


def table_of_figures(evaluations: dict[str, Evaluation]) -> str:
    rows = [["LR", "pictures", "method", *(COLUMNS[figure][0] for figure in FIGURES)]]
    for name, evaluation in evaluations.items():
        for method, *cells in format_scores(evaluation.scores, FIGURES)[1:]:
            rows.append([name, str(len(evaluation.pictures[method])), method, *cells])
    return markdown_table(rows)


def table_of_iou(iou: dict) -> str:
    rows = [["guide on", "mIoU", *iou["iou"]], ["CamVid val, HR", f"{iou['miou']:.3f}"]]
    rows[1] += ["–" if value is None else f"{value:.2f}" for value in iou["iou"].values()]
    return markdown_table(rows)


def table_of_aims(evaluations: dict[str, Evaluation], iou: dict) -> str:
    """What was asked of the checkpoint, set by set."""
    rows = [["aim", "measured", "met"]]
    for name, evaluation in evaluations.items():
        if not name.startswith("CamVid"):
            continue
        ours, theirs = evaluation.scores["model"], evaluation.scores["bicubic"]
        for figure, title, decimals in (("psnr_y", "PSNR-Y", 2), ("ssim_y", "SSIM-Y", 4)):
            gain = ours[figure] - theirs[figure]
            rows.append([f"{name}: {title} above bicubic's", f"{gain:+.{decimals}f}", yes(gain > 0)])
        met = ours["lpips"] <= AIMS["lpips"]
        rows.append([f"{name}: LPIPS at most {AIMS['lpips']:.2f}", f"{ours['lpips']:.3f}", yes(met)])
    rows.append([f"guide: mIoU at least {AIMS['miou']:.2f}", f"{iou['miou']:.3f}", yes(iou["miou"] >= AIMS["miou"])])
    return markdown_table(rows)


def yes(met: bool) -> str:
    return "yes" if met else "**no**"


if __name__ == "__main__":
    sys.exit(main())
