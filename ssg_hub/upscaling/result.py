"""What `upscale` returns, and the sheet on which its colours are collected."""

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from torch import Tensor

from ..errors import SSGError
from ..images.metadata import metadata_of
from ..images.picture import Picture, from_pil
from ..images.resampling import resize_bicubic
from ..images.writing import write_picture
from .calibration import Calibration
from .overlays import draw_overlay


@dataclass(frozen=True, eq=False)
class UpscaleResult:
    """An upscaled picture and what is known about it.

    Args:
        content: the picture: a Pillow image in mode L, LA, RGB or RGBA, or, when it has 16 bits, a `Picture`.
        mask: mode P, ids of the guide's classes and, after the last of them, *uncertain*; None when not segmented.
        labels: what the mask holds, largest share first: id, name, color (RGB), share.
        drift_map: what `drift` shows, at the mask's inner resolution, mode L, and the pixels of the result to one of
            its own, (x, y); None when not segmented.
        report: how the picture was made, as JSON holds it.
        readings: the likeliest class of each cell of the drift map, whether it is sure or not, and its probability
            (255 = 1), both mode L; None when not segmented.
        calibration: the model's; None where it has none.
    """

    content: Image.Image | Picture
    mask: Image.Image | None
    labels: list[dict]
    drift_map: tuple[Image.Image, tuple[float, float]] | None
    report: dict
    readings: tuple[Image.Image, Image.Image] | None = None
    calibration: Calibration | None = None

    @property
    def image(self) -> Image.Image:
        """The picture for Pillow. 16-bit colour is rounded to 8 bits here; `save` and `picture` keep it."""
        return self.content.to_image() if isinstance(self.content, Picture) else self.content

    @property
    def picture(self) -> Picture:
        """The picture as arrays, at its full depth."""
        if isinstance(self.content, Picture):
            return self.content
        return Picture(*from_pil(self.content), **metadata_of(self.content)._asdict())

    @property
    def drift(self) -> Image.Image | None:
        """What may be invented, mode L, of the picture's size.

        With a calibrated model (`report["calibrated"]`) the probability that the class read at a pixel is wrong, 255
        for 1; else the semantic drift: 0 where the guide reads the same as in the bicubic LR, 255 where another class.
        """
        if self.drift_map is None:
            return None
        return self.drift_map[0].resize(self.content.size, Image.Resampling.BILINEAR, self.box_of_cells)

    def trust(self, alpha: float = 0.1) -> np.ndarray:
        """The region in which, on average over pictures, at most `alpha` of the pixels are read wrongly.

        That holds for pictures like the calibration's (`calibration.verified`), at strength 1 and the model's own
        denoise strength. By conformal risk control (Angelopoulos et al., ICLR 2024).

        Args:
            alpha: one of the risks in `calibration.thresholds`.

        Returns:
            bool (H, W), of the picture's size.

        Raises:
            SSGError: nothing was segmented, the model has no calibration, or it does not know this risk.
        """
        if self.drift_map is None:
            raise SSGError("the picture was not segmented. Use a model with a guide, and segment=True.")
        if self.calibration is None:
            raise SSGError(
                "this model has no calibration, so no risk is known. Use one that has, such as the embedded."
            )
        level = self.calibration.level(alpha)
        return np.asarray(self.drift) <= level

    @property
    def confidence(self) -> Image.Image | None:
        """The probability of the likeliest class, mode L, of the picture's size: 255 where the guide is sure."""
        if self.readings is None:
            return None
        return self.readings[1].resize(self.content.size, Image.Resampling.BILINEAR, self.box_of_cells)

    @property
    def box_of_cells(self) -> tuple[float, float, float, float]:
        """The part of the drift map and of the readings that lies in the picture; the last cells may reach beyond."""
        cells, (step_x, step_y) = self.drift_map
        (width, height), (columns, rows) = self.content.size, cells.size
        return 0, 0, min(width / step_x, columns), min(height / step_y, rows)

    def overlay(self, alpha: float = 0.5) -> Image.Image:
        """The mask's colours over the picture, uncertain parts hatched: RGB; the picture alone without a mask."""
        if self.mask is None:
            return draw_overlay(self.image, Image.new("P", self.content.size), uncertain=-1, alpha=0.0)
        return draw_overlay(self.image, self.mask, self.report["uncertain_id"], alpha)

    def save(self, path: str | os.PathLike, overwrite: bool = False, quality: int | None = None) -> list[str]:
        """Write the picture at its full depth, with its colour profile; as `write_picture`, notes included."""
        return write_picture(self.content, path, overwrite=overwrite, quality=quality)


class ColorSheet:
    """The result picture while it is being filled, at the input's depth.

    Args:
        source: the input; its alpha, if any, comes along by bicubic, its profile and metadata as they are.
        size: (width, height) of the result.
    """

    def __init__(self, source: Picture, size: tuple[int, int]):
        self.source, self.size = source, size
        self.cover = None if source.alpha is None else Picture(source.alpha)

    def put(self, part: Tensor, top: int, left: int) -> None:
        """Take finished colours (C, h, w) in [0, 1]; C is 1 for gray, 3 for RGB."""
        bottom, right = top + part.shape[1], left + part.shape[2]
        values = np.rint(part.clamp(0, 1).mul_(self.source.peak).permute(1, 2, 0).numpy())
        values = values.astype(self.source.values.dtype).reshape(part.shape[1:] + self.source.values.shape[2:])
        alpha = None
        if self.cover is not None:
            alpha = resize_bicubic(self.cover, self.size, (left, top, right, bottom)).values
        self.place(Picture(values, alpha), top, left)

    def place(self, part: Picture, top: int, left: int) -> None:
        """Put a finished part where it belongs."""
        if self.source.bits == 8:
            self._image.paste(part.to_image(), (left, top))
            return
        window = slice(top, top + part.size[1]), slice(left, left + part.size[0])
        values, alpha = self._arrays
        values[window] = part.values
        if alpha is not None:
            alpha[window] = part.alpha

    def finish(self) -> Image.Image | Picture | None:
        """The picture, with what travels along."""
        if self.source.bits == 8:
            self._image.info.update(self.source.metadata.info)
            return self._image
        return Picture(*self._arrays, **self.source.metadata._asdict())

    def enlarge(self) -> Image.Image | Picture | None:
        """The whole picture by Pillow's bicubic, in place of all parts."""
        if self.source.bits == 16:
            return resize_bicubic(self.source, self.size)
        image = self.source.to_image().resize(self.size, Image.Resampling.BICUBIC)
        image.info.update(self.source.metadata.info)
        return image

    @cached_property
    def _image(self) -> Image.Image:
        return Image.new(("L" if self.source.is_gray else "RGB") + ("" if self.cover is None else "A"), self.size)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        shape = (self.size[1], self.size[0])
        alpha = None if self.cover is None else np.empty(shape, np.uint16)
        return np.empty(shape + self.source.values.shape[2:], np.uint16), alpha
