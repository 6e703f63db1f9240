"""Making LR from HR as a real camera would: the degradation bank (estimated) and the generic prior (assumed)."""

from pathlib import Path

from ..errors import ConfigError
from .bicubic import BicubicDegradation
from .mixture import Mixture
from .prior import GenericPrior

__all__ = ["BicubicDegradation", "GenericPrior", "Mixture", "load_degradation"]


def load_degradation(name: str):
    """Choose how LR is made: "bicubic", "generic", the folder of a saved bank, or several of these joined by "+".

    Returns:
        An object with `degrade(hr, scale, generator) -> lr`.

    Raises:
        ConfigError: no such folder.
    """
    if "+" in name:
        return Mixture([load_degradation(part.strip()) for part in name.split("+")])
    if name in (known := {"bicubic": BicubicDegradation, "generic": GenericPrior}):
        return known[name]()
    if not Path(name).is_dir():
        raise ConfigError(f"degradation is {name!r}; it must be {', '.join(known)}, or the folder of a bank.")
    from .bank import DegradationBank

    return DegradationBank.load(name)
