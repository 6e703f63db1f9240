"""ssg-hub: real-world super-resolution guided by semantic segmentation, on the Hugging Face stack.

from ssg_hub import SSGModel
result = SSGModel.from_pretrained().upscale("photo.jpg")
result.image.save("photo_x4.png")
"""

from typing import TYPE_CHECKING

from .errors import CheckpointError, ConfigError, HubError, ImageError, SSGError
from .loading import load_model
from .mapping import UpscaleExamples

if TYPE_CHECKING:
    from .adapting.adapt import adapt as adapt
    from .model import SSGModel

__version__ = "0.1.0"
__all__ = [  # without `adapt`: `from ssg_hub import *` needs no more than the package itself
    "CheckpointError",
    "ConfigError",
    "HubError",
    "ImageError",
    "SSGError",
    "SSGModel",
    "UpscaleExamples",
    "load_model",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # SSGModel too, before its first use


def __getattr__(name: str):
    if name == "SSGModel":  # on first use: it imports torch and diffusers
        from .model import SSGModel

        return SSGModel
    if name == "adapt":
        from .training.script import check_installed

        check_installed()
        from .adapting.adapt import adapt

        return adapt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
