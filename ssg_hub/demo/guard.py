"""The limits of a public demo: size and speed of a request, disk space, and addresses to fetch."""

import asyncio
import contextlib
import re
import time
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import gradio as gr
import httpx
import safehttpx

from .cache import Ledger
from .gradio_fixes import CACHE_ROUTE
from .refusals import Refused
from .texts import of_header, text

ALLOWANCE = 64 * 1024  # of a request beside the picture: other values, form boundaries
BASE64 = 4 / 3  # how much larger a picture is inside JSON
REDIRECTS = 5
SECONDS = 20  # to fetch a picture from an address, its turn included
FETCHED_AT_ONCE = 4  # each is in memory while it comes
PATIENCE = 20.0  # seconds that a body may be waited for whatever its size
SLOWEST = 8 * 1024  # bytes a second that it has to bring on average after that


class Stopped(Exception):
    """A body that is not read any further.

    Args:
        status: of the answer.
        key: of the sentence in it.
    """

    def __init__(self, status: int, key: str):
        super().__init__(status, key)
        self.status, self.key = status, key


class RequestLimits:
    """ASGI middleware: refuses a body that is too large, too slow, or for which the disk has no room.

    Args:
        app: the application behind.
        max_file: bytes of one picture; a request may carry one as base64, or several as a form.
        max_files: how many pictures a form may carry.
        ledger: of the folder for uploads and results; when it is full, nothing is taken until something is deleted.
    """

    def __init__(self, app, max_file: int, max_files: int, ledger: Ledger):
        self.app = app
        self.max_body = int(max_file * BASE64) + ALLOWANCE
        self.max_form = max(self.max_body, max_file * max_files + ALLOWANCE)
        self.ledger = ledger

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            return await self.app(scope, receive, send)
        body = Body(receive, self.max_form if _is_upload(scope) else self.max_body, self.ledger)
        started = False

        async def heard(message) -> None:
            nonlocal started
            if body.stopped is None or started:  # else the application complains of a body that was cut off
                started = True
                await send(message)

        try:
            await body.announce(_declared_length(scope), _is_upload(scope))
            await self.app(scope, body.receive, heard)
        except Stopped:
            pass
        except Exception:
            if body.stopped is None:
                raise
        if body.stopped is not None and not started:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            await _answer(send, body.stopped.status, text(body.stopped.key, of_header(headers)))


class Body:
    """A request's body on its way in, measured as it comes.

    Args:
        receive: ASGI's.
        limit: bytes.
        ledger: where what comes is booked: most of it ends up in the cache.
    """

    def __init__(self, receive, limit: int, ledger: Ledger):
        self._receive, self._limit, self._ledger = receive, limit, ledger
        self._taken, self._waited, self._complete = 0, 0.0, False
        self.stopped: Stopped | None = None

    async def announce(self, declared: int, upload: bool) -> None:
        """Refuse by the length that is declared, before anything is taken; small requests need no room.

        Raises:
            Stopped: too large, or no room.
        """
        if declared > self._limit:
            self._stop(413, "too_large_body")
        if (upload or declared > ALLOWANCE) and not await asyncio.to_thread(self._ledger.has_room, declared):
            self._stop(507, "no_room")

    async def receive(self) -> dict:
        """ASGI's receive.

        Raises:
            Stopped: too large, too slow, or no room.
        """
        if self._complete:  # all that can follow is a notice that the other side is gone
            return await self._receive()
        asked = time.monotonic()
        try:
            message = await asyncio.wait_for(self._receive(), PATIENCE + self._taken / SLOWEST - self._waited)
        except TimeoutError:
            self._stop(408, "too_slow")
        self._waited += time.monotonic() - asked  # for the other side; how long the application takes does not count
        size = len(message.get("body", b""))
        self._taken += size
        self._ledger.book(size)
        self._complete = not message.get("more_body", False)
        if self._taken > self._limit:
            self._stop(413, "too_large_body")
        if self._taken > ALLOWANCE and self._ledger.used > self._ledger.limit:
            self._stop(507, "no_room")
        return message

    def _stop(self, status: int, key: str) -> None:
        self.stopped = Stopped(status, key)
        raise self.stopped


class Fetcher:
    """Fetches pictures from public addresses into the cache, a few at once.

    Args:
        limit: bytes; fetching stops beyond them.
        ledger: of the cache.
    """

    def __init__(self, limit: int, ledger: Ledger):
        self._limit, self._ledger = limit, ledger
        self._turns = asyncio.Semaphore(FETCHED_AT_ONCE)

    async def __call__(self, url: str) -> str:
        """Fetch what is at an address.

        An address that names a file of this server's own cache is that file, so that what was uploaded can be named by
        its address, whatever name the server goes by. Other pages of Gradio have addresses of the same form; those are
        fetched.

        Args:
            url: http or https; redirects are followed, and each is checked again.

        Returns:
            The path of the file.

        Raises:
            gr.Error: a private address, no answer, or too many bytes; the sentence is for the visitor.
        """
        try:
            if path := _cached(url, self._ledger.folder):
                return path
            async with asyncio.timeout(SECONDS), self._turns:
                name, body = await _fetch(url, self._limit)
            return await asyncio.to_thread(_store, name, body, self._ledger)
        except (Stopped, Refused) as refusal:
            key = refusal.key
        except Exception:
            key = "not_fetched"
        raise gr.Error(text(key, "en"), title=text("bad_title", "en"), print_exception=False)


async def _fetch(url: str, limit: int) -> tuple[str, bytes]:
    """Name and bytes of what is at an address."""
    for _ in range(REDIRECTS + 1):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"the scheme {parts.scheme!r} is not fetched")
        # The address is resolved once and checked, and the connection goes to that very address.
        address = await safehttpx.async_validate_url(parts.hostname or "")
        transport = safehttpx.AsyncSecureTransport(address)
        async with (
            httpx.AsyncClient(transport=transport, timeout=SECONDS) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.has_redirect_location:
                url = urljoin(url, answer.headers["location"])
                continue
            answer.raise_for_status()
            return _name_of(parts.path), await _body_of(answer, limit)
    raise ValueError("too many redirects")


async def _body_of(answer: httpx.Response, limit: int) -> bytes:
    """All that is sent, unless it is more than `limit` bytes."""
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > limit:
            raise Stopped(413, "too_large_body")
    return bytes(body)


def _name_of(path: str) -> str:
    """The name of a file that an address names, as it may stand in the cache."""
    return re.sub(r"[^\w.-]", "_", Path(unquote(path)).name)[-80:].lstrip(".") or "picture"


def _store(name: str, body: bytes, ledger: Ledger) -> str:
    with ledger.new_folder(len(body)) as folder:
        path = folder / name
        path.write_bytes(body)
    return str(path)


def _cached(url: str, folder: Path) -> str | None:
    """The file of the cache that an address names; None where it names none."""
    path = Path(unquote(urlsplit(url).path.partition(CACHE_ROUTE)[2])).resolve()
    return str(path) if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _is_upload(scope) -> bool:
    return scope["path"].rstrip("/").endswith("/upload")


def _declared_length(scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


async def _answer(send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    with contextlib.suppress(OSError):  # nobody is there any more
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": sentence.encode()})
