"""Which engine runs a model here."""

import torch
from torch import nn

from ...errors import ConfigError
from ..options import choose_engine, dtype_name
from .base import Engine
from .torch import TorchEngine


def open_engine(
    generator: nn.Module,
    guide: nn.Module | None,
    engine: str | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
) -> Engine:
    """An engine for a model's networks; they are computed on copies where another device or precision is asked for.

    Args:
        generator, guide: as `Engine` takes them.
        engine: "torch"; "openvino", which is torch with a note where it cannot be used; "auto", OpenVINO on a CPU where
            it can be used and torch elsewhere; None, what `SSG_ENGINE` says, or "auto".
        device: where to compute; default: where the generator is.
        dtype: float32, float16 or bfloat16; default: the generator's.

    Raises:
        ConfigError: an unknown engine, a device that this machine lacks, or a dtype that cannot be computed with.
    """
    name = choose_engine(engine)
    parameter = next(generator.parameters(), torch.empty(0))
    place, precision = choose_device(parameter.device, device), _choose_dtype(parameter.dtype, dtype)
    if name == "torch":
        return TorchEngine(generator, guide, place, precision)
    from .openvino import OpenVINOEngine, reason_against

    reason = reason_against(generator, place, precision)
    if reason is None:
        return OpenVINOEngine(generator, guide, place, precision)
    fallback = TorchEngine(generator, guide, place, precision)
    if name == "openvino":
        fallback.notes.append(f"OpenVINO {reason}; torch was used.")
    return fallback


def choose_device(current: torch.device, device: str | torch.device | None) -> torch.device:
    """The device to compute on: the model's own unless another one is asked for.

    Raises:
        ConfigError: a name that torch does not know, or a device that this machine lacks.
    """
    if device is None:
        return current
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used here ({reason}). Use device='cpu'.") from error


def _choose_dtype(current: torch.dtype, dtype: torch.dtype | str | None) -> torch.dtype:
    """The precision to compute in: the model's own unless another one is asked for."""
    return getattr(torch, dtype_name(current if dtype is None else dtype))
