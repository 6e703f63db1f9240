"""The denoise strength: the allowed values. What it does is in `SSGModel.generator_for`."""

from numbers import Real
from typing import Any

from ..errors import ConfigError


def check_denoise(denoise: Any, name: str = "denoise") -> None:
    """Raise ConfigError unless this is a denoise strength; `name` is what the message calls it."""
    if isinstance(denoise, bool) or not isinstance(denoise, Real) or not 0 <= float(denoise) <= 1:
        raise ConfigError(f"{name} is {denoise!r:.60}; it must be a number from 0 (keep the grain) to 1 (clean).")
