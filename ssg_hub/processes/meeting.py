"""How processes that were launched together find each other, and end together; neither lets one wait without end."""

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConfigError, SSGError

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")
TO_APPEAR = timedelta(minutes=5)  # for all processes to be there
FIRST_WORD = 20.0  # seconds until this process says that it waits
TO_ANSWER = timedelta(minutes=30)  # afterwards: one may validate or save while the others wait
# what torch says of processes that are not there, or were and are no more
ABSENT = r"waiting for clients|time(d )?-?out|connect|broken pipe"
# what it says of one that is no more while they exchange something
GONE = r"gloo|nccl|connection (closed|reset) by peer|connection refused"


def read_place() -> tuple[int, int]:
    """(rank, world) of this process, as its launcher says them in RANK and WORLD_SIZE; (0, 1) without a launcher.

    Raises:
        ConfigError: they are no such numbers, as where only one of them is left of another launch.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise ConfigError(
            f"RANK is {rank!r} and WORLD_SIZE {world!r}, which do not tell this process its place among others: "
            "RANK must be from 0 to WORLD_SIZE - 1. Unset both, or start with `accelerate launch` or `torchrun`."
        )
    return int(rank), int(world)


def meet(connect: Callable[[timedelta], T], patience: timedelta = TO_ANSWER) -> T:
    """Connect this process to the others that were launched with it; returns once all are connected.

    Args:
        connect: given how long it may wait, starts torch's process group and returns what it has made.
        patience: how long a process waits for the others later, whenever they exchange something.

    Raises:
        ConfigError: one of them did not appear, or ended before all had met.
    """
    import torch

    world = read_place()[1]
    if world == 1 or torch.distributed.is_initialized():
        return connect(TO_APPEAR)
    import torch.distributed.nn  # first: imported later, its default arguments would keep the group and its threads

    word = threading.Timer(FIRST_WORD, _say_what_is_waited_for, [world])
    word.daemon = True
    word.start()
    try:
        connected = connect(TO_APPEAR)
        _wait_until_all_are_connected()
    except RuntimeError as error:
        if not re.search(ABSENT, str(error), re.IGNORECASE):
            raise
        raise ConfigError(
            f"the {world} processes did not meet within {TO_APPEAR}: one of them did not start, or ended before. "
            "Start all of them with `accelerate launch` or `torchrun`; the same command goes on where they stopped."
        ) from error
    finally:
        word.cancel()
    if torch.distributed.is_initialized():
        torch.distributed.distributed_c10d._set_pg_timeout(patience)  # it has no public name
    return connected


def check_met(seen: int) -> None:
    """Refuse processes that were launched together and do not see each other.

    Args:
        seen: the number of processes, as what `meet` returned has it.

    Raises:
        ConfigError: more were launched than are seen.
    """
    launched = read_place()[1]
    if launched != seen:
        raise ConfigError(
            f"{launched} processes were launched, but Accelerate sees {seen}: each would do all of the work. On CPUs "
            "launch with `accelerate launch --multi_gpu --num_processes N` or `ACCELERATE_USE_CPU=true torchrun`."
        )


def by_one(state: "PartialState | None", work: Callable[[], T]) -> T:
    """Let the main process do the work; all get its result, which must be picklable, or raise its SSGError.

    Args:
        state: Accelerate's, of the processes, all of which call this; None: this one is alone.
        work: what is done.
    """
    if state is None or state.num_processes == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    told: list = [None, None]
    if state.is_main_process:
        try:
            told[0] = work()
        except SSGError as error:
            told[1] = error
    broadcast_object_list(told)
    if told[1] is not None:
        raise told[1]
    return told[0]


def disconnect() -> None:
    """Leave the processes that this one is connected to, if any: torch's threads must not outlive the interpreter."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def ending_with_the_others(speaker: str, then: str) -> Iterator[None]:
    """End this process with a sentence and exit code 1 when another one that it was launched with has ended.

    It ends at once, and nothing is taken apart. Otherwise it might never end: the interpreter frees torch's reducer,
    which waits for gloo's threads, while one of these waits for the interpreter, to free what it could not send.

    Args:
        speaker: who says the sentence, as "ssg adapt".
        then: what the user can do next, a sentence.
    """
    try:
        yield
    except RuntimeError as error:
        if os.environ.get("WORLD_SIZE", "1") == "1" or not re.search(GONE, str(error), re.IGNORECASE):
            raise
        print(
            f"{speaker}: another process of this run has ended, so this one ends too; its own message says why. {then}",
            file=sys.stderr,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def _wait_until_all_are_connected() -> None:
    """Let no process go on, and perhaps end with an error, while another still connects to it.

    It could: where gloo connects a pair, one calls and is done, the other has yet to answer; and the first process
    serves the store in which the others find the addresses. NCCL connects them only when they exchange something.
    """
    from torch import distributed

    if distributed.is_initialized() and "gloo" in distributed.get_backend():
        distributed.barrier()


def _say_what_is_waited_for(world: int) -> None:
    print(f"waiting for all {world} processes to appear, at most {TO_APPEAR}", file=sys.stderr, flush=True)
