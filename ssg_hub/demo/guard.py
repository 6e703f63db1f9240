"""What keeps a public demo within its bounds: the size of a request, the room on the disk, and addresses to fetch."""

import contextlib
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import gradio as gr
import httpx
import safehttpx
from gradio.utils import get_upload_folder

from .cache import new_folder, size_of
from .gradio_fixes import CACHE_ROUTE
from .texts import text

ALLOWANCE = 64 * 1024  # of a request beside the picture: other values, form boundaries
BASE64 = 4 / 3  # how much larger a picture is inside JSON
REDIRECTS = 5
SECONDS = 20  # to fetch a picture from an address


class TooLarge(Exception):
    """A request's body has gone beyond its limit."""


class RequestLimits:
    """ASGI middleware: refuses a body that is too large before it is held in memory, and uploads when the disk is full.

    Args:
        app: the application behind.
        max_file: bytes of one picture; a request may carry one, as a form or as base64.
        max_stored: bytes that `folder` may hold; beyond them nothing is taken until something has been deleted.
        folder: where uploads and results lie.
    """

    def __init__(self, app, max_file: int, max_stored: int, folder: Path):
        self.app, self.folder = app, folder
        self.max_body = int(max_file * BASE64) + ALLOWANCE
        self.max_stored = max_stored

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            return await self.app(scope, receive, send)
        if _declared_length(scope) > self.max_body:
            return await _answer(send, 413, text("too_large_body", "en"))
        if scope["path"].rstrip("/").endswith("/upload") and size_of(self.folder) > self.max_stored:
            return await _answer(send, 507, text("no_room", "en"))
        taken, started = 0, False

        async def counted():
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.max_body:
                raise TooLarge
            return message

        async def heard(message) -> None:
            nonlocal started
            if taken <= self.max_body or started:  # else the application complains of a body that was cut off
                started = True
                await send(message)

        with contextlib.suppress(TooLarge):
            await self.app(scope, counted, heard)
        if taken > self.max_body and not started:
            await _answer(send, 413, text("too_large_body", "en"))


async def fetch_picture(url: str, limit: int) -> str:
    """Fetch a picture from a public address into the cache.

    An address of this server's own cache is that file, so that what was uploaded can be named by its address.

    Args:
        url: http or https; redirects are followed, each checked anew.
        limit: bytes; fetching stops beyond them.

    Returns:
        The path of the file.

    Raises:
        gr.Error: a private address, no answer, or too many bytes; the sentence is for whoever asked.
    """
    if CACHE_ROUTE in url:
        return _cached(url)
    try:
        return await _fetch(url, limit)
    except TooLarge:
        message = text("too_large_body", "en")
    except Exception:
        message = text("not_fetched", "en")
    raise gr.Error(message, title=text("bad_title", "en"), print_exception=False)


async def _fetch(url: str, limit: int) -> str:
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
            body = bytearray()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    raise TooLarge
            path = new_folder() / (Path(unquote(parts.path)).name or "picture")
            path.write_bytes(body)
            return str(path)
    raise ValueError("too many redirects")


def _cached(url: str) -> str:
    path = Path(unquote(urlsplit(url).path.partition(CACHE_ROUTE)[2])).resolve()
    if not path.is_file() or not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise gr.Error(text("not_fetched", "en"), title=text("bad_title", "en"), print_exception=False)
    return str(path)


def _declared_length(scope) -> int:
    value = dict(scope["headers"]).get(b"content-length", b"0")
    return int(value) if value.isdigit() else 0


async def _answer(send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
