"""A model for inference only: networks and config, read without diffusers, whose import takes longer than a picture."""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from .devices import choose_device
from .errors import CheckpointError, ConfigError, SSGError
from .networks import int8
from .networks.assembly import build_generators, build_guide
from .networks.building import as_usual, check_finite, sketch
from .networks.guide import Guide, check_reading
from .networks.guide_config import read_labels
from .networks.published import read_generator
from .networks.registry import Generator, build_generator
from .storage import BUILT_IN, EMBEDDED
from .storage.card import check_facts
from .storage.config_file import read_config
from .storage.finding import open_checkpoint
from .storage.weights import check_weights, read_weights
from .upscaler import Upscaler
from .upscaling.calibration import Calibration


class PlainModel(Upscaler):
    """The part of `SSGModel` that upscaling needs; the guide is made when it is first used.

    Args:
        config: as `SSGModel.config` has it.
        generator, grain_generator: ready for use.
        make_guide: called once, for the guide; None: there is none.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        generator: Generator,
        grain_generator: Generator | None = None,
        make_guide: Callable[[], Guide | None] | None = None,
    ):
        self.config, self.generator, self.grain_generator = dict(config), generator, grain_generator
        self._make_guide = make_guide
        self._device = torch.device("cpu")

    @cached_property
    def guide(self) -> Guide | None:  # type: ignore[override]  # mypy takes a cached property for read-only
        guide = self._make_guide and self._make_guide()
        return guide and guide.to(self._device)

    @property
    def labels(self) -> list[str]:
        named = (self.config.get("guide_config") or {}).get("id2label")
        return super().labels if named is None else read_labels(named)

    def to(self, device: str | torch.device) -> "PlainModel":
        """Move the networks; they stay in float32, see `dtype` of `upscale` for another precision.

        Raises:
            ConfigError: no device, or one that this machine lacks.
        """
        if isinstance(device, torch.dtype):
            raise ConfigError(
                f"PlainModel.to got {device}; it takes a device only. For another precision use "
                f"model.upscale(picture, dtype={str(device).removeprefix('torch.')!r}), or a model of load_model."
            )
        self._device = choose_device(self._device, device)
        for network in (self.generator, self.grain_generator, vars(self).get("guide")):
            if network is not None:
                network.to(self._device)
        return self


@as_usual()
def read_model(
    name: str | Path = EMBEDDED, revision: str | None = None, variant: str | None = None, **hub_options: Any
) -> PlainModel:
    """Read a saved model, with every check of `SSGModel.from_pretrained`.

    Args:
        name: "embedded", "large", a folder, or a Hub id.
        revision, variant, hub_options: as for `SSGModel.from_pretrained`.

    Raises:
        CheckpointError, HubError: as `SSGModel.from_pretrained`.
    """
    shown, folder = open_checkpoint(name, variant, revision, **hub_options)
    config = read_config(folder, shown)
    if name not in BUILT_IN:  # what comes with the package was checked already
        _check(config, folder, variant, shown)
    try:
        generator, second = build_generators(config)
    except SSGError as error:
        raise CheckpointError(f"the config of {shown} cannot be used: {error}") from error
    _fill(generator, folder, variant, "generator.", shown)
    int8.attach(generator, folder)
    if second is not None:
        _fill(second, folder, variant, "grain_generator.", shown)
    model = PlainModel(config, generator, second, partial(_read_guide, config, folder, variant, shown))
    if name not in BUILT_IN:
        _ = model.guide  # what is wrong with it comes out here
    return model


@as_usual()
def read_weights_file(path: str | Path) -> PlainModel:
    """A model without a guide from a file of published weights.

    Raises:
        CheckpointError: see `ssg_hub.networks.published.read_generator`.
    """
    generator_type, generator_config, state = read_generator(path)
    generator = build_generator(generator_type, generator_config).eval()
    generator.load_state_dict(state)
    return PlainModel({"generator_type": generator_type, "generator_config": generator_config}, generator)


def _check(config: Mapping[str, Any], folder: Path, variant: str | None, shown: str) -> None:
    """Build the networks without memory, let the guide read, and compare names and shapes with the files'."""
    try:
        check_facts(config.get("license"), config.get("trained_on"))
        generator, second, guide = sketch(lambda: (*build_generators(config), build_guide(config)))
        if guide is not None:
            check_reading(guide)
        Calibration.from_config(config.get("calibration"), 0 if guide is None else len(guide.labels))
    except SSGError as error:
        raise CheckpointError(f"the config of {shown} cannot be used: {error}") from error
    parts = {"generator.": generator, "grain_generator.": second, "guide.": guide}
    expected = {
        prefix + key: tensor
        for prefix, network in parts.items()
        if network is not None
        for key, tensor in network.state_dict().items()
    }
    check_weights(folder, variant, expected, shown)


@as_usual()
def _read_guide(config: Mapping[str, Any], folder: Path, variant: str | None, shown: str) -> Guide | None:
    guide = build_guide(config)
    return guide and _fill(guide, folder, variant, "guide.", shown)


def _fill(network: Any, folder: Path, variant: str | None, prefix: str, shown: str) -> Any:
    """Give a network its weights, in float32, and make it ready."""
    try:
        network.load_state_dict(read_weights(folder, variant, prefix, shown))
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise CheckpointError(f"the weights of {shown} do not fit its config ({detail}). Get both again.") from None
    check_finite(network.state_dict(prefix=prefix), shown)
    return network.eval()
