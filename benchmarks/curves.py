"""Draw what training runs logged: losses, and the scores on the dev set, one line a run, as a PNG.

    python -m benchmarks.curves runs/a [runs/b …] -o docs/images/curves.png [--only adversarial]

Reads the TensorBoard files below each folder; a panel for each figure that some run logged more than once.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no screen is needed

import matplotlib.pyplot as plt
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COLUMNS = 3
SMOOTHING = 0.6  # of losses, which differ from batch to batch; the pale line behind is what was logged
UNINTERESTING = ("data_wait", "skipped_updates", "skipped_pictures")
Curve = list[tuple[int, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="output folders of the training script")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", default="", metavar="STAGE", help="figures of this stage alone")
    options = parser.parse_args()
    panels: dict[str, dict[str, Curve]] = defaultdict(dict)
    for run in options.runs:
        for figure, curve in read_scalars(run).items():
            if figure.startswith(options.only) and not figure.endswith(UNINTERESTING) and len(curve) > 1:
                panels[figure][run.name] = curve
    if not panels:
        parser.error(f"nothing was logged more than once in {', '.join(map(str, options.runs))}")
    draw(panels, options.output)


def read_scalars(run: Path) -> dict[str, Curve]:
    """Every scalar of a run: {"stage/name": [(step, value), …]}; of a step that was logged twice, the later."""
    curves: dict[str, dict[int, float]] = defaultdict(dict)
    for file in sorted(run.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        for figure in events.Tags()["scalars"]:
            curves[figure] |= {event.step: event.value for event in events.Scalars(figure)}
    return {figure: sorted(values.items()) for figure, values in curves.items()}


def draw(panels: dict[str, dict[str, Curve]], path: Path) -> None:
    names = sorted(panels, key=lambda figure: ("_dev/" in figure, figure))
    rows = -(-len(names) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(4 * COLUMNS, 2.4 * rows), squeeze=False, layout="constrained")
    colors = {run: f"C{i}" for i, run in enumerate(dict.fromkeys(run for curves in panels.values() for run in curves))}
    for axis, name in zip(axes.flat, names, strict=False):
        for run, curve in panels[name].items():
            steps, values = zip(*curve, strict=True)
            scores = "_dev/" in name
            axis.plot(steps, values, color=colors[run], alpha=1 if scores else 0.25, marker="." if scores else None)
            if not scores:
                axis.plot(steps, smooth(values), color=colors[run])
        axis.set_title(name.replace("_dev/", ", dev set: ").replace("/", ": "), fontsize=9)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    handles = [plt.Line2D([], [], color=color) for color in colors.values()]
    figure.legend(handles, colors, loc="outside lower center", ncols=len(colors), frameon=False)
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
