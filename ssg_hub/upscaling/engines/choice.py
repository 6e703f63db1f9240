"""Which engine runs a model here, and on which device."""

import importlib

import torch

from ...errors import ConfigError
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
        dtype: float32, float16 or bfloat16; default: the generator's.

    Raises:
        ConfigError: an unknown engine, a device that this machine lacks, or a dtype that cannot be computed with.
    """
    name = choose_engine(engine)
    parameter = next(generator.parameters(), torch.empty(0))
    place, precision = choose_device(parameter.device, device), _choose_dtype(parameter.dtype, dtype)
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


def best_device() -> str:
    """cuda, mps or cpu: the first that this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def training_device() -> str:
    """cuda or cpu. MPS is left out: neither `ssg train` nor `ssg adapt` was ever tried on it."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def gpu_has_bf16() -> bool:
    """Whether the CUDA GPU computes in bfloat16 itself; emulated it would be slower than float32."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def choose_device(current: torch.device, device: str | torch.device | None) -> torch.device:
    """The device to compute on: the model's own unless another one is asked for.

    Raises:
        ConfigError: a name that torch does not know, a device that this machine lacks, or one without values (meta).
    """
    if device is None:
        return current
    try:
        torch.zeros(1, device=device).item()
        return torch.empty(0, device=device).device
    except Exception as error:  # each of torch's backends refuses in its own way, some by a missing module
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"device {str(device)!r} cannot be used here ({reason}). Use device='cpu'.") from error


def _choose_dtype(current: torch.dtype, dtype: torch.dtype | str | None) -> torch.dtype:
    """The precision to compute in: the model's own unless another one is asked for."""
    return getattr(torch, dtype_name(current if dtype is None else dtype))
