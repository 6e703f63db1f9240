"""The processes of an adaptation: what one of them does for all, and its errors on all of them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from ..devices import training_device
from ..errors import SSGError
from ..processes.meeting import check_met, meet, read_place

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

    def by_one(self, work: Callable[[], Any]) -> Any:
        """Let one process do the work; all get its result, or raise its SSGError."""
        if self.state is None:
            return work()
        from accelerate.utils import broadcast_object_list

        told: list = [None, None]
        if self.leads:
            try:
                told[0] = work()
            except SSGError as error:
                told[1] = error
        broadcast_object_list(told)
        if told[1] is not None:
            raise told[1]
        return told[0]
