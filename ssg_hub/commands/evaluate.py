"""`ssg evaluate`: models, bicubic and folders of results, scored by the same code: table, JSON and picture sheet."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..devices import best_device, choose_device
from ..errors import ConfigError
from ..evaluation.distances import DISTANCES, VARIABLE, explain_missing, find_distances
from ..evaluation.figures import format_scores
from ..evaluation.methods import FromFolder, FromModel, Method, bicubic
from ..evaluation.picture_sheet import draw_sheet
from ..evaluation.scoring import REFERENCE, Case, Evaluation, Measures, evaluate_folder, pair_files
from ..loading import EMBEDDED, is_weights_file, load_guide, load_model
from ..processes.meeting import check_met, meet
from ..storage.whole_file import whole_file
from .bar import counting
from .common import check_folder, whole_number

if TYPE_CHECKING:
    from accelerate import PartialState

    from ..model import SSGModel
    from ..networks.guide import Guide

HR_COLUMNS, LABEL_COLUMNS = ["psnr_y", "ssim_y", "lpips", "dists"], ["miou", "boundary_f", "drift_auroc"]


def add_parser(subparsers) -> None:
    """Add `ssg evaluate` to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help="score models and folders of results on LR pictures",
        description="Score models, PIL's bicubic and any folders of results on a folder of LR pictures. Files belong "
        "together by their names without the ending. Several processes share the work: "
        "accelerate launch --multi_gpu --num_processes N -m ssg_hub evaluate … (the same on CPUs).",
    )
    parser.add_argument(
        "models",
        nargs="*",
        metavar="[NAME=]MODEL",
        help=f"'{EMBEDDED}', 'large', a folder, a Hub id or a generator's file (default: '{EMBEDDED}', with --sr none)",
    )
    parser.add_argument("--lr", type=Path, required=True, metavar="DIR", help="LR pictures")
    parser.add_argument("--hr", type=Path, metavar="DIR", help="HR pictures: gives PSNR, SSIM, LPIPS, DISTS")
    parser.add_argument("--labels", type=Path, metavar="DIR", help="label maps of HR size: gives mIoU and boundary F")
    parser.add_argument(
        "--void", type=whole_number(0), metavar="ID", help="label id that does not count, beside ids of no class"
    )
    parser.add_argument(
        "--judge", metavar="MODEL", help="SSGModel with a guide, or segmentation model, that reads the SR"
    )
    parser.add_argument("--sr", action="append", default=[], metavar="NAME=DIR", help="score results too; repeatable")
    parser.add_argument(
        "--lpips",
        metavar="WHERE",
        help=f"folder or Hub id with AlexNet for LPIPS and VGG16 for DISTS, see docs/results.md (or ${VARIABLE})",
    )
    parser.add_argument(
        "--scale", type=whole_number(1), help="HR pixels per LR pixel, per side (default: the models', or 4)"
    )
    parser.add_argument(
        "--border", type=whole_number(0), help="pixels PSNR and SSIM leave out on each side (default: the scale)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write scores.json and sheet.png there")
    parser.add_argument("--crops", type=whole_number(0), default=8, help="rows of the picture sheet (default 8)")
    parser.add_argument("--save-sr", type=Path, metavar="DIR", help="keep the SR pictures as PNG (of several: NAME/…)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--device", help="cpu, cuda, mps (default: the fastest there is)")
    parser.set_defaults(func=run)


def run(arguments: argparse.Namespace) -> int:
    """Carry out `ssg evaluate`; 0 when all went well, an SSGError otherwise."""
    state = _start_processes(arguments.device)
    try:
        _evaluate(arguments, state)
    finally:
        state.destroy_process_group()  # its threads must not outlive the interpreter
    return 0


def _evaluate(arguments: argparse.Namespace, state: "PartialState") -> None:
    device = choose_device(state.device, arguments.device)
    cases = pair_files(arguments.lr, arguments.hr, arguments.labels)
    folders = _open_folders(arguments.sr, cases)
    methods: dict[str, Method] = {"bicubic": bicubic, **folders}
    names = _name_models(arguments, methods)
    _check_outputs(arguments, cases, folders, list(names))
    models = {name: load_model(where).to(device) for name, where in names.items()}
    measures, notes = _prepare(arguments, models, device)
    for name, model in models.items():
        methods[name] = _build_method(arguments, name, model, measures, notes)
    if state.is_main_process and notes:
        print("\n".join(notes), file=sys.stderr)
    started = time.perf_counter()
    with _progress(state) as on_progress:
        evaluation = evaluate_folder(
            arguments.lr, methods, arguments.hr, arguments.labels, measures, arguments.crops, state, on_progress
        )
    if state.is_main_process:
        _print_table(format_scores(evaluation.scores, _choose_columns(arguments)))
        if arguments.output is not None:
            report = _build_report(arguments, names, measures, evaluation, notes, time.perf_counter() - started)
            _write(arguments.output, report, evaluation)


def _start_processes(device: str | None) -> "PartialState":
    """Accelerate's state, of all processes that were launched together."""
    from accelerate import PartialState

    cpu = "cpu" in (device, best_device())
    state = meet(lambda timeout: PartialState(cpu=cpu, timeout=timeout))
    check_met(state.num_processes)
    return state


def _open_folders(pairs: list[str], cases: list[Case]) -> dict[str, FromFolder]:
    folders: dict[str, FromFolder] = {}
    for text in pairs:
        name, _, folder = text.partition("=")
        if not (name and folder):
            raise ConfigError(f"--sr takes NAME=DIR, such as --sr x4plus=results/x4plus; it got {text!r}.")
        if name in ("bicubic", REFERENCE, *folders):
            raise ConfigError(f"--sr {text}: there is a row {name!r} already. Choose another name.")
        folders[name] = FromFolder(folder)
        folders[name].check(case.stem for case in cases)
    return folders


def _name_models(arguments: argparse.Namespace, taken: dict[str, Method]) -> dict[str, str]:
    """Row name -> where the model is: the name that was given, or else the last part of the place."""
    rows: dict[str, str] = {}
    for text in arguments.models or ([] if arguments.sr else [EMBEDDED]):
        name, named, where = text.partition("=")
        if not named or Path(text).exists():
            path, where = Path(text), text
            name = path.stem if is_weights_file(path) else path.name
            name = f"{name} (model)" if name in taken else name
        if not (name and where):
            raise ConfigError(f"a model is given as NAME=MODEL, such as large=runs/large/model; it got {text!r}.")
        if name in (REFERENCE, *taken, *rows):
            raise ConfigError(f"{text}: there is a row {name!r} already. Name it: OTHER={where}.")
        rows[name] = where
    return rows


def _check_outputs(
    arguments: argparse.Namespace, cases: list[Case], folders: dict[str, FromFolder], models: list[str]
) -> None:
    """Refuse before the work what could not be written after it."""
    for option, folder in (("-o", arguments.output), ("--save-sr", arguments.save_sr)):
        if folder is not None:
            check_folder(folder, option)
    planned = []
    if arguments.output is not None:
        planned += [arguments.output / "scores.json", arguments.output / "sheet.png"]
    if arguments.save_sr is not None:
        if not models:
            raise ConfigError("--save-sr keeps a model's pictures, but only folders are scored. Give a model.")
        planned += [_sr_folder(arguments, name) / f"{case.stem}.png" for name in models for case in cases]
    inputs = _find_inputs(cases, folders)
    for path in planned:
        if os.path.realpath(path) in inputs:
            raise ConfigError(f"{path} is one of the pictures to read; a result would replace it. Give another folder.")
    taken = [path for path in planned if path.exists()]
    if taken and not arguments.overwrite:
        raise ConfigError(f"{taken[0]} is there already. Give --overwrite, or another folder.")


def _find_inputs(cases: list[Case], folders: dict[str, FromFolder]) -> set[str]:
    """The real paths of all pictures that are read."""
    read = [path for case in cases for path in (case.lr, case.hr, case.labels) if path is not None]
    read += [path for folder in folders.values() for path in folder.files.values()]
    return {os.path.realpath(path) for path in read}


def _sr_folder(arguments: argparse.Namespace, name: str) -> Path | None:
    """Where a model's SR pictures go: the folder itself, or with several models one in it for each."""
    return arguments.save_sr / name if arguments.save_sr and len(arguments.models) > 1 else arguments.save_sr


def _prepare(
    arguments: argparse.Namespace, models: dict[str, "SSGModel"], device: torch.device
) -> tuple[Measures, list[str]]:
    """Load judge and distances; the notes say what is not measured, and why."""
    scales = {model.scale for model in models.values()}
    if arguments.scale is None and len(scales) > 1:
        raise ConfigError(f"the models enlarge {' and '.join(map(str, sorted(scales)))} times. Give --scale.")
    scale = arguments.scale or next(iter(scales), 4)
    measures, notes = Measures(scale=scale, border=arguments.border, void=arguments.void), []
    if arguments.hr is not None:
        found = find_distances(arguments.lpips)
        measures.distances = {name: distance.to(device) for name, distance in found.items()}
        notes += [explain_missing(name) for name in DISTANCES if name not in found]
    else:
        notes.append("Without --hr the colour ΔE is against the LR pictures.")
    if arguments.labels is not None:
        measures.judge = load_guide(arguments.judge) if arguments.judge else _own_judge(models, notes)
        measures.judge.to(device)
        measures.labels = measures.judge.labels
    elif arguments.judge:
        raise ConfigError("--judge needs --labels DIR, the label maps that it is held against.")
    return measures, notes


def _own_judge(models: dict[str, "SSGModel"], notes: list[str]) -> "Guide":
    guided = [name for name, model in models.items() if model.guide is not None]
    if not guided:
        raise ConfigError("--labels needs a judge: no model with a guide is given. Give --judge MODEL.")
    if len(guided) > 1:
        raise ConfigError(f"--labels needs one judge for all: {' and '.join(guided)} have guides. Give --judge MODEL.")
    notes.append(f"The judge is {guided[0]}'s own guide, which it was trained to please; give another by --judge.")
    return models[guided[0]].guide


def _build_method(
    arguments: argparse.Namespace, name: str, model: "SSGModel", measures: Measures, notes: list[str]
) -> FromModel:
    segment = measures.judge is not None and model.labels == measures.labels
    if model.guide is not None and measures.judge is not None and not segment:
        notes.append(f"Drift is not measured: {name}'s guide and the judge do not name the same classes.")
    return FromModel(model, _sr_folder(arguments, name), arguments.overwrite, segment)


@contextmanager
def _progress(state: "PartialState") -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal of the main process, over its share of the pictures."""
    from tqdm import tqdm

    with tqdm(unit="picture", disable=None if state.is_main_process else True, leave=False) as bar:
        yield counting(bar)


def _choose_columns(arguments: argparse.Namespace) -> list[str]:
    columns = (HR_COLUMNS if arguments.hr else []) + ["color_drift"]
    return columns + (LABEL_COLUMNS if arguments.labels else [])


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]))


def _build_report(
    arguments: argparse.Namespace,
    models: dict[str, str],
    measures: Measures,
    evaluation: Evaluation,
    notes: list[str],
    seconds: float,
) -> dict:
    """All results, as JSON values."""
    folders = {"lr": arguments.lr, "hr": arguments.hr, "labels": arguments.labels}
    return {
        **{kind: None if folder is None else str(folder) for kind, folder in folders.items()},
        "models": models,
        "judge": arguments.judge,
        "scale": measures.scale,
        "border": measures.scale if measures.border is None else measures.border,
        "seconds": round(seconds, 1),
        "notes": notes,
        "scores": {name: {k: _finite(v) for k, v in values.items()} for name, values in evaluation.scores.items()},
        "pictures": {
            name: {stem: {k: _finite(v) for k, v in score.values.items()} for stem, score in by_stem.items()}
            for name, by_stem in evaluation.pictures.items()
        },
    }


def _finite(value: object) -> object:
    """JSON knows neither NaN nor infinity."""
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _write(folder: Path, report: dict, evaluation: Evaluation) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "scores.json") as file:
        file.write((json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
    written = [folder / "scores.json"]
    if evaluation.crops:
        with whole_file(folder / "sheet.png") as file:
            draw_sheet(evaluation.crops).save(file, "PNG")
        written.append(folder / "sheet.png")
    print("\n" + "\n".join(f"wrote {path}" for path in written))
