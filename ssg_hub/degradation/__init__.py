"""Making LR from HR as a real camera would: the degradation bank (estimated) and the generic prior (assumed)."""

from ..storage import is_folder
from .bicubic import BicubicDegradation
from .generic import GenericPrior
from .mixture import Mixture

__all__ = ["BicubicDegradation", "GenericPrior", "Mixture", "load_degradation"]


def load_degradation(name: str):
    """Choose how LR is made.

    Args:
        name: "bicubic", "generic", a bank (the folder of one, or the id of a Hub repository that has one), or several
            of these joined by "+"; one that is named n times has n chances.

    Returns:
        An object with `degrade(hr, scale, generator) -> lr`, and `degrade_with_grain(…) -> (lr, grain)` where the noise
        that LR holds is wanted too.

    Raises:
        ConfigError: no such bank, or a damaged one.
        HubError: the Hub refused or was out of reach.
    """
    if "+" in name and not is_folder(name):
        names = [part.strip() for part in name.split("+")]
        parts = {part: load_degradation(part) for part in dict.fromkeys(names)}
        return Mixture([parts[part] for part in names])
    if name in (known := {"bicubic": BicubicDegradation, "generic": GenericPrior}):
        return known[name]()
    from .bank import DegradationBank

    return DegradationBank.load(name)
