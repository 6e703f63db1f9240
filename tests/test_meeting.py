"""Processes that were launched together: one that does not appear, or ends too early, lets nobody wait for long."""

import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from process_group import ROOT, find_port, run_processes, run_script

from ssg_hub.errors import ConfigError
from ssg_hub.processes import meeting

SHORT = timedelta(seconds=1)


@pytest.fixture
def place(monkeypatch):
    """What a launcher tells the first of two processes; returns the port where they meet."""
    port = find_port()
    for name, value in (("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", port), ("WORLD_SIZE", 2), ("RANK", 0)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(meeting, "TO_APPEAR", SHORT)
    yield port
    if dist.is_initialized():
        dist.destroy_process_group()


def connect(timeout: timedelta) -> None:
    dist.init_process_group("gloo", timeout=timeout)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_other_does_not_appear(rank, place, monkeypatch, capsys):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setattr(meeting, "FIRST_WORD", 0.2)
    with pytest.raises(ConfigError, match=r"the 2 processes did not meet within 0:00:01: .* Start all of them"):
        meeting.meet(connect)
    assert capsys.readouterr().err == "waiting for all 2 processes to appear, at most 0:00:01\n"


def test_the_other_is_killed_before_they_have_met(place):
    """It has entered its name in the list, and says no more."""

    def appear() -> None:
        seen.append(dist.TCPStore("127.0.0.1", place, 2, is_master=False))

    seen: list = []
    other = threading.Thread(target=appear)
    other.start()
    with pytest.raises(ConfigError, match="one of them did not start, or ended before"):
        meeting.meet(connect)
    other.join()
    assert seen


def meet_late(folder: Path, late: str, seconds: int = 300) -> list[str]:
    """What two processes say: when each was connected and when it went on, or its error. One does `late` in between."""
    script = f"""
import os, sys, time
from datetime import timedelta
from torch import distributed
from ssg_hub.processes import meeting

def connect(timeout):
    distributed.init_process_group("gloo", timeout=timeout)
    if distributed.get_rank() == 1:
        {late}
    return time.time()

meeting.TO_APPEAR = timedelta(seconds={seconds})
try:
    said = meeting.meet(connect), time.time()
except meeting.ConfigError as error:
    said = error,
print(*said, file=sys.stderr, flush=True)
os._exit(0)
"""
    return [said for _, said in run_script(script, folder)]


def test_none_goes_on_before_all_are_connected(tmp_path):
    """One that went on and ended with an error of its own was taken for one that did not appear."""
    connected, gone_on = zip(*(map(float, said.split()) for said in meet_late(tmp_path, "time.sleep(1)")), strict=True)
    assert max(connected) < min(gone_on)


@pytest.mark.parametrize(
    "late, seconds", [("os._exit(9)", 300), pytest.param("time.sleep(6)", 3, marks=pytest.mark.slow)]
)
def test_the_other_ends_or_hangs_before_it_is_connected(late, seconds, tmp_path):
    """Nobody waits as long as those do who have met."""
    assert "one of them did not start, or ended before" in meet_late(tmp_path, late, seconds)[0]


def test_those_who_have_met_are_patient(place, monkeypatch):
    """The short time is for the meeting; then one may work for long while the others wait."""
    patience = timedelta(hours=2)
    meeting.meet(lambda timeout: dist.init_process_group("gloo", timeout=timeout, rank=0, world_size=1), patience)
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))
    assert backend.options._timeout == patience


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="a process' threads are counted by Linux' /proc")
def test_no_thread_of_the_group_outlives_it():
    """One that still ran when the interpreter ended would abort it: "terminate called without an active exception"."""
    script = """
import sys
from pathlib import Path
from accelerate import PartialState
from ssg_hub.processes.meeting import meet

state = meet(lambda timeout: PartialState(cpu=True, timeout=timeout))
import torch.distributed.nn.functional  # as transformers does: each default argument is the group of that moment
names = lambda: {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
met = names()
state.destroy_process_group()
print("gloo" in " ".join(met), "gloo" in " ".join(names()), file=sys.stderr)
"""
    ended = run_processes([sys.executable, "-W", "ignore", "-c", script])
    assert ended == [(0, "True False\n")] * 2


def test_another_fault_is_not_explained_away(place):
    def fail(timeout: timedelta) -> None:
        raise RuntimeError("no such backend")

    with pytest.raises(RuntimeError, match="no such backend"):
        meeting.meet(fail)


def test_one_alone_meets_nobody(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert meeting.meet(lambda timeout: "ready") == "ready"


@pytest.mark.parametrize(
    "world, fault, code",
    [
        ("2", "[/pytorch/third_party/gloo/pair.cc:525] Connection closed by peer [127.0.0.1]:2", 1),
        ("1", "[gloo] odd", 3),
        ("2", "no", 3),
    ],
)
def test_one_that_lost_another_ends_though_a_thread_would_keep_it(world, fault, code):
    """As gloo's threads keep the interpreter from its end, on some machines once in thirty times."""
    script = f"""
import sys, threading
from ssg_hub.processes.meeting import ending_with_the_others

try:
    with ending_with_the_others("ssg adapt", "Go on."):
        threading.Thread(target=threading.Event().wait, daemon={code == 3}).start()
        raise RuntimeError("{fault}")
except RuntimeError:
    sys.exit(3)
"""
    environment = {**os.environ, "WORLD_SIZE": world}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert done.returncode == code
    told = "ssg adapt: another process of this run has ended, so this one ends too; its own message says why. Go on.\n"
    assert done.stderr == (told if code == 1 else "")
