"""Where the benchmarks find data and weights that are not in the repository: --shared, $SSG_SHARED, or ../shared."""

import argparse
import os
from pathlib import Path

from document import ROOT


def parse_with_shared(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Path]:
    """Add `--shared`, parse the command line, and return the options and the folder that holds data/ and weights/."""
    parser.add_argument("--shared", type=Path, help="folder with data/ and weights/ (default: $SSG_SHARED, ../shared)")
    arguments = parser.parse_args()
    shared = arguments.shared or Path(os.environ.get("SSG_SHARED") or ROOT.parent / "shared")
    if not (shared / "data").is_dir():
        parser.error(f"no data at {shared}; give --shared FOLDER with data/ and weights/")
    return arguments, shared
