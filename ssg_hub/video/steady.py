"""Steady LR: each frame is averaged with the same places in earlier frames, so that noise does not flicker.

Temporal filtering along the motion, in two ways. Where the picture is still, a running mean: each pixel of the frame is
added with the weight 1 / n, n being how many frames agree there. Where it moves, the mean of the frame and the few
before it, each brought onto it along the flow in one step: a running mean would be resampled in every frame, which
softens it. Where nothing agrees with the frame, n starts again at 1: what is new is shown as it is.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from .motion import Flow, follow, leads_inside, warp

MOVING = 5  # frames averaged at most where the picture moves
STILL = 32  # and where it does not
STANDS = 0.2  # pixels of motion that may be noise, where
EXPLAINED = 1.3  # the disagreement is no more than so many times the frame's usual one,
UNSEEN = 1.5  # and so many levels more: where H.264 repeats pixels the usual one is 0
REGION = 9  # pixels a side that decide together whether the picture moves there
SMALLEST = 32  # pixels a side that the flow needs
CUT = 0.15  # share of the frame that agrees with the mean, below which another scene has begun
STEADY_EXPOSURE = 0.004  # change of brightness from frame to frame that is taken for noise
LITTLE = 1e-3  # weight of the frame before where no frame agrees, so that there is something to compare with


@dataclass
class Steady:
    """The filter and its memory.

    Attributes:
        arrays: empty before the first frame, then "mean", float32 (H, W, 3) in levels of 255: the last frame steadied;
            "count", float32 (H, W): of how many frames; "frames" (n, H, W, 3): the last n as they came, latest first;
            "flows", float32 (n - 1, H, W, 2): from the latest of them to each other.
        cut: whether the last frame began another scene.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    cut: bool = False

    def __post_init__(self):
        self._flow = Flow()

    @staticmethod
    def most_bytes(pixels: int) -> int:
        """Most bytes of `arrays` for frames of so many pixels, at 16 bits a channel."""
        mean, count, frame, flow = 3 * 4, 4, 3 * 2, 2 * 4  # bytes of a pixel
        return pixels * (mean + count + (MOVING - 1) * frame + (MOVING - 2) * flow)

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take the next frame.

        Args:
            values: RGB (H, W, 3), uint8 or uint16.

        Returns:
            The steadied frame, same shape and type, and (H, W) how many frames are averaged in each of its pixels.
        """
        unit = 1 if values.dtype == np.uint8 else 257
        lr = values.astype(np.float32) / unit
        if self.arrays:
            last = self.arrays["mean"] * _exposure(lr, self.arrays["mean"])
            flows = self._follow_motion(lr, last)
            mean, weight, agreeing = self._predict(lr, last, flows, unit)
        else:
            flows = np.empty((0, *lr.shape[:2], 2), np.float32)
            mean, weight, agreeing = lr, np.zeros_like(lr[..., 0]), 1.0
        self.cut = agreeing < CUT
        if self.cut:
            weight, flows = np.zeros_like(weight), flows[:0]
        total = weight + 1
        mean = (mean * weight[..., None] + lr) / total[..., None]
        flows = flows[: MOVING - 2]
        frames = np.stack([values, *self.arrays["frames"][: len(flows)]]) if len(flows) else values[None]
        self.arrays = {"mean": mean, "count": total, "frames": frames, "flows": flows}
        return np.rint(mean * unit).clip(0, 255 * unit).astype(values.dtype), total

    def _follow_motion(self, lr: np.ndarray, last: np.ndarray) -> np.ndarray:
        """The flows to the frames before, latest first: (n, H, W, 2); `last` is the last frame steadied, as bright."""
        if min(lr.shape[:2]) < SMALLEST:
            return np.empty((0, *lr.shape[:2], 2), np.float32)
        flow = self._flow(lr, last)
        return np.stack([flow, *(follow(flow, further) for further in self.arrays["flows"])])

    def _predict(
        self, lr: np.ndarray, mean: np.ndarray, flows: np.ndarray, unit: int
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """(what earlier frames show in the frame's place, how many of them count, the share of pixels that agree)."""
        agreement = _agreement(lr, mean)
        weight = np.minimum(self.arrays["count"], STILL - 1) * agreement
        if len(flows):
            moved, weights = self._average(lr, flows, unit)
            moves = _prefer_motion(_disagreement(lr, mean), _disagreement(lr, moved), flows[0])
            mean = np.where(moves[..., None], moved, mean)
            weight = np.where(moves, weights.sum(axis=0), weight)
            agreement = np.where(moves, weights.max(axis=0), agreement)
        return mean, weight, float(np.mean(agreement > 0.5))

    def _average(self, lr: np.ndarray, flows: np.ndarray, unit: int) -> tuple[np.ndarray, np.ndarray]:
        """(the mean of the frames before, each along its flow and where it agrees; their weights (n, H, W))."""
        total, found = 0, []
        for earlier, flow in zip(self.arrays["frames"], flows, strict=True):
            earlier = earlier.astype(np.float32) / unit
            moved = warp(earlier * _exposure(lr, earlier), flow, cv2.INTER_LANCZOS4)
            found.append(_agreement(lr, moved) * leads_inside(flow))
            total += moved * (found[-1] if len(found) > 1 else np.maximum(found[-1], LITTLE))[..., None]
        weights = np.stack(found)
        divisor = weights[1:].sum(axis=0) + np.maximum(weights[0], LITTLE)
        return total / divisor[..., None], weights


def _prefer_motion(still: np.ndarray, moving: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Where the flow explains the frame and standing still does not, in most pixels around: (H, W), bool.

    Nothing is resampled without need: flow finds small motions in mere noise, here and there.

    Args:
        still, moving: the disagreements without and with the flow.
        flow: (H, W, 2).
    """
    usual = float(np.median(np.minimum(still, moving)))
    stands = (np.linalg.norm(flow, axis=-1) < STANDS) & (still < EXPLAINED * usual + UNSEEN)
    moves = (moving < 0.97 * still) & ~stands
    return cv2.blur(moves.astype(np.float32), (REGION, REGION)) > 0.5


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
    return cv2.blur(_mean_of_channels(np.abs(lr - mean)), (7, 7))


def _agreement(lr: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """1 where a frame differs from the mean by noise alone, 0 where by something else: (H, W).

    Two measures over 5x5 pixels, against the noise of the difference (sigma, from the median of its high frequencies):
    the mean difference, which noise leaves small, and the mean absolute difference.
    """
    difference = lr - mean
    high = difference - cv2.blur(difference, (3, 3))
    some = np.abs(high[::2, ::2])  # a quarter of the pixels is enough
    sigma = 1.57 * float(np.median(some))  # 1.4826 for a normal distribution, and what the 3x3 mean took away
    red, green, blue = cv2.split(np.abs(cv2.blur(difference, (5, 5))))
    shift = np.maximum(np.maximum(red, green), blue)
    spread = cv2.blur(_mean_of_channels(np.abs(difference)), (5, 5))
    within = np.minimum(2 - shift / (1.6 * sigma + 1), 2 - spread / (1.4 * sigma + 1))
    return within.clip(0, 1)


def _mean_of_channels(values: np.ndarray) -> np.ndarray:
    """(H, W, 3) → (H, W)."""
    return cv2.transform(values, np.full((1, 3), 1 / 3, np.float32))
