"""Starts the processes of a batch without a launcher, as a cluster's own does, by environment variables."""

import multiprocessing
import os
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_processes(command: list[str], world: int = 2) -> list[tuple[int, str]]:
    """Start `command` once for each rank, wait, and give (exit code, stderr) for each."""
    processes = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **place}, stderr=subprocess.PIPE, text=True)
        for place in find_places(world)
    ]
    said = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def nursery() -> multiprocessing.context.BaseContext:
    """Of `multiprocessing`: its processes begin at once, forked from one that has torch and has done nothing yet."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.distributed.nn"])
    return context


def run_script(script: str, folder: Path, world: int = 2) -> list[tuple[int, str]]:
    """As `run_processes` with a script in Python, in processes of the `nursery`.

    Args:
        folder: for files with what they say.
    """
    files = [folder / f"{rank}.txt" for rank in range(world)]
    places = zip(find_places(world), files, strict=True)
    processes = [nursery().Process(target=_become, args=(script, place, file)) for place, file in places]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()  # one that still runs
        process.join()
    return [(process.exitcode, file.read_text()) for process, file in zip(processes, files, strict=True)]


def _become(script: str, place: dict[str, str], file: Path) -> None:
    """Run a script in this process, in its place among others, with stderr into a file."""
    os.environ.update(place)
    with open(file, "w") as said:
        os.dup2(said.fileno(), 2)
    exec(script, {"__name__": "__main__"})


def find_places(world: int) -> list[dict[str, str]]:
    """For each rank the environment variables that tell it its place."""
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_port()), "WORLD_SIZE": str(world)}
    return [{**meeting, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
