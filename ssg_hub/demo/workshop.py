"""The models that the demo runs, each loaded once."""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from PIL import Image

from ..errors import SSGError
from ..images.picture import Picture
from ..upscaling.progress import Watch
from ..upscaling.result import UpscaleResult
from ..upscaling.upscale import Prediction, predict
from .refusals import Refused
from .request import Request
from .settings import DEFAULT, LARGE_COST, LENT, MEGA, Settings, on_lent_gpu

if TYPE_CHECKING:
    from ..model import SSGModel
    from ..video.upscale_video import VideoResult

log = logging.getLogger("ssg_hub.demo")
WARM_UP_SIDE = 96  # pixels of the first small run


class Workshop:
    """The models that a visitor may choose from."""

    def __init__(self, settings: Settings, model: "SSGModel", load: Callable[[str], "SSGModel"]):
        self.settings = settings
        self.names = [DEFAULT, *settings.other_models]
        self._models = {DEFAULT: model.to(settings.device)}
        self._load = load
        self._loading = {name: threading.Lock() for name in self.names}  # one each: those that are there never wait
        self._compute = on_lent_gpu(self._upscale, _lease)
        if LENT:  # the process with the GPU knows only what was loaded before it was made
            for name in self.names:
                self.model(name)

    def model(self, name: str) -> "SSGModel":
        """The model of that name. The first call for one may take minutes: not for the event loop, nor in the line.

        Raises:
            Refused: it is not on the list, or cannot be loaded.
        """
        if name not in self.names:
            raise Refused("unknown_model", name=name, names=", ".join(self.names))
        with self._loading[name]:
            if name not in self._models:
                try:
                    self._models[name] = self._load(self.settings.other_models[name]).to(self.settings.device)
                except Exception:
                    log.exception("the model %s cannot be loaded", name)
                    raise Refused("model_not_loaded", name=name) from None
            return self._models[name]

    async def load(self, *names: str) -> None:
        """Load those of these models that are not there yet, while others are served.

        Raises:
            Refused: as `model`.
        """
        for name in names:
            await anyio.to_thread.run_sync(self.model, name)

    def title(self, name: str) -> str | None:
        """The key in `texts` of what the page calls a model; None where it is called by its name."""
        if self.settings.is_large(name):
            return "best"
        if name == DEFAULT:
            return "fast" if self.settings.offers_large else "this_model"
        return None

    def device(self, name: str) -> str | None:
        """A device that a visitor chose, if it may be chosen; None is the usual one."""
        return name if name in self.settings.other_devices else None

    def precision(self, device: str | None) -> str | None:
        """In which precision a device computes, None being the usual one; others compute in that of the model."""
        return self.settings.precision if device is None else None

    def denoise(self, name: str) -> float | None:
        """A model's default denoise strength; None if it gives no choice."""
        model = self.model(name)
        return None if model.grain_generator is None else model.denoise_default

    def run(self, name: str, picture: Picture, request: Request, watch: Watch) -> UpscaleResult:
        """Upscale one picture; `watch` receives the progress."""
        options = request.options(self.model(name).labels)
        options |= {"max_pixels": self.settings.max_pixels, "dtype": self.precision(request.device)}
        if not LENT:  # a function does not go from process to process
            options["watch"] = watch
        result = self._compute(name, picture, options)
        if isinstance(result, SSGError):
            raise result
        return result

    def _upscale(self, name: str, picture: Picture, options: dict) -> UpscaleResult | SSGError:
        """What may run in another process; ZeroGPU keeps of an error only its name, so ours comes back as a value."""
        try:
            return self.model(name).upscale(picture, **options)
        except SSGError as error:
            return error

    def run_clip(self, name: str, source: str, target: Path, **options) -> "VideoResult":
        """Upscale a clip from file to file; see `ssg_hub.video.upscale_video`."""
        options |= {"max_pixels": self.settings.max_clip_pixels, "dtype": self.precision(None)}
        return self.model(name).upscale_video(source, target, **options)

    def warm_up(self) -> None:
        """A first small run: it prepares the networks, and gives the first estimate of time where there was none."""
        noise = Image.effect_noise((WARM_UP_SIDE, WARM_UP_SIDE), 60).convert("RGB")
        try:
            self.model(DEFAULT).upscale(noise, dtype=self.precision(None))
        except Exception:
            log.exception("the first small run failed")

    def predict(
        self, name: str, device: str | None, size: tuple[int, int], outscale: float, segment: bool = True
    ) -> Prediction:
        """What a picture of this size becomes, and about how long that takes on a device; None is the usual one.

        `segment`: with its mask.

        Raises:
            ConfigError: an impossible outscale.
        """
        options = {"outscale": outscale, "segment": segment, "device": device, "dtype": self.precision(device)}
        expected = predict(self.model(name), size, **options)
        if expected.seconds is None and self.settings.is_large(name):  # it has not run on this machine yet
            usual = predict(self.model(DEFAULT), size, **options).seconds
            expected = replace(expected, seconds=usual and usual * LARGE_COST)
        return expected


def _lease(name: str, picture: Picture, options: dict) -> int:
    """For how many seconds a run requests a GPU: a generous estimate."""
    width, height = picture.size
    return 20 + round(15 * width * height / MEGA)
