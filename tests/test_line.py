"""The demo's line: first come, first served, never too long, and left within a second whatever is being computed."""

import asyncio
import threading
import time
from contextlib import aclosing

import pytest
import torch
from standins import Repeat, make_model

from ssg_hub.demo.line import Line, Ticket
from ssg_hub.demo.refusals import Cancelled, Refused
from ssg_hub.upscaling.upscale import upscale


@pytest.fixture
def line():
    line = Line(size=2)
    yield line
    line.close()


class Slow(Repeat):
    """A generator of a hundred layers, each of which takes a tenth of a second: one tile takes ten."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList(Pause() for _ in range(100))
        self.began = threading.Event()

    def forward(self, lr):
        self.began.set()
        for layer in self.layers:
            lr = layer(lr)
        return super().forward(lr)


class Pause(torch.nn.Module):
    def forward(self, lr):
        time.sleep(0.1)
        return lr


def test_whoever_is_alone_waits_for_the_networks_and_for_nobody(line):
    pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")
    from ssg_hub.demo.results import progress_of

    gate, said = threading.Event(), []
    line.prepare(lambda: gate.wait(30))

    async def visitor() -> str:
        ticket = Ticket()
        async with aclosing(line.follow(lambda ticket: "done", ticket)) as moments:
            async for moment in moments:
                said.append(progress_of(moment, "en", 0, 1))
                gate.set()
        return ticket.result

    assert asyncio.run(visitor()) == "done" and said[0] == (None, "Preparing the networks")
    next_one = Ticket()
    next_one.before = 1
    assert progress_of(next_one, "en", 0, 1) == (None, "Waiting: you are next")


def test_pictures_are_served_in_order_and_know_their_place(line):
    gate, served, places = threading.Event(), [], {}

    def task(name):
        def work(ticket):
            gate.wait(30)
            served.append(name)
            return name

        return work

    async def visitor(name) -> str:
        ticket = Ticket()
        async with aclosing(line.follow(task(name), ticket)) as moments:
            async for moment in moments:
                places.setdefault(name, moment.before)
                if len(places) == 3:
                    gate.set()
        return ticket.result

    async def all_of_them():
        return await asyncio.gather(*map(visitor, "abc"))

    assert asyncio.run(all_of_them()) == ["a", "b", "c"] == served
    assert places == {"a": 0, "b": 1, "c": 2}


def test_a_ticket_that_is_served_while_its_place_is_looked_up_is_no_fault(line):
    gate = threading.Event()

    class Tickets(list):
        """Whoever finds a ticket in it goes on only when the worker has removed the ticket."""

        def __contains__(self, ticket):
            found = super().__contains__(ticket)
            gate.set()
            while super().__contains__(ticket):
                time.sleep(0.01)
            return found

    async def visitor() -> bool:
        ticket = Ticket()
        async with aclosing(line.follow(lambda ticket: gate.wait(30), ticket)) as moments:
            async for _ in moments:
                gate.set()
        return ticket.result

    line._tickets = Tickets()
    assert asyncio.run(visitor())


def test_one_visitor_too_many_is_refused_and_comes_in_when_another_has_left(line):
    with line.visit(), line.visit():
        with line.visit(), pytest.raises(Refused, match="busy"), line.visit():
            pass
        with line.visit():
            pass


def test_what_a_task_raises_comes_out_and_the_next_one_is_served(line):
    def broken(ticket):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(line.finish(broken, Ticket()))
    assert asyncio.run(line.finish(lambda ticket: 7, Ticket())) == 7


@pytest.mark.parametrize("way", ["cancel", "leave"])
def test_a_run_ends_within_a_second_also_before_its_first_tile(line, way):
    generator, ended = Slow(), []

    def work(ticket: Ticket):
        ticket.enter("upscaling")
        try:
            return upscale(make_model(generator), torch.rand(3, 20, 20), engine="torch", watch=ticket.watch)
        finally:
            ended.append(time.monotonic())

    async def visitor() -> float:
        ticket, stopped = Ticket(), 0.0
        async with aclosing(line.follow(work, ticket)) as moments:
            async for _ in moments:
                if generator.began.is_set() and not stopped:
                    stopped = time.monotonic()
                    if way == "leave":
                        break
                    ticket.stop()
        return stopped

    if way == "cancel":
        with pytest.raises(Cancelled):
            asyncio.run(visitor())
        began = time.monotonic()
    else:
        began = asyncio.run(visitor())
    asyncio.run(line.finish(lambda ticket: None, Ticket()))  # the next one is served
    assert ended[0] - began < 1


def test_a_ticket_that_is_stopped_while_it_waits_is_never_worked_at(line):
    gate, worked = threading.Event(), []

    async def visitors():
        first = asyncio.create_task(line.finish(lambda ticket: gate.wait(30), Ticket()))
        await asyncio.sleep(0.01)
        ticket = Ticket()
        second = asyncio.create_task(line.finish(worked.append, ticket))
        await asyncio.sleep(0.01)
        ticket.stop()
        with pytest.raises(Cancelled):
            await second
        gate.set()
        await first
        await line.finish(lambda ticket: None, Ticket())

    asyncio.run(visitors())
    assert worked == []
