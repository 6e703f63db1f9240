"""Numbers that everything about pictures shares: the weights of luma, and the rounding to 8 bits."""

import numpy as np

LUMA = (0.299, 0.587, 0.114)  # of R, G and B: ITU-R BT.601, as Pillow turns RGB into gray


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Any picture's values as uint8: uint8 as they are, uint16 divided by 257, floats from [0, 1], clipped; rounded.

    >>> to_8_bit(np.array([0, 128, 129, 65535], np.uint16)).tolist(), to_8_bit(np.array([0.5, 2.0])).tolist()
    ([0, 0, 1, 255], [128, 255])
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        return (values.clip(0, 1) * 255).round().astype(np.uint8)
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
