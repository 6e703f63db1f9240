"""The queue of all pictures: one thread works through it, and each ticket says how far its picture is."""

import asyncio
import contextlib
import contextvars
import gc
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ..processes.memory import give_memory_back
from ..upscaling.progress import Progress
from .refusals import Cancelled, Refused

TICK = 0.2  # seconds between two checks of a ticket


class Ticket:
    """One picture on its way.

    Attributes:
        before: how many others are served first.
        progress: how far it is. Its stage is "waiting", "writing", or one of those of `upscale`.
        result: what its last task returned.
    """

    def __init__(self):
        self.before, self.progress, self.result = 0, Progress("waiting"), None
        self._stop = threading.Event()

    def stop(self) -> None:
        """This picture is no longer wanted: the work on it ends at the next `check`."""
        self._stop.set()

    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise Cancelled when stopped."""
        if self.stopped():
            raise Cancelled

    def enter(self, stage: str) -> None:
        """Begin a stage, unless stopped."""
        self.watch(Progress(stage))

    def watch(self, progress: Progress) -> None:
        """Note how far it is, unless stopped; `upscale` calls this."""
        self.check()
        self.progress = progress


class Line:
    """Everybody's pictures, one at a time, first come, first served.

    Args:
        size: how many visitors may wait while one is served.
    """

    def __init__(self, size: int):
        self.size = size
        self._visitors = 0
        self._tickets: list[Ticket] = []
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ssg-line")

    @contextlib.contextmanager
    def visit(self) -> Iterator[None]:
        """Take a place in the queue; inside, any number of pictures may be handed in, one by one.

        Raises:
            Refused: too many are here already.
        """
        if self._visitors > self.size:
            raise Refused("busy")
        self._visitors += 1
        try:
            yield
        finally:
            self._visitors -= 1

    def hand_in(self, task: Callable[[Ticket], Any], ticket: Ticket) -> Future:
        """Put a task at the end of the line; its future has what it returns."""
        ticket.enter("waiting")
        self._tickets.append(ticket)
        # With the request's context: on ZeroGPU it says whose GPU time this is.
        return self._worker.submit(contextvars.copy_context().run, self._serve, task, ticket)

    def prepare(self, task: Callable[[], Any]) -> None:
        """Do what is nobody's picture, such as a first small run, before what is handed in later."""
        self._worker.submit(task).add_done_callback(lambda done: give_memory_back())

    async def follow(self, task: Callable[[Ticket], Any], ticket: Ticket) -> AsyncGenerator[Ticket, None]:
        """Hand in a task and yield its ticket every moment until it is done. Closed before that, it stops the ticket.

        A ticket may go with several tasks, one after the other.

        Raises:
            Cancelled: the ticket was stopped. This does not wait until the worker has noticed.
        """
        future = asyncio.wrap_future(self.hand_in(task, ticket))
        try:
            while not future.done():
                ticket.check()
                waiting = list(self._tickets)  # the worker removes tickets meanwhile
                ticket.before = waiting.index(ticket) if ticket in waiting else 0
                yield ticket
                await asyncio.wait([future], timeout=TICK)
            ticket.result = future.result()
        finally:
            if not future.done():
                ticket.stop()
            future.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else asks for it

    async def finish(self, task: Callable[[Ticket], Any], ticket: Ticket) -> Any:
        """Hand in a task and return its result; like `follow` without the tickets."""
        async with contextlib.aclosing(self.follow(task, ticket)) as moments:
            async for _ in moments:
                pass
        return ticket.result

    def others_wait(self) -> bool:
        """Whether somebody waits behind what is being served."""
        return len(self._tickets) > 1

    def close(self) -> None:
        """End the worker and its current task."""
        for ticket in list(self._tickets):
            ticket.stop()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _serve(self, task: Callable[[Ticket], Any], ticket: Ticket) -> Any:
        try:
            ticket.check()
            return task(ticket)
        finally:
            self._tickets.remove(ticket)
            give_memory_back()


def settle() -> None:
    """What is in memory now, such as libraries and models, stays: later collections need not look through it."""
    gc.collect()
    gc.freeze()
