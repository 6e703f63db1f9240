"""What a visitor is told when a request fails: one plain sentence, never a traceback or a path of the server."""

import errno
import html
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import SSGError
from .texts import text
from .translations import failure

log = logging.getLogger("ssg_hub.demo")
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Refused(Exception):
    """A request that is refused.

    Args:
        key: of the sentence in `texts` that says why.
        values: what fills its gaps.
    """

    def __init__(self, key: str, **values):
        super().__init__(key, values)
        self.key, self.values = key, values


class Cancelled(Exception):
    """The visitor asked to stop."""


def sentence_for(error: Exception, path: str | None, lang: str) -> str:
    """What a visitor is told about an error; an internal error, or one of the server's disk, is logged and not shown.

    Args:
        error: whatever a request raised.
        path: of the visitor's picture; in the sentence only its name is left.
        lang: of the visitor.
    """
    if isinstance(error, Cancelled):
        return text("cancelled", lang)
    if isinstance(error, Refused):
        return text(error.key, lang, **error.values)
    system = _system_error(error)
    if isinstance(error, SSGError) and system is None:
        return failure(str(error).replace(path, Path(path).name) if path else str(error), lang)
    log.error("a request failed", exc_info=error)
    return text("no_room" if system in NO_SPACE else "failed", lang)


def _system_error(error: Exception) -> int | None:
    """The number of the operating system's error behind this one; None where it is no such, as of a damaged picture."""
    cause = error.__cause__ if isinstance(error, SSGError) else error
    return cause.errno if isinstance(cause, OSError) else None


@contextmanager
def plain_errors(path: str | None, lang: str) -> Iterator[None]:
    """Turn any exception into an error that Gradio shows as one sentence."""
    import gradio as gr

    try:
        yield
    except Exception as error:
        message = html.escape(sentence_for(error, path, lang), quote=False)
        visible = not isinstance(error, Cancelled)
        raise gr.Error(message, title=text("bad_title", lang), print_exception=False, visible=visible) from None
