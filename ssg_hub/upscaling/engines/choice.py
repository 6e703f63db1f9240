"""Which engine runs a model here."""

import importlib

import torch

from ...devices import choose_device
from ...networks.guide import Guide
from ...networks.registry import Generator
from ..options import ENGINES, choose_engine, dtype_name
from .base import Engine

ALWAYS = "torch"  # can be used everywhere


def open_engine(
    generator: Generator,
    guide: Guide | None,
    engine: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
) -> Engine:
    """An engine for a model's networks; they are computed on copies where another device or precision is asked for.

    Args:
        generator, guide: as `Engine` takes them.
        engine: "torch"; "openvino", which is torch with a note where it cannot be used; "auto", OpenVINO on a CPU where
            it can be used (in int8 where the generator has it) and torch elsewhere; None, what `SSG_ENGINE` says, or
            "auto".
        device: where to compute; default: where the generator is.
        dtype: float32, float16 or bfloat16; default: the generator's, but on a CPU float32 for float16.

    Raises:
        ConfigError: an unknown engine, a device that this machine lacks, or a dtype that cannot be computed with.
    """
    name = choose_engine(engine)
    parameter = next(generator.parameters(), torch.empty(0))
    place = choose_device(parameter.device, device)
    precision = _choose_dtype(parameter.dtype, dtype, place)
    notes = []
    for candidate in ENGINES[:0:-1] if name == "auto" else dict.fromkeys((name, ALWAYS)):
        kind = _find_engine(candidate)
        reason = kind.reason_against(generator, place, precision)
        if reason is None:
            break
        if name != "auto":
            notes.append(f"{kind.title} {reason}; {ALWAYS} was used.")
    opened = kind(generator, guide, place, precision)
    opened.notes += notes
    opened.allows_int8 = name == "auto"
    return opened


def _find_engine(name: str) -> type[Engine]:
    """The engine in the module of that name, imported only now: its library may be heavy."""
    module = importlib.import_module(f".{name}", __package__)
    return next(kind for kind in vars(module).values() if getattr(kind, "name", None) == name)


def _choose_dtype(current: torch.dtype, dtype: torch.dtype | str | None, place: torch.device) -> torch.dtype:
    """The precision to compute in: the model's own unless another one is asked for.

    float16 on a CPU has to be asked for: torch takes several times as long there, and OpenVINO does not compute in it.
    """
    if dtype is None and current == torch.float16 and place.type == "cpu":
        return torch.float32
    return getattr(torch, dtype_name(current if dtype is None else dtype))
