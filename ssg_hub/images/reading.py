"""Pictures in: files, bytes, Pillow images, arrays and tensors become a `Picture`. Pictures out: see `writing`.

The only reader, for users, training and evaluation alike. How a file is taken apart is in `opening`.
"""

import sys
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from ..errors import ImageError
from . import png, ppm, tiff
from .metadata import Found, Metadata, clean, fit_profile
from .opening import Opened, check_limit, found_in, naming, open_picture
from .picture import Picture, from_array, from_pil, from_tensor
from .writing import write_picture

__all__ = [
    "MAX_PIXELS",
    "Picture",
    "read_labels",
    "read_picture",
    "read_rgb",
    "read_size",
    "write_picture",
]

MAX_PIXELS = 2**26  # 67 megapixels: beyond any phone, within what a laptop's memory holds at x4
Planes = tuple[np.ndarray, np.ndarray | None]  # values and alpha, as `Picture` has them


def read_picture(source: Any, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a picture of any common kind, turned upright, at its own depth.

    Args:
        source: a path; a file's bytes; a file opened as binary, which is read from its beginning; a Pillow image; a
            NumPy array (H, W) or (H, W, 1|3|4), uint8, uint16 or float in [0, 1]; a float tensor (3, H, W) or
            (1, 3, H, W) in [0, 1]; or a `Picture`, returned as it is.
        max_pixels: width x height above which the picture is refused before it is decoded.

    Returns:
        The picture. EXIF rotation is applied; palettes, CMYK and other colour spaces become RGB, bitmaps gray; of an
        animation the first frame is taken. The notes say what was changed or left out.

    Raises:
        ImageError: no picture, a damaged or an empty one, a missing file, or more than `max_pixels`.

    >>> picture = read_picture(np.full((2, 3), 65535, np.uint16))
    >>> picture.size, picture.mode, picture.pixels.shape, float(picture.pixels.max())
    ((3, 2), 'gray 16 bit', (2, 3, 3), 1.0)
    """
    torch = sys.modules.get("torch")  # a caller with a tensor has torch installed
    if isinstance(source, Picture):
        picture = source
    elif isinstance(source, np.ndarray):
        picture = from_array(source)
    elif torch is not None and isinstance(source, torch.Tensor):
        picture = from_tensor(source)
    elif isinstance(source, Image.Image):
        return _read_image(source, max_pixels)
    else:
        return _read_opened(open_picture(source), max_pixels)
    check_limit(picture.size, "the picture", max_pixels)
    return picture


def read_rgb(source: Any, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as opaque RGB, as training and evaluation see it.

    Args:
        source, max_pixels: as for `read_picture`.

    Returns:
        (H, W, 3) uint8, or uint16 where the picture has 16 bits. Gray in all three channels; what is fully transparent
        has the colours around it, because those that a file keeps there are arbitrary.

    Raises:
        ImageError: as `read_picture`.

    >>> read_rgb(np.array([[0, 255]], np.uint8)).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    picture = read_picture(source, max_pixels)
    values = picture.values
    if picture.alpha is not None:
        from .resampling import fill_transparent

        values = fill_transparent(picture)
    return np.repeat(values[..., None], 3, axis=-1) if picture.is_gray else values


def read_labels(source: Any, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a label map: one class id per pixel, turned upright as its picture is.

    Args:
        source: a path, a file's bytes or a Pillow image, of gray or palette pixels; a palette's index is the id. Pillow
            stretches gray of few bits to 0…255; here it is as stored, unless Pillow has loaded the image already.
        max_pixels: as for `read_picture`.

    Returns:
        (H, W) integers, of the type that the file has.

    Raises:
        ImageError: no picture, or colours in place of ids.
    """
    if isinstance(source, Image.Image):
        return _check_ids(_stored_samples(source), "the label map")
    opened = open_picture(source)
    check_limit(opened.stored, opened.name, max_pixels)
    with naming(opened.name, size=opened.stored):
        ids = tiff.read_ids(opened.page) if opened.page else _stored_samples(opened.image)
    return _turn(_check_ids(ids, opened.name), opened.orientation)


def read_size(source: Any) -> tuple[int, int]:
    """(width, height) of a file's picture as it will be seen, upright; the file is read, and not decoded.

    Args:
        source: a path or a file's bytes.

    Raises:
        ImageError: as `read_picture`, as far as the header tells.
    """
    return open_picture(source).size


def _stored_samples(image: Image.Image) -> np.ndarray:
    """The samples of a Pillow image as its file has them."""
    white = png.stored_white(image) or ppm.stored_white(image)  # asked before the image is loaded
    values = np.asarray(image)
    if white is None:
        return values
    return np.rint(values * (white / (255 if image.mode == "L" else 65535))).astype(values.dtype)


def _check_ids(ids: np.ndarray, name: str) -> np.ndarray:
    if ids.ndim != 2 or ids.dtype.kind == "f":
        kind = f"{ids.shape[2]} channels" if ids.ndim == 3 else "fractions"
        raise ImageError(f"{name} has {kind}; a label map holds one class id per pixel, gray or with a palette.")
    return ids.astype(np.uint8) if ids.dtype == bool else ids


def _read_opened(opened: Opened, max_pixels: int) -> Picture:
    check_limit(opened.stored, opened.name, max_pixels)
    notes = count_frames(opened.found, 0)
    with naming(opened.name, size=opened.stored):
        if opened.page:
            values, alpha = tiff.decode(opened.page, notes)
            if isinstance(values, Image.Image):
                values, _ = _decode_image(values, opened.metadata, notes)
        else:
            values, alpha = _decode_deep(opened) or _decode_image(opened.image, opened.metadata, notes)
        return _finish(values, alpha, opened.metadata, opened.orientation, [*notes, *opened.found.notes])


def _read_image(image: Image.Image, max_pixels: int) -> Picture:
    """Take a Pillow image, whatever its origin."""
    name = "the picture"
    if 0 in image.size:
        raise ImageError(f"{name} is {image.width}x{image.height}; at least one pixel is needed.")
    check_limit(image.size, name, max_pixels)
    with naming(name, size=image.size):
        key = png.transparent_gray(image)
        _load(image)  # a TIFF turns itself upright here
        found = found_in(image)
        notes = count_frames(found, image.tell())
        metadata, orientation = clean(found)
        values, alpha = _decode_image(image, metadata, notes, key)
        return _finish(values, alpha, metadata, orientation, [*notes, *found.notes])


def _load(image: Image.Image) -> None:
    """Decode a Pillow image that was only opened until now."""
    try:
        image.load()
    except Exception as error:
        file = getattr(image, "fp", None)
        if file is not None and not getattr(file, "closed", False):
            raise
        raise ImageError("it was closed before it was decoded. Call its load() while its file is open.") from error


def count_frames(found: Found, used: int) -> list[str]:
    """A note where a file holds more than one frame or page."""
    if found.frames == 1 and not found.more:
        return []
    count = f"{'more than ' if found.more else ''}{found.frames} frame{'s' if found.frames > 1 else ''} or pages"
    return [f"The file holds {count}; number {used + 1} was used."]


def _finish(
    values: np.ndarray, alpha: np.ndarray | None, metadata: Metadata, orientation: int, notes: list[str]
) -> Picture:
    """Turn the pixels upright; a profile of other colours than these has been used up, or never was of use."""
    alpha = None if alpha is None else _turn(alpha, orientation)
    metadata = fit_profile(metadata, values.ndim == 2, notes)
    return Picture(_turn(values, orientation), alpha, notes=notes, **metadata._asdict())


def _decode_image(image: Image.Image, metadata: Metadata, notes: list[str], key: int | None = None) -> Planes:
    """Decode what Pillow decodes at the picture's own depth; `key` is the gray that is declared transparent."""
    key = png.transparent_gray(image) if key is None else key
    if image.mode == "CMYK":
        notes.append("CMYK was converted to RGB.")
        image = _from_cmyk(image, metadata.icc)
    values, alpha = from_pil(image)
    if key is not None:
        alpha = np.where(values == key, 0, np.iinfo(values.dtype).max).astype(values.dtype)
    return values, alpha


def _decode_deep(opened: Opened) -> Planes | None:
    """Decode 16 bits of PPM, and of PNG in colour or gray with alpha; None when the picture is something else."""
    image, data = opened.image, opened.data
    if image.format == "PPM":
        values = ppm.decode_deep(data)
        return None if values is None else (values, None)
    if split := png.open_gray_alpha(data, image):
        planes = np.asarray(split).copy().view(">u2").astype(np.uint16)
        return np.ascontiguousarray(planes[..., 0]), np.ascontiguousarray(planes[..., 1])
    low = png.open_low_bytes(data, image)
    if low is None:
        return None
    planes = png.join_bytes(image, low)
    if planes.shape[2] == 4:
        return np.ascontiguousarray(planes[..., :3]), np.ascontiguousarray(planes[..., 3])
    key = image.info.get("transparency")  # one colour may be declared transparent
    return planes, None if key is None else np.where((planes == key).all(-1), 0, 65535).astype(np.uint16)


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK to sRGB: by the embedded profile where there is a usable one, else by the plain formula."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            pass  # a profile that no one can read says nothing; the formula is the best that is left
    return image.convert("RGB")


def read_orientation(orientation: int) -> tuple[bool, bool, bool]:
    """What turns stored pixels upright: rows and columns exchanged, then rows and columns each in reverse order."""
    return orientation >= 5, orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)


def _turn(planes: np.ndarray, orientation: int) -> np.ndarray:
    """Turn stored pixels upright (CIPA DC-008, tag 274)."""
    if orientation == 1:
        return planes
    transpose, flip_rows, flip_columns = read_orientation(orientation)
    if transpose:
        planes = planes.swapaxes(0, 1)
    return np.ascontiguousarray(planes[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1])
