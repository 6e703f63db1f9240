"""Intervals for figures of a video: the bootstrap by contiguous blocks of frames (Künsch 1989; circular, Politis 1992).

Neighbouring frames look alike, so that frames drawn one by one would make intervals too narrow. Two rows are compared
on the same draws, frame by frame.
"""

import numpy as np

BLOCK = 10  # frames; two thirds of a second of the drive
DRAWS = 2000
LEVEL = 0.95


def block_weights(frames: int, block: int = BLOCK, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each frame occurs in each draw.

    Args:
        frames: number of frames, in the order of the drive.
        block: frames of a block; the last is followed by the first.

    Returns:
        (draws, frames) integers; each row sums to `frames`.
    """
    rng = np.random.default_rng(seed)
    block = min(block, frames)
    starts = rng.integers(frames, size=(draws, -(-frames // block)))
    drawn = (starts[..., None] + np.arange(block)).reshape(draws, -1)[:, :frames] % frames
    return np.stack([np.bincount(row, minlength=frames) for row in drawn])


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean over the frames of each draw: values (frames,), weights (draws, frames) -> (draws,); NaN left out."""
    known = np.isfinite(values)
    if not known.any():
        return np.full(len(weights), np.nan)
    return weights[:, known] @ values[known] / weights[:, known].sum(1)


def weighted_miou(counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """mIoU of all frames of each draw together.

    Args:
        counts: (frames, 3, classes) pixels: hits, labelled so, predicted so.
        weights: (draws, frames).

    Returns:
        (draws,); classes that a draw does not have are left out of its mean.
    """
    hits, labelled, predicted = np.einsum("df,fkc->kdc", weights, counts.astype(float))
    union = labelled + predicted - hits
    iou = np.divide(hits, union, out=np.full_like(hits, np.nan), where=union > 0)
    return np.nanmean(iou, axis=1)


def interval(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of a figure's values over the draws."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
