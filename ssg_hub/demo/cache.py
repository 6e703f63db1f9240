"""The demo's folder of uploads and results: bounded, swept while the server runs, and removed when it ends."""

import asyncio
import atexit
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..processes.memory import give_memory_back
from .refusals import Refused

log = logging.getLogger("ssg_hub.demo")
REST = 1.0  # seconds between two walks through a cache that seems full


class Ledger:
    """How many bytes the cache holds. Every writer books its bytes; a walk through the folder corrects the sum.

    Args:
        folder: the cache.
        limit: bytes that it may hold.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit
        self._lock, self._walking = threading.Lock(), threading.Lock()
        self._measured: int | None = None  # by the last walk
        self._booked = 0  # written since that walk began
        self._held = 0  # reserved for runs in progress
        self._kept: list[Path] = []  # from the sweep, once for each run that uses it
        self._walked = -REST

    @property
    def used(self) -> int:
        """Bytes written and reserved; never fewer than exist, except for files that were not booked."""
        return (self._measured or 0) + self._booked + self._held

    def book(self, size: int) -> None:
        """Add what was written."""
        with self._lock:
            self._booked += size

    def measure(self) -> None:
        """Walk through the folder. Takes a while with many files: not for the event loop."""
        with self._walking:
            self._walk()

    def has_room(self, size: int = 0) -> bool:
        """Whether so many bytes more may be written. May walk through the folder: not for the event loop."""
        if self._measured is not None and self.used + size <= self.limit:
            return True
        with self._walking:  # a thread that waited here uses what the other one found
            if self._measured is None or (self.used + size > self.limit and time.monotonic() > self._walked + REST):
                self._walk()
        return self.used + size <= self.limit

    @property
    def kept(self) -> list[Path]:
        """What runs in progress use: files, and folders with all that is in them."""
        with self._lock:
            return list(self._kept)

    @contextlib.contextmanager
    def keep(self, *paths: str | Path | None) -> Iterator[None]:
        """Keep these from the sweep, folders with all that is in them, while the context lasts; None is left out."""
        resolved = [Path(path).resolve() for path in paths if path is not None]
        with self._lock:
            self._kept += resolved
        try:
            yield
        finally:
            with self._lock:
                for path in resolved:
                    self._kept.remove(path)

    @contextlib.contextmanager
    def new_folder(self, size: int) -> Iterator[Path]:
        """A new folder for up to `size` bytes: reserved while it is filled, booked when it is complete.

        The sweep leaves it alone while it is filled; how long its files stay counts from when it is complete. If
        filling it fails, the folder is removed again.

        Raises:
            Refused: there is not enough room.
        """
        if not self.has_room(size):
            raise Refused("no_room")
        with self._lock:
            self._held += size
        folder = self.folder / secrets.token_hex(16)  # a name that cannot be guessed
        try:
            with self.keep(folder):
                folder.mkdir(parents=True)
                yield folder
                _renew(folder)
            self.book(size_of(folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                self._held -= size

    def _walk(self) -> None:
        with self._lock:
            before = self._booked
        measured = size_of(self.folder)
        with self._lock:
            self._measured, self._booked, self._walked = measured, self._booked - before, time.monotonic()


def own_cache() -> str:
    """A new folder for Gradio's GRADIO_TEMP_DIR, removed when the process ends; inside the folder set there, if any.

    Gradio's usual folder is shared by all Gradio programs of a machine, and what Gradio has not handed out itself, such
    as pictures that came through MCP, stays there for good.
    """
    outer = os.environ.get("GRADIO_TEMP_DIR") or None
    if outer:
        os.makedirs(outer, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="ssg-hub-", dir=outer)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def owned_files(picked: dict | None, folder: Path, most: int = 1) -> list[str]:
    """The paths in a picker's value that are files of the cache; a browser can send anything.

    Args:
        picked: {"files": [{"path": …}, …]}.
        folder: the cache.
        most: further files are left out.
    """
    files = picked.get("files") if isinstance(picked, dict) else None
    cache, paths = folder.resolve(), []
    for file in files[:most] if isinstance(files, list) else []:
        path = Path(str(file.get("path"))).resolve() if isinstance(file, dict) else cache
        if path.is_relative_to(cache) and path.is_file():
            paths.append(str(path))
    return paths


def has_files(picked: dict | None) -> bool:
    """Whether files were chosen, here or on a server before this one."""
    return isinstance(picked, dict) and bool(picked.get("files"))


def choice_of(picked: dict | None) -> Any:
    """What distinguishes this value of a picker from its other ones; None where nothing was chosen."""
    return picked.get("of") if isinstance(picked, dict) else None


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and below; what vanishes meanwhile counts nothing."""
    return sum(stat.st_size for _, stat in _files(folder))


def sweep(folder: Path, seconds: float, spare: Iterable[str | Path] = ()) -> int:
    """Delete the files that were created more than `seconds` ago, and folders that have been empty for as long.

    Args:
        folder: the cache.
        seconds: how long a file stays.
        spare: files that stay, and folders that stay with all that is in them.

    Returns:
        How many files were deleted. What cannot be deleted is logged and left for the next time.
    """
    oldest, kept, deleted = time.time() - seconds, {Path(path).resolve() for path in spare}, 0
    for path, stat in _files(folder):
        if stat.st_ctime <= oldest and not _is_in(path, kept):
            deleted += _deleted(path)
    for top, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # gone already, or not empty
            if top != str(folder) and os.stat(top).st_ctime <= oldest and not _is_in(Path(top), kept):
                os.rmdir(top)
    return deleted


@contextlib.asynccontextmanager
async def swept(ledger: Ledger, seconds: float) -> AsyncIterator[None]:
    """Sweep the cache as long as the context lasts, and once more, of everything, when it ends.

    What runs in progress use stays until they are done. The ledger is put right after each sweep.

    Memory that refused requests have left behind goes back to the system as well: those never reach the line. An error
    in one sweep is logged, and the next sweep runs as planned.

    Args:
        ledger: of the cache.
        seconds: as for `sweep`.
    """

    def once() -> None:
        try:
            sweep(ledger.folder, seconds, ledger.kept)
            ledger.measure()
            give_memory_back()
        except Exception:
            log.exception("sweeping %s failed; it will be tried again in %g s", ledger.folder, seconds / 10)

    async def forever() -> None:
        while True:
            await asyncio.sleep(seconds / 10)
            await asyncio.to_thread(once)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        sweep(ledger.folder, 0)


def _is_in(path: Path, kept: set[Path]) -> bool:
    """Whether a path is one of these, or below one of them."""
    resolved = path.resolve()
    return not kept.isdisjoint((resolved, *resolved.parents))


def _renew(folder: Path) -> None:
    """Let the files of a folder and below count as created now."""
    for path, _ in _files(folder):
        with contextlib.suppress(OSError):  # vanished meanwhile
            os.utime(path)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files of a folder and below as they are found; what vanishes meanwhile is left out."""
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name)
            try:
                stat = path.lstat()
            except OSError:
                continue
            yield path, stat


def _deleted(path: Path) -> bool:
    """Delete a file; returns whether this call removed it."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False  # another was faster
    except OSError as error:
        log.warning("%s cannot be deleted: %s", path, error)
        return False
    return True
