"""A picture that is written to its file while it is being drawn, tile by tile, and is never whole in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import ImageError
from .formats import check_size, check_target, choose_format
from .metadata import Metadata, usable
from .png_writer import PngWriter
from .tiff_writer import TiffWriter
from .writing import GRAY_ALPHA_NOTE, fit_metadata, for_tiff, naming_target, whole_picture

FORMATS = ("PNG", "TIFF")  # that can be written so


class Canvas:
    """An array (H, W, C) that is filled by blocks, and handed on in whole rows from the top down.

    Each element is set once. It holds the rows from the first that is incomplete to the last that was begun.

    Args:
        shape: (H, W, C).
        dtype: of the elements.
        write: takes the next rows (h, W, C).
    """

    def __init__(self, shape: tuple[int, int, int], dtype: type, write: Callable[[np.ndarray], None]):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._write, self._top = write, 0
        self._band: np.ndarray = np.empty((0, *shape[1:]), dtype)
        self._filled = np.zeros(0, np.int64)  # elements of each row that are set

    @property
    def size(self) -> int:
        """Pixels."""
        return self.shape[0] * self.shape[1]

    def __setitem__(self, window: tuple[slice, slice], block: np.ndarray) -> None:
        """Set a block (h, w, C), or (h, w) where C is 1."""
        (top, bottom, _), (left, right, _) = (part.indices(self.shape[axis]) for axis, part in enumerate(window))
        top, bottom = top - self._top, bottom - self._top
        if (missing := bottom - len(self._band)) > 0:
            self._band = np.concatenate((self._band, np.empty((missing, *self.shape[1:]), self.dtype)))
            self._filled = np.concatenate((self._filled, np.zeros(missing, np.int64)))
        self._band[top:bottom, left:right] = block.reshape(bottom - top, right - left, self.shape[2])
        self._filled[top:bottom] += right - left
        ready = int(np.argmin(np.append(self._filled == self.shape[1], False)))  # whole rows at the start
        if ready:
            self._write(self._band[:ready])
            self._top += ready
            self._band, self._filled = self._band[ready:].copy(), self._filled[ready:].copy()


@contextmanager
def drawing(
    path: Path,
    shape: tuple[int, int, int],
    dtype: type,
    metadata: Metadata,
    notes: list[str],
    overwrite: bool = False,
    palette: np.ndarray | None = None,
) -> Iterator[Canvas]:
    """A canvas that becomes a file, PNG or TIFF (tiled; BigTIFF beyond 4 GB), when the block ends well.

    Args:
        path: its suffix decides the format.
        shape: (H, W, C); C is 1 gray or palette, 2 gray and alpha, 3 RGB, 4 RGBA.
        dtype: uint8 or uint16.
        metadata: to embed, as far as the format has a place for it.
        notes: takes the notes.
        overwrite: replace a file that exists.
        palette: (n, 3) uint8; the values are then its indices.

    Raises:
        ImageError: another format, a file that exists, too large a picture, or a failed write.
    """
    format = check_drawable(path, overwrite)
    check_size((shape[1], shape[0]), format)
    channels, bits = shape[2] if palette is None else 3, 8 * np.dtype(dtype).itemsize
    metadata = fit_metadata(usable(metadata, upright=True, notes=notes), format, channels, bits, notes)
    with whole_picture(path, overwrite) as file:
        size = (shape[1], shape[0])
        with naming_target(path):
            writer: PngWriter | TiffWriter
            if format == "PNG":
                writer = PngWriter(file, size, shape[2], bits, metadata, palette)
            else:
                writer = TiffWriter(file, size, metadata, palette, tiled=True)
        if format == "TIFF" and shape[2] == 2 and np.dtype(dtype) == np.uint16:
            notes.append(GRAY_ALPHA_NOTE)

        def write(rows: np.ndarray) -> None:
            with naming_target(path):
                writer.add(for_tiff(rows) if format == "TIFF" else rows)

        yield Canvas(shape, dtype, write)
        with naming_target(path):
            writer.finish()


def check_drawable(path: Path, overwrite: bool = False) -> str:
    """The format of a file that can be written while it is drawn.

    Raises:
        ImageError: another format, or a path where no file can be written.
    """
    format = choose_format(path)
    if format not in FORMATS:
        raise ImageError(f"{path.name} cannot be written in strips: {format} is encoded whole. Write .tif or .png.")
    check_target(path, overwrite)
    return format
