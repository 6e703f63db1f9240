"""Scores on the dev set, while training: the guide's mIoU; the generator's PSNR-Y, SSIM-Y and LPIPS for each camera."""

import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from PIL import Image
from torch import Tensor, nn

from ..data.tables import load_by_place, load_pictures, open_cell, open_label, picture_stem
from ..errors import ConfigError, ImageError
from ..evaluation.metrics import LPIPS, psnr_y, ssim_y
from ..evaluation.segmentation_metrics import class_iou, confusion_matrix, mean_iou
from ..images.levels import to_8_bit
from ..images.resampling import to_floats
from ..networks.guide import Guide
from .config import TrainConfig

log = logging.getLogger("train")
SMALLEST = 31  # pixels, which LPIPS needs
SHEET_ROWS = 2  # of each camera


@torch.inference_mode()
def score_guide(guide: Guide, config: TrainConfig) -> dict[str, float]:
    """mIoU and IoU per class of the guide on `config.dev_labeled` (void left out); empty without such a set."""
    if config.dev_labeled is None:
        return {}
    was_training = guide.training
    guide.eval()
    classes, device = len(guide.labels), next(guide.parameters()).device
    confusion = torch.zeros(classes, classes, dtype=torch.long)
    for row in load_pictures([config.dev_labeled], config.data_root, labels=True):
        labels = torch.from_numpy(np.array(open_label(row["label"])).astype(np.int64)).unsqueeze(0)
        labels[labels == config.void_id] = -1
        logits = guide(_read(row["image"]).to(device))
        logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        confusion += confusion_matrix(logits.argmax(1).cpu(), labels, classes)
    guide.train(was_training)
    per_class = zip(guide.labels, class_iou(confusion).tolist(), strict=True)
    return {"miou": mean_iou(confusion)} | {f"iou_{name}": value for name, value in per_class}


class DevSet:
    """LR pictures of each camera with their HR, and the metrics that rank checkpoints.

    Attributes:
        pairs: [(camera, LR cell, HR cell)]; empty without `dev_lr` and `dev_hr`.

    Raises:
        ConfigError: an LR picture without an HR picture of the same name, or of another size, or an unreadable one;
            two pictures of one name.
    """

    def __init__(self, config: TrainConfig):
        self.pairs, self.scale = [], config.scale
        if config.dev_lr and config.dev_hr:
            hr = load_by_place(config.dev_hr, config.data_root)
            for camera, entry in zip(name_cameras(config.dev_lr), config.dev_lr, strict=True):
                for place, cell in load_by_place(entry, config.data_root).items():
                    if place not in hr:
                        raise ConfigError(f"dev_lr {entry} has {place}, but dev_hr has no picture of that name.")
                    self._check_pair(cell, hr[place])
                    self.pairs.append((camera, cell, hr[place]))
        self.lpips = None
        if config.lpips_features:
            self.lpips = LPIPS.from_files(config.lpips_features, config.lpips_heads)
        elif self.pairs:
            log.warning("LPIPS is not measured, so that no checkpoint is kept as the best: lpips_features is not set.")

    def _check_pair(self, lr: dict, hr: dict) -> None:
        name = picture_stem(lr)
        try:
            (height, width), large = (_read(cell).shape[-2:] for cell in (lr, hr))
        except ImageError as error:
            raise ConfigError(f"the dev picture {name} cannot be read ({error}). Replace it.") from None
        wanted = [side - side % self.scale for side in large]  # what LR does not show is left out, as in `ssg evaluate`
        if wanted != [self.scale * height, self.scale * width] or min(wanted) < SMALLEST:
            raise ConfigError(
                f"the dev picture {name} has an LR of {width}x{height} and an HR of {large[1]}x{large[0]}; HR must be "
                f"{self.scale} times LR, and at least {SMALLEST} pixels a side. Correct dev_lr, dev_hr or scale."
            )

    def _read_pair(self, lr_cell: dict, hr_cell: dict) -> tuple[Tensor, Tensor]:
        lr, hr = _read(lr_cell), _read(hr_cell)
        height, width = (self.scale * side for side in lr.shape[-2:])
        return lr, hr[..., :height, :width]

    @torch.inference_mode()
    def score(self, generator: nn.Module, accelerator) -> dict[str, float]:
        """Means `psnr_CAMERA`, `ssim_CAMERA`, `lpips_CAMERA`, and `lpips` over the cameras; split over processes."""
        own = self.pairs[accelerator.process_index :: accelerator.num_processes]
        found = gather_object([(camera, self._score(generator, lr, hr)) for camera, lr, hr in own])
        scores: dict[str, float] = {}
        for camera in dict.fromkeys(camera for camera, _, _ in self.pairs):
            values = [value for name, value in found if name == camera]
            scores |= {f"{name}_{camera}": float(np.mean([value[name] for value in values])) for name in values[0]}
        if self.lpips and scores:
            scores["lpips"] = float(np.mean([value for name, value in scores.items() if name.startswith("lpips_")]))
        return scores

    def _score(self, generator: nn.Module, lr_cell: dict, hr_cell: dict) -> dict[str, float]:
        lr, hr = self._read_pair(lr_cell, hr_cell)
        sr = _upscale(generator, lr)
        scores = {"psnr": psnr_y(sr, hr).item(), "ssim": ssim_y(sr, hr).item()}
        return scores | ({"lpips": self.lpips(sr, hr).item()} if self.lpips else {})

    @torch.inference_mode()
    def sheet(self, generator: nn.Module, guide: Guide | None) -> Image.Image:
        """A picture of some pairs side by side: LR, SR, HR, and with a guide the mask of SR and the drift."""
        rows = []
        for camera in dict.fromkeys(camera for camera, _, _ in self.pairs):
            pairs = [(lr, hr) for name, lr, hr in self.pairs if name == camera]
            for lr, hr in pairs[:: max(1, len(pairs) // SHEET_ROWS)][:SHEET_ROWS]:
                rows.append(self._sheet_row(generator, guide, *self._read_pair(lr, hr)))
        width = min(row.shape[1] for row in rows)
        return Image.fromarray(np.concatenate([row[:, :width] for row in rows]))

    def _sheet_row(self, generator: nn.Module, guide: Guide | None, lr: Tensor, hr: Tensor) -> np.ndarray:
        sr = _upscale(generator, lr)
        panels = [_to_array(F.interpolate(lr, scale_factor=self.scale, mode="nearest")), _to_array(sr), _to_array(hr)]
        if guide is not None:
            device = next(guide.parameters()).device
            enlarged = F.interpolate(lr, size=sr.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)
            before, after = (_soft_mask(guide, picture.to(device)) for picture in (enlarged, sr))
            palette = np.array(guide.palette, np.uint8)
            panels.append(palette[after.argmax(0).numpy()])
            drift = ((before - after).abs().sum(0) / 2 * 255).byte().numpy()  # total variation distance
            panels.append(np.repeat(drift[..., None], 3, axis=2))
        return np.concatenate(panels, axis=1)


def name_cameras(entries: list[str]) -> list[str]:
    """What each entry of `dev_lr` is called in the scores: its folder's name, or all of it where two have that name.

    >>> name_cameras(["lr/phone", "lr/noisy#list.txt"]), name_cameras(["phone/lr", "noisy/lr"])
    (['phone', 'noisy'], ['phone/lr', 'noisy/lr'])
    """
    names = [Path(entry.partition("#")[0]).name for entry in entries]
    return [name if names.count(name) == 1 else entry for name, entry in zip(names, entries, strict=True)]


def _upscale(generator: nn.Module, lr: Tensor) -> Tensor:
    """SR on the CPU, in the 256 levels that a picture file has."""
    sr = generator(lr.to(next(generator.parameters()).device))
    return (sr.float().cpu().clamp(0, 1) * 255).round() / 255


def _soft_mask(guide: Guide, picture: Tensor) -> Tensor:
    logits = F.interpolate(guide(picture), size=picture.shape[-2:], mode="bilinear", align_corners=False)
    return logits[0].softmax(0).cpu()


def _to_array(picture: Tensor) -> np.ndarray:
    return to_8_bit(picture[0].permute(1, 2, 0).numpy())


def _read(cell: dict | Image.Image) -> Tensor:
    return to_floats(np.asarray(open_cell(cell))).unsqueeze(0)
