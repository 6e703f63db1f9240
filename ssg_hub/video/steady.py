"""Steady LR: each frame is averaged with the same places in earlier frames, so that noise does not flicker.

Recursive temporal filtering along the motion: the running mean of the frames before is brought onto the frame by dense
optical flow (DIS: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016), and each pixel of the frame
is added to it with the weight 1 / n, n being how many frames agree there. Where the flow is not consistent forth and
back, or the frame differs from the mean by more than noise, n starts again at 1: what is new is shown as it is.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

MOVING = 4  # frames averaged at most where the picture moves: each step resamples the mean and softens it
STILL = 32  # and where it does not
STANDS = 0.2  # pixels of motion that may be noise, where
EXPLAINED = 1.3  # the disagreement is no more than so many times the frame's usual one
SMALLEST = 32  # pixels a side that the flow needs
CONSISTENT = 0.6  # pixels by which the way forth and back may miss its start
CUT = 0.15  # share of the frame that agrees with the mean, below which another scene has begun
STEADY_EXPOSURE = 0.004  # change of brightness from frame to frame that is taken for noise
PRESMOOTHING = 0.8  # sigma in pixels, of what the flow sees


@dataclass
class Steady:
    """The filter and its memory.

    Attributes:
        arrays: "mean", float32 (H, W, 3) in levels of 255, and "count", float32 (H, W); empty before the first frame.
        cut: whether the last frame began another scene.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    cut: bool = False

    def __post_init__(self):
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take the next frame.

        Args:
            values: RGB (H, W, 3), uint8 or uint16.

        Returns:
            The steadied frame, same shape and type, and (H, W) how many frames are averaged in each of its pixels.
        """
        unit = 1 if values.dtype == np.uint8 else 257
        lr = values.astype(np.float32) / unit
        mean, count, agreeing = self._predict(lr) if self.arrays else (lr, np.zeros(lr.shape[:2], np.float32), 1.0)
        self.cut = agreeing < CUT
        if self.cut:
            count = np.zeros_like(count)
        total = count + 1
        mean = (mean * count[..., None] + lr) / total[..., None]
        self.arrays = {"mean": mean, "count": total}
        return np.rint(mean * unit).clip(0, 255 * unit).astype(values.dtype), total

    def _predict(self, lr: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """(the mean on the frame's place, how many frames of it count, the share of pixels that agree)."""
        mean, count = self.arrays["mean"], self.arrays["count"]
        mean = mean * _exposure(lr, mean)
        still = _disagreement(lr, mean)
        most = np.full(count.shape, STILL - 1, np.float32)
        trusted = np.ones(count.shape, bool)
        if min(count.shape) >= SMALLEST:
            flow, trusted = self._find_flow(lr, mean)
            moved = warp(mean, flow, cv2.INTER_LANCZOS4)
            moves = _prefer_motion(still, _disagreement(lr, moved), flow)
            mean = np.where(moves[..., None], moved, mean)
            count = np.where(moves, warp(count, flow, cv2.INTER_LINEAR), count)
            trusted |= ~moves
            most[moves] = MOVING - 1
        agreement = _agreement(lr, mean) * trusted
        return mean, np.minimum(count * agreement, most), float(np.mean(agreement > 0.5))

    def _find_flow(self, lr: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(flow from the frame to the mean (H, W, 2) as (x, y), where it can be relied on (H, W))."""
        now, before = _to_gray(lr), _to_gray(mean)
        flow, back = self._flow.calc(now, before, None), self._flow.calc(before, now, None)
        miss = np.linalg.norm(flow + warp(back, flow, cv2.INTER_LINEAR), axis=-1)
        height, width = now.shape
        x, y = _coordinates(height, width)
        x, y = x + flow[..., 0], y + flow[..., 1]
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        return flow, inside & (miss < CONSISTENT)


def warp(values: np.ndarray, flow: np.ndarray, interpolation: int) -> np.ndarray:
    """`values` at the places that `flow` points to: result[y, x] = values[y + flow_y, x + flow_x]."""
    x, y = _coordinates(*flow.shape[:2])
    return cv2.remap(values, x + flow[..., 0], y + flow[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE)


def _coordinates(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(width, dtype=np.float32)[None], np.arange(height, dtype=np.float32)[:, None]


def _to_gray(values: np.ndarray) -> np.ndarray:
    gray = cv2.cvtColor(np.rint(values.clip(0, 255)).astype(np.uint8), cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(gray, (0, 0), PRESMOOTHING)


def _prefer_motion(still: np.ndarray, moving: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Where the flow explains the frame and standing still does not: (H, W), bool.

    Nothing is resampled without need: flow finds small motions in mere noise.

    Args:
        still, moving: the disagreements without and with the flow.
        flow: (H, W, 2).
    """
    usual = float(np.median(np.minimum(still, moving)))
    stands = (np.linalg.norm(flow, axis=-1) < STANDS) & (still < EXPLAINED * usual + 0.5)
    return (moving < 0.97 * still) & ~stands


def _exposure(lr: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """How much brighter the frame is than the mean, for each colour: fades and automatic exposure; (3,).

    The median over blocks of the ratio of their means, so that what moves through the picture has no say.
    """
    size = (max(1, lr.shape[1] // 16), max(1, lr.shape[0] // 16))
    now, before = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (lr, mean))
    gain = np.median((now + 1) / (before + 1), axis=(0, 1)).astype(np.float32)
    return np.where(np.abs(gain - 1) > STEADY_EXPOSURE, gain, np.float32(1))


def _disagreement(lr: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Mean absolute difference around each pixel, in levels: (H, W)."""
    return cv2.blur(np.abs(lr - mean).mean(axis=-1), (7, 7))


def _agreement(lr: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """1 where a frame differs from the mean by noise alone, 0 where by something else: (H, W).

    Two measures over 5x5 pixels, against the noise of the difference (sigma, from the median of its high frequencies):
    the mean difference, which noise leaves small, and the mean absolute difference.
    """
    difference = lr - mean
    high = difference - cv2.blur(difference, (3, 3))
    sigma = 1.57 * float(np.median(np.abs(high)))  # 1.4826 for a normal distribution, and what the 3x3 mean took away
    shift = np.abs(cv2.blur(difference, (5, 5))).max(axis=-1)
    spread = cv2.blur(np.abs(difference).mean(axis=-1), (5, 5))
    within = np.minimum(2 - shift / (1.6 * sigma + 1), 2 - spread / (1.4 * sigma + 1))
    return within.clip(0, 1)
