"""Memory that glibc holds on to, given back. For programs, not for the library: it concerns the whole process."""

import ctypes
import gc
import sys
from collections.abc import Callable

MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in malloc.h
LARGE = 2**20  # bytes


def return_large_blocks() -> None:
    """Let blocks of 1 MiB and more go back to the system as soon as they are freed, from now on.

    By itself glibc raises that limit to 32 MiB, as such blocks are freed; then those of tiles are cut from its heaps,
    which they leave in pieces. A streamed picture took 100 MB more, differently from run to run. Where a network is
    small, the time grows by some per cent.
    """
    set_option = _glibc("mallopt")
    if set_option is not None:
        set_option(MMAP_THRESHOLD, LARGE)


def give_memory_back() -> None:
    """Collect garbage and let glibc return its free pages to the system, so that a server's size does not creep up."""
    gc.collect()
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None where another C library is used, which gives memory back by itself."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
