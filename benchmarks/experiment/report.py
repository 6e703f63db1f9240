"""Make the experiment's table, its tests of the claims, its curves, and its sections of docs/results.md and README.md.

    python -m benchmarks.experiment report [--steps N]

Both cameras, as far as they are scored. Missing rows are left out and named, with the step at which the clock cut them
short. It reads no picture: only results/…/*.json.
"""

import argparse
import json
import sys
from dataclasses import dataclass

import numpy as np

from benchmarks.document import markdown_table, write_section
from benchmarks.experiment.bootstrap import block_weights, interval, weighted_mean, weighted_miou
from benchmarks.experiment.claims import CLAIMS, Comparison, Verdict
from benchmarks.experiment.protocol import (
    CAMERAS,
    RESULTS,
    ROOT,
    ROWS,
    STEPS,
    TITLES,
    UNTRAINED,
    Training,
    state_file,
    trainings,
    untrained_result,
)

COLUMNS = {  # figure -> heading, decimals
    "psnr_y": ("PSNR-Y ↑", 2),
    "ssim_y": ("SSIM-Y ↑", 3),
    "lpips": ("LPIPS ↓", 3),
    "dists": ("DISTS ↓", 3),
    "color_drift": ("colour ΔE ↓", 2),
    "flat_noise": ("flat noise ↓", 2),
    "boundary_f": ("boundary F ↑", 3),
    "miou": ("mIoU ↑", 3),
}
CURVES_PICTURE = "images/experiment_curves.png"
PICTURES = {
    "images/experiment.png": "Kodak, degraded by the bank: crops where the rows differ most",
    CURVES_PICTURE: "training curves",
}
CURVES = {  # tag in the logs -> title
    "adversarial/l1": "L1 on source pairs",
    "adversarial/lpips": "LPIPS (VGG16) on source pairs",
    "adversarial/cross_entropy": "cross-entropy of the guide on target SR",
    "adversarial/guide_weight": "balanced weight of the guide loss",
    "adversarial/discriminator": "discriminator",
    "adversarial_dev/lpips": "LPIPS on dev",
}
FIGURES = [name for name in COLUMNS if name != "miou"]
GRADIENT = "adversarial/gradient_"  # the tag of a loss's gradient norm begins with it
SHOWN = ["interpolation", "start", *ROWS, *(row for row in UNTRAINED if row not in ("interpolation", "start"))]
ESSENCE = ["bicubic", "bank", "generic-guide", "mixed-guide", "ssg"]


@dataclass
class Scored:
    """A row's figures by frame, over its seeds.

    Attributes:
        values: figure -> (frames,), averaged over the seeds.
        counts: variant -> (frames, 3, classes), added over the seeds.
        training: cost of each seed's training.
        by_seed: seed -> the same for one seed alone; empty where there is only one.
    """

    values: dict[str, np.ndarray]
    counts: dict[str, np.ndarray]
    training: list[dict]
    by_seed: dict[str, "Scored"]

    @property
    def seeds(self) -> int:
        return max(1, len(self.by_seed))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS)


def run(options: argparse.Namespace) -> None:
    found = {camera: load_rows(camera, options.steps) for camera in CAMERAS}
    if not any(set(rows) & set(ROWS) for rows in found.values()):
        sys.exit(f"no figures at {options.steps} steps in {RESULTS}. Train and score first.")
    draw_curves(CAMERAS[0], options.steps)
    for camera, rows in found.items():
        if set(rows) & set(ROWS):
            text = build_section(rows, camera, options.steps)
            print(text)
            write_section(f"experiment {camera} {options.steps}", text)
    if options.steps == STEPS and found[CAMERAS[0]]:
        write_section("experiment", build_essence(found[CAMERAS[0]]), ROOT / "README.md")


def is_curve(tag: str) -> bool:
    """Whether a logged figure is kept with a row's scores."""
    return tag in CURVES or tag.startswith(GRADIENT)


def load_rows(camera: str, steps: int) -> dict[str, Scored]:
    """Every row that has been scored, by name."""
    rows = {}
    for name in SHOWN:
        if name in UNTRAINED:
            files = {"0": untrained_result(name, camera)}
        else:
            seeds = sorted({training.seed for training in trainings(steps) if training.row == name})
            files = {str(seed): Training(name, camera, seed, steps).result for seed in seeds}
        records = {seed: json.loads(file.read_text()) for seed, file in files.items() if file.exists()}
        if records:
            rows[name] = read_row(records)
    return rows


def read_row(by_seed: dict[str, dict]) -> Scored:
    """A row from the kept record of each of its seeds."""
    records = list(by_seed.values())
    values = {name: np.mean([np.array(record["figures"][name], float) for record in records], 0) for name in FIGURES}
    labelled, counts = np.sum([record["labelled"] for record in records], 0), {}
    for variant in records[0]["counts"]:
        found = np.sum([record["counts"][variant] for record in records], 0)
        counts[variant] = np.stack([found[:, 0], labelled, found[:, 1]], 1)
    alone = {seed: read_row({seed: record}) for seed, record in by_seed.items()} if len(by_seed) > 1 else {}
    return Scored(values, counts, [record["training"] for record in records if "training" in record], alone)


def figure_draws(row: Scored, figure: str, variant: str, weights: np.ndarray) -> np.ndarray:
    """A figure of one row in each draw; the variants differ in mIoU alone, the others are kept of the plain one."""
    if figure == "miou":
        return weighted_miou(row.counts[variant], weights)
    return weighted_mean(row.values[figure], weights)


def compare(a: Scored, b: Scored, figure: str, variant: str = "plain") -> Comparison:
    """Figure of `a` minus figure of `b`, on the same draws of frames."""
    frames = len(a.counts["plain"])
    whole, draws = np.ones((1, frames), int), block_weights(frames)
    difference = [figure_draws(a, figure, variant, w) - figure_draws(b, figure, variant, w) for w in (whole, draws)]
    return Comparison(float(difference[0][0]), *interval(difference[1]), higher_is_better=COLUMNS[figure][0][-1] == "↑")


def judge_claims(rows: dict[str, Scored]) -> dict[str, Verdict]:
    """The verdict on each claim for which the rows are there."""

    def difference(a: str, b: str, figure: str, variant: str = "plain") -> Comparison:
        return compare(rows[a], rows[b], figure, variant)

    return {
        name: claim.weigh(difference) if set(claim.rows) <= set(rows) else Verdict("not tested: rows are missing", [])
        for name, claim in CLAIMS.items()
    }


def draw_curves(camera: str, steps: int) -> None:
    """The training curves of every row of seed 0."""
    from benchmarks.curves import Panel, draw

    files = {row: Training(row, camera, 0, steps).result for row in ROWS}
    logged = {row: json.loads(file.read_text()).get("curves", {}) for row, file in files.items() if file.exists()}
    panels = [
        Panel(title, {row: curves[tag] for row, curves in logged.items() if tag in curves}, "_dev/" in tag)
        for tag, title in CURVES.items()
    ]
    draw(panels, ROOT / "docs" / CURVES_PICTURE)


def build_section(rows: dict[str, Scored], camera: str, steps: int) -> str:
    weights = block_weights(len(next(iter(rows.values())).counts["plain"]))
    parts = [
        f"## The experiment: camera `{camera}`, {steps} adversarial steps",
        "Protocol: [experiment.md](experiment.md). By: `python -m benchmarks.experiment run`, `score` and `report`. "
        f"{describe_cost(rows)} Intervals: 95 %, by blocks of frames.",
        describe_missing(camera, steps),
        main_table(rows, weights),
        "The judge on the results as they are, moved by one pixel, and after JPEG at quality 90 (mIoU):",
        stress_table(rows),
        seeds_text(rows),
        claims_text(judge_claims(rows), rows),
    ]
    if camera == CAMERAS[0]:
        parts += [f"![{title}]({path})" for path, title in PICTURES.items() if (ROOT / "docs" / path).exists()]
    return "\n\n".join(part for part in parts if part)


def build_essence(rows: dict[str, Scored]) -> str:
    """Five rows and the verdicts, for the README."""
    table = [["trained on", *(COLUMNS[figure][0] for figure in ("lpips", "miou", "flat_noise"))]]
    for name in ESSENCE:
        if name in rows:
            row, whole = rows[name], np.ones((1, len(rows[name].counts["plain"])), int)
            cells = (
                f"{figure_draws(row, f, 'plain', whole)[0]:.{COLUMNS[f][1]}f}" for f in ("lpips", "miou", "flat_noise")
            )
            table.append([TITLES[name], *cells])
    verdicts = (f"- ({name}) {CLAIMS[name].title}: **{v.outcome}**" for name, v in judge_claims(rows).items())
    return f"{markdown_table(table)}\n\n" + "\n".join(verdicts)


def describe_missing(camera: str, steps: int) -> str:
    """Which trainings of the protocol have no figures, and why; empty where none is missing."""
    file = state_file(steps)
    states = json.loads(file.read_text()) if file.exists() else {}
    missing = []
    for training in trainings(steps):
        if training.camera == camera and not training.result.exists():
            state = states.get(f"{steps}-steps/{camera}/{training.result.stem}", "not scored")
            missing.append(f"{training.row} seed {training.seed} ({state})")
    return f"Missing, neither scored nor compared: {', '.join(missing)}." if missing else ""


def describe_cost(rows: dict[str, Scored]) -> str:
    costs = [cost for row in rows.values() for cost in row.training]
    if not costs:
        return ""
    minutes = sum(cost["seconds"] for cost in costs) / 60
    machines = "; ".join(dict.fromkeys(cost["machine"] for cost in costs))
    return f"{len(costs)} trainings took {minutes:.0f} minutes of CPU time on: {machines}."


def main_table(rows: dict[str, Scored], weights: np.ndarray) -> str:
    """A line per row; LPIPS and mIoU with their intervals."""
    whole = np.ones((1, weights.shape[1]), int)
    table = [["row", "seeds", *(heading for heading, _ in COLUMNS.values())]]
    for name, row in rows.items():
        cells = []
        for figure, (_, decimals) in COLUMNS.items():
            value = figure_draws(row, figure, "plain", whole)[0]
            cell = f"{value:.{decimals}f}" if np.isfinite(value) else "–"
            if figure in ("lpips", "miou"):
                low, high = interval(figure_draws(row, figure, "plain", weights))
                cell += f" ({low:.{decimals}f}–{high:.{decimals}f})"
            cells.append(cell)
        table.append([TITLES[name], str(row.seeds) if name in ROWS else "–", *cells])
    return markdown_table(table)


def stress_table(rows: dict[str, Scored]) -> str:
    whole = np.ones((1, len(next(iter(rows.values())).counts["plain"])), int)
    table = [["row", "as it is", "moved", "JPEG"]]
    for name, row in rows.items():
        cells = [f"{figure_draws(row, 'miou', variant, whole)[0]:.3f}" for variant in ("plain", "shifted", "jpeg")]
        table.append([TITLES[name], *cells])
    return markdown_table(table)


def seeds_text(rows: dict[str, Scored]) -> str:
    """What the seeds of a row differ by, for rows that have several; empty where none has."""
    table = [["row", "seed", "PSNR-Y ↑", "LPIPS ↓", "flat noise ↓", "boundary F ↑", "mIoU ↑", "moved", "JPEG"]]
    for name, row in rows.items():
        for seed, scored in row.by_seed.items():
            whole = np.ones((1, len(scored.counts["plain"])), int)
            figures = [(f, "plain") for f in ("psnr_y", "lpips", "flat_noise", "boundary_f", "miou")]
            figures += [("miou", "shifted"), ("miou", "jpeg")]
            cells = [f"{figure_draws(scored, f, v, whole)[0]:.{COLUMNS[f][1]}f}" for f, v in figures]
            table.append([TITLES[name], seed, *cells])
    return f"Rows with several seeds, one by one:\n\n{markdown_table(table)}" if len(table) > 1 else ""


def claims_text(verdicts: dict[str, Verdict], rows: dict[str, Scored]) -> str:
    """A heading line for each claim, and under it every comparison that it rests on."""
    lines = []
    for name, verdict in verdicts.items():
        seeds = ", ".join(f"{row} {rows[row].seeds}" for row in CLAIMS[name].rows if row in rows)
        lines.append(f"**({name}) {CLAIMS[name].title}: {verdict.outcome}** (seeds: {seeds}).")
        if verdict.comparisons:
            table = [["comparison", "difference", "95 %", "so"]]
            table += [[text, c.format(c.value), f"{c.format(c.low)} to {c.format(c.high)}", c.reading] for text, c in
                      verdict.comparisons]  # fmt: skip
            lines.append(markdown_table(table))
        if verdict.against:
            lines.append(f"Not better, and so what a change of the verdict hangs on: {'; '.join(verdict.against)}.")
    return "\n\n".join(lines)
