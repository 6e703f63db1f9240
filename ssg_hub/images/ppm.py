"""PPM (netpbm): colour of more than 8 bits, which Pillow reads at 8, and the white of gray."""

import re

import numpy as np
from PIL import Image

SPACE = rb"(?:\s|#[^\n]*\n)+"
HEADER = re.compile(rb"P([36])" + (SPACE + rb"(\d{1,9})") * 3 + rb"(?:#[^\n]*\n|\s)")
COMMENT = re.compile(rb"#[^\n]*")


def decode_deep(data: bytes) -> np.ndarray | None:
    """The pixels of a colour PPM, binary or plain, whose white is above 255: RGB (H, W, 3) uint16 over the full range.

    Returns:
        None for another kind of file.

    Raises:
        ValueError: damaged.
    """
    header = HEADER.match(data)
    if header is None or int(header[4]) < 256:
        return None
    width, height, white = (int(number) for number in header.groups()[1:])
    count = 3 * width * height
    if header[1] == b"6":
        samples = np.frombuffer(data, ">u2", count, header.end())
    else:
        samples = np.fromstring(COMMENT.sub(b"", data[header.end() :]).decode("ascii"), np.uint32, sep=" ")[:count]
        if len(samples) < count:
            raise ValueError("the samples end early")
    wide = np.minimum(samples, white).astype(np.uint32).reshape(height, width, 3)
    return ((wide * 65535 + white // 2) // white).astype(np.uint16)


def stored_white(image: Image.Image) -> int | None:
    """The white of gray, 1 to 65535, which Pillow makes 255 or 65535; None where it is that, for other images and those
    loaded."""
    tiles = getattr(image, "tile", None)
    if image.format != "PPM" or image.mode not in ("L", "I") or not tiles:
        return None
    return tiles[0].args[1] if isinstance(tiles[0].args, tuple) else None
