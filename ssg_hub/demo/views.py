"""Pictures as a browser shows them: 8 bits, and no larger than it needs."""

from io import BytesIO

import numpy as np
from PIL import Image

from ..images.levels import to_8_bit

PREVIEW_SIDE = 1280  # pixels of what is shown of a picture or clip before there is a result


def for_browser(image: Image.Image) -> Image.Image:
    """A picture as `Picture.to_image` gives it, with 16-bit gray in 8 bits: the one mode that no browser shows.

    Gray stays gray: its profile may be one for gray, which browsers apply to gray pictures only.
    """
    if image.mode != "I;16":
        return image
    gray = Image.fromarray(to_8_bit(np.asarray(image)))
    gray.info = dict(image.info)
    return gray


def as_preview(image: Image.Image) -> bytes:
    """A picture, as `for_browser` takes it, as a WebP of at most `PREVIEW_SIDE` pixels a side; its profile stays."""
    small = for_browser(image).copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = BytesIO()
    small.save(buffer, "WEBP", quality=85, icc_profile=small.info.get("icc_profile"))
    return buffer.getvalue()


def shrink(image: Image.Image, pixels: int) -> Image.Image:
    """The picture itself, or a smaller one of at most so many pixels."""
    factor = (pixels / (image.width * image.height)) ** 0.5
    if factor >= 1:
        return image
    size = max(1, int(image.width * factor)), max(1, int(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS)
