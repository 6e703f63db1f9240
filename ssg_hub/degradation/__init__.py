"""Making LR from HR as a real camera would: the degradation bank (estimated) and the generic prior (assumed)."""

from pathlib import Path

from ..storage import is_folder
from .bicubic import BicubicDegradation
from .generic import GenericPrior
from .interface import Degradation
from .mixture import Mixture

__all__ = ["BicubicDegradation", "Degradation", "GenericPrior", "Mixture", "load_degradation"]


def load_degradation(name: str | Path) -> Degradation:
    """Choose how LR is made.

    Args:
        name: "bicubic", "generic", a bank (the folder of one, or the id of a Hub repository that has one), or several
            of these joined by "+"; one that is named n times has n chances.

    Raises:
        ConfigError: no such bank, a damaged one, or no name.
        HubError: the Hub refused or was out of reach.
    """
    if not is_folder(name) and isinstance(name, str) and "+" in name:
        names = [part.strip() for part in name.split("+")]
        parts = {part: load_degradation(part) for part in dict.fromkeys(names)}
        return Mixture([parts[part] for part in names])
    if name == "bicubic":
        return BicubicDegradation()
    if name == "generic":
        return GenericPrior()
    from .bank import DegradationBank

    return DegradationBank.load(name)
