"""How well a segmenter reads an SR picture: IoU, boundary F-score, and whether semantic drift predicts a wrong class.

Label maps and predictions are integer (B, H, W); counts of several pictures add up, also over processes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..upscaling.calibration import LEVELS

BOUNDARY_TOLERANCE = 0.0075  # of the picture's diagonal: 4.5 px at 480x360
MARKED_AT_ONCE = 2**21  # pixels that a growing mask marks in one operation: some 100 MB, whatever the mask


def confusion_matrix(prediction: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count pixels by true class (rows) and predicted class (columns); void is left out.

    Args:
        prediction, labels: integer (B, H, W), of one shape. Labels of `classes` or more, or negative, are void.
        classes: number of classes K.

    Returns:
        (K, K) int64. Matrices of several pictures add up.

    Raises:
        ConfigError: shapes that differ, or a predicted class outside 0 … K - 1.
    """
    if prediction.shape != labels.shape:
        raise ConfigError(f"prediction {tuple(prediction.shape)} and labels {tuple(labels.shape)} must have one shape.")
    if prediction.numel() and not 0 <= int(prediction.min()) <= int(prediction.max()) < classes:
        raise ConfigError(
            f"classes {int(prediction.min())} to {int(prediction.max())} predicted; 0 to {classes - 1} exist."
        )
    known = (labels >= 0) & (labels < classes)
    pairs = labels[known].long() * classes + prediction[known].long()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def class_iou(confusion: Tensor) -> Tensor:
    """Intersection over union of each class: (K,), NaN where neither the labels nor the predictions have the class."""
    confusion = confusion.double()
    hits = confusion.diagonal()
    return hits / (confusion.sum(0) + confusion.sum(1) - hits)


def mean_iou(confusion: Tensor) -> float:
    """Mean IoU over a whole set's confusion matrix.

    A class absent from labels and predictions both is left out; one that is only predicted counts with 0. Where every
    class occurs, as on CamVid's test frames, this is the usual mean over all (11) classes.
    """
    return class_iou(confusion).nanmean().item()


def boundary_f(prediction: Tensor, labels: Tensor, classes: int, tolerance: float = BOUNDARY_TOLERANCE) -> Tensor:
    """Boundary F-score of each class in each picture (Csurka et al., BMVC 2013).

    A boundary pixel has a 4-neighbour of another class; it is a hit where the other map has a boundary pixel of its
    class within the tolerance. Void does no harm: a change from a class to void is no boundary of the labels, and
    predicted boundaries within the tolerance of void do not count against precision.

    Args:
        prediction, labels: integer (B, H, W); labels of `classes` or more, or negative, are void.
        classes: number of classes K.
        tolerance: distance as a share of the picture's diagonal.

    Returns:
        (B, K), NaN where neither map has a boundary of the class.
    """
    if prediction.shape != labels.shape:
        raise ConfigError(f"prediction {tuple(prediction.shape)} and labels {tuple(labels.shape)} must have one shape.")
    void = (labels < 0) | (labels >= classes)
    radius = tolerance * (labels.shape[-1] ** 2 + labels.shape[-2] ** 2) ** 0.5
    nothing = torch.zeros_like(void)
    rim = _class_boundaries(void, nothing, 2)[:, 1:]  # all that is near void and outside is near its rim
    predicted = _class_boundaries(prediction, nothing, classes)
    true = _class_boundaries(labels, void, classes)
    counted = predicted & ~(void[:, None] | _dilate(rim, radius))
    precision_hits = (counted & _dilate(true, radius)).sum((-2, -1)).double()
    recall_hits = (true & _dilate(predicted, radius)).sum((-2, -1)).double()
    n_predicted, n_true = counted.sum((-2, -1)), true.sum((-2, -1))
    precision = precision_hits / n_predicted.clamp(min=1)
    recall = recall_hits / n_true.clamp(min=1)
    score = 2 * precision * recall / (precision + recall).clamp(min=1e-12)
    return score.masked_fill((n_predicted + n_true) == 0, float("nan"))


def _class_boundaries(labels: Tensor, void: Tensor, classes: int) -> Tensor:
    """(B, K, H, W) bool: pixels of each class that touch another class which is not void."""
    edge = torch.zeros_like(void)
    across = (labels[:, :, 1:] != labels[:, :, :-1]) & ~void[:, :, 1:] & ~void[:, :, :-1]
    down = (labels[:, 1:] != labels[:, :-1]) & ~void[:, 1:] & ~void[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return torch.stack([edge & (labels == index) for index in range(classes)], 1)


def _dilate(mask: Tensor, radius: float) -> Tensor:
    """Grow each channel of a (B, C, H, W) mask by a disk."""
    reach = int(radius)
    steps = torch.arange(-reach, reach + 1, device=mask.device)
    down, across = torch.nonzero(steps[:, None] ** 2 + steps[None] ** 2 <= radius**2).unbind(1)
    grown = F.pad(torch.zeros_like(mask), (reach,) * 4)
    # Boundaries are thin: far fewer pixels than a filter reads.
    for part in torch.nonzero(mask).split(max(1, MARKED_AT_ONCE // len(down))):
        batch, channel, row, column = part[..., None].unbind(1)
        grown[batch, channel, row + down, column + across] = True
    return grown[..., reach : reach + mask.shape[-2], reach : reach + mask.shape[-1]]


def drift_histograms(drift: Tensor, wrong: Tensor, valid: Tensor | None = None) -> Tensor:
    """Count pixels by drift, right and wrong apart; histograms of several pictures add up.

    Args:
        drift: (B, H, W) in [0, 1]; counted in 256 levels, as the drift map is written.
        wrong: bool (B, H, W), where the predicted class is not the true one.
        valid: bool (B, H, W), pixels that count (not void); all by default.

    Returns:
        (2, 256) int64: row 0 the right pixels, row 1 the wrong ones.
    """
    levels = (drift.clamp(0, 1) * (LEVELS - 1)).round().long() + LEVELS * wrong.long()
    levels = levels.flatten() if valid is None else levels[valid]
    return torch.bincount(levels, minlength=2 * LEVELS).view(2, LEVELS)


def drift_auroc(histograms: Tensor) -> float:
    """The chance that a wrong pixel drifts more than a right one, ties counting half (area under the ROC curve).

    Args:
        histograms: (2, levels) as `drift_histograms` counts them.

    Returns:
        0.5 if drift predicts nothing, 1 if it predicts perfectly; NaN where all pixels are right or all are wrong.
    """
    right, wrong = histograms.double()
    below = right.cumsum(0) - right
    pairs = right.sum() * wrong.sum()
    return ((wrong * (below + right / 2)).sum() / pairs).item()
