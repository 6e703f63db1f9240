"""Everything of one or several results as one ZIP, created while it is sent, without disk space or time beforehand."""

import re
import zipfile
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from .texts import of_header, text

FILES = "files"  # the part of a result's folder that goes into the ZIP
PREFIX = "ssg-hub/zip/"
CHUNK = 2**16


def archive_url(tokens: Iterable[str]) -> str:
    """The address of the ZIP of some results, relative to the page; a token is the name of a result's folder."""
    return PREFIX + "-".join(tokens)


def archive_route(cache: Path, most: int) -> Route:
    """The route that serves these addresses. Anyone with a token may fetch the result, as with the files themselves.

    Args:
        cache: where the results' folders lie.
        most: results in one ZIP.
    """

    def send(request: Request) -> StreamingResponse:
        tokens = dict.fromkeys(request.path_params["tokens"].split("-"))
        if len(tokens) > most or not all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens):
            raise HTTPException(404)
        results = [sorted((cache / token / FILES).glob("*")) for token in tokens]
        if not all(results):  # some are swept: a ZIP without them would look complete
            raise HTTPException(404, text("results_gone", of_header(request.headers)))
        headers = {"Content-Disposition": 'attachment; filename="ssg-hub.zip"', "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(write_zip(chain(*results)), media_type="application/zip", headers=headers)

    return Route("/" + PREFIX + "{tokens}", send)


def write_zip(files: Iterable[Path]) -> Iterator[bytes]:
    """The bytes of a ZIP of these files, stored as they are; files of one name are numbered.

    A file that is swept meanwhile ends it with an error: the ZIP is broken off, rather than incomplete.
    """
    sink = _Sink()
    names: set[str] = set()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in files:
            name = _unused(path.name, names)
            with path.open("rb") as file, archive.open(zipfile.ZipInfo.from_file(path, name), "w") as entry:
                while chunk := file.read(CHUNK):
                    entry.write(chunk)
                    yield sink.take()
    yield sink.take()


def _unused(name: str, names: set[str]) -> str:
    """The name, numbered where it is in `names` already; not every system tells files apart by case."""
    number, stem, suffix = 1, Path(name).stem, Path(name).suffix
    while name.casefold() in names:
        number += 1
        name = f"{stem} ({number}){suffix}"
    names.add(name.casefold())
    return name


class _Sink:
    """What `zipfile` writes to: a stream that cannot seek, emptied as it fills."""

    def __init__(self):
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data
