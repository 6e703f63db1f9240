"""The processes of an adaptation: what one of them does for all, and its errors on all of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from ..devices import training_device
from ..processes.locking import alone_in
from ..processes.meeting import by_one, check_met, meet, read_place

T = TypeVar("T")
PATIENCE = timedelta(hours=12)  # the others wait while one learns the camera


class Team:
    """This process and those that were launched beside it."""

    def __init__(self):
        self.state = None
        if read_place()[1] > 1:
            from accelerate import PartialState

            cpu = training_device() == "cpu"
            self.state = meet(lambda timeout: PartialState(cpu=cpu, timeout=timeout), PATIENCE)
            check_met(self.state.num_processes)

    @property
    def leads(self) -> bool:
        """Whether this process does what only one does."""
        return self.state is None or self.state.is_main_process

    def part(self) -> None:
        """Disconnect the processes, after all that they do together."""
        if self.state is not None:
            self.state.destroy_process_group()

    def by_one(self, work: Callable[[], T]) -> T:
        """Let one process do the work; all get its result, or raise its SSGError."""
        return by_one(self.state, work)

    @contextmanager
    def alone_in(self, folder: Path) -> Iterator[None]:
        """Let no other adaptation work in the folder meanwhile.

        Raises:
            ConfigError: one does, or the folder cannot be written.
        """
        with ExitStack() as held:
            self.by_one(lambda: held.enter_context(alone_in(folder)))
            yield
