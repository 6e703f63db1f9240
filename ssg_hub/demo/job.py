"""The job behind the button: what was asked for, whether it can be done, and the files that come of it."""

import json
import math
import re
import zipfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image

from ..images.picture import Picture
from ..upscaling.options import output_size
from ..upscaling.result import UpscaleResult
from . import views
from .refusals import Refused
from .settings import MEGA, Settings

ALLOWANCE = 2**18  # for what compresses badly, and small files beside the pictures
VIEW_PIXELS = 16 * MEGA  # beyond it the page shows a smaller view, for the browser's sake


@dataclass(frozen=True)
class Request:
    """What a visitor asked for."""

    outscale: float = 4.0
    strength: float = 1.0
    class_strength: dict[str, float] = field(default_factory=dict)
    color_fix: bool = False
    segment: bool = True
    tile: str | int | None = "auto"

    def options(self, labels: list[str]) -> dict:
        """The arguments of `model.upscale`; a class's strength is relative to the overall one."""
        strength = self.strength
        if self.class_strength:
            by_class = {**dict.fromkeys(labels, 1.0), **self.class_strength}
            strength = {name: _product(value, self.strength) for name, value in by_class.items()}
        return {
            "outscale": self.outscale,
            "tile": self.tile,
            "segment": self.segment and bool(labels),
            "strength": strength,
            "color_fix": self.color_fix,
        }


@dataclass(frozen=True)
class Files:
    """Where one result lies: in one folder below Gradio's cache."""

    picture: Path
    mask: Path | None
    everything: Path | None


def check_size(width: int, height: int, outscale: float, settings: Settings) -> None:
    """Check a request before anything is decoded.

    Raises:
        Refused: the picture or its result is beyond the limits; the message says what to do.
        ConfigError: an impossible outscale.
    """
    mega_in, mega_out = width * height / MEGA, math.prod(output_size((width, height), outscale)) / MEGA
    if width * height > settings.max_pixels:
        raise Refused("too_large_in", mp=f"{mega_in:.1f}", limit=f"{settings.max_pixels / MEGA:g}")
    if mega_out > settings.max_output_pixels / MEGA:
        raise Refused("too_large_out", mp=f"{mega_out:.1f}", limit=f"{settings.max_output_pixels / MEGA:g}")


def room_needed(picture: Picture, outscale: float) -> int:
    """Bytes that the files of a result may take at most: picture and ZIP at full depth, the rest at 8 bits."""
    pixels = math.prod(output_size(picture.size, outscale))
    channels = (1 if picture.is_gray else 3) + (picture.alpha is not None)
    return ALLOWANCE + pixels * (2 * channels * picture.bits // 8 + 4) + 4 * 3 * min(pixels, VIEW_PIXELS)


def enlarge(picture: Picture, size: tuple[int, int]) -> Image.Image:
    """The original enlarged to `size` by PIL's bicubic, 8 bit: what the result is compared with."""
    image = views.to_8bit(picture.to_image())
    return image.resize(size, Image.Resampling.BICUBIC)


def write_files(result: UpscaleResult, source: str, folder: Path, everything: bool = True) -> Files:
    """Write the picture (16 bit, transparency and profile kept), the mask, and a ZIP of all with drift and report."""
    name = f"{_safe_stem(source)}_x{result.report['outscale']:g}"
    suffix = ".tif" if source.lower().endswith((".tif", ".tiff")) else ".png"
    picture = folder / f"{name}{suffix}"
    result.save(picture)
    mask = None
    if result.mask is not None:
        mask = folder / f"{name}_mask.png"
        result.mask.save(mask)
    return Files(picture, mask, _write_zip(result, picture, mask, name) if everything else None)


def _write_zip(result: UpscaleResult, picture: Path, mask: Path | None, name: str) -> Path:
    path = picture.with_name(f"{name}.zip")
    with zipfile.ZipFile(path, "w") as archive:  # stored: PNGs do not get smaller
        archive.write(picture, picture.name)
        if mask is not None:
            archive.write(mask, mask.name)
            archive.writestr(f"{name}_drift.png", to_png(result.drift))
        report = json.dumps(result.report, indent=2, ensure_ascii=False)
        archive.writestr(f"{name}_report.json", report)
    return path


def to_png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_view(image: Image.Image, path: Path) -> str:
    """A picture as a lossless PNG of 8 bits for the browser; returns its path."""
    view = views.shrink(views.to_8bit(image), VIEW_PIXELS)
    view.save(path, compress_level=1, icc_profile=image.info.get("icc_profile"))
    return str(path)


def _product(value, strength):
    """Their product; what is no number goes on as it is, to be refused by name."""
    return value * strength if isinstance(value, (int, float)) and isinstance(strength, (int, float)) else value


def _safe_stem(source: str) -> str:
    return re.sub(r"[^\w. -]", "_", Path(source).stem)[:80] or "picture"
