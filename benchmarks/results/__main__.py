"""Score bicubic, the published peers and our models in one run, on CamVid's two cameras and on Kodak: docs/results.md.

    python -m benchmarks.peers                          # once: what the peers make of the LR pictures
    python -m benchmarks.results --dev --candidates new=runs/x/checkpoint.safetensors --peers x4plus
    python -m benchmarks.results                        # reads val: once, when everything is chosen

A candidate is whatever `ssg evaluate` takes for a model, and the figures are those of `ssg evaluate`: 8-bit pictures,
PSNR and SSIM of the luma without a border of 4 pixels. Scores are kept in runs/scores: a later run measures only the
rows whose pictures, judge or measures have changed. With --dev the frames of CamVid's dev part stand in for those of
val. The tables are printed, part by part (--only); docs/results.md has them.
"""

import argparse
import sys

from benchmarks.document import describe_machine
from benchmarks.evaluation_data import CAMERAS, JUDGE, find_shared
from benchmarks.peers import PEERS
from benchmarks.results.aims import tell_aims
from benchmarks.results.measuring import SHOWN_PEERS, Measurements
from benchmarks.results.tables import tell_camvid, tell_colors, tell_guides, tell_kodak, tell_models, tell_times
from ssg_hub.loading import EMBEDDED, LARGE, load_model

PARTS = {
    "models": tell_models,
    "camvid": tell_camvid,
    "kodak": tell_kodak,
    "colors": tell_colors,
    "guides": tell_guides,
    "times": tell_times,
    "aims": tell_aims,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--candidates", nargs="+", default=[f"{name}={name}" for name in (LARGE, EMBEDDED)], metavar="NAME=MODEL"
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=SHOWN_PEERS)
    parser.add_argument("--dev", action="store_true", help="choose on CamVid's dev part")
    parser.add_argument("--cameras", nargs="+", choices=CAMERAS, default=list(CAMERAS))
    parser.add_argument("--judge", default=str(JUDGE), help="segmentation model that no training saw")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts of the report")
    options = parser.parse_args()
    models = {name: load_model(where) for name, _, where in (text.partition("=") for text in options.candidates)}
    part = "dev" if options.dev else "val"
    measurements = Measurements(models, options.peers, part, options.cameras, options.judge, find_shared())
    print(f"On: {describe_machine()}", end="\n\n")
    for name in options.only:
        print(PARTS[name](measurements), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
