"""The options of `upscale`: what they do, their defaults and allowed values; for the check no torch is needed."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, refuse_unknown
from ..networks.denoise import check_denoise

if TYPE_CHECKING:
    import torch

LARGEST_OUTSCALE = 16
SMALLEST_TILE = 16
ENGINES = ("auto", "torch", "openvino")  # modules of `engines`; "auto" takes the last of them that can be used
DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Options:
    """How a picture is upscaled: the keyword arguments of all that upscales, as in `model.upscale(image, outscale=2)`.

    Numbers are kept as Python's own, a dtype and a device by their names, so that equal options compare equal.

    Args:
        outscale: how many times larger, 1 to 16; a scale other than the generator's uses a final Lanczos resize.
        tile: side of the tiles in input pixels, 16 or more; "auto" fits the device; None is the whole picture at once.
        segment: make mask, labels and drift (where the model has a guide).
        strength: 1 is the generator, 0 Pillow's bicubic to the byte; or {class name: strength}, through the soft mask.
        denoise: 1 gives clean pictures, 0 keeps the grain, where the model has two sets of weights
            (`SSGModel.generator_for`); None is the model's own default.
        color_fix: hold the broad colours to those of the input (`ssg_hub.images.resampling.pull_colors`); False leaves
            them to the generator.
        uncertain_below: confidence of the guide, 0 to 1, under which a pixel is marked uncertain.
        engine: what computes: "torch"; "openvino", on a CPU; "auto" uses OpenVINO on a CPU where it can and torch
            elsewhere; None means what the environment variable `SSG_ENGINE` says, or "auto".
        device, dtype: device and precision to compute with, on a copy of the model; the model's own by default, but
            on a CPU float32 for float16, which is slow there.

    Raises:
        ConfigError: one is impossible, whatever picture and model are.
    """

    outscale: float = 4
    tile: str | int | None = "auto"
    segment: bool = True
    strength: float | dict[str, float] = 1.0
    denoise: float | None = None
    color_fix: bool = True
    uncertain_below: float = 0.5
    engine: str | None = None
    device: "str | torch.device | None" = None
    dtype: "str | torch.dtype | None" = None

    def __post_init__(self):
        output_size((1, 1), self.outscale)
        if not (self.tile is None or self.tile == "auto" or _is_whole(self.tile, SMALLEST_TILE)):
            allowed = f"'auto', None (no tiles) or a whole number of pixels from {SMALLEST_TILE} on"
            raise ConfigError(f"tile is {self.tile!r}; it must be {allowed}.")
        strength = self.strength
        for name, value in strength.items() if isinstance(strength, dict) else [(None, strength)]:
            if not _is_fraction(value):
                what = "strength" if name is None else f"strength of {name!r}"
                raise ConfigError(f"{what} is {value!r}; it must be a number from 0 (bicubic) to 1 (the generator).")
        check_fraction("uncertain_below", self.uncertain_below)
        if self.denoise is not None:
            check_denoise(self.denoise)
        if not isinstance(self.color_fix, bool):
            raise ConfigError(
                f"color_fix is {self.color_fix!r}; it must be True (hold the input's broad colours) or False."
            )
        if not isinstance(self.segment, bool):
            raise ConfigError(f"segment is {self.segment!r:.60}; it must be True (make mask and drift) or False.")
        choose_engine(self.engine)
        self._settle()

    def _settle(self) -> None:
        """Give each value the one form in which it is kept."""
        strength, device = self.strength, self.device
        forms = {
            "outscale": float(self.outscale),
            "tile": int(self.tile) if isinstance(self.tile, Integral) else self.tile,
            "strength": {k: float(v) for k, v in strength.items()} if isinstance(strength, dict) else float(strength),
            "denoise": None if self.denoise is None else float(self.denoise),
            "uncertain_below": float(self.uncertain_below),
            "device": device if device is None or isinstance(device, int) else str(device),
            "dtype": dtype_name(self.dtype),
        }
        for name, value in forms.items():
            object.__setattr__(self, name, value)  # the way to set a field of a frozen class

    @classmethod
    def gather(cls, caller: str, given: Mapping[str, Any], also: Collection[str] = (), **fixed: Any) -> "Options":
        """The options among what a function was given by name, together with those that it sets itself.

        Args:
            caller: the function's name, for the message.
            given: by the user.
            also: what else the function takes by name; it is left out.
            fixed: what it sets itself, so that the user may not.

        Raises:
            ConfigError: a name that is none of these, or an impossible value.
        """
        own = {field.name for field in fields(cls)} - set(fixed)
        refuse_unknown(caller, given, own.union(also))
        return cls(**{name: value for name, value in given.items() if name in own}, **fixed)


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


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _is_fraction(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1
