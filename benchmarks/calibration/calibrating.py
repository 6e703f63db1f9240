"""Fitting a calibration and judging one: logistic regression, thresholds by conformal risk control, and the figures."""

import numpy as np

from ssg_hub.upscaling.calibration import LEVELS

SMALLEST = 0.01  # share of a picture's pixels below which a trusted region counts as this large
BINS = 15
RIDGE = 1e-4  # of all weight: keeps the terms of classes that hardly occur finite
STEPS = 50


def fit_logistic(inputs: np.ndarray, wrong: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Logistic regression by Newton's method (Bishop, Pattern Recognition and Machine Learning, sec. 4.3.3).

    Args:
        inputs: (N, F).
        wrong: (N,), share of wrong pixels in [0, 1].
        weight: (N,), how many pixels that is.

    Returns:
        (F,) terms.
    """
    terms, ridge = np.zeros(inputs.shape[1]), RIDGE * weight.sum()
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-inputs @ terms))
        gradient = inputs.T @ (weight * (p - wrong)) + ridge * terms
        curvature = (inputs * (weight * p * (1 - p))[:, None]).T @ inputs + ridge * np.eye(len(terms))
        step = np.linalg.solve(curvature, gradient)
        terms -= step
        if np.abs(step).max() < 1e-7:
            break
    return terms


def count_levels(drift: np.ndarray, wrong: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The (2, 256) histograms of a picture: its right and its wrong pixels by the byte of the drift map.

    Args:
        drift: (H, W) uint8.
        wrong, valid: (H, W) bool; pixels that are not valid have no label.
    """
    return np.stack([np.bincount(drift[valid & (wrong == kind)], minlength=LEVELS) for kind in (False, True)])


def risk_curves(histograms: np.ndarray) -> np.ndarray:
    """Share of wrong pixels in the region that is trusted up to each level: (pictures, 256).

    Args:
        histograms: (pictures, 2, 256), as `count_levels` makes them.

    A region under 1 % of its picture counts as 1 %, so that a handful of pixels is no risk of 1.
    """
    right, wrong = histograms.cumsum(-1).transpose(1, 0, 2)
    pixels = histograms.sum((1, 2))[:, None]
    return wrong / np.maximum(right + wrong, np.maximum(1, SMALLEST * pixels))


def conformal_level(risks: np.ndarray, alpha: float) -> int | None:
    """The largest level whose risk is controlled at `alpha`, or None where there is none.

    Conformal risk control (Angelopoulos et al., ICLR 2024): for n exchangeable pictures and a risk of at most 1, the
    corrected mean n/(n+1) R + 1/(n+1) must not exceed alpha. A larger region need not have a larger risk,
    so the mean is made monotone (as the paper does for general losses): every lower level must comply as well.

    Args:
        risks: (pictures, 256).
    """
    count = len(risks)
    corrected = np.maximum.accumulate((risks.sum(0) + 1) / (count + 1))
    controlled = np.flatnonzero(corrected <= alpha)
    return int(controlled[-1]) if len(controlled) else None


def reliability(histograms: np.ndarray) -> list[tuple[float, float, int]]:
    """Of bins of equal width that hold pixels: mean probability, share of wrong pixels, pixels.

    Args:
        histograms: (2, 256), of a whole set.
    """
    levels, found = np.arange(LEVELS) / (LEVELS - 1), []
    for chosen in np.array_split(np.arange(LEVELS), BINS):
        right, wrong = histograms[:, chosen]
        pixels = int(right.sum() + wrong.sum())
        if pixels:
            found.append(
                (float(((right + wrong) * levels[chosen]).sum() / pixels), float(wrong.sum() / pixels), pixels)
            )
    return found


def calibration_error(histograms: np.ndarray) -> float:
    """Expected calibration error (Naeini et al., AAAI 2015) over 15 bins, of (2, 256) histograms."""
    bins = reliability(histograms)
    return sum(abs(mean - share) * pixels for mean, share, pixels in bins) / sum(pixels for *_, pixels in bins)
