"""The settings of the demo's operator, by environment variables, and what ZeroGPU requires; visitors change none."""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ConfigError
from ..loading import EMBEDDED, LARGE
from ..storage import find_path

MEGA = 1_000_000
DEFAULT = "default"  # the name of the model that the page starts with
PRECISIONS = ("float32", "bfloat16")
LARGE_COST = 16  # how many times as long a pixel takes with the large model: float32 in OpenVINO, docs/performance.md
LENT = os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
if LENT:
    import spaces  # before torch, parts of which it replaces; every ZeroGPU Space has it
UNITS = {"kb": 2**10, "mb": 2**20, "gb": 2**30}


@dataclass(frozen=True)
class Settings:
    """Limits and models of one running demo."""

    model: str = EMBEDDED  # folder, file or Hub id, as `load_model` takes it
    # What a visitor may choose beside it, name -> folder, file or Hub id: an allow-list.
    other_models: dict[str, str] = field(default_factory=dict)
    max_pixels: int = 4 * MEGA  # of an input
    max_large_pixels: int = 300_000  # of an input of the large model: about as much work as max_pixels; 0 offers none
    max_output_pixels: int = 40 * MEGA
    max_file_size: str = "40mb"
    max_files: int = 20  # that a visitor may choose at once
    max_stored: str = "4gb"  # uploads and results on the disk, all visitors together
    max_clip_seconds: int = 10  # of a clip; 0 takes no clips
    max_clip_frames: int = 300
    max_clip_pixels: int = MEGA // 2  # of a frame
    max_clip_output_pixels: int = 9 * MEGA  # 4096 x 2160 and a little more
    queue_size: int = 20
    keep_seconds: int = 3600  # how long uploads and results stay on the disk
    device: str = "cpu"
    other_devices: tuple[str, ...] = ()  # that a visitor may choose beside it
    precision: str = "float32"  # one of PRECISIONS, in which `device` computes

    @property
    def offers_large(self) -> bool:
        """Whether the page has the choice between fast and best quality."""
        return self.model == EMBEDDED and LARGE in self.other_models

    def is_large(self, name: str) -> bool:
        """Whether a visitor's model is that of best quality."""
        return name == LARGE and self.offers_large

    def most_pixels(self, name: str) -> int:
        """Of an input of this model."""
        return min(self.max_pixels, self.max_large_pixels) if self.is_large(name) else self.max_pixels


def from_environment() -> Settings:
    """Read SSG_MODEL, SSG_MODELS, SSG_MAX_PIXELS, SSG_MAX_LARGE_PIXELS, SSG_MAX_OUTPUT_PIXELS, SSG_MAX_FILE_SIZE,
    SSG_MAX_FILES, SSG_MAX_STORED, SSG_MAX_CLIP_SECONDS, SSG_MAX_CLIP_FRAMES, SSG_MAX_CLIP_PIXELS,
    SSG_MAX_CLIP_OUTPUT_PIXELS, SSG_QUEUE_SIZE, SSG_KEEP_SECONDS, SSG_DEVICE and SSG_DTYPE.

    Raises:
        ConfigError: an invalid number or size, two models of one name, or a precision that this machine lacks.
    """
    from ..devices import best_device

    default = Settings()
    device = os.environ.get("SSG_DEVICE") or best_device()
    free = not os.environ.get("SSG_DEVICE") and not LENT
    model, most = os.environ.get("SSG_MODEL") or EMBEDDED, _number("SSG_MAX_LARGE_PIXELS", default.max_large_pixels, 0)
    large = {LARGE: LARGE} if model == EMBEDDED and most and is_shipped(LARGE) else {}
    # Where it is the page's own model, a picture may be as much work as elsewhere, and a clip would be too much.
    pixels, seconds = default.max_pixels, default.max_clip_seconds
    if model == LARGE:
        pixels, seconds = default.max_large_pixels, 0
    return Settings(
        model=model,
        other_models=large | parse_models(os.environ.get("SSG_MODELS", "")),
        max_pixels=_number("SSG_MAX_PIXELS", pixels),
        max_large_pixels=most,
        max_output_pixels=_number("SSG_MAX_OUTPUT_PIXELS", default.max_output_pixels),
        max_file_size=_size("SSG_MAX_FILE_SIZE", default.max_file_size),
        max_files=_number("SSG_MAX_FILES", default.max_files),
        max_stored=_size("SSG_MAX_STORED", default.max_stored),
        max_clip_seconds=_number("SSG_MAX_CLIP_SECONDS", seconds, least=0),
        max_clip_frames=_number("SSG_MAX_CLIP_FRAMES", default.max_clip_frames),
        max_clip_pixels=_number("SSG_MAX_CLIP_PIXELS", default.max_clip_pixels),
        max_clip_output_pixels=_number("SSG_MAX_CLIP_OUTPUT_PIXELS", default.max_clip_output_pixels),
        queue_size=_number("SSG_QUEUE_SIZE", default.queue_size),
        keep_seconds=_number("SSG_KEEP_SECONDS", default.keep_seconds),
        device=device,
        other_devices=("cpu",) if free and device != "cpu" else (),
        precision=_precision(device),
    )


def is_shipped(name: str) -> bool:
    """Whether this installation has a checkpoint inside the package: one may leave out the large one to save room."""
    from ..storage.config_file import CONFIG
    from ..storage.finding import built_in_folder

    return (built_in_folder(name) / CONFIG).is_file()


def parse_models(text: str) -> dict[str, str]:
    """The allow-list "user/repo, x4plus=/models/RealESRGAN_x4plus.pth" as name -> source.

    A name ends at the first "=". Without a given name, a Hub id is its own name, and a file or folder is named by its
    last part, so that no visitor sees its path.

    Raises:
        ConfigError: two models of one name.
    """
    models: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, source = (part.strip() for part in entry.partition("="))
        exists = find_path(entry) is not None
        if exists or entry.startswith(("/", "~", ".")) or not source:  # a path or an id without a name before it
            name, source = Path(entry).stem if exists else entry, entry
        if name in models or name == DEFAULT:
            raise ConfigError(f"SSG_MODELS has {name!r} twice. Give one of them another name: name={source}")
        models[name] = source
    return models


def why_not_bfloat16(device: str) -> str | None:
    """Why bfloat16 would gain nothing on this machine's device, in words; None where it does."""
    from ..devices import gpu_has_bf16
    from ..upscaling.engines import compiled
    from ..upscaling.options import choose_engine

    if device.startswith("cuda"):
        known = LENT or gpu_has_bf16()
        return None if known else "this GPU does not compute in it"
    if device != "cpu":
        return f"it is for CPUs and CUDA GPUs, not for {device}"
    if choose_engine(None) == "torch" or not compiled.is_installed():
        return "on a CPU it needs OpenVINO (pip install openvino, and SSG_ENGINE other than torch)"
    return None if compiled.has_bfloat16() else "this CPU does not compute in it (it has neither AVX-512 BF16 nor AMX)"


def megapixels(pixels: int) -> str:
    """4000000 as people write it: "4"."""
    return f"{pixels / MEGA:g}"


def to_bytes(size: str) -> int:
    """How many bytes "40mb" are.

    Raises:
        ConfigError: not a size.
    """
    parts = re.fullmatch(r"(\d{1,18})\s*(kb|mb|gb)", size.strip().lower())
    if not parts:
        raise ConfigError(f"{size!r} is not a size; it needs a form like 40mb.")
    return int(parts[1]) * UNITS[parts[2]]


def _number(name: str, default: int, least: int = 1) -> int:
    value = os.environ.get(name) or str(default)
    with contextlib.suppress(ValueError):
        if (number := int(value)) >= least:
            return number
    raise ConfigError(f"{name} is {value!r}; it needs a whole number from {least} on.")


def _precision(device: str) -> str:
    value = os.environ.get("SSG_DTYPE") or PRECISIONS[0]
    if value not in PRECISIONS:
        raise ConfigError(f"SSG_DTYPE is {value!r}; choose one of {', '.join(PRECISIONS)}.")
    if value == "bfloat16" and (reason := why_not_bfloat16(device)):
        raise ConfigError(f"SSG_DTYPE is bfloat16, but {reason}. Leave it out to compute in float32.")
    return value


def _size(name: str, default: str) -> str:
    value = os.environ.get(name) or default
    try:
        to_bytes(value)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from None
    return value


def on_lent_gpu(task: Callable, seconds: Callable) -> Callable:
    """The task itself, or, on ZeroGPU, one that runs in another process with a GPU.

    Args:
        task: its arguments and its result must be picklable.
        seconds: takes the task's arguments; for how long the GPU is asked for.
    """
    return spaces.GPU(duration=seconds)(task) if LENT else task
