"""Make the experiment's table, its tests of the claims, its curves, and its sections of docs/results.md and README.md.

    python -m benchmarks.experiment report [--steps N]

Both cameras, as far as they are scored. Missing rows are left out and named, with the step at which the clock cut them
short. README stays as it is until (a), (b) and (c) can be tested. It reads no picture: only results/…/*.json.
"""

import argparse
import json
import sys

import numpy as np

from benchmarks.document import markdown_table, write_section
from benchmarks.experiment.claims import CLAIMS, UNDECIDED, VARIANTS, Comparison, Verdict
from benchmarks.experiment.protocol import (
    CAMERAS,
    RESULTS,
    ROOT,
    ROWS,
    STEPS,
    TITLES,
    picture,
    state_file,
    trainings,
)
from benchmarks.experiment.rows import (
    COLUMNS,
    CURVES,
    DEV,
    INTERPOLATED_DEV,
    RISE,
    Scored,
    compare,
    load_rows,
    show,
    with_interval,
)
from benchmarks.experiment.why import LOSSES, build_why, gradient_shares
from ssg_hub.evaluation.figures import HEADINGS

SETTLED_BY = ("a", "b", "c")  # claims without whose rows README says nothing of it
ROWS_MISSING = f"{UNDECIDED}: rows missing"
PICTURES = {  # kind -> title
    "": "Kodak, degraded by the bank: crops where five rows differ most",
    "guided": "Kodak, degraded by the bank: crops where SSG and generic + guide differ most",
    "curves": "training curves, and the share of each loss in the gradient",
}
ESSENCE = ["bicubic", "bank", "generic-guide", "mixed-guide", "ssg"]
IN_ESSENCE = ("lpips", "miou", "flat_noise")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=int, default=STEPS)


def run(options: argparse.Namespace) -> None:
    found = {camera: load_rows(camera, options.steps) for camera in CAMERAS}
    if not any(set(rows) & set(ROWS) for rows in found.values()):
        sys.exit(f"no figures at {options.steps} steps in {RESULTS}. Train and score first.")
    for camera, rows in found.items():
        if set(rows) & set(ROWS):
            draw_curves(rows, camera, options.steps)
            text = build_section(rows, camera, options.steps)
            print(text)
            write_section(f"experiment {camera} {options.steps}", text)
    if options.steps == STEPS:
        write_essence(found[CAMERAS[0]])


def write_essence(rows: dict[str, Scored]) -> None:
    """Write README's essence, if the paper's claims can be tested; else say why not."""
    missing = missing_rows(rows, *SETTLED_BY)
    if missing:
        print(f"README stays as it is: undecided, rows missing: {', '.join(missing)}.")
        return
    write_section("experiment", build_essence(rows), ROOT / "README.md")


def missing_rows(rows: dict[str, Scored], *claims: str) -> list[str]:
    """The rows that claims need and that are not there."""
    return [row for row in dict.fromkeys(row for name in claims for row in CLAIMS[name].rows) if row not in rows]


def judge_claims(rows: dict[str, Scored]) -> dict[str, Verdict]:
    """The verdict on each claim; undecided, without a comparison, where rows are missing."""

    def difference(a: str, b: str, figure: str, variant: str = "plain") -> Comparison:
        return compare(rows[a], rows[b], figure, variant)

    return {
        name: Verdict(ROWS_MISSING, []) if missing_rows(rows, name) else claim.weigh(difference)
        for name, claim in CLAIMS.items()
    }


def draw_curves(rows: dict[str, Scored], camera: str, steps: int) -> None:
    """What every row of seed 0 logged, and the share of each loss in its gradient."""
    from benchmarks.curves import Panel, draw

    logged = {name: row.curves["0"] for name, row in rows.items() if row.curves.get("0")}
    shares = {name: gradient_shares(curves) for name, curves in logged.items()}
    panels = [
        Panel(title, {row: curves[tag] for row, curves in logged.items() if tag in curves}, tag == DEV)
        for tag, title in CURVES.items()
    ]
    panels += [
        Panel(f"{title}, % of the gradient", {row: found[loss] for row, found in shares.items() if found.get(loss)})
        for loss, title in LOSSES.items()
    ]
    panels = [panel for panel in panels if panel.curves]
    if panels:
        draw(panels, ROOT / "docs" / picture(camera, steps, "curves"))


def build_section(rows: dict[str, Scored], camera: str, steps: int) -> str:
    parts = [
        f"## The experiment: camera `{camera}`, {steps:,} adversarial steps",
        "Protocol: [experiment.md](experiment.md). By: `python -m benchmarks.experiment run`, `score` and `report`. "
        f"{describe_cost(rows)} Intervals: 95 %, by blocks of frames.",
        describe_missing(camera, steps),
        main_table(rows, camera),
        describe_dev(rows, camera),
        "The judge on the results as they are, moved by one pixel, and after JPEG at quality 90 (mIoU):",
        stress_table(rows),
        seeds_text(rows),
        claims_text(judge_claims(rows), rows, camera),
        build_why(rows, camera, steps),
    ]
    for kind, title in PICTURES.items():
        path = picture(camera, steps, kind)
        if (ROOT / "docs" / path).exists():
            parts.append(f"![{title}]({path})")
    return "\n\n".join(part for part in parts if part)


def build_essence(rows: dict[str, Scored]) -> str:
    """What README says of the experiment: how, one picture, five rows and the verdicts."""
    camera, path = CAMERAS[0], picture(CAMERAS[0], STEPS)
    table = [["trained on", *(HEADINGS[figure] for figure in IN_ESSENCE)]]
    for name in ESSENCE:
        if name in rows:
            mark = " (diverged)" if rows[name].diverged(camera) else ""
            cells = (show(figure, rows[name].value(figure)) for figure in IN_ESSENCE)
            table.append([TITLES[name] + mark, *cells])
    parts = [
        "An experiment with a [protocol](docs/experiment.md) written beforehand. All rows: the same light generator\n"
        f"from the same start, {STEPS:,} steps, the {camera} camera. mIoU is that of a segmenter that was not used\n"
        "in training; flat noise is in grey levels.",
        f"![Crops of Kodak, degraded by the bank: LR, bicubic interpolation, and five rows](docs/{path})"
        if (ROOT / "docs" / path).exists()
        else "",
        markdown_table(table),
        "\n".join(
            f"- ({name}) {CLAIMS[name].title}: **{verdict.outcome}**"
            + (f" (but a training diverged: {', '.join(bad)})" if (bad := diverged_rows(rows, name, camera)) else "")
            for name, verdict in judge_claims(rows).items()
        ),
        "See [all figures](docs/results.md), with intervals, seeds, and what explains them.",
    ]
    return "\n\n".join(part for part in parts if part)


def diverged_rows(rows: dict[str, Scored], claim: str, camera: str) -> list[str]:
    """Of the rows that a claim compares, those of which a training diverged."""
    return [row for row in CLAIMS[claim].rows if row in rows and rows[row].diverged(camera)]


def describe_missing(camera: str, steps: int) -> str:
    """Which trainings of the protocol have no figures, and why; empty where none is missing."""
    file = state_file(steps)
    states = json.loads(file.read_text()) if file.exists() else {}
    missing: dict[str, dict[str, list[str]]] = {}  # state -> row -> seeds
    for training in trainings(steps):
        if training.camera == camera and not training.result.exists():
            state = states.get(f"{steps}-steps/{camera}/{training.result.stem}", "not scored")
            missing.setdefault(state, {}).setdefault(training.row, []).append(str(training.seed))
    if not missing:
        return ""
    lines = [
        f"- {state}: " + "; ".join(f"{row} ({', '.join(seeds)})" for row, seeds in rows.items())
        for state, rows in missing.items()
    ]
    return "Rows that are missing, neither scored nor compared, with their seeds:\n\n" + "\n".join(lines)


def describe_cost(rows: dict[str, Scored]) -> str:
    costs = [cost for row in rows.values() for cost in row.training]
    if not costs:
        return ""
    minutes = sum(cost["seconds"] for cost in costs) / 60
    machines = "; ".join(dict.fromkeys(cost["machine"] for cost in costs))
    return f"{len(costs)} trainings took {minutes:.0f} minutes of CPU time on: {machines}."


def main_table(rows: dict[str, Scored], camera: str) -> str:
    """A line per row; LPIPS and mIoU with their intervals; at the end what the training had reached on dev."""
    table = [["row", "seeds", *(HEADINGS[figure] for figure in COLUMNS), "LPIPS on dev"]]
    for name, row in rows.items():
        cells = [
            with_interval(row, figure) if figure in ("lpips", "miou") else show(figure, row.value(figure))
            for figure in COLUMNS
        ]
        table.append([TITLES[name], str(row.seeds) if name in ROWS else "–", *cells, dev_cell(row, camera)])
    return markdown_table(table)


def dev_cell(row: Scored, camera: str) -> str:
    """LPIPS on dev at each check, the mean of the seeds, and a mark for those that diverged."""
    seeds = [dict(curves[DEV]) for curves in row.curves.values() if DEV in curves]
    if not seeds:
        return "–"
    common = sorted(set.intersection(*(set(checks) for checks in seeds)))
    cell = ", ".join(f"{np.mean([checks[step] for checks in seeds]):.3f}" for step in common)
    diverged = row.diverged(camera)
    return cell + (f" **diverged** (seed {', '.join(diverged)})" if diverged else "")


def describe_dev(rows: dict[str, Scored], camera: str) -> str:
    """What the column of dev says; empty where no training logged it."""
    steps = sorted({step for row in rows.values() for curves in row.curves.values() for step, _ in curves.get(DEV, [])})
    if not steps:
        return ""
    return (
        f"LPIPS on dev: in training, at step {' and '.join(f'{step:,}' for step in steps)}, the mean of the seeds. "
        f"*Diverged*: at the end it is above that of bicubic interpolation ({INTERPOLATED_DEV[camera]}) or more than "
        f"{RISE} above the lowest. Such a row is a training that failed and says nothing about its method."
    )


def stress_table(rows: dict[str, Scored]) -> str:
    table = [["row", "as it is", "moved", "JPEG"]]
    for name, row in rows.items():
        table.append([TITLES[name], *(f"{row.value('miou', variant):.3f}" for variant in VARIANTS)])
    return markdown_table(table)


def seeds_text(rows: dict[str, Scored]) -> str:
    """What the seeds of a row differ by, for rows that have several; empty where none has."""
    shown = ["psnr_y", "lpips", "flat_noise", "boundary_f"]
    table = [["row", "seed", *(HEADINGS[figure] for figure in [*shown, "miou"]), "moved", "JPEG"]]
    figures = [*((figure, "plain") for figure in shown), *(("miou", variant) for variant in VARIANTS)]
    for name, row in rows.items():
        for seed, scored in row.by_seed.items():
            table.append([TITLES[name], seed, *(show(f, scored.value(f, v)) for f, v in figures)])
    return f"Rows with several seeds, one by one:\n\n{markdown_table(table)}" if len(table) > 1 else ""


def claims_text(verdicts: dict[str, Verdict], rows: dict[str, Scored], camera: str) -> str:
    """A heading line for each claim, and under it every comparison that it rests on."""
    lines = []
    for name, verdict in verdicts.items():
        used = [row for row in CLAIMS[name].rows if row in rows]
        missing, diverged = missing_rows(rows, name), diverged_rows(rows, name, camera)
        seeds = ", ".join(f"{row} {rows[row].seeds}" for row in used) or "none"
        lines.append(f"**({name}) {CLAIMS[name].title}: {verdict.outcome}** (seeds: {seeds}).")
        single = [row for row in used if rows[row].seeds == 1]
        if verdict.comparisons and single:
            lines.append(f"Of one seed, so that the variation between trainings is unknown: {', '.join(single)}.")
        if missing:
            lines.append(f"Rows missing: {', '.join(missing)}.")
        if diverged:
            lines.append(f"Not to be read as a result of the method, since a training diverged: {', '.join(diverged)}.")
        if verdict.comparisons:
            table = [["comparison", "difference", "95 %", "so"]]
            table += [[text, c.format(c.value), f"{c.format(c.low)} to {c.format(c.high)}", c.reading] for text, c in
                      verdict.comparisons]  # fmt: skip
            lines.append(markdown_table(table))
        if verdict.against:
            lines.append(f"Not better, and so what a change of the verdict hangs on: {'; '.join(verdict.against)}.")
    return "\n\n".join(lines)
