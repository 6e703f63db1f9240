"""The command as a whole: its start, a hundred pictures on one process and on two, memory and cost by size."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from benchmarks.document import ROOT
from ssg_hub.storage import BUILT_IN

SMALL = (120, 90)


def run_child(*arguments: str | Path, **environment: str) -> dict:
    """What a process of its own took: wall and CPU seconds, peak bytes."""
    command = [sys.executable, "-m", "benchmarks.performance.child", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=_environment(environment), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"ssg {' '.join(map(str, arguments))} failed: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_start(model: str, rounds: int) -> dict[str, float]:
    """CPU seconds (medians) of importing torch, and of upscaling one small picture, process start included."""
    with tempfile.TemporaryDirectory() as folder:
        photo, result = Path(folder, "a.png"), Path(folder, "b.png")
        write_noise(photo, *SMALL)
        wanted = ("upscale", photo, "-o", result, "--model", model, "--overwrite", "-q")
        kinds = {"import torch": (), "picture": wanted, "picture and mask": (*wanted, "--mask")}
        if not Path(model).is_dir() and model not in BUILT_IN:
            del kinds["picture and mask"]
        for arguments in kinds.values():  # what is compiled once for all is compiled now
            run_child(*arguments)
        took = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, arguments in kinds.items():
                took[name].append(run_child(*arguments)["cpu"])
    return {name: median(values) for name, values in took.items()}


def measure_batch(model: str, rounds: int, pictures: int, side: int = 160) -> dict[str, float]:
    """Pictures a second (medians), process start included, on one process and on two."""
    rates = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "in")
        inputs.mkdir()
        for number in range(pictures):
            write_noise(inputs / f"{number:04}.png", side, side * 3 // 4, seed=number)
        for number in range(rounds):
            for processes in rates:
                output = Path(folder, f"out{processes}-{number}")
                arguments = ("upscale", inputs, "-o", output, "--model", model, "-q")
                began = time.perf_counter()
                run_together(processes, arguments)
                rates[processes].append(pictures / (time.perf_counter() - began))
                assert len(list(output.iterdir())) == pictures
    return {f"{processes} process{'es' * (processes > 1)}": median(values) for processes, values in rates.items()}


def run_together(processes: int, arguments: tuple) -> None:
    """The command on several processes, as a launcher starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    place["LOCAL_WORLD_SIZE"] = str(processes)
    command = [sys.executable, "-m", "ssg_hub", *map(str, arguments)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment({} if processes == 1 else {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}),
            stderr=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit("a process of the batch failed")


def measure_sizes(model: str, megapixels: list[float], *options: str) -> list[dict]:
    """Wall seconds, and peak bytes above an interpreter with torch, by megapixels of the result."""
    bare = run_child()["peak"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in megapixels:
            side = round((size * 1e6) ** 0.5 / 4)
            photo = Path(folder, f"{size}.tif")
            write_noise(photo, side, side)
            result = Path(folder, "result.tif")
            took = run_child(
                "upscale", photo, "-o", result, "--model", model, "--max-pixels", 10**9, "--overwrite", "-q", *options
            )
            rows.append({"megapixels": size, "seconds": took["wall"], "bytes": took["peak"] - bare})
            result.unlink()
    return rows


def write_noise(path: Path, width: int, height: int, seed: int = 0) -> None:
    """A picture without repetition, the same at every call."""
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(values).save(path)


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, **more}
