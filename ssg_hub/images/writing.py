"""Writing pictures to files, whole or not at all: PNG, JPEG, WebP, TIFF, and AVIF where Pillow has it."""

import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator
from numbers import Integral
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from ..errors import ConfigError, ImageError
from ..storage import as_path
from . import jpeg, png
from .formats import check_size, check_target, choose_format
from .levels import to_8_bit
from .metadata import Metadata, add_resolution, fit_profile, metadata_of, usable
from .picture import Picture, from_pil
from .png_writer import PngWriter
from .tiff_writer import TiffWriter

ROWS = 256  # that are encoded at a time
JPEG_QUALITY, AVIF_QUALITY = 95, 95
GRAY_ALPHA_NOTE = "16-bit gray with alpha was written as RGBA: few programs read it as such in a TIFF."


def write_picture(
    picture: Picture | Image.Image,
    path: str | os.PathLike,
    format: str | None = None,
    overwrite: bool = False,
    quality: int | None = None,
) -> list[str]:
    """Write a picture to a file. Other programs see the whole file or none: it is written beside and then renamed.

    Args:
        picture: what to write; a Pillow image in mode P stays indexed where the format has palettes. Its profile, EXIF,
            XMP, resolution and texts are written where the format has a place for them.
        path: its suffix decides the format: .png, .jpg, .jpeg, .jfif, .webp, .tif, .tiff, .avif. The folder must exist.
        format: "png", "jpeg", "webp", "tiff" or "avif" for a path without a suffix.
        overwrite: replace a file that exists.
        quality: 1–100 for JPEG and AVIF (default 95) and WebP (default: lossless); PNG and TIFF are always lossless.

    Returns:
        Notes about what the format could not hold; empty when everything is in the file.

    Raises:
        ImageError: an unknown format, a file that exists, a picture too large for the format, or a failed write.
        ConfigError: an impossible quality.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "white.webp"
    >>> write_picture(Picture(np.full((4, 4), 65535, np.uint16)), path)
    ['WEBP holds 8 bits a channel: the 16-bit values were rounded. PNG and TIFF keep them.']
    >>> Image.open(path).getpixel((0, 0))
    (255, 255, 255)
    """
    if not (quality is None or (isinstance(quality, Integral) and quality is not True and 1 <= quality <= 100)):
        raise ConfigError(f"quality is {quality!r:.60}; it must be a whole number from 1 to 100.")
    path = as_path(path)
    format = choose_format(path, format)
    check_target(path, overwrite)
    check_size(picture.size, format)
    notes: list[str] = []
    with whole_picture(path, overwrite) as file, naming_target(path):
        _encode(file, picture, format, quality, notes)
    return notes


@contextlib.contextmanager
def whole_picture(path: Path, overwrite: bool) -> Iterator[IO[bytes]]:
    """A file beside `path` that takes its name when the block ends well, and is removed when it does not.

    Unlike `ssg_hub.storage.whole_file`, it keeps what others have put there, and does not wait for the disk.

    Raises:
        ImageError: a file that exists, or one that cannot be made.
    """
    partial = path.with_name(f".{uuid.uuid4().hex[:16]}.tmp")
    try:
        with naming_target(path):
            file = open(partial, "xb")  # noqa: SIM115
        try:
            yield file
        except BaseException:
            with contextlib.suppress(OSError):  # on a full disk it fails once more; the first error is the one to tell
                file.close()
            raise
        with naming_target(path):
            file.close()  # now, so that a full disk is noticed
        check_target(path, overwrite)  # again: another process may have been faster
        with naming_target(path):
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # after a success it is gone already
            partial.unlink()


@contextlib.contextmanager
def naming_target(path: Path) -> Iterator[None]:
    """Turn whatever ends the writing of a file (a full disk, what an encoder stumbles over) into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{path} cannot be written: {reason}. Choose another place.") from error


def _encode(
    file: IO[bytes], picture: Picture | Image.Image, format: str, quality: int | None, notes: list[str]
) -> None:
    ours = isinstance(picture, Picture)  # and so upright; a Pillow image is as its maker left it
    said = picture.metadata if isinstance(picture, Picture) else metadata_of(picture)
    metadata = usable(said, upright=ours, notes=notes)
    if isinstance(picture, Image.Image) and (picture.mode.startswith("I") or picture.mode == "F"):
        picture = Picture(*from_pil(picture))
    bits = picture.bits if isinstance(picture, Picture) else 8
    metadata = fit_metadata(metadata, format, _channels_of(picture), bits, notes)
    if format == "TIFF":
        return _encode_tiff(file, picture, metadata, notes)
    if isinstance(picture, Picture):
        if picture.bits == 16 and format == "PNG":
            return _write_rows(PngWriter(file, picture.size, _channels_of(picture), 16, metadata), _cut_bands(picture))
        picture = _round(picture, format, notes).to_image()
    # empty where there is none, because Pillow would else look for it in the image's own `info`
    options: dict[str, Any] = {
        "icc_profile": metadata.icc or b"",
        "exif": metadata.exif or b"",
        "xmp": metadata.xmp or b"",
    }
    options |= {"dpi": metadata.dpi} if metadata.dpi else {}
    if format == "PNG":
        options |= png.save_options(metadata)
    elif format == "JPEG":
        picture = _fit_jpeg(picture, notes)
        options |= {**jpeg.save_options(metadata), "quality": quality or JPEG_QUALITY, "subsampling": 0}
    elif format == "WEBP":
        options |= {"quality": quality} if quality else {"lossless": True, "exact": True}
    elif format == "AVIF":
        options |= {"quality": quality or AVIF_QUALITY, "subsampling": "4:0:0" if picture.mode == "L" else "4:4:4"}
    picture.save(file, format, **options)


def fit_metadata(metadata: Metadata, format: str, channels: int, bits: int, notes: list[str]) -> Metadata:
    """The metadata as far as a format has a place for it, and as it holds for the pixels that it stores.

    Args:
        metadata: what there is.
        format: Pillow's name.
        channels: of the picture: 1 gray, 2 gray and alpha, 3 RGB or palette, 4 RGBA.
        bits: of a channel.
        notes: takes the notes.
    """
    becomes_rgb = format == "WEBP" or channels == 2 and (format == "AVIF" or format == "TIFF" and bits == 16)
    metadata = fit_profile(metadata, channels < 3 and not becomes_rgb, notes)
    fitting = jpeg.fit(metadata, notes) if format == "JPEG" else metadata
    if format not in ("PNG", "JPEG"):
        fitting = fitting._replace(text={})
    if fitting.dpi and format in ("WEBP", "AVIF"):
        fitting = fitting._replace(exif=add_resolution(fitting.exif, fitting.dpi))
    reported = {"Comment"} if format == "JPEG" else set()  # by `jpeg.fit`, where it is too long
    if lost := [key for key in metadata.text if key not in fitting.text.keys() | reported]:
        names = ", ".join(lost[:5]) + (", …" if len(lost) > 5 else "")
        notes.append(f"{format} has no place for texts; left out: {names}. PNG keeps them.")
    return fitting


def _round(picture: Picture, format: str, notes: list[str]) -> Picture:
    """The picture at 8 bits."""
    if picture.bits == 8:
        return picture
    notes.append(f"{format} holds 8 bits a channel: the 16-bit values were rounded. PNG and TIFF keep them.")
    return picture.with_pixels(to_8_bit(picture.values), None if picture.alpha is None else to_8_bit(picture.alpha))


def planes_of(picture: Picture) -> np.ndarray:
    """(H, W, C): gray or RGB, and alpha behind them where there is one."""
    planes = picture.values[..., None] if picture.is_gray else picture.values
    return planes if picture.alpha is None else np.concatenate((planes, picture.alpha[..., None]), axis=-1)


def for_tiff(planes: np.ndarray) -> np.ndarray:
    """Planes (h, w, C) in a form that most programs read in a TIFF: 16-bit gray with alpha as RGBA."""
    return planes[..., [0, 0, 0, 1]] if planes.shape[2] == 2 and planes.dtype == np.uint16 else planes


def _channels_of(picture: Picture | Image.Image) -> int:
    if isinstance(picture, Image.Image):
        return {"1": 1, "L": 1, "LA": 2, "La": 2}.get(picture.mode, 3)
    return (1 if picture.is_gray else 3) + (picture.alpha is not None)


def _encode_tiff(file: IO[bytes], picture: Picture | Image.Image, metadata: Metadata, notes: list[str]) -> None:
    palette = None
    if isinstance(picture, Image.Image) and picture.mode == "P" and not picture.has_transparency_data:
        palette = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
    if isinstance(picture, Picture) and picture.bits == 16 and picture.is_gray and picture.alpha is not None:
        notes.append(GRAY_ALPHA_NOTE)
    bands = (for_tiff(band) for band in _cut_bands(picture, palette is not None))
    _write_rows(TiffWriter(file, picture.size, metadata, palette), bands)


def _write_rows(writer: PngWriter | TiffWriter, bands: Iterable[np.ndarray]) -> None:
    for band in bands:
        writer.add(band)
    writer.finish()


def _cut_bands(picture: Picture | Image.Image, indexed: bool = False) -> Iterator[np.ndarray]:
    """The rows of a picture, `ROWS` at a time, so that a large one is not held twice."""
    width, height = picture.size
    for top in range(0, height, ROWS):
        if isinstance(picture, Picture):
            cut = slice(top, top + ROWS)
            part = picture.with_pixels(picture.values[cut], None if picture.alpha is None else picture.alpha[cut])
        else:
            band = picture.crop((0, top, width, min(top + ROWS, height)))
            part = Picture(np.asarray(band)) if indexed else Picture(*from_pil(band))
        yield planes_of(part)


def _fit_jpeg(image: Image.Image, notes: list[str]) -> Image.Image:
    """Bring an image into a mode that JPEG has."""
    if image.has_transparency_data:
        notes.append("JPEG holds no transparency: the picture was laid on white.")
        white = Image.new("RGBA", image.size, "white")
        laid = Image.alpha_composite(white, image.convert("RGBA"))
        return laid.convert("L" if image.mode in ("L", "LA", "La") else "RGB")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")
