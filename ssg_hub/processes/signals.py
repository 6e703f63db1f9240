"""The signals by which a user or a scheduler asks a run to end, and who of its processes takes them."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

SAME_PRESS = 1.0  # seconds in which a second signal is the first one, passed on by a launcher
POLL = 5.0  # seconds between a data worker's looks at whether its process still lives


def requests_to_end() -> list[int]:
    """SIGTERM, as `kill`, `timeout`, Slurm and docker send it, and SIGHUP, of a closed terminal; without those that are
    ignored, as under `nohup`, and those of which Python cannot give the handler back."""
    known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    return [number for number in known if signal.getsignal(number) not in (signal.SIG_IGN, None)]


@contextmanager
def taking(numbers: Iterable[int], handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Let a function handle signals meanwhile. Only the main thread can take any: in others all stays as it is."""
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handle) for number in numbers} if in_main else {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Let a request to end do what Ctrl-C does: no half file stays. Signals that are handled already stay so."""
    last = -SAME_PRESS

    def interrupt(number: int, frame: Any) -> None:
        nonlocal last
        passed_on, last = time.monotonic() - last < SAME_PRESS, time.monotonic()
        if not passed_on:
            raise KeyboardInterrupt

    with taking((number for number in requests_to_end() if signal.getsignal(number) is signal.SIG_DFL), interrupt):
        yield


@contextmanager
def kept_from_workers() -> Iterator[None]:
    """Let the data workers that are started meanwhile take no request to end, from their first moment on.

    Terminals, `torchrun`, Slurm and systemd signal all processes of a run, and the death of a worker would end a
    training before its checkpoint. A worker ends with its process; see `leave_signals_to_parent` for the rest.
    """
    before = _hold_back()
    try:
        yield
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_parent(worker: int) -> None:
    """As a DataLoader's `worker_init_fn`: of all requests to end a worker takes its process' own SIGTERM alone."""
    if _hold_back() is not None:
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _hold_back() -> set[int] | None:
    """Block the requests to end in this thread; returns those that were blocked before, or None where the system cannot
    tell who sent a signal, as macOS and Windows."""
    if not hasattr(signal, "sigtimedwait"):
        return None
    return signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()  # not always the one by `os.getppid`, which may be a fork server
    while parent.is_alive():
        told = signal.sigtimedwait({signal.SIGTERM}, POLL)
        if told is not None and told.si_pid == parent.pid:
            break
    os._exit(0)
