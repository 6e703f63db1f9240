"""Files that are replaced as a whole, so that no half of one is ever found under its name."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(place: Path, shared: bool = False) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name when it is complete and on the disk, or not at all.

    Args:
        place: the file.
        shared: whether several processes may write it at once: the last one counts. What a killed process has begun
            then stays beside it; else the next to write takes its place.
    """
    name = uuid.uuid4().hex[:12] if shared else place.name
    partial = Path(os.path.abspath(place.with_name(f".{name}.tmp")))
    try:
        with open(partial, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, place)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
