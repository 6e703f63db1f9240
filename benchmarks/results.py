"""Score bicubic, the published peers and our models in one run, on CamVid's two cameras and on Kodak: docs/results.md.

    python -m benchmarks.peers                          # once: what the peers make of the LR pictures
    python -m benchmarks.results --dev --candidates new=runs/x/checkpoint.safetensors --peers x4plus
    python -m benchmarks.results                        # reads val: once, when everything is chosen

A candidate is whatever `ssg evaluate` takes for a model, and the figures are those of `ssg evaluate`: 8-bit pictures,
PSNR and SSIM of the luma without a border of 4 pixels. With --dev the frames of CamVid's dev part stand in for those of
val, and nothing is written. Without it the section of docs/results.md is written, if the last candidate is embedded.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import (
    CAMERAS,
    HR_PARTS,
    SCALE,
    VOID,
    PictureSet,
    camvid_sets,
    find_shared,
    kodak_sets,
)
from benchmarks.peers import PEERS, missing, peer_folder, weights_file
from ssg_hub.commands.evaluate import format_scores
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.judges import EMBEDDED, load_guide, load_model
from ssg_hub.evaluation.methods import FromFolder, FromModel, Method, bicubic
from ssg_hub.evaluation.scoring import REFERENCE, Evaluation, Measures, evaluate_folder

JUDGE = ROOT / "runs/judge/guide"
YARDSTICK = "x4plus"
SHOWN_PEERS = ["general-x4v3", "general-wdn-x4v3", YARDSTICK]
FIGURES = ["psnr_y", "ssim_y", "lpips", "dists", "color_drift"]
CAMVID_FIGURES = [*FIGURES, "miou", "boundary_f"]
COLORS = {
    "black": (0, 0, 0),
    "gray 64": (64, 64, 64),
    "gray 128": (128, 128, 128),
    "gray 192": (192, 192, 192),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
}
FLAT_SIDE, TIMED_SIZE, TURNS = 32, (96, 128), 3
Models = dict[str, nn.Module]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--candidates", nargs="+", default=[f"{EMBEDDED}={EMBEDDED}"], metavar="NAME=MODEL")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=SHOWN_PEERS)
    parser.add_argument("--dev", action="store_true", help="choose on CamVid's dev part; writes nothing")
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS))
    parser.add_argument("--judge", default=str(JUDGE), help="segmentation model that no training saw")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts of the report")
    options, shared = parser.parse_args(), find_shared()
    models = {name: load_model(where) for name, _, where in (text.partition("=") for text in options.candidates)}
    report = Report(models, options, shared)
    texts = [f"On: {describe_machine()}. By: `python -m benchmarks.results{' --dev' if options.dev else ''}`."]
    texts += [PARTS[part](report) for part in options.only]
    text = "\n\n".join(texts)
    print(text)
    everything = (options.only, options.peers, options.cameras) == (list(PARTS), SHOWN_PEERS, list(CAMERAS))
    if everything and not options.dev and options.candidates[-1].endswith(f"={EMBEDDED}"):
        write_section("embedded checkpoint", f"## The embedded checkpoint\n\n{text}")
    return 0


class Report:
    """What the parts of the report are made from; each set is scored once, when the first part asks for it."""

    def __init__(self, models: Models, options: argparse.Namespace, shared: Path):
        self.models, self.shared = models, shared
        self.peers, self.cameras, self.part = options.peers, options.cameras, "dev" if options.dev else "val"
        distances = find_distances(str(shared / "weights"))
        self.measures = Measures(SCALE, distances=distances)
        self.judged = Measures(SCALE, distances=distances, void=VOID)
        if Path(options.judge).is_dir() or options.judge != str(JUDGE):
            self.judged.judge = load_guide(options.judge)
            self.judged.labels = self.judged.judge.labels
        self._scored: dict[str, Evaluation] = {}

    def score(self, pictures: PictureSet) -> Evaluation:
        if pictures.name not in self._scored:
            judged = pictures.labels is not None and self.judged.judge is not None
            with tqdm(desc=pictures.title, unit="picture", leave=False, disable=None) as bar:

                def on_progress(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                self._scored[pictures.name] = evaluate_folder(
                    pictures.lr,
                    self._methods(pictures),
                    pictures.hr,
                    pictures.labels if judged else None,
                    self.judged if judged else self.measures,
                    on_progress=on_progress,
                )
        return self._scored[pictures.name]

    def _methods(self, pictures: PictureSet) -> dict[str, Method]:
        methods: dict[str, Method] = {"bicubic": bicubic}
        for peer in self.peers:
            if left := missing(peer, pictures):
                sys.exit(
                    f"{len(left)} pictures of {peer} are missing, such as {left[0][1]}: python -m benchmarks.peers"
                )
            methods[peer] = FromFolder(peer_folder(peer, pictures.name))
        return methods | {name: FromModel(model, segment=False) for name, model in self.models.items()}

    def networks(self) -> Models:
        """Every model of the table, the peers' too."""
        return {peer: load_model(str(weights_file(peer, self.shared))) for peer in self.peers} | self.models


def tell_models(report: Report) -> str:
    rows = [["row", "generator", "parameters", "file in fp16"]]
    for name, model in report.networks().items():
        shape = ", ".join(f"{key} {value}" for key, value in model.config.generator_config.items())
        parts = {"generator": model.generator, "guide": model.guide}
        count = {part: sum(p.numel() for p in net.parameters()) for part, net in parts.items() if net is not None}
        counts = " + ".join(f"{part} {value / 1e6:.1f} M" for part, value in count.items())
        rows.append([name, f"{model.config.generator_type} ({shape})", counts, f"{sum(count.values()) * 2e-6:.1f} MB"])
    return markdown_table(rows)


def tell_camvid(report: Report) -> str:
    sets = [s for s in camvid_sets(report.shared, report.part) if s.lr.name in report.cameras]
    figures = CAMVID_FIGURES if report.judged.judge is not None else FIGURES
    texts = [f"{pictures.title}:\n\n{table_of(report.score(pictures), figures)}" for pictures in sets]
    return "\n\n".join([*texts, table_of_ratios(report, sets)])


def tell_kodak(report: Report) -> str:
    texts, sets = [], kodak_sets(report.shared)
    for pictures in sets:
        evaluation = report.score(pictures)
        losses = {name: str(len(worse_than_bicubic(evaluation, name))) for name in evaluation.scores}
        table = table_of(evaluation, FIGURES, {"LPIPS worse than bicubic": losses})
        texts.append(f"{pictures.title}:\n\n{table}")
    return "\n\n".join([*texts, table_of_ratios(report, sets)])


def table_of(evaluation: Evaluation, figures: list[str], more: dict[str, dict[str, str]] | None = None) -> str:
    heading, *rows = format_scores(evaluation.scores, figures)
    pictures = len(evaluation.pictures["bicubic"])
    lines = [[f"{pictures} pictures", *heading[1:], *(more or {})]]
    lines += [[*row, *(column.get(row[0], "–") for column in (more or {}).values())] for row in rows]
    return markdown_table(lines)


def table_of_ratios(report: Report, sets: list[PictureSet]) -> str:
    """Each row beside the yardstick, set by set."""
    if YARDSTICK not in report.peers:
        return f"Without {YARDSTICK} there is nothing to compare with."
    rows = [[f"beside {YARDSTICK}", "row", "LPIPS ÷", "DISTS ÷", "PSNR-Y −", "mIoU ÷"]]
    for pictures in sets:
        scores = report.score(pictures).scores
        other = scores[YARDSTICK]
        for name in (name for name in scores if name not in ("bicubic", YARDSTICK, REFERENCE)):
            own = scores[name]
            cells = [f"{own[figure] / other[figure]:.3f}" for figure in ("lpips", "dists")]
            cells.append(f"{own['psnr_y'] - other['psnr_y']:+.2f}")
            cells.append(f"{own['miou'] / other['miou']:.3f}" if "miou" in own else "–")
            rows.append([pictures.title, name, *cells])
    return markdown_table(rows)


def worse_than_bicubic(evaluation: Evaluation, row: str) -> list[str]:
    """Stems of the pictures on which a row's LPIPS is above bicubic's."""
    ours, zero = evaluation.pictures[row], evaluation.pictures["bicubic"]
    return [stem for stem, score in ours.items() if score.values["lpips"] > zero[stem].values["lpips"]]


def tell_colors(report: Report) -> str:
    """How far a picture of one colour comes out of it: the largest difference of any channel and pixel, in levels."""
    rows = [["levels of 255", *COLORS]]
    for name, model in report.networks().items():
        deviations = []
        for color in COLORS.values():
            sr = model.upscale(Image.new("RGB", (FLAT_SIDE, FLAT_SIDE), color), outscale=SCALE, segment=False).image
            deviations.append(np.abs(np.asarray(sr, int) - color).max())
        rows.append([name, *map(str, deviations)])
    return f"Flat pictures of {FLAT_SIDE}x{FLAT_SIDE}, largest deviation:\n\n{markdown_table(rows)}"


def tell_guides(report: Report) -> str:
    """Each guide on HR (a "super-resolution" of scale 1) and on the SR of its own generator."""
    hr = report.shared / "data/camvid" / HR_PARTS[report.part]
    rows = [["guide of", f"CamVid {report.part}", "mIoU"]]
    for name, model in report.models.items():
        if model.guide is None:
            continue
        measures = Measures(1, judge=model.guide, labels=model.labels, void=VOID)
        names = {path.stem for path in camvid_sets(report.shared, report.part)[0].lr.iterdir()}
        with_links = link(hr / "images", names, ROOT / f"runs/sets/camvid-{report.part}-hr")
        iou = evaluate_folder(with_links, {}, with_links, hr / "labels", measures).scores[REFERENCE]
        rows.append([name, "HR", f"{iou['miou']:.3f}"])
        for pictures in camvid_sets(report.shared, report.part):
            measures = Measures(SCALE, judge=model.guide, labels=model.labels, void=VOID)
            methods = {name: FromModel(model, segment=False)}
            scores = evaluate_folder(pictures.lr, methods, None, pictures.labels, measures).scores
            rows.append([name, f"SR of {pictures.lr.name}", f"{scores[name]['miou']:.3f}"])
    return markdown_table(rows)


def link(source: Path, stems: set[str], folder: Path) -> Path:
    """A folder of links to the pictures of these stems."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.stem in stems and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    return folder


@torch.inference_mode()
def tell_times(report: Report) -> str:
    """Generators in turns on the same noise, all by plain torch: medians, and the ratio with the yardstick."""
    networks = {
        name: model.generator.to(memory_format=torch.channels_last) for name, model in report.networks().items()
    }
    lr = torch.rand(1, 3, *TIMED_SIZE, generator=torch.Generator().manual_seed(0))
    lr = lr.contiguous(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(TURNS + 1):  # the first turn warms up
        for name, network in networks.items():
            seconds[name].append(time_one(lambda network=network: network(lr)))
    medians = {name: median(times[1:]) for name, times in seconds.items()}
    rows = [["generator", f"seconds, LR {TIMED_SIZE[1]}x{TIMED_SIZE[0]}", f"of {YARDSTICK}"]]
    for name, value in medians.items():
        ratio = f"1/{medians[YARDSTICK] / value:.1f}" if YARDSTICK in medians else "–"
        rows.append([name, f"{value:.2f}", ratio])
    return f"In turns, torch, {torch.get_num_threads()} threads:\n\n{markdown_table(rows)}"


def time_one(action: Callable) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


PARTS: dict[str, Callable[[Report], str]] = {
    "models": tell_models,
    "camvid": tell_camvid,
    "kodak": tell_kodak,
    "colors": tell_colors,
    "guides": tell_guides,
    "times": tell_times,
}

if __name__ == "__main__":
    sys.exit(main())
