"""The processes of a batch: counts add up, none leaves early, and one that ends early is told of."""

import sys
from datetime import timedelta
from subprocess import PIPE, run

import pytest
from process_group import ROOT, find_port, run_script

from ssg_hub.cli import main
from ssg_hub.commands import group as groups
from ssg_hub.errors import ConfigError
from ssg_hub.processes.meeting import read_place

SCRIPT = """
import os, signal, sys, time
from ssg_hub.commands import group as groups
from ssg_hub.commands.common import say
from ssg_hub.errors import SSGError
groups.FIRST_WORD = 0.5
rank = int(os.environ["RANK"])
try:
    with groups.Group(rank, int(os.environ["WORLD_SIZE"])) as group:
        {work}
        totals = group.add_up(rank + 1, 10 * rank)
        if rank == 0:
            time.sleep(0.5)
            say(f"totals {{totals}}")
except SSGError as error:
    say(f"error: {{error}}")
    sys.exit(2)
say("left")
"""


def script(work: str = "pass") -> str:
    return SCRIPT.format(work=work)


def test_counts_are_summed_over_all_processes(tmp_path):
    ended = run_script(script(), tmp_path, world=3)
    assert [code for code, _ in ended] == [0, 0, 0], ended
    assert ended[0][1].split("\n")[:2] == ["totals [6, 30]", "left"]


@pytest.mark.slow
def test_under_a_launcher_that_ends_the_others_when_one_fails():
    """What the first has to say after the count is said, though another fails at once when it is released."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    launch += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0", "--no-python"]
    launch += [sys.executable, "-c", script() + "sys.exit(rank)"]
    done = run(launch, cwd=ROOT, stderr=PIPE, text=True, timeout=120)
    assert done.returncode == 1 and "totals [3, 10]" in done.stderr, done.stderr


def test_one_process_needs_no_store():
    with groups.Group(0, 1) as group:
        assert group.add_up(3, 0) == [3, 0]


@pytest.mark.parametrize("failing", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_an_error_of_one_ends_the_other_with_a_sentence(failing, tmp_path):
    ended = run_script(script(f"if rank == {failing}: raise SSGError('mine')"), tmp_path)
    assert [code for code, _ in ended] == [2, 2], ended
    assert "error: mine" in ended[failing][1]
    other = ended[1 - failing][1]
    assert "so this one ends too; its own message says why" in other and "Traceback" not in other


def test_the_first_is_killed(tmp_path):
    ended = run_script(script("if rank == 0: time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)"), tmp_path)
    assert [code for code, _ in ended] == [-9, 2], ended
    assert "the first process of this batch has ended, so this one ends too" in ended[1][1]


def test_another_is_killed_and_the_first_says_what_it_waits_for(tmp_path):
    killed = "if rank == 1: os.kill(os.getpid(), signal.SIGKILL)"
    until_it_speaks = "groups.say = lambda line: (say(line), os._exit(0))"
    (code, said), _ = run_script(script(f"{killed}\n        {until_it_speaks}"), tmp_path)
    assert code == 0 and "process 0 is done; 1 of 2 still work. If one was killed" in said


@pytest.mark.parametrize("rank", [0, 1])
def test_others_that_do_not_appear(rank, monkeypatch):
    monkeypatch.setattr(groups, "TO_APPEAR", timedelta(seconds=1))
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", find_port()), ("WORLD_SIZE", 2), ("RANK", rank)):
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match=r"did not meet the other 1 within 0:00:01: .*Start all of them"):
        groups.Group(rank, 2).__enter__()


def test_an_environment_that_says_too_little(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(ConfigError, match="variable RANK expected, but not set. Start all"):
        groups.Group(1, 2).__enter__()


@pytest.mark.parametrize("said", [{"RANK": "1"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "two"}])
def test_a_rank_without_a_place_leaves_out_no_file(said, monkeypatch, tmp_path, capsys):
    """With RANK alone, left of another launch, the second of two pictures was all that was upscaled, or none."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert read_place() == (0, 1)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    for name in ("a.png", "a.mp4"):
        (tmp_path / name).touch()
        assert main(["upscale", str(tmp_path / name), "-o", str(tmp_path / "out")]) == 2
        assert "RANK must be from 0 to WORLD_SIZE - 1. Unset both" in capsys.readouterr().err
