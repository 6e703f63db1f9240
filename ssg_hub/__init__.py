"""ssg-hub: real-world super-resolution guided by semantic segmentation, on the Hugging Face stack.

    from ssg_hub import SSGModel
    result = SSGModel.from_pretrained().upscale("photo.jpg")
    result.image.save("photo_x4.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import CheckpointError, ConfigError, HubError, ImageError, SSGError

if TYPE_CHECKING:
    from .model import SSGModel
    from .upscale import upscale

__version__ = "0.1.0"
__all__ = ["CheckpointError", "ConfigError", "HubError", "ImageError", "SSGError", "SSGModel", "upscale"]

_LAZY = {"SSGModel": "model", "upscale": "upscale"}  # loaded on first use: they bring torch and diffusers with them


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
