"""Motion from frame to frame as dense optical flow, and pictures brought along it.

A flow is float32 (H, W, 2): where each pixel (x, y) of a frame was in an earlier one, relative to its place. A pixel
without a counterpart there has a flow that leads out of the frame.
"""

import cv2
import numpy as np

CONSISTENT = 0.6  # pixels by which the way forth and back may miss its start
PRESMOOTHING = 0.8  # sigma in pixels, of what the flow sees
AWAY = 1e5  # pixels: out of any frame, and further than any flow leads back


class Flow:
    """Estimates flows (DIS: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016).

    The preset refines to half the resolution: coarser misses a tenth of a pixel and more, finer follows the noise.
    """

    def __init__(self):
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def __call__(self, lr: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """The flow from a frame to an earlier one, both RGB (H, W, 3) in levels; only where the way back agrees."""
        now, before = _to_gray(lr), _to_gray(earlier)
        flow, back = self._dis.calc(now, before, None), self._dis.calc(before, now, None)
        miss = np.linalg.norm(flow + warp(back, flow, cv2.INTER_LINEAR), axis=-1)
        flow[miss >= CONSISTENT] = AWAY
        return flow


def follow(flow: np.ndarray, further: np.ndarray) -> np.ndarray:
    """The flow to a still earlier frame: along `flow`, then from there along `further`."""
    return flow + warp(further, flow, cv2.INTER_LINEAR)


def leads_inside(flow: np.ndarray) -> np.ndarray:
    """Where pixels have a counterpart within the frame: (H, W), bool."""
    height, width = flow.shape[:2]
    x, y = _coordinates(height, width)
    x, y = x + flow[..., 0], y + flow[..., 1]
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def warp(values: np.ndarray, flow: np.ndarray, interpolation: int) -> np.ndarray:
    """`values` at the places that `flow` points to: result[y, x] = values[y + flow_y, x + flow_x]."""
    x, y = _coordinates(*flow.shape[:2])
    return cv2.remap(values, x + flow[..., 0], y + flow[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)


def _coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]


def _to_gray(values: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(np.rint(values.clip(0, 255)).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(gray, (0, 0), PRESMOOTHING)
