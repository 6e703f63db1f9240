"""The progress line of `ssg`: what is being done, how far it is, and the time left."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..upscaling.progress import Progress

FORMAT = "{desc} {percentage:3.0f}%|{bar}|{postfix}"


class Bar:
    """Shows the `Progress` of the pictures, one after another, if stderr is a terminal.

    Args:
        files: how many there are.
        hidden: show nothing.
    """

    def __init__(self, files: int, hidden: bool):
        from tqdm import tqdm

        # None: hidden where stderr is no terminal
        self._line = tqdm(total=100, bar_format=FORMAT, disable=hidden or None, dynamic_ncols=True, leave=files == 1)
        self._files, self._number, self._name = files, 0, ""

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *exception) -> None:
        self._line.close()

    def begin(self, name: str) -> None:
        """The next picture."""
        self._number += 1
        self._name = name if self._files == 1 else f"{self._number}/{self._files} {name}"
        self._line.set_description_str(self._name, refresh=False)

    def show(self, progress: "Progress") -> None:
        """Show the progress of the current picture."""
        parts = [progress.stage]
        if progress.tiles > 1:
            parts.append(f"tile {min(progress.tiles_done + 1, progress.tiles)} of {progress.tiles}")
        if progress.seconds_left is not None:
            parts.append(f"{spell(progress.seconds_left)} left")
        self._line.set_postfix_str(", ".join(parts), refresh=False)
        self._line.n = round(100 * progress.fraction)
        self._line.refresh()


def counting(bar: "tqdm") -> Callable[[int, int], None]:
    """An `on_progress` that shows (done, total) on a bar."""

    def on_progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return on_progress


def spell(seconds: float) -> str:
    """ "8 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
