"""Scores on the dev set, while training: the guide's mIoU; the generator's PSNR-Y, SSIM-Y and LPIPS for each camera."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from .config import TrainConfig
from .data import load_pictures, open_cell, picture_stem
from .errors import ConfigError
from .guide import Guide
from .metrics import LPIPS, psnr_y, ssim_y
from .segmentation_metrics import class_iou, confusion_matrix, mean_iou


@torch.inference_mode()
def score_guide(guide: Guide, config: TrainConfig) -> dict[str, float]:
    """mIoU and IoU per class of the guide on `config.dev_labeled` (void left out); empty without such a set."""
    if config.dev_labeled is None:
        return {}
    classes, device = len(guide.labels), next(guide.parameters()).device
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    for row in load_pictures([config.dev_labeled], config.data_root, with_labels=True):
        labels = torch.from_numpy(np.array(open_cell(row["label"]))).long().unsqueeze(0)
        labels[labels == config.void_id] = -1
        logits = guide(_read(row["image"]).to(device))
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        confusion += confusion_matrix(logits.argmax(1).cpu(), labels, classes)
    per_class = zip(guide.labels, class_iou(confusion).tolist(), strict=True)
    return {"miou": mean_iou(confusion)} | {f"iou_{name}": value for name, value in per_class}


class DevSet:
    """LR pictures of each camera with their HR, and the metrics that rank checkpoints.

    Raises:
        ConfigError: an LR picture without an HR picture of the same name.
    """

    def __init__(self, config: TrainConfig):
        self.root, self.entries, self.hr = config.data_root, config.dev_lr, {}
        if self.entries and config.dev_hr:
            pictures = load_pictures([config.dev_hr], self.root)
            self.hr = {picture_stem(row["image"]): row["image"] for row in pictures}
        self.lpips = None
        if config.lpips_features and config.lpips_heads:
            self.lpips = LPIPS.from_files(config.lpips_features, config.lpips_heads)

    @torch.inference_mode()
    def score(self, generator: nn.Module) -> dict[str, float]:
        """Means over each camera, named `psnr_CAMERA`, `ssim_CAMERA`, `lpips_CAMERA`, and `lpips`, the mean of cameras."""
        scores = {}
        for entry in self.entries if self.hr else []:
            camera = entry.rstrip("/").split("/")[-1]
            values = [self._score_pair(generator, lr, hr) for lr, hr in self._pairs(entry)]
            for name in values[0]:
                scores[f"{name}_{camera}"] = float(np.mean([value[name] for value in values]))
        if self.lpips and scores:
            scores["lpips"] = float(np.mean([value for name, value in scores.items() if name.startswith("lpips_")]))
        return scores

    def _pairs(self, entry: str) -> Iterator[tuple[Tensor, Tensor]]:
        for row in load_pictures([entry], self.root):
            stem = picture_stem(row["image"])
            if stem not in self.hr:
                raise ConfigError(f"dev_lr {entry} has {stem}, but dev_hr has no picture of that name.")
            yield _read(row["image"]), _read(self.hr[stem])

    def _score_pair(self, generator: nn.Module, lr: Tensor, hr: Tensor) -> dict[str, float]:
        device = next(generator.parameters()).device
        sr = (generator(lr.to(device)).cpu().clamp(0, 1) * 255).round() / 255
        scores = {"psnr": psnr_y(sr, hr).item(), "ssim": ssim_y(sr, hr).item()}
        return scores | ({"lpips": self.lpips(sr, hr).item()} if self.lpips else {})


def _read(cell: dict | Image.Image) -> Tensor:
    array = np.array(open_cell(cell).convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).float().unsqueeze(0) / 255
