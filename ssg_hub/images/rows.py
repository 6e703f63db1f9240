"""Pictures that are larger than memory: rows decoded from a file when they are asked for.

Of a TIFF any strips or tiles are decoded by themselves; a PNG is decoded from the top down, some rows at a time. What
cannot be cut is decoded whole, as any picture: other formats, interlaced PNG, one huge compressed strip, alpha (the
colours under transparent pixels come from all around them), and pictures that have to be turned.
"""

import mmap
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from . import png_rows, tiff, tiff_page
from .formats import READ, find_format
from .metadata import Found, clean, fit_profile
from .opening import check_limit, naming
from .picture import Picture
from .reading import count_frames, read_picture

BEHIND, AHEAD = 16, 16  # rows that are kept, or read, beside those asked for: the next ones asked for differ by a few
MOST_PIXELS = 2**30  # of a picture that is read by rows
ReadRows = Callable[[int, int], np.ndarray]


class Rows:
    """In the place of `Picture.values` for a picture that is read in windows from the top down.

    It holds the rows asked for last, and a few around them. Rows further up can be had again, at a price.

    Args:
        shape: (H, W) or (H, W, 3).
        dtype: uint8 or uint16.
        read: (first, stop) -> these rows.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read: ReadRows):
        self.shape, self.dtype, self.ndim = shape, np.dtype(dtype), len(shape)
        self._read, self._top = read, 0
        self._band = np.empty((0, *shape[1:]), dtype)

    def __getitem__(self, window: tuple[slice, slice]) -> np.ndarray:
        start, stop, _ = window[0].indices(self.shape[0])
        if start < self._top or stop > self._top + len(self._band):
            self._move(max(0, start - BEHIND), min(self.shape[0], stop + AHEAD))
        return self._band[start - self._top : stop - self._top, window[1]]

    def _move(self, top: int, bottom: int) -> None:
        end = self._top + len(self._band)
        if self._top <= top <= end < bottom:
            kept = self._band[top - self._top :].copy()
            self._band = None  # given back before more is read
            self._band = np.concatenate((kept, self._read(end, bottom)))
        else:
            self._band = self._read(top, bottom)
        self._top = top


@contextmanager
def open_rows(path: Path, max_pixels: int = MOST_PIXELS) -> Iterator[Picture]:
    """A picture whose `values` are `Rows` where the file allows it, and whole otherwise; closed after the block.

    Args:
        path: the file.
        max_pixels: width x height above which it is refused.

    Raises:
        ImageError: as `read_picture`; in the block too, where the rows are damaged.
    """
    with _mapped(path) as data:
        yield (_open_cut(data, path, max_pixels) if data else None) or read_picture(path, max_pixels)


def peek_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a file's picture, upright, from its first bytes; None where they do not say, and for a pipe,
    whose bytes can be read only once.

    What stands behind the pixels is not seen: `read_size` reads all of a file.
    """
    if not os.path.isfile(path):
        return None
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the size, which is the question
        with open(path, "rb") as file, Image.open(file, formats=sorted(set(READ.values()))) as image:
            if image.format == "TIFF":  # which Pillow turns itself
                return image.size
            _, orientation = clean(Found(exif=image.info.get("exif"), xmp=image.info.get("xmp")))
            return image.size[::-1] if orientation >= 5 else image.size
    return None


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap | None]:
    """A file's bytes without reading it; None for a pipe, and where the usual way of reading will say what is wrong."""
    if not os.path.isfile(path):
        yield None
        return
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        yield None
        return
    try:
        yield data
    finally:
        with suppress(BufferError):  # something still looks at it: it is closed with that
            data.close()


def _open_cut(data: mmap.mmap, path: Path, max_pixels: int) -> Picture | None:
    """The picture by rows; None where the file is of another kind, or damaged: the usual way says how."""
    format = find_format(data[:16])
    try:
        opened = {"TIFF": _open_tiff, "PNG": _open_png}[format](data) if format in ("TIFF", "PNG") else None
        if opened is None:
            return None
        shape, dtype, read, found = opened
        metadata, orientation = clean(found)
    except Exception:
        return None
    if orientation != 1 or 0 in shape:
        return None
    check_limit((shape[1], shape[0]), str(path), max_pixels)

    def read_rows(first: int, stop: int) -> np.ndarray:
        with naming(str(path)):
            rows = read(first, stop)
        _forget(data)
        return rows

    notes = [*count_frames(found, 0), *found.notes]
    metadata = fit_profile(metadata, len(shape) == 2, notes)
    return Picture(cast(np.ndarray, Rows(shape, dtype, read_rows)), notes=notes, **metadata._asdict())


def _open_tiff(data: mmap.mmap) -> tuple[tuple[int, ...], np.dtype, ReadRows, Found] | None:
    page, found = tiff_page.take_apart(cast(bytes, data))  # what is mapped is sliced like bytes
    if not tiff.can_be_cut(page):
        return None

    def read(first: int, stop: int) -> np.ndarray:
        return np.asarray(tiff.decode(page, [], (first, stop))[0])

    row = read(0, 1)
    return (page.size[1], *row.shape[1:]), row.dtype, read, found


def _open_png(data: mmap.mmap) -> tuple[tuple[int, ...], np.dtype, ReadRows, Found] | None:
    opened = png_rows.open_rows(data)
    if opened is None:
        return None
    reader, found = opened
    return reader.shape, reader.dtype, reader.read, found


def _forget(data: mmap.mmap) -> None:
    """Let the system take back the pages of the file that were read."""
    if hasattr(data, "madvise"):
        data.madvise(mmap.MADV_DONTNEED)
