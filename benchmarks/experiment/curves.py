"""Draw the training curves of the experiment's rows from the kept logs: docs/images/experiment_curves.png.

python -m benchmarks.experiment.curves [--steps 320] [--camera phone]
"""

import argparse
import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from benchmarks.experiment.protocol import CAMERAS, ROOT, ROWS, STEPS, result_file

PANELS = {
    "adversarial/l1": "L1 on source pairs",
    "adversarial/perceptual": "VGG16 features on source pairs",
    "adversarial/cross_entropy": "cross-entropy of the guide on target SR",
    "adversarial/guide_weight": "balanced weight of the guide loss",
    "adversarial/discriminator": "discriminator",
    "adversarial_dev/lpips": "LPIPS on dev",
}
SMOOTHED = 5  # logged values that are averaged
STYLES = ["-", "-", "-", "--", "-", "--", ":", "-."]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--camera", choices=CAMERAS, default="phone")
    options = parser.parse_args()
    files = {row: result_file(row, options.camera, 0, options.steps) for row in ROWS}
    curves = {row: json.loads(file.read_text())["curves"] for row, file in files.items() if file.exists()}
    figure, axes = plt.subplots(2, 3, figsize=(13, 7), constrained_layout=True)
    for axis, (tag, title) in zip(axes.flat, PANELS.items(), strict=True):
        for index, row in enumerate(ROWS):
            points = curves.get(row, {}).get(tag, [])
            steps, values = [step for step, _ in points], smooth([value for _, value in points])
            marker = "o" if tag.startswith("adversarial_dev") else None
            axis.plot(steps, values, STYLES[index], color=f"C{index}", marker=marker, label=row, linewidth=1.3)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("adversarial step", fontsize=8)
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    path = ROOT / "docs/images/experiment_curves.png"
    figure.savefig(path, dpi=80)
    print(f"wrote {path.relative_to(ROOT)}")
    return 0


def smooth(values: list[float]) -> list[float]:
    """The mean of each value and those before it, up to SMOOTHED; short series stay as they are."""
    if len(values) < 2 * SMOOTHED:
        return values
    windows = (values[max(0, end - SMOOTHED) : end] for end in range(1, len(values) + 1))
    return [sum(window) / len(window) for window in windows]


if __name__ == "__main__":
    sys.exit(main())
