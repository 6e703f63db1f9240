"""The layers that show the mask, the drift and the readings over a picture on a screen: the page's and the site's."""

import numpy as np
from PIL import Image

from .result import UpscaleResult

MASK_SIDE, DRIFT_SIDE, READINGS_SIDE = 1024, 512, 512  # on the screen; the files to download have the full size
HATCH = (255, 255, 255, 235)  # light on any class
HATCH_PERIOD = 12  # pixels of a layer from stripe to stripe
# Dark violet over red to pale yellow: readable for the colour-blind, and in gray.
HEAT = np.array([[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]], np.float32)


def mask_layer(mask: Image.Image, uncertain_id: int) -> Image.Image:
    """The classes in their colours, RGBA; what is uncertain is hatched, and the picture shows between the stripes.

    Args:
        mask: mode "P", class ids, with the palette.
        uncertain_id: the id of pixels of low confidence.
    """
    small = _fit(mask, MASK_SIDE)
    ids = np.asarray(small)
    layer = np.array(small.convert("RGBA"))
    unsure = ids == uncertain_id
    layer[unsure] = 0
    layer[unsure & _hatching(ids.shape)] = HATCH
    return Image.fromarray(layer)


def drift_layer(drift: Image.Image) -> Image.Image:
    """The drift (mode "L", 255 = no agreement) as heat, RGBA: where there is none, the picture shows."""
    amount = np.asarray(_fit(drift, DRIFT_SIDE), np.float32) / 255
    stops = np.linspace(0, 1, len(HEAT))
    heat = np.stack([np.interp(amount, stops, HEAT[:, channel]) for channel in range(3)], axis=-1)
    cover = np.clip(amount * 2, 0, 1)[..., None] * 255
    return Image.fromarray(np.concatenate((heat, cover), axis=-1).round().astype(np.uint8))


def readings_layer(result: UpscaleResult) -> Image.Image:
    """What the guide takes each place for, as a picture of data: red is the class, green its probability."""
    size = _size_within(result.content.size, READINGS_SIDE)
    parts = [part.resize(size, Image.Resampling.NEAREST, result.box_of_cells) for part in result.readings]
    return Image.merge("RGB", (*parts, Image.new("L", size)))


def _hatching(shape: tuple[int, int]) -> np.ndarray:
    """Diagonal stripes, bool (H, W)."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows + columns) % HATCH_PERIOD < HATCH_PERIOD // 3


def _fit(image: Image.Image, side: int) -> Image.Image:
    """The picture itself, or a smaller one whose longer side is `side`; an indexed mask keeps its indices."""
    size = _size_within(image.size, side)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.NEAREST if image.mode == "P" else Image.Resampling.BILINEAR)


def _size_within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """The size itself, or a smaller one of the same shape whose longer side is `side`."""
    factor = min(1, side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
