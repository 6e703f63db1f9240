"""What happens on each event of the room for clips, and the endpoint for programs.

A clip waits in the same line as the pictures, in the same cache, behind the same limits. The player's value:

    state, message   "empty", "chosen", "done" or "failed"; a sentence instead of a picture
    name, width, height, rate    of the clip
    poster           address of its first frame
    before, after    addresses of the clips that are compared
    facts, notes     sentences on how it was made
    downloads        [{key, url, name}]
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import gradio as gr

from . import viewer
from .archive import FILES
from .cache import Ledger, choice_of
from .clip_work import ClipRequest, ClipRun, Plan, clip_facts, plan
from .line import Line, Ticket
from .refusals import Refused, plain_errors, sentence_for
from .results import file_url, waiting
from .room import Room, is_of
from .settings import DEFAULT
from .texts import duration, language, text
from .workshop import Workshop

OUTPUTS = ("player", "forecast", "status", "run", "cancel")
EMPTY = {"state": "empty"}


@dataclass(frozen=True)
class Looked:
    """What is known of a clip that was chosen. It stays on the server.

    Attributes:
        of: the choice.
        value: the player's.
        facts: as of `clip_facts`; None where it is no clip.
    """

    of: Any
    value: dict = field(default_factory=lambda: EMPTY)
    facts: dict | None = None


@dataclass
class ClipJob:
    """The run of a visitor's clip; see `room.Job`.

    Args:
        work: of the clip.
        lang: of the visitor.
    """

    work: ClipRun
    lang: str
    _player: dict | None = field(default=None, init=False)

    async def follow(self, ticket: Ticket) -> AsyncGenerator[dict, None]:
        """Upscale the clip, step after step."""
        async with aclosing(_steps(self.work, ticket)) as moments:
            async for _ in moments:
                yield {"status": viewer.status_line(*_progress(ticket, self.work, self.lang))}
        self._player = _result(self.work, self.lang)

    def summary(self) -> tuple[str, bool]:
        """How long it took, in words; nothing failed."""
        return text("finished", self.lang, seconds=duration(self.work.report["seconds"], self.lang)), False

    def outcome(self) -> dict:
        """The result, if there is one."""
        return {"player": self._player} if self._player else {}


class ClipHandlers:
    """The events of the room for clips over one `Workshop`.

    Args:
        workshop: the models.
        line, ledger, looking: as for `Room`.
    """

    def __init__(self, workshop: Workshop, line: Line, ledger: Ledger, looking: anyio.CapacityLimiter):
        self.workshop, self.line, self.ledger, self.settings = workshop, line, ledger, workshop.settings
        self.room = Room(line, ledger, looking, OUTPUTS, most=1)

    def clear(self, picked: dict | None, request: gr.Request) -> tuple:
        """Another clip is chosen: end the run of the one before, and take back what was said of it."""
        return self.room.clear(picked, request)

    async def look(self, picked: dict | None, request: gr.Request) -> Looked:
        """Look at what is chosen. It takes a moment, so that it reads nothing that may be changed meanwhile."""
        paths, of = self.room.files(picked), choice_of(picked)
        if not paths:
            return Looked(of)
        return await self.room.look(self._look, paths[0], of, language(request))

    def show(self, picked: dict | None, looked: Looked) -> tuple:
        """Show the first frame of the clip that was looked at."""
        if not is_of(looked, picked):  # another has been chosen meanwhile, and will be shown
            return self.room.fill()
        return self.room.fill(player=looked.value)

    def forecast(
        self, picked: dict | None, looked: Looked | None, outscale: float, start: float, request: gr.Request
    ) -> tuple:
        """What pressing the button would give; the button rests where that is nothing."""

        def expect(lang: str) -> tuple[str, bool]:
            return self._forecast(looked, outscale, start, lang)

        return self.room.forecast(picked, looked, request, expect)

    async def run(
        self,
        request: gr.Request,
        picked: dict | None,
        looked: Looked | None,
        outscale: float,
        start: float,
        denoise: float,
        steady: bool,
    ) -> AsyncIterator[tuple]:
        """Upscale the chosen clip; yields the values of OUTPUTS as they come."""

        def begin(paths: list[str], lang: str) -> ClipJob:
            if not paths:
                raise Refused("gone" if looked.facts else "need_clip")
            wanted = ClipRequest(
                outscale,
                start or 0,
                temporal="auto" if steady else "off",
                denoise=denoise if self.workshop.denoise(DEFAULT) is not None else None,
            )
            return ClipJob(self._work(paths[0], DEFAULT, wanted, compared=True), lang)

        async with aclosing(self.room.run(request, picked, looked, begin)) as shown:
            async for each in shown:
                yield each

    async def upscale_clip(
        self,
        clip: str,
        outscale: float = 2.0,
        start: float = 0.0,
        duration: float | None = None,
        temporal: str = "auto",
        codec: str = "h264",
        model: str = DEFAULT,
        denoise: float | None = None,
        request: gr.Request = None,
    ) -> tuple[str, dict]:
        """Upscale a short clip; its sound is kept. Every frame is an estimate, not evidence: plates, faces and text may
        be invented.

        Args:
            clip: the clip (MP4, MOV, WebM, MKV, AVI, TS); the server takes a few seconds of it.
            outscale: how many times larger, for instance 2 or 4.
            start: where to begin, in seconds.
            duration: how many seconds; null is as many as the server takes.
            temporal: auto averages along the motion, so that noise does not flicker; off takes each frame by itself.
            codec: h264, hevc or av1.
            model: one of the models that this server offers; "large" is for pictures only.
            denoise: from 0 (keep the grain) to 1 (remove it), where the model has that choice; null is its default.

        Returns:
            The upscaled clip (MP4), and a report with sizes, frames and time.
        """
        wanted = ClipRequest(outscale, start, duration, temporal, codec, denoise)
        with plain_errors(clip, "en"), self.line.visit(), self.ledger.keep(clip):
            if self.settings.is_large(model):
                raise Refused("clips_are_fast", name=DEFAULT)
            await self.workshop.load(model)
            work = self._work(clip, model, wanted, compared=False)
            async with aclosing(_steps(work, Ticket())) as moments:
                async for _ in moments:
                    pass
            return str(work.target), work.report

    def cancel(self, request: gr.Request) -> None:
        """Stop this visitor's run; also when the page is closed."""
        self.room.cancel(request)

    def _work(self, path: str, model: str, wanted: ClipRequest, compared: bool) -> ClipRun:
        return ClipRun(self.workshop, self.line, self.ledger, path, model, wanted, compared)

    def _look(self, path: str, of: Any, lang: str) -> Looked:
        """A clip that was chosen: its header, and a picture of its first frame."""
        name = Path(path).name
        try:
            facts = clip_facts(path, self.settings)
            preview = facts.pop("preview")
            url = None
            if preview:
                with self.ledger.new_folder(len(preview)) as folder:
                    (folder / "first.webp").write_bytes(preview)
                url = file_url(folder / "first.webp")
        except Exception as error:
            return Looked(of, {"state": "failed", "name": name, "message": sentence_for(error, path, lang)})
        return Looked(of, {"state": "chosen", "name": name, "poster": url, **facts}, facts)

    def _forecast(self, looked: Looked, outscale: float, start: float, lang: str) -> tuple[str, bool]:
        """One line: what to expect, or why it would be refused; and whether it can be done."""
        if looked.facts is None:
            message = looked.value.get("message")
            return viewer.status_line(f"⚠️ {message}" if message else "", alarm=True), False
        try:
            made = plan(looked.facts, ClipRequest(outscale, start or 0), self.settings)
        except Exception as error:
            return viewer.status_line(f"⚠️ {sentence_for(error, None, lang)}", alarm=True), False
        words = _expectations(looked.facts, made, self._pace(looked.facts, outscale), lang)
        return viewer.status_line(" · ".join(words)), True

    def _pace(self, facts: dict, outscale: float) -> float | None:
        """About how many seconds a frame takes; None while nothing is known of this machine."""
        size = facts["width"], facts["height"]
        alone = self.workshop.predict(DEFAULT, None, size, outscale, segment=False).seconds
        return alone if alone is not None else self.workshop.predict(DEFAULT, None, size, outscale).seconds


async def _steps(work: ClipRun, ticket: Ticket) -> AsyncGenerator[Ticket, None]:
    """Hand in step after step; yields the ticket every moment."""
    try:
        while not work.done:
            async with aclosing(work.line.follow(work.step, ticket)) as moments:
                async for _ in moments:
                    yield ticket
    finally:
        # In the line's thread, which may still be busy with the step that was given up.
        work.line.hand_in(lambda _: work.close(), Ticket())


def _expectations(facts: dict, made: Plan, pace: float | None, lang: str) -> list[str]:
    size = {"w": facts["width"], "h": facts["height"], "ow": made.size[0], "oh": made.size[1]}
    parts = [text("clip_forecast", lang, **size, frames=made.frames)]
    if made.cut and facts["seconds"]:
        whole = duration(facts["seconds"], lang)
        parts.append(text("clip_cut", lang, seconds=duration(made.duration, lang), whole=whole))
    if pace is not None:
        parts.append(text("about", lang, seconds=duration(pace * made.frames, lang)))
    return parts


def _progress(ticket: Ticket, work: ClipRun, lang: str) -> tuple[str, float | None]:
    """In words, and the share that is done (None while the clip waits)."""
    now = ticket.progress
    if now.stage == "waiting" or ticket.before:
        if work.plan is not None:
            return text("clip_gives_way", lang), None
        return waiting(ticket, lang), None
    if now.stage != "clip_upscaling":
        return text(now.stage, lang), 0.0
    words = [text("clip_frame", lang, done=min(now.tiles_done + 1, now.tiles), total=now.tiles)]
    if now.seconds_left is not None and now.seconds_left >= 1:
        words.append(text("left_over", lang, seconds=duration(round(now.seconds_left), lang)))
    return " · ".join(words), now.fraction


def _result(work: ClipRun, lang: str) -> dict:
    """The player's value for a finished clip; its report is written beside it."""
    report = work.folder / FILES / f"{work.target.stem}_report.json"
    report.write_text(json.dumps(work.report, indent=2, ensure_ascii=False), encoding="utf-8")
    made = work.report
    facts = text(
        "clip_facts",
        lang,
        w=made["output"]["width"],
        h=made["output"]["height"],
        frames=made["frames"],
        seconds=duration(made["seconds"], lang),
        reused=f"{made['reused']:.0%}",
    )
    downloads = [("get_clip", work.target), ("get_report", report)]
    return {
        "state": "done",
        "name": Path(work.path).name,
        **made["output"],
        "rate": made["input"]["fps"],
        "before": file_url(work.before),
        "after": file_url(work.target),
        "titles": [text("bicubic", lang), text("after", lang)],
        "facts": facts,
        "notes": made["notes"],
        "downloads": [{"key": key, "url": file_url(path), "name": path.name} for key, path in downloads],
    }
