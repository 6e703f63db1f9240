"""A process that is forked from one with a model upscales; it would wait for ever for threads that it does not have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORKED = """
import multiprocessing
import numpy as np
import torch
from conftest import make_tiny_model

def upscale(results):
    result = model.upscale(picture)
    results.put((np.asarray(result.image), result.report["engine"], torch.get_num_threads()))

picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
model = make_tiny_model()
own = np.asarray(model.upscale(picture).image)
context = multiprocessing.get_context("fork")
results = context.Queue()
child = context.Process(target=upscale, args=(results,), daemon=True)
child.start()
theirs, engine, threads = results.get(timeout=60)
print(np.abs(own.astype(int) - theirs).max(), engine, threads, torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("engine", ["auto", pytest.param("torch", marks=pytest.mark.slow)])
def test_a_forked_process_upscales_as_its_parent_does(engine):
    environment = {**os.environ, "SSG_ENGINE": engine, "OMP_NUM_THREADS": "2"}
    environment["PYTHONPATH"] = os.pathsep.join((str(Path(__file__).parent), str(Path(__file__).parents[1])))
    done = subprocess.run(
        [sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    difference, used, threads, at_home = done.stdout.split()
    assert int(difference) <= 1 and (used, threads, at_home) == ("torch", "1", "2")
