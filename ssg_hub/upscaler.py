"""What a model does for a picture or a clip: the part of `SSGModel` that needs no diffusers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .networks.blending import blend_weights
from .networks.denoise import check_denoise
from .networks.registry import Generator
from .processes.forking import watch_forks
from .upscaling.calibration import Calibration

if TYPE_CHECKING:
    from .networks.guide import Guide
    from .upscaling.streaming import FileResult
    from .upscaling.upscale import UpscaleResult
    from .video.upscale_video import VideoResult

watch_forks()  # loading a model is the first that computes in threads


class Upscaler:
    """The networks of a model, and the methods that use them.

    Attributes:
        generator: LR to SR.
        grain_generator: the same with the second set of weights, which keeps the grain; or None.
        guide: names what is in a picture; or None.
        config: as it is saved.
    """

    generator: Generator
    grain_generator: Generator | None
    guide: "Guide | None"
    config: Any

    @property
    def denoise_default(self) -> float:
        """The denoise strength of `upscale` where none is given, 0 to 1."""
        return self.config.get("denoise_default", 1.0)

    @property
    def scale(self) -> int:
        """How many times larger SR is than LR, per side."""
        return self.generator.scale

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits' channels; empty without a guide."""
        return [] if self.guide is None else self.guide.labels

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """RGB colours (0–255) of the classes; empty without a guide."""
        return [] if self.guide is None else self.guide.palette

    @property
    def calibration(self) -> Calibration | None:
        """Makes semantic drift the probability that the class read is wrong; None leaves the drift as it is."""
        return Calibration.from_config(self.config.get("calibration"), len(self.labels)) if self.labels else None

    def upscale(self, image: Any, **options: Any) -> "UpscaleResult":
        """Upscale a picture; see `ssg_hub.upscaling.upscale.upscale` for what it takes and returns.

        The options are those of `ssg_hub.upscaling.options.Options`, with `watch` and `max_pixels`.

        >>> from PIL import Image
        >>> from ssg_hub import SSGModel
        >>> model = SSGModel.from_components("compact", generator_config={"features": 8, "convs": 1})
        >>> result = model.upscale(Image.new("RGB", (12, 8)), outscale=2)
        >>> result.image.size
        (24, 16)
        """
        from .upscaling.upscale import upscale

        return upscale(self, image, **options)

    def upscale_file(self, source: str | Path, target: str | Path, **options: Any) -> "FileResult":
        """Upscale a picture of any height from file to file; see `ssg_hub.upscaling.streaming.upscale_file`."""
        from .upscaling.streaming import upscale_file

        return upscale_file(self, source, target, **options)

    def upscale_video(self, source: str | Path, target: str | Path, **options: Any) -> "VideoResult":
        """Upscale a clip from file to file; see `ssg_hub.video.upscale_video.upscale_video` for the options.

        Raises:
            ConfigError: the extra `video` is not installed.
        """
        try:
            from .video.upscale_video import upscale_video
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"clips need the package {error.name}, which is not installed. Use pip install 'ssg-hub[video]'."
            ) from error
        return upscale_video(self, source, target, **options)

    def generator_for(self, denoise: float = 1.0) -> Generator:
        """The generator for a denoise strength; the networks themselves stay as they are.

        Args:
            denoise: 1 is the first set of weights, which gives clean pictures; 0 is the second, which keeps the grain;
                between them the weights are interpolated (`ssg_hub.networks.blending.blend_weights`).

        Raises:
            ConfigError: not a number from 0 to 1, or below 1 although the model has only one set of weights.
        """
        check_denoise(denoise)
        if denoise == 1:
            return self.generator
        if self.grain_generator is None:
            raise ConfigError(
                f"denoise is {denoise:g}, but this model has one set of weights, and so the strength 1 only. "
                "Leave denoise out, or use a model with a second set."
            )
        if denoise == 0:
            return self.grain_generator
        return blend_weights(self.grain_generator, self.generator, float(denoise))
