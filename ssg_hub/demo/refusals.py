"""What a visitor is told when a request fails: one plain sentence, never a traceback or a path of the server."""

import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from ..errors import SSGError
from .texts import text

log = logging.getLogger("ssg_hub.demo")


class Refused(Exception):
    """A request that is not granted; the message is for the visitor."""


class Cancelled(Exception):
    """The visitor asked to stop."""


@contextmanager
def plain_errors(path: str | None, lang: str) -> Iterator[None]:
    """Turn whatever goes wrong into one sentence; what is our fault is logged and not shown."""
    title = text("bad_title", lang)
    try:
        yield
    except Cancelled:
        raise gr.Error(text("cancelled", lang), title=title, print_exception=False, visible=False) from None
    except (SSGError, Refused) as error:
        message = html.escape(without_path(error, path), quote=False)
        raise gr.Error(message, title=title, print_exception=False) from None
    except Exception as error:
        log.exception("a request failed")
        raise gr.Error(text("failed", lang), title=title, print_exception=False) from error


def without_path(error: Exception, path: str | None) -> str:
    """The error's message with the picture's name instead of where it lies."""
    return str(error).replace(path, Path(path).name) if path else str(error)
