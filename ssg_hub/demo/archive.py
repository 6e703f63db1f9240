"""Everything of one or several results as one ZIP, created while it is sent, without disk space or time beforehand."""

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

FILES = "files"  # the part of a result's folder that goes into the ZIP
PREFIX = "ssg-hub/zip/"
MOST = 100  # results in one ZIP
CHUNK = 2**16


def archive_url(tokens: Iterable[str]) -> str:
    """The address of the ZIP of some results, relative to the page; a token is the name of a result's folder."""
    return PREFIX + "-".join(tokens)


def archive_route(cache: Path) -> Route:
    """The route that serves these addresses. Anyone with a token may fetch the result, as with the files themselves.

    Args:
        cache: where the results' folders lie.
    """

    def send(request: Request) -> StreamingResponse:
        tokens = dict.fromkeys(request.path_params["tokens"].split("-"))
        if len(tokens) > MOST or not all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens):
            raise HTTPException(404)
        files = [path for token in tokens for path in sorted((cache / token / FILES).glob("*"))]
        if not files:
            raise HTTPException(404)
        headers = {"Content-Disposition": 'attachment; filename="ssg-hub.zip"', "X-Content-Type-Options": "nosniff"}
        return StreamingResponse(write_zip(files), media_type="application/zip", headers=headers)

    return Route("/" + PREFIX + "{tokens}", send)


def write_zip(files: list[Path]) -> Iterator[bytes]:
    """The bytes of a ZIP of these files, stored as they are; files of one name are numbered."""
    sink = _Sink()
    names: set[str] = set()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in files:
            if not path.is_file():
                continue  # swept since
            name = _unused(path.name, names)
            with path.open("rb") as file, archive.open(zipfile.ZipInfo.from_file(path, name), "w") as entry:
                while chunk := file.read(CHUNK):
                    entry.write(chunk)
                    yield sink.take()
    yield sink.take()


def _unused(name: str, names: set[str]) -> str:
    number, stem, suffix = 1, Path(name).stem, Path(name).suffix
    while name in names:
        number += 1
        name = f"{stem} ({number}){suffix}"
    names.add(name)
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
