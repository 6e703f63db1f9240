"""The tables of docs/results.md, each a text from the measurements."""

import torch

from benchmarks.document import markdown_table
from benchmarks.evaluation_data import PictureSet
from benchmarks.results.measuring import COLORS, FLAT_SIDE, TIMED_SIZE, YARDSTICK, Measurements
from ssg_hub.evaluation.figures import format_scores
from ssg_hub.evaluation.scoring import REFERENCE, Evaluation

FIGURES = ["psnr_y", "ssim_y", "lpips", "dists", "color_drift"]
JUDGED = ["miou", "boundary_f"]


def tell_models(found: Measurements) -> str:
    rows = [["row", "generator", "parameters", "in fp16"]]
    for name, model in found.networks().items():
        shape = ", ".join(f"{key} {value}" for key, value in model.config.generator_config.items())
        parts = {"generator": model.generator, "guide": model.guide}
        count = {part: sum(p.numel() for p in net.parameters()) for part, net in parts.items() if net is not None}
        counts = " + ".join(f"{part} {value / 1e6:.1f} M" for part, value in count.items())
        rows.append([name, f"{model.config.generator_type} ({shape})", counts, f"{sum(count.values()) * 2e-6:.1f} MB"])
    return markdown_table(rows)


def tell_camvid(found: Measurements) -> str:
    figures = FIGURES + JUDGED
    texts = [f"{pictures.title}:\n\n{table_of(found.score(pictures), figures)}" for pictures in found.camvid_sets()]
    return "\n\n".join([*texts, table_of_ratios(found, found.camvid_sets())])


def tell_kodak(found: Measurements) -> str:
    texts = []
    for pictures in found.kodak_sets():
        evaluation = found.score(pictures)
        worse = {name: str(len(worse_than_bicubic(evaluation, name))) for name in evaluation.scores}
        table = table_of(evaluation, FIGURES, {"LPIPS worse than bicubic": worse})
        texts.append(f"{pictures.title}:\n\n{table}")
    return "\n\n".join([*texts, table_of_ratios(found, found.kodak_sets())])


def table_of(evaluation: Evaluation, figures: list[str], more: dict[str, dict[str, str]] | None = None) -> str:
    """A set's figures, a line a row of the evaluation; `more` are further columns, heading -> row -> text."""
    heading, *rows = format_scores(evaluation.scores, figures)
    more = more or {}
    lines = [[f"{len(evaluation.pictures['bicubic'])} pictures", *heading[1:], *more]]
    lines += [[*row, *(column.get(row[0], "–") for column in more.values())] for row in rows]
    return markdown_table(lines)


def table_of_ratios(found: Measurements, sets: list[PictureSet]) -> str:
    """Each row beside the yardstick, set by set."""
    if YARDSTICK not in found.peers:
        return f"Without {YARDSTICK} there is nothing to compare with."
    rows = [[f"beside {YARDSTICK}", "row", "LPIPS ÷", "DISTS ÷", "PSNR-Y −", "mIoU ÷"]]
    for pictures in sets:
        scores = found.score(pictures).scores
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


def tell_colors(found: Measurements) -> str:
    rows = [["levels of 255", *COLORS]]
    rows += [[name, *map(str, deviations.values())] for name, deviations in found.deviations().items()]
    what = f"Flat pictures of {FLAT_SIDE}x{FLAT_SIDE}, largest deviation, the peers' without the colour fix"
    return f"{what}:\n\n{markdown_table(rows)}"


def tell_guides(found: Measurements) -> str:
    rows = [["mIoU of the guide of", "on HR", *(f"on its SR of {camera}" for camera in found.cameras)]]
    for name, miou in found.guide_miou().items():
        rows.append([name, *(f"{value:.3f}" for value in miou.values())])
    return f"CamVid {found.part}:\n\n{markdown_table(rows)}"


def tell_times(found: Measurements) -> str:
    seconds = found.seconds()
    rows = [["generator", f"seconds, LR {TIMED_SIZE[1]}x{TIMED_SIZE[0]}", f"of {YARDSTICK}"]]
    for name, value in seconds.items():
        rows.append([name, f"{value:.3f}", f"1/{seconds[YARDSTICK] / value:.1f}" if YARDSTICK in seconds else "–"])
    return f"In turns, torch, {torch.get_num_threads()} threads:\n\n{markdown_table(rows)}"
