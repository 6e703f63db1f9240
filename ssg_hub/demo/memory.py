"""Memory that a request has used goes back to the system, so that a server's size does not creep up."""

import ctypes
import functools
import gc
import sys
from collections.abc import Callable


def gives_memory_back(task: Callable) -> Callable:
    """Decorator: after the task, when its own variables are gone, return to the system what is free.

    Each request runs in another thread, and glibc keeps for each of them what it has freed.
    """

    @functools.wraps(task)
    def run(*args, **options):
        try:
            return task(*args, **options)
        finally:
            give_back()

    return run


def give_back() -> None:
    """Collect garbage and let glibc return its free pages; other C libraries do that by themselves."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
