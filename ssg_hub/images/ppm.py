"""PPM (netpbm): colour of more than 8 bits, which Pillow reads at 8."""

import re

import numpy as np

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
