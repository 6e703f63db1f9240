"""Processes that are forked from one with a model, as `datasets` and `multiprocessing` do: they get none of the threads
that compute, and would wait for them for ever."""

import os

import torch

_forked = False


def watch_forks() -> None:
    """From now on, let torch compute in one thread in every process that is forked from this one."""
    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=_go_on_alone)


def is_forked() -> bool:
    """Whether this process was forked after `watch_forks`."""
    return _forked


def _go_on_alone() -> None:
    global _forked
    _forked = True
    torch.set_num_threads(1)
