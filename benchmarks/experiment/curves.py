"""Draw the training curves of the experiment's rows from the kept logs: docs/images/experiment_curves.png.

python -m benchmarks.experiment.curves [--steps N] [--camera phone]
"""

import argparse
import json
import sys

from benchmarks.curves import Panel, draw
from benchmarks.experiment.protocol import CAMERAS, ROOT, ROWS, STEPS, result_file

PANELS = {
    "adversarial/l1": "L1 on source pairs",
    "adversarial/perceptual": "VGG16 features on source pairs",
    "adversarial/cross_entropy": "cross-entropy of the guide on target SR",
    "adversarial/guide_weight": "balanced weight of the guide loss",
    "adversarial/discriminator": "discriminator",
    "adversarial_dev/lpips": "LPIPS on dev",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--camera", choices=CAMERAS, default="phone")
    options = parser.parse_args()
    files = {row: result_file(row, options.camera, 0, options.steps) for row in ROWS}
    logged = {row: json.loads(file.read_text())["curves"] for row, file in files.items() if file.exists()}
    panels = [
        Panel(title, {row: curves[tag] for row, curves in logged.items() if tag in curves}, "_dev/" in tag)
        for tag, title in PANELS.items()
    ]
    path = ROOT / "docs/images/experiment_curves.png"
    draw(panels, path)
    print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
