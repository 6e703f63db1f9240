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
    """Of `multiprocessing`: its processes begin at once, forked from one that has done nothing but import all of it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["train_accelerate", "ssg_hub.networks.lite_transformers"])
    return context


class Script:
    """A script in Python that runs in a process of the `nursery`.

    Args:
        place: environment variables.
        said: file for what it says on stderr.
    """

    def __init__(self, script: str, place: dict[str, str], said: Path):
        self.process, self.said = nursery().Process(target=_become, args=(script, place, said)), said
        self.process.start()

    def end(self, seconds: float = 120) -> tuple[int, str]:
        """Wait for its end, but kill it after a time; gives its exit code and what it said."""
        self.process.join(seconds)
        self.process.kill()
        self.process.join()
        return self.process.exitcode, self.said.read_text()


def run_script(script: str, folder: Path, world: int = 2) -> list[tuple[int, str]]:
    """As `run_processes`, with a script in Python; `folder` is for what its processes say."""
    scripts = [Script(script, place, folder / f"{place['RANK']}.txt") for place in find_places(world)]
    return [each.end() for each in scripts]


def _become(script: str, place: dict[str, str], said: Path) -> None:
    """Run a script in this process, in its place among others."""
    os.environ.update(place)
    with open(os.devnull, "w") as nothing, open(said, "w") as file:
        os.dup2(nothing.fileno(), 1)
        os.dup2(file.fileno(), 2)
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
