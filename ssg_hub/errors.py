"""The errors that ssg-hub raises on purpose: one line that says what arrived, what is needed, and what to do next."""

import errno
from collections.abc import Iterable
from typing import Any


class SSGError(Exception):
    """Base of every error that a user can act on; its message is a plain sentence that can be shown unchanged."""


class ImageError(SSGError, ValueError):
    """A picture that cannot be read or is too large; a picture, ONNX file, site or manifest that cannot be written."""


class VideoError(SSGError, ValueError):
    """A clip that cannot be read or written."""


class CheckpointError(SSGError):
    """Weights or a config that are missing, damaged, unsafe, or do not fit this version."""


class ConfigError(SSGError, ValueError):
    """An option or configuration value that is unknown or impossible."""


class HubError(SSGError):
    """The Hub refused, was out of reach, or sent something other than what was asked for."""


def refuse_unknown(caller: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse what was given by a name that nobody asked for.

    Args:
        caller: what takes the options, for the message.
        options: the names that were given.
        known: those that it takes.

    Raises:
        ConfigError: one of the names is not among the known ones, which the message lists.
    """
    known = set(known)
    if unknown := sorted(map(str, set(options) - known)):
        raise ConfigError(f"{caller} got unknown option {unknown[0]!r:.60}; known are {', '.join(sorted(known))}.")


def check_type(name: str, value: object, kinds: Any, needed: str) -> None:
    """Refuse an argument of another type than it can have.

    Args:
        name: of the argument, for the message.
        value: what was given.
        kinds: a type, or several, as `isinstance` takes them.
        needed: the same in words.

    Raises:
        ConfigError: it is of none of them.
    """
    if not isinstance(value, kinds):
        raise ConfigError(f"{name} is of type {type(value).__name__}; {needed} is needed.")


# What a disk answers, whatever is written.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}


def explain_disk(error: OSError) -> str | None:
    """The sentence for a disk that takes no more, wherever that came out; None for any other error."""
    if error.errno not in DISK_ERRORS:
        return None
    return (
        f"{error.filename or 'a file'} could not be written ({error.strerror}). Make room on the disk, and try again."
    )
