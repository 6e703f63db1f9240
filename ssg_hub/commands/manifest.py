"""The record of a batch: one line of JSON for each file, appended as it is done, by any number of processes."""

import glob
import json
import os
import threading
from pathlib import Path

from ..errors import ImageError
from .jobs import Job

START = b'{"file": '  # of every line


class Manifest:
    """A file of JSON lines: file, result, status ("done", "failed", "skipped"), seconds, width, height, error.

    A batch that is started again continues the same file: a picture whose result exists gets no second line, and one
    that failed before gets a new one. Several processes write a file each, which the first joins at the end.

    Args:
        path: the file; None records nothing.
        rank, world: of this process.

    Raises:
        ImageError: it cannot be written, or is a file of another kind.
    """

    def __init__(self, path: Path | None, rank: int = 0, world: int = 1):
        self.path = path
        self._own = path if path is None or world == 1 else part_of(path, rank)
        self._lock = threading.Lock()
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for place in {path, self._own}:
                _check_kind(place)
            with open(self._own, "a+b") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # a disk that was full cut the last line short
                        file.write(b"\n")
            entries = [entry for file in (path, *parts_of(path)) for entry in read_manifest(file)]
        except OSError as error:
            raise _unwritable(path, error) from error
        self._recorded = {entry["file"] for entry in entries if entry["status"] != "failed"}

    def add(
        self,
        job: Job,
        status: str,
        seconds: float | None = None,
        size: tuple[int, int] | None = None,
        error: str | None = None,
    ) -> None:
        """Record the outcome for a file; "skipped" only when nothing is recorded for it yet. Raises ImageError."""
        if self.path is None or (status == "skipped" and str(job.source) in self._recorded):
            return
        entry: dict[str, object] = {"file": str(job.source), "result": str(job.image), "status": status}
        if seconds is not None:
            entry["seconds"] = round(seconds, 3)
        if size is not None:
            entry |= {"width": size[0], "height": size[1]}
        if error is not None:
            entry["error"] = error
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        try:
            with self._lock, open(self._own, "ab", buffering=0) as file:  # one write: a kill leaves whole lines
                file.write(line)
        except OSError as error:
            raise _unwritable(self._own, error) from error

    def join(self) -> None:
        """Put the lines of all processes, of an earlier run too, into the one file; called by the first at the end."""
        if self.path is None:
            return
        try:
            with open(self.path, "ab") as file:
                for part in parts_of(self.path):
                    lines = part.read_bytes()
                    file.write(lines)
                    if lines and not lines.endswith(b"\n"):
                        file.write(b"\n")
                    file.flush()
                    os.remove(part)
        except OSError as error:
            raise _unwritable(self.path, error) from error


def _check_kind(path: Path) -> None:
    """Refuse a file that does not begin as a manifest, before anything is added to it."""
    if path.is_file() and not _is_manifest(path):
        raise ImageError(f"{path} is no manifest, and is kept. Give a new file, or the manifest of an earlier run.")


def _is_manifest(path: Path) -> bool:
    """Whether a file is empty or begins as a manifest."""
    with open(path, "rb") as file:
        return START.startswith(file.read(len(START)))


def _unwritable(path: Path, error: OSError) -> ImageError:
    return ImageError(
        f"the manifest {path} cannot be written ({error.strerror}). Make room, or give another one; results that exist "
        "are kept, and the same command goes on after them."
    )


def part_of(path: Path, rank: int) -> Path:
    """The file of one of several processes."""
    return path.with_name(f"{path.name}.{rank}")


def parts_of(path: Path) -> list[Path]:
    """The files of several processes that are there; none of another kind, such as an older copy of a log."""
    numbered = (part for part in path.parent.glob(f"{glob.escape(path.name)}.*") if part.suffix[1:].isdecimal())
    return sorted(part for part in numbered if part.is_file() and _is_manifest(part))


def read_manifest(path: Path) -> list[dict]:
    """The entries of a manifest; other lines, such as one cut short, are left out."""
    entries = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"file", "status"} <= set(entry):
            entries.append(entry)
    return entries
