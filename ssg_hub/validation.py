"""Scores on the dev set, while training: the guide's mIoU; the generator's PSNR, SSIM and LPIPS for each camera."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from .config import TrainConfig
from .data import load_pictures
from .guide import Guide


@torch.inference_mode()
def score_guide(guide: Guide, config: TrainConfig) -> dict[str, float]:
    """mIoU of the guide on `config.dev_labeled` (void left out); empty without such a set."""
    if config.dev_labeled is None:
        return {}
    classes = len(guide.labels)
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    device = next(guide.parameters()).device
    for row in load_pictures([config.dev_labeled], config.data_root, with_labels=True):
        image = _read(row["image"]["path"]).to(device)
        label = torch.from_numpy(np.asarray(Image.open(row["label"]["path"])).astype(np.int64))
        logits = F.interpolate(guide(image), size=label.shape, mode="bilinear", align_corners=False)
        valid = label != config.void_id
        pairs = label[valid] * classes + logits[0].argmax(0).cpu()[valid]
        confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diag()
    iou = confusion.diag() / union.clamp(min=1)
    return {"miou": iou[union > 0].mean().item()} | {f"iou_{n}": v.item() for n, v in zip(guide.labels, iou)}


def score_generator(*_):
    raise NotImplementedError


def _read(path: str | Path) -> torch.Tensor:
    array = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).float().unsqueeze(0) / 255
