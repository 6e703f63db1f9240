"""Starts the processes of a batch without a launcher, as a cluster's own does, by environment variables."""

import os
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def start_processes(command: list[str], world: int = 2) -> list[subprocess.Popen]:
    """Start `command` once for each rank; what they say on stderr can be read as text."""
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_port()),
        "WORLD_SIZE": str(world),
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def run_processes(command: list[str], world: int = 2) -> list[tuple[int, str]]:
    """Start `command` once for each rank, wait, and give (exit code, stderr) for each."""
    processes = start_processes(command, world)
    said = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
