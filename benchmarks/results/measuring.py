"""What the tables of docs/results.md are made from; each figure is measured once, when the first table asks for it."""

import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import nn
from tqdm import tqdm

from benchmarks.document import ROOT
from benchmarks.evaluation_data import HR_PARTS, SCALE, VOID, PictureSet, camvid_sets, kodak_sets
from benchmarks.peers import missing, peer_folder, unmade, weights_file
from benchmarks.results.kept import Scores, complete
from ssg_hub.commands.bar import counting
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.methods import FromFolder, Method, bicubic
from ssg_hub.evaluation.scoring import REFERENCE, Evaluation, Measures, evaluate_folder, summarize
from ssg_hub.loading import load_guide, load_model
from ssg_hub.networks.int8 import hash_weights
from ssg_hub.upscaling.options import Options

CANDIDATES = ROOT / "runs/candidates"
YARDSTICK = "x4plus"
SHOWN_PEERS = ["general-x4v3", "general-wdn-x4v3", YARDSTICK]
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


class Measurements:
    """The figures of all rows: bicubic, the peers (from the pictures that they made before), and the candidates.

    Args:
        models: candidates by name.
        peers: names of `benchmarks.peers`.
        part: "dev" or "val", of CamVid.
        cameras: of CamVid's cameras, those that are measured.
        judge: the segmenter that reads SR where there are label maps.
        shared: the folder of data and weights.
    """

    def __init__(self, models: Models, peers: list[str], part: str, cameras: list[str], judge: str, shared: Path):
        self.models, self.peers, self.part, self.cameras, self.shared = models, peers, part, cameras, shared
        self.distances = find_distances(str(shared / "weights"))
        self.judge = load_guide(judge)
        self.score = cache(self._score)
        self.deviations, self.seconds = cache(self._deviations), cache(self._seconds)
        self.guide_miou = cache(self._guide_miou)

    def camvid_sets(self) -> list[PictureSet]:
        return [pictures for pictures in camvid_sets(self.shared, self.part) if pictures.lr.name in self.cameras]

    def kodak_sets(self) -> list[PictureSet]:
        return kodak_sets(self.shared)

    def networks(self) -> Models:
        """Every model of the tables, the peers' too."""
        return {peer: load_model(str(weights_file(peer, self.shared))) for peer in self.peers} | self.models

    def _score(self, pictures: PictureSet) -> Evaluation:
        labels, measures = pictures.labels, Measures(SCALE, distances=self.distances)
        if labels is not None:
            measures = Measures(SCALE, None, self.distances, self.judge, self.judge.labels, VOID)
        methods = self._methods(pictures)

        def score(rows: list[str]) -> dict[str, Scores]:
            some = {row: methods[row] for row in rows if row in methods}
            with tqdm(desc=f"{pictures.title}: {', '.join(rows)}", unit="picture", leave=False, disable=None) as bar:
                found = evaluate_folder(pictures.lr, some, pictures.hr, labels, measures, on_progress=counting(bar))
            return found.pictures

        given = [folder for folder in (pictures.lr, pictures.hr, labels) if folder is not None]
        folders = {row: [*given, *made_in(method)] for row, method in methods.items()}
        if labels is not None:
            folders[REFERENCE] = given
        scores = complete(folders, measures, score)
        summaries = {row: summarize(list(by_stem.values()), measures.labels) for row, by_stem in scores.items()}
        return Evaluation(summaries, scores, [])

    def _methods(self, pictures: PictureSet) -> dict[str, Method]:
        methods: dict[str, Method] = {"bicubic": bicubic}
        for peer in self.peers:
            if left := missing(peer, pictures):
                sys.exit(
                    f"{len(left)} pictures of {peer} are missing, such as {left[0][1]}: python -m benchmarks.peers"
                )
            methods[peer] = FromFolder(peer_folder(peer, pictures.name))
        return methods | {name: FromFolder(make(name, model, pictures)) for name, model in self.models.items()}

    def _deviations(self) -> dict[str, dict[str, int]]:
        """Row -> colour -> how far a picture of that colour alone comes out of it: the worst channel and pixel.

        The peers' as their networks make it, as in all tables; ours as `upscale` returns it.
        """
        found: dict[str, dict[str, int]] = {}
        for name, model in self.networks().items():
            found[name] = {}
            for title, color in COLORS.items():
                flat = Image.new("RGB", (FLAT_SIDE, FLAT_SIDE), color)
                own = name in self.models and Options.color_fix
                sr = model.upscale(flat, outscale=SCALE, segment=False, color_fix=own).image
                found[name][title] = int(np.abs(np.asarray(sr, int) - color).max())
        return found

    def _guide_miou(self) -> dict[str, dict[str, float]]:
        """Candidate with a guide -> "HR" or camera -> what the guide reads in HR, and in its own generator's SR."""
        sets, found = self.camvid_sets(), {}
        for name, model in self.models.items():
            if model.guide is None:
                continue
            found[name] = {"HR": self._read_hr(model.guide, sets[0])}
            measures = Measures(SCALE, judge=model.guide, labels=model.labels, void=VOID)
            for pictures in sets:
                methods = {name: FromFolder(make(name, model, pictures))}
                scores = evaluate_folder(pictures.lr, methods, None, pictures.labels, measures).scores
                found[name][pictures.lr.name] = scores[name]["miou"]
        return found

    def _read_hr(self, guide: nn.Module, pictures: PictureSet) -> float:
        """mIoU on the HR frames of a set: a "super-resolution" of scale 1 without a method."""
        folder = link_stems(pictures.hr, {path.stem for path in pictures.lr.iterdir()}, f"{HR_PARTS[self.part]}-hr")
        measures = Measures(1, judge=guide, labels=guide.labels, void=VOID)
        return evaluate_folder(folder, {}, folder, pictures.labels, measures).scores[REFERENCE]["miou"]

    @torch.inference_mode()
    def _seconds(self) -> dict[str, float]:
        """Row -> median seconds of its generator on the same noise, in turns, all by plain torch."""
        rows = self.networks().items()
        networks = {name: model.generator.to(memory_format=torch.channels_last) for name, model in rows}
        lr = torch.rand(1, 3, *TIMED_SIZE, generator=torch.Generator().manual_seed(0))
        lr = lr.contiguous(memory_format=torch.channels_last)
        spent: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(TURNS + 1):  # the first turn warms up
            for name, network in networks.items():
                spent[name].append(time_one(lambda network=network: network(lr)))
        return {name: median(seconds[1:]) for name, seconds in spent.items()}


def make(name: str, model: nn.Module, pictures: PictureSet) -> Path:
    """The folder of what a candidate makes of a set; what these weights have made before is not made again."""
    made_by = f"{name}-{hash_weights(model.generator)[:12]}{'-colors' * Options.color_fix}"
    folder = CANDIDATES / made_by / pictures.name
    folder.mkdir(parents=True, exist_ok=True)
    for lr, sr in tqdm(unmade(folder, pictures), desc=f"{name}, {pictures.title}", disable=None):
        model.upscale(lr, outscale=SCALE, segment=False).save(sr, overwrite=True)
    return folder


def made_in(method: Method) -> list[Path]:
    """The folder that a method takes its pictures from, if it does."""
    return [method.folder] if isinstance(method, FromFolder) else []


def time_one(action: Callable) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def link_stems(source: Path, stems: set[str], name: str) -> Path:
    """A folder of links to the pictures of these stems."""
    folder = ROOT / "runs/sets" / name
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.stem in stems and not (folder / path.name).exists():
            (folder / path.name).symlink_to(path.resolve())
    return folder
