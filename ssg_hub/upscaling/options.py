"""The options of `upscale` and their allowed values, checked before torch is imported: a wrong one is refused early."""

import os
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

from ..denoise import check_denoise
from ..errors import ConfigError

LARGEST_OUTSCALE = 16
SMALLEST_TILE = 16
ENGINES = ("auto", "torch", "openvino")  # modules of `engines`; "auto" takes the last of them that can be used
DTYPES = ("float32", "float16", "bfloat16")
COLOR_FIX = True  # broad colours are the input's, unless that is switched off: in Python, the command, clips, the pages


def check_known(caller: str, options: Collection[str], known: Collection[str]) -> None:
    """Raise ConfigError for the name of an option that `caller` does not know."""
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"{caller} got unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}.")


def check_options(
    outscale: Any = 4,
    tile: Any = "auto",
    strength: Any = 1.0,
    uncertain_below: Any = 0.5,
    engine: Any = None,
    dtype: Any = None,
    denoise: Any = 1.0,
    color_fix: Any = COLOR_FIX,
    segment: Any = True,
) -> None:
    """Check the options that need neither the picture nor the model; arguments are those of `upscale`.

    Raises:
        ConfigError: one is impossible.
    """
    output_size((1, 1), outscale)
    if not (tile is None or tile == "auto") and (not _is_whole(tile) or tile < SMALLEST_TILE):
        raise ConfigError(
            f"tile is {tile!r}; it must be 'auto', None (no tiles) or a whole number of pixels from {SMALLEST_TILE} on."
        )
    for name, value in strength.items() if isinstance(strength, dict) else [(None, strength)]:
        if not _is_fraction(value):
            what = "strength" if name is None else f"strength of {name!r}"
            raise ConfigError(f"{what} is {value!r}; it must be a number from 0 (bicubic) to 1 (the generator).")
    check_fraction("uncertain_below", uncertain_below)
    check_denoise(denoise)
    if not isinstance(color_fix, bool):
        raise ConfigError(f"color_fix is {color_fix!r}; it must be True (hold the input's broad colours) or False.")
    if not isinstance(segment, bool):
        raise ConfigError(f"segment is {segment!r:.60}; it must be True (make mask and drift) or False.")
    choose_engine(engine)
    dtype_name(dtype)


def output_size(size: tuple[int, int], outscale: float) -> tuple[int, int]:
    """(width, height) of the result.

    Raises:
        ConfigError: an outscale outside of 1…16.
    """
    if not _is_number(outscale) or not 1 <= outscale <= LARGEST_OUTSCALE:
        raise ConfigError(f"outscale is {outscale!r}; it must be a number from 1 to {LARGEST_OUTSCALE}.")
    return round(size[0] * outscale), round(size[1] * outscale)


def choose_engine(engine: str | None) -> str:
    """One of ENGINES: what is asked for, or else what `SSG_ENGINE` says, or "auto".

    Raises:
        ConfigError: an unknown one.
    """
    name = engine or os.environ.get("SSG_ENGINE") or "auto"
    if name not in ENGINES:
        raise ConfigError(f"{'engine' if engine else 'SSG_ENGINE'} is {name!r}; known are {', '.join(ENGINES)}.")
    return name


def dtype_name(dtype: Any) -> str | None:
    """One of DTYPES for a torch dtype or its name; None stays None.

    Raises:
        ConfigError: another one.
    """
    name = None if dtype is None else str(dtype).removeprefix("torch.")
    if name not in (None, *DTYPES):
        raise ConfigError(f"dtype {name!r} is not for pictures; use {', '.join(DTYPES)}.")
    return name


def check_fraction(name: str, value: Any) -> None:
    """Raise ConfigError unless a value is a number from 0 to 1."""
    if not _is_fraction(value):
        raise ConfigError(f"{name} is {value!r}; it must be a number from 0 to 1.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1
