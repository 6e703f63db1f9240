"""Spaces on ZeroGPU: the step that needs a GPU runs where one is lent for it. Everywhere else this changes nothing."""

import os
from collections.abc import Callable

LENT = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
if LENT:
    import spaces  # before torch, parts of which it replaces; every ZeroGPU Space has it


def on_lent_gpu(task: Callable, seconds: Callable) -> Callable:
    """The task itself, or, on ZeroGPU, one that runs in another process with a GPU.

    Args:
        task: its arguments and its result must be picklable.
        seconds: takes the task's arguments; for how long the GPU is asked for.
    """
    return spaces.GPU(duration=seconds)(task) if LENT else task
