"""The picture as the package holds it in memory, and its exchange with Pillow, NumPy and torch."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import ImageError
from .levels import to_8_bit
from .metadata import Metadata

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture at its original depth, and its metadata.

    Args:
        values: (H, W) gray or (H, W, 3) RGB; uint8 or uint16 over the full range of that type; not premultiplied.
        alpha: (H, W) of the same type, or None when the picture is opaque.
        icc: the colour profile's bytes, or None.
        exif: the EXIF data's bytes, without orientation and resolution, or None.
        notes: sentences about what reading the picture changed or left out.
        xmp: an XMP packet, or None.
        dpi: pixels per inch, (x, y), or None.
        text: keyword -> text, as PNG has them.

    >>> picture = Picture(np.zeros((4, 6, 3), np.uint8), dpi=(300.0, 300.0))
    >>> picture.size, picture.mode, picture.peak, picture.to_image().info
    ((6, 4), 'RGB 8 bit', 255, {'dpi': (300.0, 300.0)})
    """

    values: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    notes: list[str] = field(default_factory=list)
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    text: dict[str, str] = field(default_factory=dict)

    @property
    def metadata(self) -> Metadata:
        """The metadata of the picture."""
        return Metadata(self.icc, self.exif, self.xmp, self.dpi, self.text)

    def with_pixels(self, values: np.ndarray, alpha: np.ndarray | None) -> "Picture":
        """Other pixels with the same metadata and notes."""
        return replace(self, values=values, alpha=alpha)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as Pillow has it."""
        return self.values.shape[1], self.values.shape[0]

    @property
    def is_gray(self) -> bool:
        return self.values.ndim == 2

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.values.dtype.itemsize

    @property
    def peak(self) -> int:
        """The value of white: 255 or 65535."""
        return int(np.iinfo(self.values.dtype).max)

    @property
    def mode(self) -> str:
        """ "gray" or "RGB", "+alpha" where there is one, and the depth: for reports."""
        return f"{'gray' if self.is_gray else 'RGB'}{'' if self.alpha is None else '+alpha'} {self.bits} bit"

    @property
    def pixels(self) -> np.ndarray:
        """The colours as (H, W, 3) float32, RGB in [0, 1], not premultiplied; a new array at each access."""
        rgb = np.stack([self.values] * 3, axis=-1) if self.is_gray else self.values
        return rgb.astype(np.float32) / self.peak

    def to_image(self) -> Image.Image:
        """The picture for Pillow, its metadata in `info`: mode L, LA, RGB, RGBA or, for 16-bit gray, I;16.

        Pillow has no mode for 16-bit colour, so that is rounded to 8 bits; `write_picture` keeps all 16.
        """
        if self.bits == 16 and self.is_gray and self.alpha is None:
            image = Image.fromarray(self.values)
        else:
            planes = self.values[..., None] if self.is_gray else self.values
            if self.alpha is not None:
                planes = np.concatenate((planes, self.alpha[..., None]), axis=-1)
            image = Image.fromarray(to_8_bit(planes[..., 0] if planes.shape[-1] == 1 else planes))
        image.info.update(self.metadata.info)
        return image


def from_pil(image: Image.Image) -> tuple[np.ndarray, np.ndarray | None]:
    """Split a loaded Pillow image of any mode into `values` and `alpha` as `Picture` has them.

    Raises:
        ImageError: integers or floats that are no brightness.
    """
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_gray(image), None
    has_alpha = image.has_transparency_data
    if image.mode in ("1", "L", "LA", "La"):
        image = image.convert("LA" if has_alpha else "L")
    else:
        image = image.convert("RGBA" if has_alpha else "RGB")
    planes = np.asarray(image)
    if not has_alpha:
        return planes, None
    return np.ascontiguousarray(planes[..., 0] if image.mode == "LA" else planes[..., :3]), planes[..., -1].copy()


def from_array(array: np.ndarray) -> Picture:
    """Take a NumPy picture.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or floats in [0, 1]. Floats that are
            multiples of 1/255 are kept in 8 bits, others in 16.

    Raises:
        ImageError: another shape or type, numbers outside the range, or NaN.
    """
    arrived = f"an array of shape {array.shape} and type {array.dtype}"
    array = np.asarray(array, array.dtype.newbyteorder("="))  # a matrix stays two-dimensional when it is reshaped
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"got {arrived}; a NumPy picture is (height, width) or (height, width, channels) with 1, 3 or 4 channels "
            "and at least one pixel. For channels first, transpose it or pass a torch tensor."
        )
    if array.dtype.kind == "f":
        array = _from_floats(array, arrived)
    elif array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"got {arrived}; a NumPy picture is uint8, uint16, or float in [0, 1]. Convert it first.")
    if array.ndim == 2 or array.shape[2] == 1:
        return Picture(array.reshape(array.shape[:2]))
    return Picture(array[..., :3], alpha=array[..., 3] if array.shape[2] == 4 else None)


def from_tensor(tensor: "Tensor") -> Picture:
    """Take a torch picture: (3, H, W) or (1, 3, H, W), floats in [0, 1], on any device.

    Raises:
        ImageError: another shape or type, numbers outside the range, or NaN.
    """
    import torch

    arrived = f"a tensor of shape {tuple(tensor.shape)} and type {tensor.dtype}"
    if not tensor.is_floating_point():
        raise ImageError(f"got {arrived}; a picture as a tensor holds floats in [0, 1]. Use tensor.float() / 255.")
    planes = tensor[0] if tensor.ndim == 4 and tensor.shape[0] == 1 else tensor
    if planes.ndim != 3 or planes.shape[0] != 3 or 0 in planes.shape:
        raise ImageError(
            f"got {arrived}; a picture as a tensor is (3, H, W) or (1, 3, H, W). Pass a batch one by one, "
            "gray and alpha as a NumPy array (H, W, channels)."
        )
    values = planes.detach().permute(1, 2, 0).cpu().double().numpy()
    return Picture(_from_floats(values, arrived, step=torch.finfo(tensor.dtype).eps))


def _from_floats(array: np.ndarray, arrived: str, step: float | None = None) -> np.ndarray:
    """Round floats in [0, 1] to 8 bits where that is what they were made from, to 16 bits otherwise."""
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # so written that NaN, which min and max hand on, is caught too
        raise ImageError(
            f"got {arrived} with values from {low:.6g} to {high:.6g}; floats must lie in [0, 1] and none may be NaN. "
            "Divide by the value of white, or clip."
        )
    bytes_ = array.astype(np.float64) * 255
    tolerance = min(0.5, max(1e-3, 255 * float(step or np.finfo(array.dtype).eps)))
    if np.abs(bytes_ - np.rint(bytes_)).max() <= tolerance:
        return np.rint(bytes_).astype(np.uint8)
    return np.rint(array.astype(np.float64) * 65535).astype(np.uint16)


def _from_deep_gray(image: Image.Image) -> np.ndarray:
    """Gray of more than 8 bits as uint16: 16-bit integers as they are, floats from [0, 1]."""
    array = np.asarray(image)
    if array.dtype.itemsize == 2:
        return array.astype(np.uint16)
    low, high = float(array.min()), float(array.max())
    if image.mode == "F" and low >= 0 and high <= 1:
        return np.rint(array * 65535.0).astype(np.uint16)
    if image.mode != "F" and low >= 0 and high <= 65535:
        return array.astype(np.uint16)
    raise ImageError(
        f"a gray picture with values from {low:.6g} to {high:.6g} has no known white; scale it to [0, 1] as floats "
        "or to 0…65535 as integers."
    )
