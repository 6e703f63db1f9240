"""Memory of freed blocks goes back to the system."""

import platform
import subprocess
import sys

import pytest

FREED = """
import sys
from pathlib import Path
import numpy as np
from ssg_hub.processes.memory import give_memory_back, return_large_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

if sys.argv[1] == "return":
    return_large_blocks()
np.ones(30 * 2**20, np.uint8)  # freed at once; glibc keeps what is smaller from now on
blocks, between = [], []
for _ in range(40):
    blocks.append(np.ones(2 * 2**20, np.uint8))
    between.append(np.ones(100_000, np.uint8))  # too large for the holes that imports leave: they stand between
full = resident()
blocks.clear()
if sys.argv[1] == "trim":
    give_memory_back()
print(full - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give memory back by themselves")
def test_large_blocks_go_back_to_the_system():
    def freed(way: str) -> float:
        command = [sys.executable, "-c", FREED, way]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert freed("nothing") < 40 < 70 < min(freed("return"), freed("trim"))  # MiB of 80
