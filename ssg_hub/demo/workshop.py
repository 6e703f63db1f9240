"""The models that the demo runs: each loaded once, and timed."""

import logging
import threading
import time
from collections.abc import Callable

from PIL import Image

from ..errors import SSGError
from ..images.picture import Picture
from ..upscaling.result import UpscaleResult
from .job import Request
from .refusals import Refused
from .settings import DEFAULT, LENT, MEGA, Settings, on_lent_gpu

log = logging.getLogger("ssg_hub.demo")
WARM_UP_SIDE = 96  # pixels of the first small run


class Workshop:
    """The models that a visitor may choose from, and how fast they have been here."""

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
            raise Refused("unknown_model", name=name, names=", ".join(self.names))
        with self._lock:
            if name not in self._models:
                try:
                    self._models[name] = self._load(self.settings.other_models[name]).to(self.settings.device)
                except Exception:
                    log.exception("the model %s cannot be loaded", name)
                    raise Refused("model_not_loaded", name=name) from None
            return self._models[name]

    def denoise(self, name: str) -> float | None:
        """How much a model denoises unless asked for something else; None where it gives no choice."""
        config = getattr(self.model(name), "config", None)
        return config.denoise_default if getattr(config, "denoise_set", False) else None

    def run(
        self, name: str, picture: Picture, request: Request, on_progress: Callable[[int, int], None]
    ) -> UpscaleResult:
        """Upscale one picture, and learn how long that takes."""
        options = request.options(self.model(name).labels) | {"max_pixels": self.settings.max_pixels}
        if not LENT:  # a function does not go from process to process
            options["on_progress"] = on_progress
        started = time.monotonic()
        result = self._compute(name, picture, options)
        if isinstance(result, SSGError):
            raise result
        width, height = picture.size
        pace = (time.monotonic() - started) / (width * height / MEGA)
        self._pace[name] = (self._pace.get(name, pace) + pace) / 2
        return result

    def _upscale(self, name: str, picture: Picture, options: dict) -> UpscaleResult | SSGError:
        """What may run in another process; ZeroGPU keeps of an error only its name, so ours comes back as a value."""
        try:
            return self.model(name).upscale(picture, **options)
        except SSGError as error:
            return error

    def warm_up(self) -> None:
        """A first small run, where there was none: it fills caches and gives the first estimate of time."""
        if DEFAULT in self._pace:
            return
        noise = Image.effect_noise((WARM_UP_SIDE, WARM_UP_SIDE), 60).convert("RGB")
        try:
            self.model(DEFAULT).upscale(noise)
            started = time.monotonic()
            self.model(DEFAULT).upscale(noise)
        except Exception:
            return log.exception("the first small run failed")
        self._pace[DEFAULT] = (time.monotonic() - started) / (WARM_UP_SIDE**2 / MEGA)

    def seconds(self, name: str, width: int, height: int) -> float | None:
        """How long a picture of this size will take, about; None before the first run."""
        pace = self._pace.get(name)
        return None if pace is None else pace * width * height / MEGA


def _lease(name: str, picture: Picture, options: dict) -> int:
    """For how many seconds a run asks for a GPU: an ample guess."""
    width, height = picture.size
    return 20 + round(15 * width * height / MEGA)
