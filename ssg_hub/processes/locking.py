"""One process at a time works in a folder: a lock that ends with its process, however that ends."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO
from weakref import WeakSet

from ..errors import ConfigError

LOCK = ".lock"  # hidden, so that a folder that holds nothing else counts as empty
TAKEN = (errno.EWOULDBLOCK, errno.EACCES)  # what a lock that another has comes to; the second over SMB
_held: WeakSet[IO] = WeakSet()


def take_lock(place: Path) -> IO | None:
    """Lock a file for as long as what is returned stays open, and this process lives.

    Args:
        place: the file; it is made where there is none.

    Returns:
        The open file; None where the system or the file system has no such locks.

    Raises:
        BlockingIOError: another process holds it, or another part of this one.
        OSError: the file cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # Windows: there an open file cannot be replaced, which protects enough
        return None
    while True:
        lock = open(place, "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            if error.errno in TAKEN:
                raise BlockingIOError(*error.args) from None
            return None
        if _is_open_at(place, lock):
            _held.add(lock)
            return lock
        lock.close()  # who held it has removed the file meanwhile


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Let no other process that asks for it work in this folder; without a trace in the end, but for what was made.

    Nobody is kept out where there are no such locks, as on Windows.

    Raises:
        ConfigError: another one works there, it is a file, or it cannot be made or written to.
    """
    missing = [place for place in (folder, *folder.parents) if not os.path.exists(place)]
    if not missing and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; a folder is needed. Choose another name.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = take_lock(folder / LOCK)
    except BlockingIOError:
        raise ConfigError(
            f"another process works in {folder}. Wait until it ends, or stop it; or give another folder."
        ) from None
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}. Choose another folder.") from None
    try:
        yield
    finally:
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        if lock is not None:
            lock.close()  # before: NFS keeps a file that is open, whatever removes it
        with suppress(OSError):
            for place in missing:
                place.rmdir()  # where nothing was made in it


def _is_open_at(place: Path, file: IO) -> bool:
    """Whether the name still leads to the open file."""
    try:
        return os.path.samestat(os.stat(place), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _close_in_child() -> None:
    """A lock lasts until the last process that has its file open: those that are forked must not keep it."""
    for lock in _held:
        lock.close()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_close_in_child)
