"""What several commands need: messages, and numbers and folders that are checked before the work."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import ConfigError, SSGError

OF_ONE_FILE = (SSGError, OSError, RuntimeError, MemoryError, ValueError)  # errors after which the other files go on


def say(text: str) -> None:
    """Write a line to stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def describe_failure(error: BaseException) -> str:
    """What a command says of a file that failed: the sentence of an SSGError; of another, its kind too."""
    return str(error) if isinstance(error, SSGError) else f"{type(error).__name__}: {error}"


def whole_number(least: int) -> Callable[[str], int]:
    """For argparse: the reader of an option that takes a whole number of at least `least`."""

    def read(text: str) -> int:
        if not text.strip().removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"it takes a whole number of at least {least}, not {text!r}")
        return int(text)

    return read


def check_folder(folder: Path, option: str = "-o") -> None:
    """Refuse a folder for results that could be neither made nor written to, before there are any.

    Args:
        folder: need not exist.
        option: that named it, for the message.

    Raises:
        ConfigError: it or one above it is a file, or may not be written to.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is a file; {option} takes a folder. Choose another name.")
    if not os.access(nearest, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {nearest} is read-only. Choose another folder with {option}.")
