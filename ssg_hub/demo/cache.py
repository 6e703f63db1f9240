"""The demo's folder of uploads and results: a new one for each process, swept while it runs, removed when it ends."""

import asyncio
import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path


def own_cache() -> str:
    """The folder for Gradio's GRADIO_TEMP_DIR: what is set, or a new one, removed when the process ends.

    Gradio's usual folder is shared by all Gradio programs of a machine, and what Gradio has not handed out itself, such
    as pictures that came through MCP, stays there for good.
    """
    if folder := os.environ.get("GRADIO_TEMP_DIR"):
        return folder
    folder = tempfile.mkdtemp(prefix="ssg-hub-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def new_folder() -> Path:
    """An empty folder with a name that cannot be guessed, below Gradio's cache."""
    from gradio.utils import get_upload_folder  # not above: Gradio reads its environment when it is imported

    folder = Path(get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder


@contextlib.contextmanager
def result_folder() -> Iterator[Path]:
    """A new folder, which is removed again when what fills it fails."""
    folder = new_folder()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    return sum(_stat(path).st_size for path in _files(folder))


def sweep(folder: Path, seconds: float, spare: Iterable[str | Path] = ()) -> int:
    """Delete the files that came into being more than `seconds` ago, and folders that have been empty for as long.

    Args:
        folder: the cache.
        seconds: how long a file stays.
        spare: paths that stay.

    Returns:
        How many files were deleted.
    """
    oldest, kept, deleted = time.time() - seconds, {Path(path).resolve() for path in spare}, 0
    for path in _files(folder):
        if _stat(path).st_ctime <= oldest and path.resolve() not in kept:
            path.unlink(missing_ok=True)
            deleted += 1
    for path in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if _stat(path).st_ctime <= oldest:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
    return deleted


@contextlib.asynccontextmanager
async def swept(folder: Path, seconds: float, spare: Iterable[str | Path]) -> AsyncIterator[None]:
    """Sweep the folder as long as the context lasts, and once more, of everything, when it ends."""

    async def forever() -> None:
        while True:
            await asyncio.sleep(seconds / 10)
            await asyncio.to_thread(sweep, folder, seconds, spare)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        sweep(folder, 0)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _stat(path: Path) -> os.stat_result:
    """Size and time of a file; nothing and now for one that has just been deleted."""
    try:
        return path.stat()
    except FileNotFoundError:
        return os.stat_result((0,) * 7 + (time.time(),) * 3)
