"""The generators by name.

All take LR of shape (B, 3, H, W), RGB in [0, 1], of any height and width, and return SR of shape
(B, 3, scale*H, scale*W). The output is not clamped: training needs its gradient outside the range too.
Parameter names are those of the published networks, so that community weights load without renaming.
"""

import inspect

from torch import nn

from ..errors import ConfigError
from .compact import SRVGGNetCompact
from .rrdb import RRDBNet

GENERATORS: dict[str, type[nn.Module]] = {"rrdb": RRDBNet, "compact": SRVGGNetCompact}


def build_generator(generator_type: str, generator_config: dict) -> nn.Module:
    """Build a generator with fresh weights.

    Args:
        generator_type: a key of `GENERATORS`.
        generator_config: keyword arguments of that class.

    Raises:
        ConfigError: for an unknown type or argument.
    """
    if generator_type not in GENERATORS:
        raise ConfigError(f"unknown generator type {generator_type!r}; known are {', '.join(sorted(GENERATORS))}.")
    cls = GENERATORS[generator_type]
    known = set(inspect.signature(cls).parameters)
    if unknown := set(generator_config) - known:
        raise ConfigError(
            f"generator {generator_type!r} got unknown option {', '.join(sorted(unknown))}; "
            f"it takes {', '.join(sorted(known))}."
        )
    return cls(**generator_config)
