"""The loop over the pictures of a batch: while one is in the network, the next is read and the last is written."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..images import canvas
from ..images.formats import check_size, choose_format
from ..images.reading import MAX_PIXELS, read_picture
from ..images.rows import peek_size
from ..images.writing import write_picture
from ..processes.memory import return_large_blocks
from ..upscaling.options import output_size
from .bar import Bar
from .common import OF_ONE_FILE, describe_failure
from .jobs import Job, check_job
from .manifest import Manifest

AHEAD = 2  # pictures that are read before their turn
WAITING = 2**26  # pixels of results that may wait to be written; beyond it the network waits
STREAM_FROM = 2**26  # pixels of a result from which it is written while it is made

Say = Callable[[str], None]


@dataclass(frozen=True)
class Loop:
    """One process' share of a batch.

    Args:
        model: what upscales.
        options: arguments of its `upscale` that hold for every picture.
        overwrite: replace results that exist.
        say: writes a line for the user.
        manifest: records the outcome for each file.
        stream: write every result while it is made; else only what is large, where its format allows it.
    """

    model: Any
    options: dict
    overwrite: bool
    say: Say
    manifest: Manifest
    stream: bool = False

    def run(self, jobs: list[Job], bar: Bar) -> Counter[str]:
        """Do all jobs; returns how many are "done", "skipped" (another run made them meanwhile) and "failed".

        Raises:
            ConfigError: an option is wrong, for one file and for every other.
        """
        counts: Counter[str] = Counter()
        waiting: deque[tuple[Future, int]] = deque()
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            for job, reading in read_ahead(reader, jobs, self._read):
                bar.begin(job.source.name)
                began = time.monotonic()
                if self._is_made(job):
                    counts[skip(job, self.say, self.manifest)] += 1
                    continue
                try:
                    picture = reading.result()
                    if picture is None:
                        counts[self._stream(job, bar, began)] += 1
                        continue
                    result = self.model.upscale(picture, watch=bar.show, **self.options)
                    del picture, reading  # a large one is not held while its result is written
                except ConfigError:
                    raise
                except OF_ONE_FILE as error:
                    counts[self._fail(job, error, time.monotonic() - began)] += 1
                    continue
                seconds = time.monotonic() - began
                width, height = result.content.size
                while waiting and sum(pixels for _, pixels in waiting) + width * height > WAITING:
                    counts[waiting.popleft()[0].result()] += 1
                waiting.append((writer.submit(self._write, job, result, seconds), width * height))
            counts.update(writing.result() for writing, _ in waiting)
        return counts

    def _is_made(self, job: Job) -> bool:
        """Whether nothing is left to do for a job: another run into the same folder may have been faster."""
        return not job.to_write(self.overwrite)

    def _read(self, job: Job) -> Any:
        """The picture, if everything requested for it can be written; None if it is to be streamed."""
        check_job(job, self.overwrite)
        if self.stream or self._is_large(job):
            return None
        picture = read_picture(job.source, self.options.get("max_pixels", MAX_PIXELS))
        check_size(output_size(picture.size, self.options["outscale"]), choose_format(job.image))
        return picture

    def _is_large(self, job: Job) -> bool:
        """Whether a result is too large to be held, and can be written while it is made."""
        if job.overlay is not None or choose_format(job.image) not in canvas.FORMATS:
            return False
        size = peek_size(job.source)
        width, height = output_size(size, self.options["outscale"]) if size else (0, 0)
        return width * height > STREAM_FROM

    def _stream(self, job: Job, bar: Bar, began: float) -> str:
        """Upscale a picture from file to file, print the outcome and return its status."""
        return_large_blocks()
        wanted = job.to_write(self.overwrite)
        image, mask, drift = (path if path in wanted else None for path in (job.image, job.mask, job.drift))
        options = {name: value for name, value in self.options.items() if name != "segment"}
        done = self.model.upscale_file(
            job.source, image, mask=mask, drift=drift, overwrite=self.overwrite, watch=bar.show, **options
        )
        self._say_notes(job, done.report["notes"])
        self.manifest.add(job, "done", time.monotonic() - began, size=done.size)
        return "done"

    def _say_notes(self, job: Job, notes: list[str]) -> None:
        for note in dict.fromkeys(notes):
            self.say(f"note {job.source}: {note}")

    def _write(self, job: Job, result: Any, seconds: float) -> str:
        """Write what was requested of a result, print the outcome and return its status."""
        began = time.monotonic()
        if self._is_made(job):
            return skip(job, self.say, self.manifest)
        try:
            notes = write_result(job, result, self.overwrite)
        except OF_ONE_FILE as error:
            return self._fail(job, error, seconds + time.monotonic() - began)
        self._say_notes(job, [*result.report["notes"], *notes])
        self.manifest.add(job, "done", seconds + time.monotonic() - began, size=result.content.size)
        return "done"

    def _fail(self, job: Job, error: BaseException, seconds: float) -> str:
        if self._is_made(job):
            return skip(job, self.say, self.manifest)
        text = describe_failure(error)
        self.say(f"failed {job.source}: {text}")
        self.manifest.add(job, "failed", seconds, error=text)
        return "failed"


def skip(job: Job, say: Say, manifest: Manifest) -> str:
    """Print and record that the results of a job exist; returns this status."""
    say(f"skipped {job.source}: {job.image} exists (--overwrite replaces it)")
    manifest.add(job, "skipped")
    return "skipped"


def read_ahead(reader: ThreadPoolExecutor, jobs: Iterable[Job], read) -> Iterator[tuple[Job, Future]]:
    """Each job with the future of its picture; AHEAD pictures are read in advance."""
    begun: deque[tuple[Job, Future]] = deque()
    for job in jobs:
        begun.append((job, reader.submit(read, job)))
        if len(begun) > AHEAD:
            yield begun.popleft()
    yield from begun


def write_result(job: Job, result: Any, overwrite: bool) -> list[str]:
    """Write picture and companions, if requested and not there yet; returns notes about the formats."""
    notes = []
    beside = ((job.mask, lambda: result.mask), (job.drift, lambda: result.drift), (job.overlay, result.overlay))
    for path, make in beside:
        if path is not None and (overwrite or not path.exists()):
            notes += write_picture(make(), path, overwrite=overwrite)
    if overwrite or not job.image.exists():  # last, so that a picture that exists has its companions
        notes += result.save(job.image, overwrite=overwrite)
    return notes
