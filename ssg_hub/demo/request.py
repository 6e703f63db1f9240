"""What a visitor asked for, and whether it can be done."""

import math
from dataclasses import dataclass, field

from ..images.formats import WRITTEN
from ..images.picture import Picture
from ..upscaling.options import Options, output_size
from .refusals import Refused
from .settings import MEGA, Settings

VIEW_PIXELS = 16 * MEGA  # above it the page shows a smaller view, to spare the browser
ALLOWANCE = 2**18  # bytes of a result for what compresses badly, and small files beside the pictures
# What a result can be written as. TIFF is for those who ask for it by name; the page offers what browsers show.
OUTPUT_FORMATS = tuple(name for name in ("png", "jpeg", "webp", "avif", "tiff") if f".{name}" in WRITTEN)
PAGE_FORMATS = tuple(name for name in OUTPUT_FORMATS if name != "tiff")
SIZES = (1, 2, 3, 4, 6, 8)  # factors that the page offers
QUALITY = 90  # of the formats that lose something


@dataclass(frozen=True)
class Request:
    """What a visitor asked for.

    Args:
        outscale, strength, color_fix, segment, tile, denoise: as for `upscale`, not yet checked.
        class_strength: strength by class, times `strength`.
        format: one of OUTPUT_FORMATS.
        quality: 1 to 100, for JPEG, WebP and AVIF.
        device: where it is computed; None is where the model is.
    """

    outscale: float = 4.0
    strength: float = 1.0
    class_strength: dict[str, float] = field(default_factory=dict)
    color_fix: bool = Options.color_fix
    segment: bool = True
    tile: str | int | None = "auto"
    denoise: float | None = None
    format: str = "png"
    quality: int = QUALITY
    device: str | None = None

    def options(self, labels: list[str]) -> dict:
        """The arguments of `model.upscale`; a class's strength is relative to the overall one."""
        strength: float | dict[str, float] = self.strength
        if self.class_strength:
            by_class = {**dict.fromkeys(labels, 1.0), **self.class_strength}
            strength = {name: _product(value, self.strength) for name, value in by_class.items()}
        return {
            "outscale": self.outscale,
            "tile": self.tile,
            "segment": self.segment and bool(labels),
            "strength": strength,
            "color_fix": self.color_fix,
            "denoise": self.denoise,
            "device": self.device,
        }


def check_request(request: Request) -> None:
    """Check what `upscale` does not look at.

    Raises:
        Refused: strengths of the wrong form, a format that is not written here, or an impossible quality.
    """
    if not isinstance(request.class_strength, dict):
        raise Refused("class_strength_form", value=repr(request.class_strength))
    if request.format not in OUTPUT_FORMATS:
        raise Refused("unknown_format", name=repr(request.format), names=", ".join(OUTPUT_FORMATS))
    quality = request.quality
    if isinstance(quality, bool) or not isinstance(quality, (int, float)) or not 1 <= quality <= 100:
        raise Refused("quality_range", value=repr(quality))


def check_size(width: int, height: int, outscale: float, settings: Settings, *models: str) -> None:
    """Check a request before anything is decoded; `models` are the names of those that it is for.

    Raises:
        Refused: the picture or its result is beyond the limits; the message says what to do.
        ConfigError: an impossible outscale.
    """
    mega_in, mega_out = width * height / MEGA, math.prod(output_size((width, height), outscale)) / MEGA
    if width * height > settings.max_pixels:
        raise Refused("too_large_in", mp=f"{mega_in:.1f}", limit=f"{settings.max_pixels / MEGA:g}")
    if any(width * height > settings.most_pixels(name) for name in models):
        limit = f"{settings.max_large_pixels / MEGA:g}"
        raise Refused("too_large_for_best", mp=f"{mega_in:.2f}", limit=limit)
    if mega_out > settings.max_output_pixels / MEGA:
        raise Refused("too_large_out", mp=f"{mega_out:.1f}", limit=f"{settings.max_output_pixels / MEGA:g}")


def fitting_factor(sizes: list[tuple[int, int]], outscale: float, settings: Settings) -> float:
    """The factor itself, or the largest one below it that the page offers and that one of these pictures can have.

    Args:
        sizes: (width, height) of the pictures.
        outscale: what is chosen.
        settings: the limits.
    """
    least = min((width * height for width, height in sizes), default=0)
    fits = (size for size in sorted({*SIZES, outscale}, reverse=True) if size <= outscale)
    return next((size for size in fits if least * size**2 <= settings.max_output_pixels), outscale)


def room_needed(picture: Picture, outscale: float, views: int) -> int:
    """Bytes that the files of a result may take at most.

    Args:
        picture: the input; the result has its channels and depth.
        outscale: how many times larger the result is.
        views: how many more pictures are written for the screen.
    """
    pixels = math.prod(output_size(picture.size, outscale))
    channels = (1 if picture.is_gray else 3) + (picture.alpha is not None)
    own = pixels * (channels * picture.bits // 8 + 2)  # with mask and drift, a byte a pixel each
    return ALLOWANCE + own + views * 4 * min(pixels, VIEW_PIXELS)


def _product(value, strength):
    """Their product; a value that is not a number is returned unchanged, to be refused by name."""
    return value * strength if isinstance(value, (int, float)) and isinstance(strength, (int, float)) else value
