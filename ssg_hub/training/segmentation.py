"""The guide's part of the objective: losses on its logits, and the labels, weights and views that these need."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.tables import open_label

LOVASZ_STRIDE = 2  # between the pixels that the Lovász loss counts: it sorts them all, once for each class
VIEW_SHIFT = 8  # of a view against its picture, at most; in pixels


def segmentation_loss(
    logits: Tensor, labels: Tensor, void_id: int, class_weights: Tensor | None = None, accelerator=None
) -> Tensor:
    """Cross-entropy per counted pixel (SSG-RWSR, eq. 4), at the labels' resolution, void left out.

    Args:
        logits: (B, K, h, w); enlarged bilinearly to the labels' size.
        labels: (B, H, W) int64 class ids.
        void_id: id that does not count.
        class_weights: (K,) or None.
        accelerator: sums the number of counted pixels over the processes, since these share one mean: DDP averages
            gradients over processes, whatever each has counted.
    """
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    total = F.cross_entropy(logits, labels, weight=class_weights, ignore_index=void_id, reduction="sum")
    counted = labels != void_id
    count = counted.sum().float() if class_weights is None else class_weights[labels[counted]].sum()
    if accelerator is not None:
        count = accelerator.reduce(count, "mean")
    return total / count.clamp(min=1)


def lovasz_loss(logits: Tensor, labels: Tensor, void_id: int) -> Tensor:
    """A smooth 1 - IoU, averaged over the classes that the labels hold (Berman et al., CVPR 2018, eq. 11 and 12).

    Cross-entropy counts pixels; this counts a pole as much as a road, and what is taken for a pole against it.

    Args:
        logits: (B, K, h, w); enlarged bilinearly. labels: (B, H, W) int64 class ids; every second pixel counts.
        void_id: id that does not count.
    """
    labels = labels[:, ::LOVASZ_STRIDE, ::LOVASZ_STRIDE]
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear", align_corners=False)
    counted = labels != void_id
    shares, ids = logits.softmax(1).movedim(1, -1)[counted], labels[counted]
    losses = []
    for index in ids.unique().tolist():
        inside = (ids == index).float()
        errors, order = (inside - shares[:, index]).abs().sort(descending=True)
        hits, misses = inside[order].cumsum(0), (1 - inside[order]).cumsum(0)
        jaccard = 1 - (inside.sum() - hits) / (inside.sum() + misses)
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def random_view(sr: Tensor, labels: Tensor, seeds: Tensor, void_id: int) -> tuple[Tensor, Tensor]:
    """Shift and flip each SR picture and its labels together, so that no pattern can fit the guide's pixel grid.

    What comes in at an edge repeats the edge and is void.

    Args:
        sr: (B, 3, H, W); labels: (B, H, W).
        seeds: (B,) int64; the view of a sample depends on its seed alone.
    """
    views, moved = [], []
    for picture, ids, seed in zip(sr, labels, seeds.tolist(), strict=True):
        generator = torch.Generator().manual_seed(seed)
        down, right = torch.randint(0, 2 * VIEW_SHIFT + 1, (2,), generator=generator).tolist()
        flip = bool(torch.randint(0, 2, (1,), generator=generator))
        height, width = ids.shape
        padded = F.pad(picture, [VIEW_SHIFT] * 4, mode="replicate")[:, down : down + height, right : right + width]
        shifted = F.pad(ids, [VIEW_SHIFT] * 4, value=void_id)[down : down + height, right : right + width]
        views.append(padded.flip(-1) if flip else padded)
        moved.append(shifted.flip(-1) if flip else shifted)
    return torch.stack(views), torch.stack(moved)


@torch.no_grad()
def pseudo_labels(teacher: nn.Module, lr: Tensor, scale: int, threshold: float, void_id: int) -> Tensor:
    """Labels by a teacher that reads the enlarged LR picture, void wherever it is not sure.

    Args:
        teacher: a guide; lr: (B, 3, h, w).
        threshold: confidence (largest softmax) from which a pixel counts.

    Returns:
        (B, scale*h, scale*w) int64.
    """
    size = [scale * side for side in lr.shape[-2:]]
    enlarged = F.interpolate(lr, size=size, mode="bicubic", align_corners=False).clamp(0, 1)
    logits = F.interpolate(teacher(enlarged).float(), size=size, mode="bilinear", align_corners=False)
    confidence, labels = logits.softmax(1).max(1)
    return torch.where(confidence >= threshold, labels, void_id)


def class_weights(table, classes: int, void_id: int, power: float = 1.0) -> Tensor:
    """(K,) weights 1 / ln(1.02 + share of pixels) (Paszke et al. 2016, ENet), so that poles count beside roads.

    Args:
        table: pictures with a `label` column (see `tables.load_pictures`).
        classes: number of classes; other ids are left out.
        void_id: id that does not count, whether it is below the number of classes or not.
        power: exponent of the weights, 0 to 1; below 1 rare classes are read less often where they are not.
    """
    counts = np.zeros(classes)
    for row in table.select_columns("label"):
        ids = np.asarray(open_label(row["label"]))
        counts += np.bincount(ids[(ids < classes) & (ids != void_id)], minlength=classes)
    return torch.from_numpy((1 / np.log(1.02 + counts / counts.sum())) ** power).float()
