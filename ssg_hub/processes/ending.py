"""How a command ends: with an exit code, and with one sentence instead of a traceback where a user can mend it."""

import os
import re
import sys
from collections.abc import Callable

from ..errors import SSGError, explain_disk
from ..storage.endpoint import explain_endpoint
from .meeting import disconnect, ending_with_the_others
from .signals import ended_in_order

AGAIN = "Start all of them again; a training continues with --resume latest."
MEMORY = (
    "the memory does not suffice. End other programs, or give a training a lower batch, target_batch or smaller crops "
    "(gradient_accumulation makes up for a smaller batch), and continue it with --resume latest."
)
# what torch says: what it means for the user
SENTENCES = (
    (
        r"DataLoader worker .*(killed|exited unexpectedly)",
        "a data worker was killed, most likely for want of memory. Lower workers or batch, then continue with "
        "--resume latest.",
    ),
    (r"out of memory|can't allocate memory", MEMORY),
)


@ended_in_order()
def end_plainly(speaker: str, work: Callable[[], int | None]) -> int:
    """Do the work, and say in a sentence on stderr what a user can mend; any other error keeps its traceback.

    Args:
        speaker: who says the sentence, as "ssg adapt".
        work: returns its exit code; None is 0.

    Returns:
        The exit code: the work's own, 1 when nobody reads the output any more, 2 after an error, 130 interrupted, by
        Ctrl-C or by another request to end.
    """
    try:
        with ending_with_the_others(speaker, AGAIN):
            code = work() or 0
            print(end="", flush=True)  # now, so that a reader that is gone is noticed here
            return code
    except BrokenPipeError:  # who reads the output has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what the interpreter writes at its end
        return 1
    except KeyboardInterrupt as interruption:
        print(f"{speaker}: {str(interruption) or 'interrupted'}", file=sys.stderr)
        return 130
    except Exception as error:
        if (sentence := explain(error)) is None:
            raise
        print(f"{speaker}: {sentence}", file=sys.stderr)
        return 2
    finally:
        disconnect()


def explain(error: Exception) -> str | None:
    """The sentence for an error that a user can mend, or that comes from the machine; None for any other."""
    if isinstance(error, SSGError):
        return str(error)
    if isinstance(error, OSError):
        return explain_disk(error)
    if isinstance(error, ValueError):  # huggingface_hub fails in its import where HF_ENDPOINT is no address
        return explain_endpoint(os.environ.get("HF_ENDPOINT", "https://huggingface.co"))
    if isinstance(error, MemoryError):
        return MEMORY
    if isinstance(error, RuntimeError):
        return next((words for said, words in SENTENCES if re.search(said, str(error), re.IGNORECASE)), None)
    return None
