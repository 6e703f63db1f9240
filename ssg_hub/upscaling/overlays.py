"""The mask over the picture, for people to look at."""

import numpy as np
from PIL import Image

from ..images.levels import to_8_bit
from .options import check_fraction

BAND = 1024  # rows that are drawn at a time, to bound the memory


def draw_overlay(image: Image.Image, mask: Image.Image, uncertain: int, alpha: float = 0.5) -> Image.Image:
    """Lay the mask's colours over a picture and hatch what is uncertain.

    Args:
        image: the picture, any mode; transparent parts lie on white.
        mask: mode P, of the same size.
        uncertain: the id that is hatched.
        alpha: 0 is the picture alone, 1 the mask alone.

    Raises:
        ConfigError: an impossible alpha.

    Returns:
        An RGB picture of the same size.
    """
    check_fraction("alpha", alpha)
    width, height = mask.size
    period = max(8, min(width, height) // 40)
    drawn = Image.new("RGB", mask.size)
    for top in range(0, height, BAND):
        window = (0, top, width, min(top + BAND, height))
        part = mask.crop(window)
        colors = part.convert("RGB")
        rows, columns = np.ogrid[window[1] : window[3], 0:width]
        stripes = ((rows + columns) % period < period // 2) & (np.asarray(part) == uncertain)
        colors.paste((255, 255, 255), (0, 0), Image.fromarray(stripes))
        drawn.paste(Image.blend(to_rgb(image.crop(window)), colors, alpha), (0, top))
    return drawn


def to_rgb(image: Image.Image) -> Image.Image:
    """Any result as 8-bit RGB for a screen, transparent parts on white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray(to_8_bit(np.asarray(image).astype(np.uint16)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
