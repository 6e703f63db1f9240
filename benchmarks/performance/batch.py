"""Many pictures by one command: on one process and on two, and killed twice on the way."""

import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

from benchmarks.document import ROOT
from benchmarks.performance.command import environment, write_noise
from ssg_hub.commands.manifest import parts_of, read_manifest
from ssg_hub.images.reading import read_picture

SIZE = (96, 72)
KILLED_AT = (0.25, 0.6)  # shares of the results that are there when a process is killed


def measure_batch(model: str, rounds: int, pictures: int) -> dict[str, float]:
    """Pictures a second (medians), process start included, on one process and on two."""
    rates = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        inputs = _write_inputs(Path(folder), pictures)
        for number in range(rounds):
            for processes in rates:
                output = Path(folder, f"out{processes}-{number}")
                began = time.perf_counter()
                _finish(start_together(processes, ("upscale", inputs, "-o", output, "--model", model, "-q")))
                rates[processes].append(pictures / (time.perf_counter() - began))
                assert len(list(output.iterdir())) == pictures
    return {f"{processes} process{'es' * (processes > 1)}": median(values) for processes, values in rates.items()}


def measure_kills(model: str, pictures: int) -> dict[str, int]:
    """Two processes share a folder; the second is killed, then in a new run the first; a third run ends the batch.

    As a launcher does, the other process is ended each time.

    Returns:
        Counts: "pictures", whole results ("whole"), lines of the manifest that say so ("recorded", one a picture), and
        results that were there at a kill and were written again ("redone").
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, output = _write_inputs(Path(folder), pictures), Path(folder, "out")
        manifest = Path(folder, "manifest.jsonl")
        command = ("upscale", inputs, "-o", output, "--model", model, "-q", "--manifest", manifest)
        seen: dict[Path, int] = {}
        for victim, share in zip((1, 0), KILLED_AT, strict=True):
            running = start_together(2, command)
            while sum(1 for _ in output.glob("*.png")) < share * pictures:
                if running[victim].poll() is not None:
                    sys.exit("a process of the batch ended before it could be killed")
                time.sleep(0.05)
            running[victim].kill()
            running[1 - victim].terminate()
            for process in running:
                process.wait()
            seen |= {path: path.stat().st_mtime_ns for path in output.glob("*.png")}
        _finish(start_together(2, command))
        results = sorted(output.iterdir())
        expected = (4 * SIZE[0], 4 * SIZE[1])
        lines = Counter(entry["file"] for entry in read_manifest(manifest))
        return {
            "pictures": pictures,
            "whole": sum(read_picture(path).size == expected for path in results),
            "recorded": sum(times == 1 for times in lines.values()) if not parts_of(manifest) else 0,
            "redone": sum(path.stat().st_mtime_ns != time for path, time in seen.items()),
        }


def start_together(processes: int, arguments: tuple) -> list[subprocess.Popen]:
    """The command on several processes, as a launcher starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    place["LOCAL_WORLD_SIZE"] = str(processes)
    return [
        subprocess.Popen(
            [sys.executable, "-m", "ssg_hub", *map(str, arguments)],
            cwd=ROOT,
            env=environment({} if processes == 1 else {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}),
            stderr=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]


def _finish(running: list[subprocess.Popen]) -> None:
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit(f"the processes of a batch ended with {codes}")


def _write_inputs(folder: Path, pictures: int) -> Path:
    inputs = folder / "in"
    inputs.mkdir()
    for number in range(pictures):
        write_noise(inputs / f"{number:04}.png", *SIZE, seed=number)
    return inputs
