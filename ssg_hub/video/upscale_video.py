"""Upscaling a clip: decoded, steadied, upscaled and encoded as a stream, in segments that survive a kill."""

import contextlib
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from PIL import Image

from ..errors import VideoError, check_type
from ..images.picture import Picture
from ..images.writing import write_picture
from ..upscaling.options import output_size
from ..upscaling.result import UpscaleResult
from ..upscaling.setup import HONESTY, Networks
from ..upscaling.upscale import upscale
from .clip import Clip
from .encoding import StreamWriter
from .frames import Frame, are_even
from .job import Job, Request, describe_job, plan_job
from .joining import join
from .names import is_pattern, name_picture
from .parts import Parts, Segment, explained
from .sequences import PictureSequence
from .steady import Steady
from .stills import Stills, can_reuse

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class VideoResult:
    """A finished clip.

    Args:
        path: the file, or the pattern of the pictures.
        companions: "mask", "drift", "overlay" → file or pattern, as far as asked for.
        report: how it was made, as JSON holds it: frames, sizes, seconds, the share that was reused, `notes`.
    """

    path: Path
    companions: dict[str, Path]
    report: dict


def upscale_video(
    model: Networks,
    source: str | os.PathLike,
    target: str | os.PathLike,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    on_segment: Callable[[], None] | None = None,
    **options: Any,
) -> VideoResult:
    """Enlarge a clip, in memory that does not grow with its length.

    Sound, subtitles, data tracks, chapters and metadata are copied; time stamps are kept exactly. An interrupted run
    leaves its finished segments in TARGET.parts; the same call continues from them, with the same frames.

    Args:
        model: as for `ssg_hub.upscaling.upscale.upscale`.
        source, target, options: see `ssg_hub.video.job.Request`; and, for each frame,
            `ssg_hub.upscaling.options.Options`, all but `segment`.
        overwrite: replace results that exist, of a pattern all numbers, and forget what another request has begun.
        on_progress: called with (frames done, frames in all as far as known) after each. An exception ends the run.
        on_segment: called after each finished segment, of which an exception loses nothing.

    Raises:
        VideoError: the clip cannot be read, or the result not be written.
        ConfigError: an option is unknown or impossible.
        SSGError: as `upscale`.
    """
    started = time.perf_counter()
    for name, function in (("on_progress", on_progress), ("on_segment", on_segment)):
        check_type(name, function, (Callable, NoneType), "a function")
    job = plan_job(model, Request.gather(source, target, **options), overwrite)
    with explained(job.request.target.parent):
        job.request.target.parent.mkdir(parents=True, exist_ok=True)
    patterns = [output.path for output in job.outputs if not output.encoding]
    parts = Parts(job.request.target, describe_job(job), overwrite, patterns)
    try:
        before = parts.frames
        run = Run(model, job, parts, on_progress or (lambda done, total: None))
        while run.make_segment():
            if on_segment is not None:
                on_segment()
        run.check()
        notes = _finish(job, parts)
        if overwrite:
            parts.remove_older_pictures()
    except BaseException:
        parts.release()
        raise
    report = _report(job, parts, before, time.perf_counter() - started)
    report["notes"] += [*run.notes, *notes]
    parts.remove()
    return VideoResult(job.request.target, {output.track: output.path for output in job.outputs[1:]}, report)


def state_bytes(size: tuple[int, int], outscale: float) -> int:
    """Most bytes of the arrays that a steadied clip keeps in TARGET.parts from one segment to the next.

    Those of the last two segments lie there: twice as many. For a clip of 8 bits a channel it is about two thirds.

    Args:
        size: width and height of a frame of the clip.
        outscale: as for `upscale`.
    """
    pixels = math.prod(size)
    return Steady.most_bytes(pixels) + Stills.most_bytes(pixels, math.prod(output_size(size, outscale)))


class Run:
    """The computing of what is not done yet, segment by segment.

    Args:
        model: generator and guide.
        job: what is made.
        parts: where finished segments go.
        on_progress: as for `upscale_video`.

    Attributes:
        notes: about what the format of numbered pictures could not hold; each once.
    """

    def __init__(self, model: Networks, job: Job, parts: Parts, on_progress: OnProgress):
        self.model, self.job, self.parts, self.on_progress = model, job, parts, on_progress
        request = job.request
        self.notes: dict[str, None] = {}
        self.steady = Steady() if request.temporal == "auto" else None
        ratio = can_reuse(job.source.facts.size, request.picture.outscale)
        reuses = self.steady is not None and not request.companions and ratio is not None
        self.stills = Stills(lambda lr: self._upscale(lr).picture.values, ratio) if reuses else None
        self._restore(parts.state())
        self._frames = job.source.frames(skip=parts.frames)
        self._tell()

    def make_segment(self) -> bool:
        """Make the next segment; False when there was nothing left for it."""
        reused = self.stills.reused if self.stills else 0.0
        with explained(self.parts.folder), contextlib.ExitStack() as open_streams:
            frames = islice(self._frames, self.job.request.frames_at_once)
            first = next(frames, None)
            if first is None:
                return False
            number = len(self.parts.segments)
            writers = {
                output.track: open_streams.enter_context(
                    StreamWriter(self.parts.place(number, output.track), output.encoding)
                )
                for output in self.job.outputs
                if output.encoding
            }
            pictures, shown = [], []
            for count, frame in enumerate(chain([first], frames), start=1):
                pictures.append(self._number(frame, count))
                shown.append(frame.pts)
                self._write_frame(frame, pictures[-1], writers)
                self._tell(count)
        stamps = {track: writer.stamps for track, writer in writers.items()}
        facts = {"reused": self.stills.reused - reused if self.stills else 0.0}
        end = frame.pts + frame.duration
        self.parts.commit(Segment(number, count, end, stamps, facts, pictures, shown), self._state())
        return True

    def check(self) -> None:
        """Refuse a source that gave no frame at all.

        Raises:
            VideoError: that.
        """
        if not self.parts.segments:
            raise VideoError(f"no frame of {self.job.request.source} could be read. Give another file.")

    def _make_frame(self, frame: Frame) -> dict[str, Picture | Image.Image]:
        """What each output gets for a frame."""
        values = frame.values
        if self.steady:
            values, count = self.steady(values)
            if self.stills:
                if self.steady.cut:
                    self.stills.forget()
                return {"main": Picture(self.stills(values, count))}
        result = self._upscale(values)
        return {output.track: show(result, output.track) for output in self.job.outputs}

    def _upscale(self, values: np.ndarray) -> UpscaleResult:
        """The seam to the upscaling of one picture: RGB (H, W, 3), uint8 or uint16."""
        request = self.job.request
        return upscale(self.model, values, max_pixels=request.max_pixels, **vars(request.picture))

    def _write_frame(self, frame: Frame, number: int, writers: dict[str, StreamWriter]) -> None:
        """Compute a frame and hand it to each output; `number` is that of its pictures."""
        pictures = self._make_frame(frame)
        for output in self.job.outputs:
            picture = pictures[output.track]
            if output.encoding:
                writers[output.track].write(as_values(picture), frame.pts)
            else:  # over what an interrupted run may have left
                notes = write_picture(picture, name_picture(output.path, number), overwrite=True)
                self.notes |= dict.fromkeys(notes)

    def _number(self, frame: Frame, count: int) -> int:
        """Of a frame's pictures, the `count`th of its segment; numbers that were read are kept, and gaps in them."""
        source = self.job.source
        return source.first_number + frame.pts if isinstance(source, PictureSequence) else self.parts.frames + count

    def _tell(self, count: int = 0) -> None:
        done = self.parts.frames + count
        self.on_progress(done, max(done, self.job.source.facts.frames or 0))

    def _state(self) -> dict[str, np.ndarray]:
        if self.steady is None:
            return {}
        arrays = {f"steady.{key}": value for key, value in self.steady.arrays.items()}
        return arrays | {f"stills.{key}": value for key, value in (self.stills.arrays if self.stills else {}).items()}

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        for key, value in state.items():
            owner, name = key.split(".")
            getattr(self, owner).arrays[name] = value


def show(result: UpscaleResult, track: str) -> Picture | Image.Image:
    """What a track shows of an upscaled frame."""
    if track == "main":
        return result.picture
    return result.overlay() if track == "overlay" else getattr(result, track)


def as_values(picture: Picture | Image.Image) -> np.ndarray:
    """A picture as the encoder takes it: (H, W) gray or (H, W, 3) RGB."""
    if isinstance(picture, Picture):
        return picture.values
    return np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)


def _finish(job: Job, parts: Parts) -> list[str]:
    """Put the files together (pictures are there already); returns notes."""
    notes = []
    # The clip itself comes last, so that one that exists has its companions.
    for output in reversed(job.outputs):
        if output.encoding is None:
            continue
        clip = job.source if output.track == "main" and isinstance(job.source, Clip) else None
        lost = join(output, parts, clip, job.copies)
        if lost:
            notes.append(f"{lost} damaged packet(s) of sound or other streams could not be kept.")
    return notes


def _report(job: Job, parts: Parts, before: int, seconds: float) -> dict:
    facts, request = job.source.facts, job.request
    frames, computed = parts.frames, parts.frames - before
    notes = job.notes + job.source.damage.say()
    end = float(parts.segments[-1].end * facts.time_base)
    if facts.announced and end < 0.9 * facts.announced:
        notes.append(f"The video could be read to {end:.2f} s; the source announces {facts.announced:.2f} s.")
    shown = [stamp for segment in parts.segments for stamp in segment.shown]
    if is_pattern(request.target) and isinstance(job.source, Clip) and not are_even(shown, facts.time_base):
        notes.append(
            "The clip's frames do not follow each other at one rate, and numbered pictures do not say when each is "
            "shown. A file keeps their times, such as one ending in .mkv with the codec ffv1, which loses nothing."
        )
    if before:
        notes.append(f"{before} frames were there from an earlier run.")
    return {
        "input": {"width": facts.size[0], "height": facts.size[1], "fps": facts.rate and round(float(facts.rate), 3)},
        "output": dict(zip(("width", "height"), output_size(facts.size, request.picture.outscale), strict=True)),
        "frames": frames,
        "outscale": request.picture.outscale,
        "temporal": request.temporal,
        "reused": round(sum(segment.facts["reused"] for segment in parts.segments) / frames, 4),
        "codec": job.outputs[0].encoding.codec if job.outputs[0].encoding else request.target.suffix.lstrip("."),
        "seconds": round(seconds, 3),
        "frames_per_second": round(computed / seconds, 3),
        "notes": notes,
        "honesty": HONESTY,
    }
