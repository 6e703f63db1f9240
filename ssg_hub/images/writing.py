"""Writing pictures to files, whole or not at all: PNG, JPEG, WebP and TIFF."""

import contextlib
import os
import uuid
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from ..errors import ImageError
from . import deep_color
from .picture import Picture, to_8_bit

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
LONGEST_SIDE = {"JPEG": 65535, "WEBP": 16383}  # what the formats' size fields hold


def write_picture(
    picture: Picture | Image.Image,
    path: str | os.PathLike,
    format: str | None = None,
    overwrite: bool = False,
    quality: int | None = None,
) -> list[str]:
    """Write a picture to a file. Other programs see the whole file or none: it is written beside and then renamed.

    Args:
        picture: what to write; a Pillow image in mode P stays indexed where the format has palettes.
        path: its suffix decides the format: .png, .jpg, .jpeg, .webp, .tif, .tiff. The folder must exist.
        format: "png", "jpeg", "webp" or "tiff" for a path without a suffix.
        overwrite: replace a file that exists.
        quality: 1–100 for JPEG (default 95) and WebP (default: lossless); PNG and TIFF are always lossless.

    Returns:
        Notes about what the format could not hold; empty when everything is in the file.

    Raises:
        ImageError: an unknown format, a file that exists, a picture too large for the format, or a failed write.
    """
    path = Path(path)
    format = choose_format(path, format)
    _check_target(path, overwrite)
    width, height = picture.size
    if max(width, height) > LONGEST_SIDE.get(format, 2**31):
        raise ImageError(
            f"{width}x{height} is too large for {format}, which ends at {LONGEST_SIDE[format]} pixels a side. "
            "Write a PNG."
        )
    notes: list[str] = []
    partial = path.with_name(f".{uuid.uuid4().hex[:16]}.tmp")
    try:
        with open(partial, "xb") as file:
            _encode(file, picture, format, quality, notes)
        _check_target(path, overwrite)  # again: another process may have been faster
        os.replace(partial, path)
    except OSError as error:
        raise ImageError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error
    finally:
        with contextlib.suppress(OSError):  # after a success it is gone already
            partial.unlink()
    return notes


def choose_format(path: Path, format: str | None = None) -> str:
    """Pillow's name of the format in which `path` is written.

    Raises:
        ImageError: a suffix or name that is not known, or two that contradict each other.
    """
    by_suffix = FORMATS.get(path.suffix.lower())
    by_name = None if format is None else FORMATS.get(f".{format.lower()}")
    known = "PNG (.png), JPEG (.jpg), WebP (.webp) and TIFF (.tif)"
    if format is not None and by_name is None:
        raise ImageError(f"cannot write the format {format!r}; known are {known}.")
    if by_suffix is None and (path.suffix or by_name is None):
        raise ImageError(f"the name {path.name!r} does not end in a format that can be written; known are {known}.")
    if by_suffix and by_name and by_suffix != by_name:
        raise ImageError(f"{path.name!r} would be a {by_name} by another name. Leave the format out, or rename it.")
    return by_suffix or by_name


def _check_target(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise ImageError(f"{path} is a folder; give a file name in it.")
    if not path.parent.is_dir():
        raise ImageError(f"cannot write {path}: there is no folder {path.parent}. Make it first.")
    if path.exists() and not overwrite:
        raise ImageError(f"{path} exists and is kept. Choose another name, or allow overwriting.")


def _encode(
    file: IO[bytes], picture: Picture | Image.Image, format: str, quality: int | None, notes: list[str]
) -> None:
    if isinstance(picture, Picture):
        if picture.bits == 16:
            if format in ("PNG", "TIFF"):
                return _encode_deep(file, picture, format, notes)
            notes.append(f"{format} holds 8 bits a channel: the 16-bit values were rounded. PNG and TIFF keep them.")
            picture = Picture(
                to_8_bit(picture.values),
                None if picture.alpha is None else to_8_bit(picture.alpha),
                picture.icc,
                picture.exif,
            )
        picture = picture.to_image()
    options = {key: picture.info[key] for key in ("icc_profile", "exif") if picture.info.get(key)}
    if format == "JPEG":
        picture = _fit_jpeg(picture, notes)
        options |= {"quality": quality or 95, "subsampling": 0}
    elif format == "WEBP":
        options |= {"quality": quality} if quality else {"lossless": True, "exact": True}
    elif format == "TIFF":
        options |= {"compression": "tiff_adobe_deflate"}
    picture.save(file, format, **options)


def _encode_deep(file: IO[bytes], picture: Picture, format: str, notes: list[str]) -> None:
    planes = picture.values[..., None] if picture.is_gray else picture.values
    if picture.alpha is not None:
        planes = np.concatenate((planes, picture.alpha[..., None]), axis=-1)
    if format == "PNG":
        deep_color.write_png(file, planes, picture.icc, picture.exif)
    else:
        if planes.shape[2] == 2:
            planes = planes[..., [0, 0, 0, 1]]
            notes.append("16-bit gray with alpha was written as RGBA: few programs read it as such in a TIFF.")
        deep_color.write_tiff(file, planes, picture.icc)
        if picture.exif:
            notes.append("The EXIF data was left out: it is not written into 16-bit TIFF. PNG keeps it.")


def _fit_jpeg(image: Image.Image, notes: list[str]) -> Image.Image:
    """Bring an image into a mode that JPEG has."""
    if image.has_transparency_data:
        notes.append("JPEG holds no transparency: the picture was laid on white.")
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode.startswith("I"):
        return Image.fromarray(to_8_bit(np.asarray(image).astype(np.uint16)))
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
