"""Requests to end: what a command does when it is signalled, and that a data worker leaves them to its process."""

import multiprocessing
import os
import signal
import subprocess

import pytest
from torch.utils.data import DataLoader

from ssg_hub.data.crops import raise_errors
from ssg_hub.processes import signals
from ssg_hub.processes.ending import end_plainly

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")


@pytest.fixture
def handle_hang_up():
    """Sets the handler of SIGHUP until the test is over: the tests may run under `nohup`."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda handler: signal.signal(signal.SIGHUP, handler)
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_every_command_ends_in_order(number, handle_hang_up, capsys):
    """Once: what a launcher passes on of the same request is not taken for another, while the command cleans up."""

    def work() -> None:
        try:
            signal.raise_signal(getattr(signal, number))
        finally:
            signal.raise_signal(signal.SIGTERM)
            done.append("cleaned up")

    handle_hang_up(signal.SIG_DFL)
    before, done = signal.getsignal(signal.SIGTERM), []
    assert end_plainly("ssg evaluate", work) == 130 and done == ["cleaned up"]
    assert capsys.readouterr().err == "ssg evaluate: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_later_request_ends_what_the_first_did_not(monkeypatch):
    monkeypatch.setattr(signals, "SAME_PRESS", 0.0)
    with signals.ended_in_order():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)


def test_what_is_ignored_stays_so(handle_hang_up):
    handle_hang_up(signal.SIG_IGN)
    assert signals.requests_to_end() == [signal.SIGTERM]
    with signals.ended_in_order():
        signal.raise_signal(signal.SIGHUP)


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="this system cannot tell who sent a signal")
def test_a_data_worker_ends_by_its_process_alone():
    loader = DataLoader(range(10**6), num_workers=1, worker_init_fn=signals.leave_signals_to_parent)
    batches, others = raise_errors(loader), set(multiprocessing.active_children())
    assert next(batches) == 0
    (worker,) = set(multiprocessing.active_children()) - others
    for name in ("INT", "HUP", "TERM"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    assert [int(next(batches)) for _ in range(9)] == list(range(1, 10)) and worker.is_alive()
    worker.terminate()  # as torch ends one that does not end by itself
    worker.join(60)
    assert worker.exitcode == 0
