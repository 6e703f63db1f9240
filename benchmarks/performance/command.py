"""The command as a whole, in a process of its own: its start, memory and cost by size."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.document import ROOT
from ssg_hub.storage import BUILT_IN

SMALL = (120, 90)
MORE = 8  # pictures that follow the first, for what the network itself takes


def run_child(*arguments: str | Path, **more: str) -> dict:
    """What a process of its own took: wall and CPU seconds, peak bytes."""
    command = [sys.executable, "-m", "benchmarks.performance.child", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment(more), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ssg {' '.join(map(str, arguments))} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_start(model: str, rounds: int) -> dict[str, float]:
    """CPU seconds (medians) by process: importing torch, the help, and upscaling one small picture, start included.

    "network" is what each further picture takes.
    """
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "in")
        photos.mkdir()
        for number in range(1 + MORE):
            write_noise(photos / f"{number}.png", *SMALL, seed=number)
        options = ("-o", Path(folder, "out"), "--model", model, "--overwrite", "-q")
        kinds = {
            "import torch": (),
            "ssg --help": ("--help",),
            "picture": ("upscale", photos / "0.png", *options),
            "picture and mask": ("upscale", photos / "0.png", *options, "--mask"),
            "pictures": ("upscale", photos, *options),
        }
        if not Path(model).is_dir() and model not in BUILT_IN:
            del kinds["picture and mask"]
        for arguments in kinds.values():  # what is compiled once for all is compiled now
            run_child(*arguments)
        took = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, arguments in kinds.items():
                took[name].append(run_child(*arguments)["cpu"])
    found = {name: median(values) for name, values in took.items()}
    return found | {"network": (found.pop("pictures") - found["picture"]) / MORE}


def measure_sizes(model: str, megapixels: list[float], widest: int | None, result: str, *options: str) -> list[dict]:
    """Wall seconds, and peak bytes above an interpreter with torch, by megapixels of the file `result`.

    Results are square, or higher where they would be more than `widest` pixels wide.
    """
    bare = run_child()["peak"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in megapixels:
            width = min((size * 1e6) ** 0.5, widest or np.inf)
            photo = Path(folder, f"{size}.tif")
            write_noise(photo, round(width / 4), round(size * 1e6 / width / 4))
            target = Path(folder, result)
            took = run_child(
                "upscale", photo, "-o", target, "--model", model, "--max-pixels", 10**9, "--overwrite", "-q", *options
            )
            rows.append({"megapixels": size, "seconds": took["wall"], "bytes": took["peak"] - bare})
            target.unlink()
            photo.unlink()
    return rows


def save_shallow(folder: Path) -> Path:
    """A model as wide as the embedded one, and so of its need for memory, that takes a fraction of its time."""
    from ssg_hub.model import SSGModel

    SSGModel.from_components("compact", generator_config={"features": 64, "convs": 1}).save_pretrained(folder)
    return folder


def write_noise(path: Path, width: int, height: int, seed: int = 0) -> None:
    """A picture without repetition, the same at every call."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(values).save(path)


def environment(more: dict[str, str]) -> dict[str, str]:
    """This process' variables, and more."""
    return {**os.environ, **more}
