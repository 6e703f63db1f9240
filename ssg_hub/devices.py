"""The device to compute on: what this machine has, and what was asked for."""

import torch

from .errors import ConfigError


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


def check_values(current: torch.device) -> None:
    """Raise ConfigError for a model's device where its weights have no values."""
    if current.type == "meta":
        raise ConfigError("the model is on the device 'meta', where its weights have no values. Load it again.")


def choose_device(current: torch.device, device: str | torch.device | None) -> torch.device:
    """The device to compute on: the model's own unless another one is asked for.

    Raises:
        ConfigError: a name that torch does not know, a device that this machine lacks, or one without values (meta); or
            the model is on such a one.
    """
    check_values(current)
    if device is None:
        return current
    try:
        torch.zeros(1, device=device).item()
        return torch.empty(0, device=device).device
    except Exception as error:  # each of torch's backends refuses in its own way, some by a missing module
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ConfigError(f"device {str(device)!r} cannot be used here ({reason}). Use device='cpu'.") from error
