"""The models that the demo runs: each loaded once, timed, and its memory given back after each run."""

import ctypes
import functools
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable

from PIL import Image

from ..errors import SSGError
from ..upscaling.result import UpscaleResult
from .job import Request, picture_size
from .refusals import Refused
from .settings import DEFAULT, LENT, MEGA, Settings, on_lent_gpu

log = logging.getLogger("ssg_hub.demo")


class Workshop:
    """The models that a visitor may choose from, each loaded once, and how fast they have been here."""

    def __init__(self, settings: Settings, model, load: Callable[[str], object]):
        self.settings = settings
        self.names = [DEFAULT, *settings.other_models]
        self._models = {DEFAULT: model.to(settings.device)}
        self._load = load
        self._lock = threading.Lock()
        self._pace: dict[str, float] = {}  # seconds per megapixel of input
        self._compute = on_lent_gpu(self._upscale, _lease)
        if LENT:  # the process with the GPU knows only what was loaded before it was made
            for name in self.names:
                self.model(name)

    def model(self, name: str):
        """The model of that name.

        Raises:
            Refused: it is not on the list, or cannot be loaded.
        """
        if name not in self.names:
            raise Refused(f"{name} is not a model that is offered here. Choose one of {', '.join(self.names)}.")
        with self._lock:
            if name not in self._models:
                try:
                    self._models[name] = self._load(self.settings.other_models[name]).to(self.settings.device)
                except Exception:
                    log.exception("the model %s cannot be loaded", name)
                    raise Refused(f"The model {name} cannot be loaded at the moment. Choose another one.") from None
            return self._models[name]

    def run(self, name: str, path: str, request: Request, on_progress: Callable[[int, int], None]) -> UpscaleResult:
        """Upscale one picture, and learn how long that takes."""
        options = request.options(self.model(name).labels) | {"max_pixels": self.settings.max_pixels}
        if not LENT:  # a function does not go from process to process
            options["on_progress"] = on_progress
        started = time.monotonic()
        result = self._compute(name, path, options)
        if isinstance(result, SSGError):
            raise result
        width, height = picture_size(path)
        pace = (time.monotonic() - started) / (width * height / MEGA)
        self._pace[name] = (self._pace.get(name, pace) + pace) / 2
        return result

    def _upscale(self, name: str, path: str, options: dict) -> UpscaleResult | SSGError:
        """What may run in another process; ZeroGPU keeps of an error only its name, so ours comes back as a value."""
        try:
            return self.model(name).upscale(path, **options)
        except SSGError as error:
            return error

    def warm_up(self) -> None:
        """A first small run, where there was none: it fills caches and gives the first estimate of time."""
        if DEFAULT in self._pace:
            return
        noise = Image.effect_noise((96, 96), 60).convert("RGB")
        try:
            self.model(DEFAULT).upscale(noise)
            started = time.monotonic()
            self.model(DEFAULT).upscale(noise)
        except Exception:
            return log.exception("the first small run failed")
        self._pace[DEFAULT] = (time.monotonic() - started) / (96 * 96 / MEGA)

    def seconds(self, name: str, width: int, height: int) -> float | None:
        """How long a picture of this size will take, about; None before the first run."""
        pace = self._pace.get(name)
        return None if pace is None else pace * width * height / MEGA


def _lease(name: str, path: str, options: dict) -> int:
    """For how many seconds a run asks for a GPU: an ample guess."""
    width, height = picture_size(path)
    return 20 + round(15 * width * height / MEGA)


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
