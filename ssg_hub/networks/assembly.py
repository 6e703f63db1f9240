"""The networks of a model from its config: a generator, for some a second set of its weights, and a guide."""

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .denoise import check_denoise
from .guide import Guide
from .registry import Generator, build_generator


def build_generators(config: Mapping[str, Any]) -> tuple[Generator, Generator | None]:
    """The generator, and the one for the second set of weights, where the config has it; with fresh weights.

    Args:
        config: `generator_type`, `generator_config`, `scale`, `denoise_set`, `denoise_default`, as `SSGModel` has them.

    Raises:
        ConfigError: an unknown network or option, or an impossible value.
    """
    denoise_set = config.get("denoise_set", False)
    check_denoise_set(denoise_set, config.get("denoise_default", 1.0))
    options = _read_options(config.get("scale"), config.get("generator_config"))
    kind = config.get("generator_type", "rrdb")
    return build_generator(kind, options), build_generator(kind, options) if denoise_set else None


def build_guide(config: Mapping[str, Any]) -> Guide | None:
    """The guide of the config's `guide_config`, with fresh weights, or None. Raises ConfigError as `Guide`."""
    return None if config.get("guide_config") is None else Guide(config["guide_config"])


def check_denoise_set(denoise_set: object, default: object) -> None:
    """Raise ConfigError unless both are possible together."""
    if not isinstance(denoise_set, bool):
        raise ConfigError(f"denoise_set is {denoise_set!r:.60}; it must be true or false.")
    check_denoise(default, "denoise_default")
    if default != 1 and not denoise_set:
        raise ConfigError(f"denoise_default is {default}, but without a second set of weights only 1 is possible.")


def _read_options(scale: object, generator_config: object) -> dict[str, Any]:
    """The generator's options, with the scale among them where it is given."""
    if generator_config is not None and not isinstance(generator_config, Mapping):
        raise ConfigError(f"generator_config is {generator_config!r:.60}; a dict of options is needed.")
    options = dict(generator_config or {})
    if scale is not None and options.setdefault("scale", scale) != scale:
        raise ConfigError(
            f"scale is {scale!r:.60} but generator_config says {options['scale']!r:.60}. Give one of them."
        )
    return options
