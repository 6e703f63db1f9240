"""What both rooms of the page do alike: which choice a run belongs to, who ends it, and what the page is told."""

import asyncio
import errno
import os
import threading
from contextlib import aclosing, contextmanager
from types import SimpleNamespace

import pytest

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")

import anyio  # noqa: E402

from ssg_hub.demo import line as line_module  # noqa: E402
from ssg_hub.demo.cache import Ledger  # noqa: E402
from ssg_hub.demo.clip_handlers import ClipHandlers, ClipJob, Looked  # noqa: E402
from ssg_hub.demo.line import Line, Ticket  # noqa: E402
from ssg_hub.demo.picture_handlers import PictureHandlers  # noqa: E402
from ssg_hub.demo.picture_work import Made, PicturesJob  # noqa: E402
from ssg_hub.demo.refusals import Refused  # noqa: E402
from ssg_hub.demo.room import Room  # noqa: E402
from ssg_hub.demo.settings import Settings  # noqa: E402
from ssg_hub.demo.viewer import status_line  # noqa: E402
from ssg_hub.errors import SSGError  # noqa: E402

PATIENCE = 30  # seconds; only the slowest machine needs them
OUTPUTS = ("picture", "forecast", "status", "run", "cancel")
VISITOR, OTHER = (SimpleNamespace(session_hash=name, headers={}) for name in ("visitor", "other"))
REST, READY = gr.update(interactive=False), gr.update(interactive=True)
HIDDEN, SHOWN = gr.update(visible=False), gr.update(visible=True)
BUTTONS = {"run": REST, "cancel": SHOWN}  # during a run
LOOKED = SimpleNamespace(of=1)


class Work:
    """A job whose work goes on until it is let go."""

    def __init__(self, line: Line, error: Exception | None = None):
        self.line, self.error = line, error
        self.began, self.release = threading.Event(), threading.Event()
        self.ticket: Ticket | None = None

    async def follow(self, ticket: Ticket):
        self.ticket = ticket
        yield {"picture": "waiting"}
        async with aclosing(self.line.follow(self._work, ticket)) as moments:
            async for _ in moments:
                yield {"status": "at work"}

    def summary(self) -> tuple[str, bool]:
        return "Done", False

    def outcome(self) -> dict:
        return {"picture": "result"}

    def _work(self, ticket: Ticket) -> None:
        self.began.set()
        self.release.wait(PATIENCE)
        if self.error:
            raise self.error


class Bench:
    """A room with one file in its cache, which is chosen."""

    def __init__(self, folder):
        self.line, self.ledger = Line(1), Ledger(folder, 10**6)
        self.path = folder / "mine.png"
        self.path.write_bytes(b"a picture")
        self.picked = {"files": [{"path": str(self.path)}], "of": 1}
        self.room = Room(self.line, self.ledger, anyio.CapacityLimiter(1), OUTPUTS, most=1)
        self.works: list[Work] = []

    def work(self, error: Exception | None = None) -> Work:
        self.works.append(Work(self.line, error))
        return self.works[-1]

    def run(self, work: Work, looked=LOOKED):
        return self.room.run(VISITOR, self.picked, looked, lambda paths, lang: work)

    def is_free(self) -> bool:
        """Whether nothing is left of a run: no place in the line, no file kept, no button at rest."""
        with self.line.visit(), self.line.visit():
            return not self.ledger.kept and self.button() == READY

    def button(self):
        return self.room.forecast(self.picked, LOOKED, VISITOR, lambda lang: ("", True))[1]

    def close(self) -> None:
        for work in self.works:
            work.release.set()
        self.line.close()


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(line_module, "TICK", 0.01)
    monkeypatch.setattr(line_module, "give_memory_back", lambda: None)  # takes a second where much is imported
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def said(values: tuple, names: tuple = OUTPUTS) -> dict:
    """What an event changes on the page."""
    return {name: value for name, value in zip(names, values, strict=True) if value != gr.skip()}


async def told(run, names: tuple = OUTPUTS) -> list[dict]:
    """What a run changes on the page, to its end."""
    return [said(values, names) async for values in run]


def ended(words: str, alarm: bool = False) -> dict:
    return {"status": status_line(words, alarm=alarm), "run": READY, "cancel": HIDDEN, "picture": "result"}


@contextmanager
def full(line: Line):
    with line.visit(), line.visit():
        yield


async def begun(run, work: Work) -> asyncio.Task:
    """A run whose work goes on."""
    task = asyncio.create_task(told(run))
    assert await asyncio.to_thread(work.began.wait, PATIENCE)
    return task


def test_a_run_rests_the_button_says_what_is_new_once_and_gives_the_result(bench):
    work, moments = bench.work(), []
    follow = work.follow

    async def counted(ticket):
        async with aclosing(follow(ticket)) as all_of_them:
            async for moment in all_of_them:
                moments.append(moment)
                if len(moments) == 4:
                    assert bench.ledger.kept == [bench.path.resolve()] and bench.button() == gr.skip()
                    work.release.set()
                yield moment

    work.follow = counted
    page = asyncio.run(told(bench.run(work)))
    assert page == [BUTTONS, {"picture": "waiting"}, {"status": "at work"}, ended("Done")]
    assert len(moments) >= 4 and bench.is_free()


@pytest.mark.parametrize("looked", [None, SimpleNamespace(of=0)], ids=["nothing", "an earlier choice"])
def test_a_press_before_the_look_does_nothing(bench, looked):
    run = bench.room.run(VISITOR, bench.picked, looked, lambda paths, lang: pytest.fail("it began"))
    assert asyncio.run(told(run)) == [{}] and bench.is_free()


def test_where_there_is_nothing_to_do_it_is_said_and_a_run_in_progress_goes_on(bench):
    def begin(paths: list[str], lang: str) -> Work:
        assert paths == []
        raise Refused("need_picture")

    async def visit() -> list[dict]:
        run = await begun(bench.run(work), work)
        refused = await told(bench.room.run(VISITOR, {"of": 1}, LOOKED, begin))
        assert not work.ticket.stopped()
        work.release.set()
        assert (await run)[-1] == ended("Done")
        return refused

    work = bench.work()
    (page,) = asyncio.run(visit())
    assert list(page) == ["status"] and 'role="alert"' in page["status"]


def test_a_second_press_is_refused_and_the_first_run_goes_on_and_can_be_cancelled(bench):
    async def visit() -> list[list[dict]]:
        run = await begun(bench.run(first), first)
        refused = await told(bench.run(second))
        assert not first.ticket.stopped() and second.ticket is None
        bench.room.cancel(VISITOR)
        assert first.ticket.stopped(), "the run could no longer be cancelled"
        return [refused, await run]

    first, second = bench.work(), bench.work()
    (page,), run = asyncio.run(visit())
    assert list(page) == ["status"] and "in progress" in page["status"] and 'role="alert"' in page["status"]
    assert run[-1] == ended("Cancelled.") and bench.is_free()


def test_a_run_that_is_cancelled_says_so_while_its_work_goes_on(bench):
    async def visit() -> list[dict]:
        run = await begun(bench.run(work), work)
        bench.room.cancel(OTHER)
        assert not work.ticket.stopped(), "another visitor has cancelled it"
        bench.room.cancel(VISITOR)
        return await run

    work = bench.work()
    assert asyncio.run(visit())[-1] == ended("Cancelled.") and bench.is_free()


def test_a_run_that_is_cancelled_while_it_waits_is_never_worked_on(bench):
    async def visit() -> list[dict]:
        before = asyncio.wrap_future(bench.line.hand_in(first._work, Ticket()))
        page = []
        async for values in bench.run(work):
            page.append(said(values))
            if page[-1] == {"status": "at work"}:
                bench.room.cancel(VISITOR)
        first.release.set()
        await before
        await bench.line.finish(lambda ticket: None, Ticket())
        return page

    first, work = bench.work(), bench.work()
    assert asyncio.run(visit())[-1] == ended("Cancelled.")
    assert not work.began.is_set() and bench.is_free()


def caused(sentence: str, cause: Exception) -> SSGError:
    error = SSGError(sentence)
    error.__cause__ = cause
    return error


def of_the_disk(number: int) -> SSGError:
    """As the library has it: with the place where the server writes, and advice for its owner."""
    place = "{path}.parts cannot be written: make room, and give the same command again."
    return caused(place, OSError(number, os.strerror(number)))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused("no_room"), "no room"),
        (SSGError("{path} is damaged."), "mine.png is damaged."),
        (caused("{path} is damaged.", OSError("image file is truncated")), "mine.png is damaged."),
        (ZeroDivisionError("{path}"), "Something went wrong"),
        (of_the_disk(errno.ENOSPC), "no room"),
        (of_the_disk(errno.EIO), "Something went wrong"),
        (OSError(errno.ENOSPC, "No space left on device", "{path}"), "no room"),
    ],
)
def test_whatever_fails_is_a_sentence_and_the_button_is_back(bench, error, words):
    error.args = tuple(each.format(path=bench.path) if isinstance(each, str) else each for each in error.args)
    work = bench.work(error)
    work.release.set()
    page = asyncio.run(told(bench.run(work)))[-1]
    assert words in page["status"] and 'role="alert"' in page["status"] and str(bench.path.parent) not in page["status"]
    assert page == ended("") | {"status": page["status"]} and bench.is_free()


def test_one_visitor_too_many_is_told_and_may_press_again(bench):
    with full(bench.line):
        (page,) = asyncio.run(told(bench.run(bench.work())))
    assert "Too many" in page["status"] and page == ended("") | {"status": page["status"]} and bench.is_free()


def test_another_choice_ends_the_run_which_then_changes_nothing_on_the_page(bench):
    async def visit() -> list[list[dict]]:
        run = await begun(bench.run(first), first)
        cleared = said(bench.room.clear(bench.picked, VISITOR, picture="none"))
        assert cleared == {"forecast": status_line("Reading…"), "status": "", "run": REST, "cancel": HIDDEN} | {
            "picture": "none"
        }
        assert first.ticket.stopped()
        following = asyncio.create_task(told(bench.run(second)))
        before = await run
        assert bench.button() == gr.skip(), "the end of the former run let the button go"
        first.release.set()
        assert await asyncio.to_thread(second.began.wait, PATIENCE)
        bench.room.cancel(VISITOR)
        return [before, await following]

    first, second = bench.work(), bench.work()
    before, following = asyncio.run(visit())
    assert before == [BUTTONS, {"picture": "waiting"}, {"status": "at work"}, {}], "Gradio would repeat the status"
    assert following[-1] == ended("Cancelled.") and bench.is_free()


def test_another_choice_counts_also_when_the_work_has_just_ended(bench):
    work = bench.work()
    work.release.set()
    work.summary = lambda: (bench.room.clear(bench.picked, VISITOR) and "Done", False)
    assert asyncio.run(told(bench.run(work)))[-1] == {} and bench.is_free()


@pytest.mark.parametrize("way", ["closed at first", "closed at a moment", "given up in between"])
def test_of_a_run_that_nobody_waits_for_nothing_is_left(bench, way):
    async def visit() -> None:
        if way == "given up in between":
            run = await begun(bench.run(work), work)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            return
        async with aclosing(bench.run(work)) as run:
            async for values in run:
                if said(values) == ({"picture": "waiting"} if way == "closed at first" else {"status": "at work"}):
                    break

    work = bench.work()
    asyncio.run(visit())
    assert work.ticket.stopped() and bench.is_free()


def test_the_forecast_is_of_the_present_choice(bench):
    def forecast(picked: dict, looked) -> tuple:
        return bench.room.forecast(picked, looked, VISITOR, lambda lang: (f"possible, {lang}", True))

    assert forecast(bench.picked, LOOKED) == ("possible, en", READY)
    for looked in (None, SimpleNamespace(of=0)):
        assert forecast(bench.picked, looked) == (status_line("Reading…"), REST)
        assert forecast({"files": [], "of": 1}, looked) == ("", REST)


class Place:
    """Handlers of one of the two rooms, with what its events take."""

    def __init__(self, kind: str, bench: Bench):
        shop = SimpleNamespace(settings=Settings(), denoise=lambda name: None)
        shared = shop, bench.line, bench.ledger, anyio.CapacityLimiter(1)
        if kind == "pictures":
            self.handlers, self.job = PictureHandlers(*shared), PicturesJob
            self.looked, self.nothing = Made(1, [{"name": "mine.png", "state": "chosen"}]), Made(1, [])
            self.values = ("default", "", 4, 1.0, {}, None, False, True, "auto", "png", 90, "cpu")
            self.results, self.need, self.shown_at = ["viewer", "made", "classes"], "no picture yet", [4]
        else:
            self.handlers, self.job = ClipHandlers(*shared), ClipJob
            self.looked, self.nothing = Looked(1, {"state": "chosen"}, {"width": 9}), Looked(1)
            self.values = (2, 0, None, True)
            self.results, self.need, self.shown_at = [], "no clip yet", []

    def run(self, picked: dict, looked):
        return self.handlers.run(VISITOR, picked, looked, *self.values)

    def told(self, picked: dict, looked) -> list[dict]:
        return asyncio.run(told(self.run(picked, looked), self.handlers.room.outputs))


@pytest.fixture(params=["pictures", "clips"])
def place(request, bench) -> Place:
    return Place(request.param, bench)


def test_each_room_keeps_to_the_present_choice(place, bench, monkeypatch):
    handlers, meanwhile = place.handlers, []

    async def follow(job, ticket: Ticket):
        yield {"status": "at work"}
        meanwhile.pop()()
        ticket.check()

    monkeypatch.setattr(place.job, "follow", follow)
    meanwhile.append(lambda: handlers.cancel(VISITOR))
    *_, page = place.told(bench.picked, place.looked)
    assert "Cancelled" in page["status"] and sorted(page) == sorted(["status", "run", "cancel", *place.results])
    meanwhile.append(lambda: handlers.clear({"of": 2}, VISITOR))
    assert place.told(bench.picked, place.looked) == [BUTTONS, {"status": "at work"}, {}]
    assert place.told(bench.picked | {"of": 2}, place.looked) == [{}]
    shown = handlers.show({"of": 2}, place.looked, *place.shown_at)
    assert said(shown, handlers.room.outputs) == {}


def test_each_room_says_what_is_missing(place, bench):
    (page,) = place.told({"of": 1}, place.nothing)
    assert list(page) == ["status"] and place.need in page["status"]
    bench.path.unlink()
    (page,) = place.told(bench.picked, place.looked)
    assert list(page) == ["status"] and "no longer" in page["status"]


def test_what_the_viewer_was_told_stays_as_it_was_told():
    made = Made(1, [{"name": "a", "state": "chosen"}])
    before = made.value()
    made.items[0] = {"name": "a", "state": "done"}
    assert before["items"] == made.looked == [{"name": "a", "state": "chosen"}]
