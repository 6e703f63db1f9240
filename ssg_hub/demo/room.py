"""A room of the page: what the rooms for pictures and for clips do alike. A choice is looked at; a run works on it.

A visitor may choose others, cancel, or close the page at any moment. So what was looked at belongs to one choice, and
so does a run; what belongs to an earlier choice changes nothing on the page any more.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import anyio
import gradio as gr

from . import viewer
from .cache import Ledger, choice_of, has_files, owned_files
from .line import Line, Ticket
from .refusals import Cancelled, Refused, sentence_for
from .texts import language, text

AT_ONCE = 2  # pictures and clips that are looked at, beside the one that is upscaled
T = TypeVar("T")


class Looked(Protocol):
    """What is known of a choice, once it was looked at."""

    @property
    def of(self) -> Any:
        """The choice, as of `choice_of`."""


class Job(Protocol):
    """One run of what is chosen: what a room does in its own way."""

    def follow(self, ticket: Ticket) -> AsyncGenerator[dict, None]:
        """Do it; yields what the page shows meanwhile, by the names of the room's outputs.

        Raises:
            Cancelled: the ticket was stopped.
        """

    def summary(self) -> tuple[str, bool]:
        """After `follow` has come to its end: how the run ended, in words, and whether something failed."""

    def outcome(self) -> dict:
        """What else the page shows then, or when the run was cancelled or failed, by the names of the outputs."""


class Room:
    """One room: what its visitors have chosen, and their runs.

    Args:
        line: where the runs wait.
        ledger: of the cache.
        looking: bounds how many files are looked at at once, in all rooms together.
        outputs: what the events fill: names of components, among them "forecast", "status", "run" and "cancel".
        most: how many files may be chosen.
    """

    def __init__(self, line: Line, ledger: Ledger, looking: anyio.CapacityLimiter, outputs: tuple[str, ...], most: int):
        self.line, self.ledger, self.outputs, self.most = line, ledger, outputs, most
        self._looking = looking
        self._tickets: dict[str, Ticket] = {}  # of the runs in progress, by their visitors' sessions

    def files(self, picked: dict | None) -> list[str]:
        """The paths of the chosen files that are in the cache."""
        return owned_files(picked, self.ledger.folder, self.most)

    def fill(self, **values) -> tuple:
        """The values of the outputs; what is not given stays as it is."""
        return tuple(values.get(name, gr.skip()) for name in self.outputs)

    def clear(self, picked: dict | None, request: gr.Request, **values) -> tuple:
        """Others are chosen: end the run of those before, and take back what was said of them.

        Args:
            values: further outputs to take back.
        """
        if ticket := self._tickets.pop(request.session_hash, None):
            ticket.stop()
        return self.fill(
            forecast=self._reading(picked, language(request)),
            status="",
            run=gr.update(interactive=False),
            cancel=gr.update(visible=False),
            **values,
        )

    async def look(self, task: Callable[..., T], *values) -> T:
        """Call `task` with these values in a thread, and return its result; only so many at once."""
        return await anyio.to_thread.run_sync(task, *values, limiter=self._looking)

    def forecast(
        self,
        picked: dict | None,
        looked: Looked | None,
        request: gr.Request,
        expect: Callable[[str], tuple[str, bool]],
    ) -> tuple:
        """What pressing the button would give, and the button, which rests where that is nothing.

        Args:
            expect: what to expect of `looked`, in a language: a line, and whether any of it can be done.
        """
        lang, possible = language(request), False
        if is_of(looked, picked):
            words, possible = expect(lang)
        else:
            words = self._reading(picked, lang)
        return words, gr.skip() if request.session_hash in self._tickets else gr.update(interactive=possible)

    async def run(
        self,
        request: gr.Request,
        picked: dict | None,
        looked: Looked | None,
        begin: Callable[[list[str], str], Job],
    ) -> AsyncGenerator[tuple, None]:
        """Work on what is chosen; yields the values of the outputs as they come.

        A visitor has one run at a time: the page rests its button meanwhile, and a press that comes all the same, such
        as a program's or a message that the network sent twice, is refused, so that it costs nobody the run.

        Args:
            begin: makes the job, of the paths and the visitor's language; Refused where there is nothing to do.
        """
        lang, session, paths = language(request), request.session_hash, self.files(picked)
        if not is_of(looked, picked):  # the press was faster than the look at them, or the server is another by now
            yield self.fill(status=self._gone(lang)) if has_files(picked) and not paths else self.fill()
            return
        try:
            job = begin(paths, lang)
            if session in self._tickets:
                raise Refused("running")
        except Refused as refusal:
            yield self.fill(status=viewer.status_line(sentence_for(refusal, None, lang), alarm=True))
            return
        ticket = self._tickets[session] = Ticket()
        alarm = False
        try:
            with self.line.visit(), self.ledger.keep(*paths):
                yield self.fill(run=gr.update(interactive=False), cancel=gr.update(visible=True))
                async with aclosing(_changes(job.follow(ticket))) as shown:
                    async for values in shown:
                        yield self.fill(**values)
            words, alarm = job.summary()
        except Cancelled:
            words = text("cancelled", lang)
        except Exception as error:
            words, alarm = sentence_for(error, paths[0], lang), True
        finally:
            ticket.stop()
            current = self._tickets.get(session) is ticket
            if current:
                del self._tickets[session]
        if not current:  # others have been chosen, and the page now shows those
            yield self.fill()  # Gradio repeats what came last when a generator ends: this time, nothing
            return
        yield self.fill(
            status=viewer.status_line(words, alarm=alarm),
            run=gr.update(interactive=True),
            cancel=gr.update(visible=False),
            **job.outcome(),
        )

    def cancel(self, request: gr.Request) -> None:
        """Stop this visitor's run."""
        if ticket := self._tickets.get(request.session_hash):
            ticket.stop()

    def _reading(self, picked: dict | None, lang: str) -> str:
        """The forecast while files are looked at, or where there are none any more."""
        if self.files(picked):
            return viewer.status_line(text("looking", lang))
        return self._gone(lang) if has_files(picked) else ""

    @staticmethod
    def _gone(lang: str) -> str:
        return viewer.status_line(text("gone", lang), alarm=True)


def is_of(looked: Looked | None, picked: dict | None) -> bool:
    """Whether this is what is known of the present choice, and not of one before."""
    return looked is not None and looked.of == choice_of(picked)


async def _changes(moments: AsyncGenerator[dict, None]) -> AsyncGenerator[dict, None]:
    """Leave out what is the same as just before."""
    last = None
    async with aclosing(moments):
        async for moment in moments:
            if moment != last:
                yield moment
            last = moment
