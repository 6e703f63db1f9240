"""Runs that are killed again and again, wherever they are, also while a checkpoint is written; none may lose anything.

    SSG_KILLS=50 python -m pytest -m slow -s tests/test_training_kills.py        SSG_TEST_SEED=1 for other moments

prints how often and where a run was killed. A run is killed by SIGKILL, all of its processes or one, resumed by
`--resume latest`, and killed again; in the end its weights must be those of a run that nothing interrupted.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from process_group import Script
from tiny_run import largest_difference, start, train, weights, write_config

from ssg_hub.training.checkpoints import list_checkpoints, read_record

KILLS = int(os.environ.get("SSG_KILLS", 4))  # of each of the two runs together
SEED = int(os.environ.get("SSG_TEST_SEED", 0))
MOMENTS = ("while it starts", "in a step", "while a checkpoint is written", "when a checkpoint was written")
PATIENCE = 400  # seconds until the moment to kill has come, or until those who never met the others give up


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_again_and_again(processes, data, tmp_path):
    kills = KILLS // 2
    options = ("--adversarial_steps", str(2 * kills + 4), "--batch", str(2 // processes))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    chance, counted = random.Random(SEED + processes), Counter()
    config = write_config(killed, data)
    while counted.total() < kills:
        moment = MOMENTS[counted.total() % len(MOMENTS)]
        running = start(config, *options, *resumption(killed), processes=processes)
        wait_until(moment, killed / "run/checkpoints", running, chance)
        alone = chance.random() < 0.5
        victims = [chance.choice(running)] if alone else running
        ended_before = any(not script.process.is_alive() for script in running)
        for victim in victims:
            victim.process.kill()
        ended = [script.end(PATIENCE) for script in running]
        if not ended_before:
            check_survivors([end for script, end in zip(running, ended, strict=True) if script not in victims])
        check_left(killed / "run")
        if ended_before:  # it was quicker than its killer
            break
        counted[moment] += 1
    train(config, *options, *resumption(killed), processes=processes)
    train(write_config(whole, data), *options, processes=processes)
    assert largest_difference(weights(whole / "run/model"), weights(killed / "run/model")) == 0
    print(f"\n{processes} process(es): killed {counted.total()} times: {dict(counted)}; same weights as without a kill")
    assert counted.total() == kills, "the run ended before it was killed as often as asked for"


def resumption(folder: Path) -> tuple[str, ...]:
    """`--resume latest`, once there is something to resume."""
    return ("--resume", "latest") if (folder / "run/checkpoints").is_dir() else ()


def wait_until(moment: str, checkpoints: Path, running: list[Script], chance: random.Random) -> None:
    """Wait for the moment to kill, or until the run has ended."""
    before, deadline = names(checkpoints), time.monotonic() + PATIENCE
    if moment == MOMENTS[0]:
        time.sleep(chance.uniform(0, 1))
        return

    def has_come() -> bool:
        now = names(checkpoints) - before
        if moment == MOMENTS[2]:
            return any(name.endswith(".part") for name in now)
        return any(not name.startswith(".") for name in now)

    while not has_come() and running[0].process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.001)
    if moment == MOMENTS[1]:
        time.sleep(chance.uniform(0, 0.5))
    elif moment == MOMENTS[2]:
        time.sleep(chance.uniform(0, 0.05))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def check_survivors(ended: list[tuple[int, str]]) -> None:
    """A process whose peer was killed ends by itself, with a sentence."""
    for code, said in ended:
        assert code != -signal.SIGKILL, "it waited for a process that was gone"
        assert "Traceback" not in said, said[-3000:]


def check_left(run: Path) -> None:
    """Every checkpoint that carries a name is whole."""
    for checkpoint in list_checkpoints(run / "checkpoints", "adversarial"):
        assert read_record(checkpoint)["settings"]
