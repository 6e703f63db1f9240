"""`SSGModel`: a generator and its guide as one diffusers model, with its config, saving, loading and the Hub."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from torch import Tensor

from .errors import CheckpointError, ConfigError, ImageError, check_type
from .networks import building
from .networks.assembly import build_generators, build_guide, check_denoise_set
from .networks.guide import Guide, check_reading
from .networks.published import read_generator
from .networks.registry import build_generator
from .saved_model import SavedModel
from .storage.card import check_facts, plain_facts
from .storage.config_file import FORMAT_VERSION, check_format
from .upscaler import Upscaler
from .upscaling.calibration import Calibration


@dataclass
class SSGOutput(BaseOutput):
    """What the model returns.

    Attributes:
        sample: SR (B, 3, sH, sW), RGB, about [0, 1], not clamped.
        logits: the guide's reading of it, (B, K, h, w) at the guide's resolution; None without a guide.
    """

    sample: Tensor
    logits: Tensor | None = None


class SSGModel(Upscaler, SavedModel):
    """Super-resolution generator and segmentation guide; both are rebuilt from the config alone, offline.

    Args:
        scale: enlargement; where given it must be the generator's.
        generator_type: a name of `ssg_hub.networks.registry.generators()`.
        generator_config: its keyword arguments.
        guide_config: what `Guide` takes, or None for a model without a guide.
        license: Hub identifier of the weights' licence, such as "apache-2.0" or "other"; None when not stated.
        trained_on: what the model card says; see `ssg_hub.storage.card.build_card`.
        denoise_set: whether there is a second set of weights for the generator, which keeps the grain of a picture;
            see `generator_for`.
        denoise_default: the denoise strength of `upscale` where none is given, 0 to 1.
        calibration: what turns semantic drift into a probability, as `Calibration.to_config` writes it; None without.
        format_version: of the config; see `ssg_hub.storage.config_file.FORMAT_VERSION`.

    Raises:
        CheckpointError: a format version that this release does not know.
        ConfigError: an unknown network or option, or an impossible value.
    """

    @register_to_config
    def __init__(
        self,
        scale: int | None = None,
        generator_type: str = "rrdb",
        generator_config: dict | None = None,
        guide_config: dict | None = None,
        license: str | None = None,
        trained_on: dict | None = None,
        denoise_set: bool = False,
        denoise_default: float = 1.0,
        calibration: dict | None = None,
        format_version: int = FORMAT_VERSION,
    ):
        super().__init__()
        check_format(format_version, "this config")
        check_facts(license, trained_on)
        stated = {
            "generator_type": generator_type,
            "generator_config": generator_config,
            "scale": scale,
            "denoise_set": denoise_set,
            "denoise_default": denoise_default,
            "guide_config": guide_config,
        }
        self.generator, self.grain_generator = build_generators(stated)
        self.guide = build_guide(stated)
        Calibration.from_config(calibration, len(self.labels))  # raises where it does not fit
        self.register_to_config(
            scale=self.scale,
            generator_config=dict(self.generator.options),
            denoise_default=float(denoise_default),
            trained_on=plain_facts(trained_on or {}),
        )

    def forward(self, lr: Tensor) -> SSGOutput:
        """Upscale a batch and segment the result; differentiable throughout.

        Args:
            lr: (B, 3, H, W), RGB in [0, 1], in the model's dtype and on its device.

        Raises:
            ImageError: no tensor, or another shape or dtype.
        """
        self._check_input(lr)
        sr = self.generator(lr)
        return SSGOutput(sample=sr, logits=None if self.guide is None else self.guide(sr))

    def _check_input(self, lr: Tensor) -> None:
        if not isinstance(lr, Tensor):
            raise ImageError(
                f"the model got a {type(lr).__name__}; it needs a tensor (B, 3, H, W), RGB in [0, 1]. "
                "For a picture of any other kind use model.upscale(picture)."
            )
        if lr.ndim != 4 or lr.shape[1] != 3 or 0 in lr.shape:
            raise ImageError(
                f"the model got a tensor of shape {tuple(lr.shape)}; it needs (B, 3, H, W), RGB. "
                "For a picture of any other kind use model.upscale(picture)."
            )
        if not lr.is_floating_point():
            raise ImageError(f"the model got {lr.dtype}; it needs floats in [0, 1]. For 8 bit use lr.float() / 255.")
        own = next(self.generator.parameters()).dtype
        if lr.dtype != own and not torch.is_autocast_enabled(lr.device.type):
            raise ImageError(f"the model got {lr.dtype} but its weights are {own}. Use lr.to(model.dtype).")

    def train(self, mode: bool = True) -> "SSGModel":
        """Switch to training or evaluation; a guide without trainable parameters stays in evaluation."""
        super().train(mode)
        if self.guide is not None and not any(p.requires_grad for p in self.guide.parameters()):
            self.guide.eval()
        return self

    def set_denoise_weights(
        self, weights: str | Path | Mapping[str, Tensor] | None, default: float = 1.0
    ) -> "SSGModel":
        """Attach a second set of weights of the generator's architecture, which keeps the grain; or remove it.

        Args:
            weights: a file as `load_generator` takes it, a state dict of the generator, or None for one set alone.
            default: the denoise strength of `upscale` where none is given, 0 to 1.

        Raises:
            CheckpointError: the weights cannot be read, or are of another architecture.
            ConfigError: `default` is not a number from 0 to 1.
        """
        check_denoise_set(weights is not None, default)
        second = None
        if weights is not None:
            state = self._read_second(weights) if isinstance(weights, (str, Path)) else weights
            second = build_generator(self.config.generator_type, self.config.generator_config)
            second = second.to(self.device, self.dtype).train(self.training)
            try:
                second.load_state_dict(dict(state))
            except (RuntimeError, TypeError, AttributeError) as error:
                detail = str(error).splitlines()[-1].strip()
                raise CheckpointError(f"the second set of weights does not fit the generator ({detail}).") from None
            building.check_finite(second.state_dict(), "the second set")
        self.grain_generator = second
        self.register_to_config(denoise_set=second is not None, denoise_default=float(default))
        return self

    def set_calibration(self, calibration: Calibration | None) -> "SSGModel":
        """Attach what turns drift into a probability, or remove it.

        Raises:
            ConfigError: it is no `Calibration`, or belongs to a guide with other classes.
        """
        check_type("calibration", calibration, (Calibration, NoneType), "a Calibration")
        config = calibration and calibration.to_config()
        Calibration.from_config(config, len(self.labels))
        self.register_to_config(calibration=config)
        return self

    def _read_second(self, path: str | Path) -> dict[str, Tensor]:
        generator_type, generator_config, state = read_generator(path)
        own = (self.config.generator_type, self.config.generator_config)
        if (generator_type, generator_config) != own:
            raise CheckpointError(
                f"{Path(path).name} is {generator_type} {generator_config}; the second set must be as the first, "
                f"{own[0]} {own[1]}. Give weights of that architecture."
            )
        return state

    def describe(self, license: str | None = None, **facts: Any) -> "SSGModel":
        """Record what the model card should say: licence, data, metrics, … (see `ssg_hub.storage.card.build_card`).

        Args:
            license: Hub identifier of the weights' licence; None leaves it.
            facts: entries for the config's `trained_on`; None removes one.

        Raises:
            ConfigError: a value that JSON cannot hold, or of another kind than the card takes.
        """
        merged = {key: value for key, value in {**self.config.trained_on, **facts}.items() if value is not None}
        plain = plain_facts(merged)
        check_facts(license, plain)
        self.register_to_config(trained_on=plain, license=license or self.config.license)
        return self

    @classmethod
    def from_components(
        cls,
        generator_type: str = "rrdb",
        guide: "str | Path | Guide | None" = None,
        generator_config: dict | None = None,
        **hub_options: Any,
    ) -> "SSGModel":
        """Make a model with a fresh generator and a trained guide; the only function that downloads a guide.

        Args:
            generator_type, generator_config: as for the class.
            guide: Hub id or folder of a transformers segmentation model, or a `Guide`, or None.
            hub_options: `revision`, `token`, `local_files_only`, … for the guide.

        Raises:
            ConfigError: an unknown network, or a guide that is not a segmentation model.
            CheckpointError: the guide's weights are damaged.
            HubError: the guide is not available.

        >>> model = SSGModel.from_components("compact", generator_config={"features": 8, "convs": 1, "scale": 2})
        >>> model.scale, model.guide
        (2, None)
        """
        model = cls(generator_type=generator_type, generator_config=generator_config)
        if guide is not None and not isinstance(guide, Guide):
            guide = Guide.from_pretrained(guide, **hub_options)
        if guide is not None:
            model.guide = guide
            model.register_to_config(guide_config=guide.guide_config)
        return model.eval()

    def load_generator(self, path: str | Path) -> "SSGModel":
        """Replace the generator by community weights: ESRGAN, Real-ESRGAN, SPAN; `.pth` without code or `.safetensors`.

        The config follows: type, options, scale. What it said of the old generator's training and licence is dropped,
        and so are a second set of weights and the calibration.

        Raises:
            CheckpointError: see `ssg_hub.networks.published.read_generator`.
        """
        generator_type, generator_config, state = read_generator(path)
        generator = build_generator(generator_type, generator_config).to(self.device, self.dtype)
        generator.load_state_dict(state)
        self.generator = generator.train(self.training)
        self.set_denoise_weights(None)
        self.register_to_config(
            scale=generator.scale,
            generator_type=generator_type,
            generator_config=generator_config,
            calibration=None,
            license=None,
            trained_on={"generator_weights": Path(path).name},
        )
        return self

    @classmethod
    def sketch(cls, config: Mapping[str, Any]) -> "SSGModel":
        """The model of a config without memory for its weights; raises ConfigError where it could not run."""
        known = inspect.signature(cls.__init__).parameters
        drawn = building.sketch(lambda: cls(**{key: value for key, value in config.items() if key in known}))
        if drawn.guide is not None:
            check_reading(drawn.guide)
        return drawn

    def _check_networks(self) -> None:
        with building.as_usual():
            drawn = self.sketch(self.config)
        if odd := building.first_odd(self.state_dict(), drawn.state_dict()):
            raise ConfigError(
                f"the networks are not those of the model's config, first in {odd:.100}, so that they could not be "
                "loaded again. Exchange them by from_components, load_generator or set_denoise_weights, and compile "
                "them in place (model.generator.compile())."
            )
        if self.guide is not None and _describe_reading(self.guide) != _describe_reading(drawn.guide):
            raise ConfigError(
                "the guide's classes, colours or normalisation are not those of the model's config, by which it would "
                "be loaded again. Exchange the guide by from_components(guide=…)."
            )


def _describe_reading(guide: Guide) -> tuple:
    """What of a guide is in no weight."""
    config = guide.network.config
    return guide.labels, guide.palette, config.image_mean, config.image_std, config.input_scale
