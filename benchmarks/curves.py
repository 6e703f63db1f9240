"""Draw what training runs logged: losses, and the scores on the dev set, one line a run, as a PNG.

    python -m benchmarks.curves runs/a [runs/b …] -o docs/images/curves.png [--only adversarial]

Reads the TensorBoard files below each folder; a panel for each figure that some run logged more than once.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed

import matplotlib.pyplot as plt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COLUMNS = 3
SMOOTHING = 0.6  # of losses, which differ from batch to batch; the pale line behind is what was logged
UNINTERESTING = ("data_wait", "skipped_updates", "skipped_pictures")
LINES = ("-", "--", ":", "-.")  # where there are more runs than colours
Curve = list[tuple[int, float]]


@dataclass
class Panel:
    """One figure of several runs: a loss, drawn smoothed, or scores of the dev set, drawn as points."""

    title: str
    curves: dict[str, Curve] = field(default_factory=dict)
    scores: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of the training script")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", default="", metavar="STAGE", help="figures of this stage alone")
    options = parser.parse_args()
    panels: dict[str, Panel] = {}
    for run in options.runs:
        for figure, curve in read_scalars(run).items():
            if figure.startswith(options.only) and not figure.endswith(UNINTERESTING) and len(curve) > 1:
                title = figure.replace("_dev/", ", dev set: ").replace("/", ": ")
                panel = panels.setdefault(figure, Panel(title, scores="_dev/" in figure))
                panel.curves[run.name] = curve
    if not panels:
        parser.error(f"nothing was logged more than once in {', '.join(map(str, options.runs))}")
    draw([panels[figure] for figure in sorted(panels, key=lambda name: (panels[name].scores, name))], options.output)


def read_scalars(run: Path) -> dict[str, Curve]:
    """Every scalar of a run: {"stage/name": [(step, value), …]}; of a step that was logged twice, the later."""
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted(run.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        for figure in events.Tags()["scalars"]:
            curves[figure] |= {event.step: event.value for event in events.Scalars(figure)}
    return {figure: sorted(values.items()) for figure, values in curves.items()}


def draw(panels: list[Panel], path: Path) -> None:
    """Write the panels as one PNG, with one legend for all."""
    rows = -(-len(panels) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.4 * rows), squeeze=False, layout="constrained")
    runs = list(dict.fromkeys(run for panel in panels for run in panel.curves))
    styles = {run: {"color": f"C{i % 10}", "linestyle": LINES[i // 5 % len(LINES)]} for i, run in enumerate(runs)}
    for axis, panel in zip(axes.flat, panels, strict=False):
        for run, curve in panel.curves.items():
            steps, values = zip(*curve, strict=True)
            if panel.scores:
                axis.plot(steps, values, marker=".", **styles[run])
            else:
                axis.plot(steps, values, color=styles[run]["color"], alpha=0.25 / len(panel.curves) ** 0.5)
                axis.plot(steps, smooth(values), **styles[run])
        axis.set_title(panel.title, fontsize=9)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    handles = [plt.Line2D([], [], **style) for style in styles.values()]
    figure.legend(handles, runs, loc="outside lower center", ncols=min(len(runs), 5), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def smooth(values: tuple[float, ...]) -> list[float]:
    """Exponential moving average."""
    smoothed = [values[0]]
    for value in values[1:]:
        smoothed.append(SMOOTHING * smoothed[-1] + (1 - SMOOTHING) * value)
    return smoothed


if __name__ == "__main__":
    main()
