"""Pictures in: files, bytes, Pillow images, arrays and tensors become a `Picture`. Pictures out: see `writing`."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from ..errors import ImageError
from . import deep_color
from .picture import Picture, from_array, from_pil, from_tensor
from .writing import write_picture

__all__ = ["MAX_PIXELS", "Picture", "read_picture", "write_picture"]

MAX_PIXELS = 2**26  # 67 megapixels: beyond any phone, within what a laptop's memory holds at x4
# What describes the photograph rather than the file: description, camera, software, date, artist, copyright.
KEPT_TAGS = (270, 271, 272, 305, 306, 315, 33432)
EXIF_FOLDER, GPS_FOLDER = 0x8769, 0x8825
STALE_TAGS = (0xA002, 0xA003, 0xA005, 0x927C)  # former width and height; data that points to places in the old file


def read_picture(source: Any, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture of any common kind, turned upright, at its own depth.

    Args:
        source: a path; a file's bytes; a Pillow image; a NumPy array (H, W) or (H, W, 1|3|4), uint8, uint16 or
            float in [0, 1]; a float tensor (3, H, W) or (1, 3, H, W) in [0, 1]; or a `Picture`, returned as it is.
        max_pixels: width x height above which the picture is refused before it is decoded.

    Returns:
        The picture. EXIF rotation is applied; palettes, CMYK and other colour spaces become RGB, bitmaps gray; of an
        animation the first frame is taken. The notes say what was changed.

    Raises:
        ImageError: no picture, a damaged or an empty one, a missing file, or more than `max_pixels`.
    """
    if isinstance(source, Picture):
        picture = source
    elif isinstance(source, np.ndarray):
        picture = from_array(source)
    elif isinstance(source, torch.Tensor):
        picture = from_tensor(source)
    elif isinstance(source, Image.Image):
        return _from_image(source, None, "the picture", max_pixels)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), f"the picture of {len(source)} bytes", max_pixels)
    elif isinstance(source, (str, os.PathLike)):
        return _decode(_read_file(Path(source)), str(source), max_pixels)
    else:
        raise ImageError(
            f"got a {type(source).__name__}; a picture is a path, bytes, a Pillow image, a NumPy array or a tensor."
        )
    _check_limit(picture.size, "the picture", max_pixels)
    return picture


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"there is no file {path}. Check the name.") from None
    except IsADirectoryError:
        raise ImageError(f"{path} is a folder; give a picture in it.") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be opened: {error.strerror or error}. Check its permissions.") from error


def _decode(data: bytes, name: str, max_pixels: int) -> Picture:
    if not data:
        raise ImageError(f"{name} is empty (0 bytes). Copy or download it again.")
    try:
        image = Image.open(BytesIO(data))
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not a picture that can be read (it starts with {data[:8]!r}). Use PNG, JPEG, WebP or TIFF."
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{name} has more pixels than Pillow opens. If you trust it, raise PIL.Image.MAX_IMAGE_PIXELS and "
            "max_pixels."
        ) from None
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        raise _damaged(name, error) from error
    return _from_image(image, data, name, max_pixels)


def _from_image(image: Image.Image, data: bytes | None, name: str, max_pixels: int) -> Picture:
    """Turn an open image into a picture; `data` is the file it comes from, if it comes from one."""
    if 0 in image.size:
        raise ImageError(f"{name} is {image.width}x{image.height}; at least one pixel is needed.")
    _check_limit(image.size, name, max_pixels)
    notes: list[str] = []
    try:
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            notes.append(f"The file holds {frames} frames or pages; number {image.tell() + 1} was used.")
        values, alpha = _read_deep(image, data) or _read_shallow(image, notes)
        exif = _descriptive_exif(image)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    except MemoryError:
        raise ImageError(
            f"{name} ({image.width}x{image.height}) does not fit into memory. Use a smaller one."
        ) from None
    except Exception as error:  # as above: truncated and damaged data ends in any exception
        raise _damaged(name, error) from error
    return Picture(values, alpha, None if "CMYK" in image.mode else image.info.get("icc_profile"), exif, notes)


def _read_shallow(image: Image.Image, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """Decode what Pillow decodes at the picture's own depth."""
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA") and 16 in image.tag_v2.get(258, ()):
        if deep_color.has_separate_planes(image) and image.tag_v2.get(259, 1) == 1:
            raise ImageError("16-bit TIFF with a plane for each colour cannot be read; save it interleaved, or as PNG.")
        notes.append("The 16 bits of this kind of TIFF were read as 8.")
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "CMYK":
        notes.append("CMYK was converted to RGB.")
        upright = _from_cmyk(upright)
    return from_pil(upright)


def _read_deep(image: Image.Image, data: bytes | None) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Decode 16-bit colour, or gray with alpha; None when the picture is something else."""
    if data is None:
        return None
    if split := deep_color.open_gray_alpha(data, image):
        planes = np.asarray(ImageOps.exif_transpose(split)).copy().view(">u2").astype(np.uint16)
        return np.ascontiguousarray(planes[..., 0]), np.ascontiguousarray(planes[..., 1])
    low = deep_color.open_low_bytes(data, image)
    if low is None:
        return None
    planes = deep_color.join_bytes(ImageOps.exif_transpose(image), ImageOps.exif_transpose(low))
    if planes.shape[2] == 4:
        return np.ascontiguousarray(planes[..., :3]), np.ascontiguousarray(planes[..., 3])
    key = image.info.get("transparency")  # PNG: one colour may be declared transparent
    return planes, None if key is None else np.where((planes == key).all(-1), 0, 65535).astype(np.uint16)


def _from_cmyk(image: Image.Image) -> Image.Image:
    """CMYK to sRGB: by the embedded profile where there is a usable one, else by the plain formula."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that no one can read says nothing; the formula is the best that is left
    return image.convert("RGB")


def _descriptive_exif(image: Image.Image) -> bytes | None:
    """The metadata without orientation, thumbnail, sizes, and what else described the former file."""
    found = image.getexif()
    kept = Image.Exif()
    kept.update({tag: found[tag] for tag in KEPT_TAGS if tag in found})
    for folder in (EXIF_FOLDER, GPS_FOLDER):
        tags = {tag: value for tag, value in found.get_ifd(folder).items() if tag not in STALE_TAGS}
        if tags:
            kept.get_ifd(folder).update(tags)
            kept[folder] = tags
    return kept.tobytes() if len(kept) else None


def _check_limit(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} = {width * height / 1e6:.1f} megapixels; the limit is "
            f"{max_pixels / 1e6:.1f}. Make it smaller, or raise max_pixels."
        )


def _damaged(name: str, error: Exception) -> ImageError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return ImageError(f"{name} is damaged or cut short ({reason}). Copy or download it again.")
