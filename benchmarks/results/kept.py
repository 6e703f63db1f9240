"""Scores that are kept in runs/scores, so that a table measures only the rows whose pictures are new."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.document import ROOT
from ssg_hub import evaluation
from ssg_hub.evaluation.scoring import Measures, PictureScore
from ssg_hub.networks import perceptual
from ssg_hub.networks.int8 import hash_weights
from ssg_hub.storage.whole_file import whole_file

KEPT = ROOT / "runs/scores"
Scores = dict[str, PictureScore]  # by stem


def complete(
    folders: dict[str, list[Path]], measures: Measures, score: Callable[[list[str]], dict[str, Scores]]
) -> dict[str, Scores]:
    """Row -> its scores: those kept of an earlier run, and those that `score` finds of the rows without.

    Args:
        folders: row -> the folders whose pictures its scores depend on. A file that has changed, other distances,
            another judge or other code that measures make the row a new one.
        measures: what is measured with.
        score: names of rows -> their scores, and perhaps those of further rows.
    """
    how = _describe(measures)
    files = {row: KEPT / f"{_digest(row, how, *map(_describe_files, paths))}.pt" for row, paths in folders.items()}
    found = {row: _load(file) for row, file in files.items() if file.is_file()}
    left = [row for row in files if row not in found]
    if left:
        new = score(left)
        KEPT.mkdir(parents=True, exist_ok=True)
        for row in left:
            found[row] = new[row]
            with whole_file(files[row]) as file:
                torch.save({stem: vars(one) for stem, one in new[row].items()}, file)
    return {row: found[row] for row in folders}


def _load(file: Path) -> Scores:
    return {stem: PictureScore(**fields) for stem, fields in torch.load(file).items()}


def _describe(measures: Measures) -> str:
    code = sorted(Path(evaluation.__file__).parent.glob("*.py")) + [Path(perceptual.__file__)]
    networks = [*sorted(measures.distances.items()), *([("judge", measures.judge)] if measures.judge else [])]
    read_as = f"{measures.scale} {measures.left_out} {measures.labels} {measures.void}"
    return _digest(read_as, *(path.read_text() for path in code), *(name + hash_weights(net) for name, net in networks))


def _describe_files(folder: Path) -> str:
    stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    return _digest(*(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
