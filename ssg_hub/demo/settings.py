"""What whoever runs the demo may set, by environment variables; a visitor can change none of it."""

import os
from dataclasses import dataclass, field

MEGA = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Limits and models of one running demo."""

    model: str | None = None  # folder or Hub id; None is the checkpoint inside the package
    other_models: tuple[str, ...] = ()  # what a visitor may choose beside it: an allow-list
    max_pixels: int = 4 * MEGA  # of an input
    max_output_pixels: int = 40 * MEGA
    max_file_size: str = "40mb"
    queue_size: int = 20
    keep_seconds: int = 3600  # how long uploads and results stay on the disk
    threads: int = 8  # requests for light work that are served at the same time
    device: str = field(default="cpu")


def from_environment() -> Settings:
    """Read SSG_MODEL, SSG_MODELS (with commas), SSG_MAX_PIXELS, SSG_MAX_OUTPUT_PIXELS, SSG_MAX_FILE_SIZE,
    SSG_QUEUE_SIZE, SSG_KEEP_SECONDS and SSG_DEVICE.

    Raises:
        ValueError: a number that is none.
    """
    default = Settings()
    return Settings(
        model=os.environ.get("SSG_MODEL") or None,
        other_models=tuple(name.strip() for name in os.environ.get("SSG_MODELS", "").split(",") if name.strip()),
        max_pixels=_number("SSG_MAX_PIXELS", default.max_pixels),
        max_output_pixels=_number("SSG_MAX_OUTPUT_PIXELS", default.max_output_pixels),
        max_file_size=os.environ.get("SSG_MAX_FILE_SIZE") or default.max_file_size,
        queue_size=_number("SSG_QUEUE_SIZE", default.queue_size),
        keep_seconds=_number("SSG_KEEP_SECONDS", default.keep_seconds),
        device=os.environ.get("SSG_DEVICE") or best_device(),
    )


def best_device() -> str:
    """cuda, mps or cpu, the first that is there."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _number(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.replace("_", "").isdigit() or int(value) == 0:
        raise ValueError(f"{name} is {value!r}; it needs a whole number above 0.")
    return int(value)
