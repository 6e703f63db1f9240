"""The processes that share a batch: what each has counted is added up in the key-value store of their launcher."""

import time
from contextlib import suppress

from ..errors import ConfigError
from ..processes.meeting import TO_APPEAR
from .common import say

POLL, FIRST_WORD, NEXT_WORD = 0.2, 60.0, 600.0  # seconds


class Group:
    """The processes of a batch. None leaves before all are done: a launcher ends the others when one fails.

    Only torch's key-value store is used, which `torchrun` or the first process serves: the process groups above it have
    threads of their own, and one that is busy while the interpreter ends aborts the process.

    Args:
        rank, world: of this process; a world of one needs no store.

    Raises:
        ConfigError: the other processes did not appear, or one of them ended before all were done.
    """

    def __init__(self, rank: int, world: int):
        self._rank, self._world = rank, world

    def __enter__(self) -> "Group":
        if self._world > 1:
            from torch.distributed import PrefixStore, rendezvous

            try:
                store, _, _ = next(rendezvous("env://", timeout=TO_APPEAR))
            except (RuntimeError, ValueError) as error:
                raise ConfigError(
                    f"process {self._rank} did not meet the other {self._world - 1} within {TO_APPEAR}: "
                    f"{str(error).splitlines()[0]}. Start all of them with `accelerate launch` or `torchrun`."
                ) from error
            self._store = PrefixStore("ssg_batch", store)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if self._world == 1:
            return
        if kind is not None:
            self._say_goodbye("broken")
            return
        self._add("through", 1)
        self._wait_until_all("through", self._world)
        if self._rank == 0:  # it may serve the store, so it goes last; one that was killed meanwhile is not waited for
            ends = time.monotonic() + FIRST_WORD
            while self._add("gone") < self._world - 1 and time.monotonic() < ends:
                time.sleep(POLL)
        else:
            self._say_goodbye("gone")

    def add_up(self, *counts: int) -> list[int]:
        """Sum each count over the processes; waits for all of them."""
        if self._world == 1:
            return list(counts)
        for index, count in enumerate(counts):
            self._add(f"count {index}", count)
        self._add("counted", 1)
        self._wait_until_all("counted", self._world)
        return [self._add(f"count {index}") for index in range(len(counts))]

    def _add(self, key: str, amount: int = 0) -> int:
        try:
            return self._store.add(key, amount)
        except RuntimeError as error:
            raise ConfigError(
                "the first process of this batch has ended, so this one ends too; its own message says why. "
                "The same command goes on where they stopped."
            ) from error

    def _wait_until_all(self, key: str, wanted: int) -> None:
        """Wait for a count, and say now and then what is waited for: nobody tells that a process was killed."""
        next_word = time.monotonic() + FIRST_WORD
        while (there := self._add(key)) < wanted:
            if self._add("broken"):
                raise ConfigError(
                    "another process of this batch has ended early, so this one ends too; its own message says why. "
                    "The same command goes on where they stopped."
                )
            if time.monotonic() > next_word:
                say(
                    f"process {self._rank} is done; {wanted - there} of {wanted} still work. "
                    "If one was killed, stop the others: the same command goes on where they stopped."
                )
                next_word = time.monotonic() + NEXT_WORD
            time.sleep(POLL)

    def _say_goodbye(self, key: str) -> None:
        """The last word to the store; whether anybody still hears it does not matter."""
        with suppress(RuntimeError):
            self._store.add(key, 1)
