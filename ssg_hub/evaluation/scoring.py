"""Score methods on a folder of LR pictures: pair files, measure each picture, add up over pictures and processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ImageError
from ..images.reading import read_labels, read_picture, read_size
from ..networks import perceptual
from ..storage import as_path
from . import metrics, segmentation_metrics
from .methods import Case, Method, Result, check_stems, index_pictures, round_to_bytes, to_pixels
from .picture_sheet import Crop, choose_crop

if TYPE_CHECKING:
    from accelerate import PartialState

TOGETHER = 4  # SR pictures that a learned distance sees in one pass: VGG16's activations are some 100 MB a picture
SMALLEST = {"lpips": metrics.ALEXNET_SMALLEST, "dists": perceptual.SMALLEST}  # pixels a side of SR
REFERENCE = "HR"  # the row in which the judge reads the HR pictures themselves


@dataclass
class PictureScore:
    """The figures of one method on one picture.

    Attributes:
        values: by metric: psnr_y, ssim_y, lpips, dists, color_drift, boundary_f; those that could be measured.
        confusion: the judge's (K, K) counts, or None.
        drift: the (2, 256) histograms of the method's own semantic drift, or None.
    """

    values: dict[str, float]
    confusion: Tensor | None = None
    drift: Tensor | None = None


@dataclass
class Evaluation:
    """What `evaluate_folder` found.

    Attributes:
        scores: method -> metric -> figure over the whole set. Means over pictures; `miou` and `iou` (class -> IoU or
            None) from all pixels of the set together, `drift_auroc` likewise.
        pictures: method -> stem -> `PictureScore`.
        crops: where the methods differ most, in the order of the pictures.
    """

    scores: dict[str, dict]
    pictures: dict[str, dict[str, PictureScore]]
    crops: list[Crop]


@dataclass
class Measures:
    """What is measured with, and how.

    Attributes:
        scale: SR pixels per LR pixel, per side.
        border: SR pixels that PSNR and SSIM leave out on every side; None: the scale.
        distances: metric -> (sr (B, 3, H, W), hr (1, 3, H, W)) -> (B,), such as LPIPS and DISTS.
        judge: (B, 3, H, W) in [0, 1] -> logits (B, K, h, w), such as a `Guide`, or None.
        labels: the judge's class names; needed with a judge.
        void: label id that does not count, beside all ids of K or more.
    """

    scale: int = 4
    border: int | None = None
    distances: dict[str, nn.Module] = field(default_factory=dict)
    judge: nn.Module | None = None
    labels: list[str] = field(default_factory=list)
    void: int | None = None

    @property
    def left_out(self) -> int:
        """SR pixels that PSNR and SSIM leave out on every side."""
        return self.scale if self.border is None else self.border

    @property
    def smallest(self) -> int:
        """Pixels that HR must have a side for SSIM and the distances."""
        return max([metrics.SSIM_WINDOW + 2 * self.left_out, *(SMALLEST.get(name, 0) for name in self.distances)])


def evaluate_folder(
    lr: str | Path,
    methods: Mapping[str, Method],
    hr: str | Path | None = None,
    labels: str | Path | None = None,
    measures: Measures | None = None,
    crops: int = 0,
    state: "PartialState | None" = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run every method on every LR picture and score the results.

    Args:
        lr: folder of LR pictures.
        methods: row name -> method; see `ssg_hub.evaluation.methods`.
        hr: folder of HR pictures with the same stems, `scale` times as large: gives PSNR-Y, SSIM-Y, distances, and the
            reference of the colour drift (which is the LR picture otherwise).
        labels: folder of label maps (one id per pixel) of HR size: gives mIoU, boundary F-score and drift AUROC, if
            there is a judge. With `hr` there is then also a row "HR", the judge's reading of the HR pictures.
        measures: see `Measures`.
        crops: how many crops to cut for a picture sheet, one from each of so many parts of the set.
        state: Accelerate's state: the pictures are split over its processes, every one of which must call this and gets
            the whole result. None: this process does all.
        on_progress: called with (done, total) of this process' share.

    Raises:
        ConfigError: folders that do not fit together.
        ImageError: sizes that do not fit together, or a file that cannot be read.
    """
    measures = measures or Measures()
    cases = list(enumerate(pair_files(lr, hr, labels)))
    check_sizes([case for _, case in cases], measures)
    share = cases
    if state is not None:
        with state.split_between_processes(cases) as share:
            share = list(share)
    scored: list[tuple[str, str, PictureScore]] = []
    cut: list[tuple[int, Crop]] = []
    for done, (index, case) in enumerate(share, 1):
        scores, crop = _score_case(case, methods, measures, crop=crops > 0)
        scored += [(name, case.stem, score) for name, score in scores.items()]
        if crop is not None:
            cut = _keep_greatest([*cut, (index * crops // len(cases), crop)])
        if on_progress:
            on_progress(done, len(share))
    if state is not None and state.num_processes > 1:
        from accelerate.utils import gather_object

        scored, cut = gather_object(scored), gather_object(cut)
    pictures: dict[str, dict[str, PictureScore]] = {}
    for name, stem, score in scored:
        pictures.setdefault(name, {})[stem] = score
    summaries = {name: summarize(list(by_stem.values()), measures.labels) for name, by_stem in pictures.items()}
    return Evaluation(summaries, pictures, [crop for _, crop in _keep_greatest(cut)])


def _keep_greatest(cut: list[tuple[int, Crop]]) -> list[tuple[int, Crop]]:
    """The crop of greatest difference for each part of the set, in the order of the parts.

    A sheet takes one crop from each part, because the frames of a video would all show the same corner otherwise.
    """
    best: dict[int, Crop] = {}
    for part, crop in cut:
        if part not in best or crop.difference > best[part].difference:
            best[part] = crop
    return sorted(best.items())


def pair_files(lr: str | Path, hr: str | Path | None = None, labels: str | Path | None = None) -> list[Case]:
    """Group the files of each stem; HR and labels with other stems are ignored.

    Raises:
        ConfigError: not a folder, a folder without pictures, or one that lacks stems that LR has.
    """
    lr_files = index_pictures(as_path(lr))
    partners: list[dict[str, Path]] = []
    for folder, kind in ((hr, "HR"), (labels, "label")):
        partners.append(index_pictures(as_path(folder)) if folder is not None else {})
        if folder is not None:
            check_stems(lr_files, partners[-1], Path(folder), kind)
    return [Case(stem, path, *(files.get(stem) for files in partners)) for stem, path in lr_files.items()]


def check_sizes(cases: list[Case], measures: Measures) -> None:
    """Look at the headers of all files before the first picture is upscaled.

    Raises:
        ImageError: one cannot be opened, HR or a label map is not `scale` times as large as LR, but for a remainder, or
            HR is too small for what is measured.
    """
    scale = measures.scale
    for case in cases:
        width, height = read_size(case.lr)
        for path in (case.hr, case.labels):
            if path is not None:
                size = _whole_part(read_size(path)[::-1], (scale * height, scale * width), scale)
                _check_size(size, (scale * height, scale * width), path, _rule(case, scale))
        if case.hr is not None and scale * min(width, height) < measures.smallest:
            raise ImageError(
                f"{case.hr} is too small to be compared: {measures.smallest} pixels a side are needed, of which "
                f"the border of {measures.left_out} is left out for PSNR and SSIM. Move the picture out, or give a "
                "smaller --border."
            )


def summarize(scores: list[PictureScore], labels: list[str]) -> dict:
    """Figures of a set of pictures from those of its pictures (also for a part of a set, as a bootstrap needs it).

    Returns:
        As `Evaluation.scores`' inner dicts.
    """
    summary: dict = {}
    for metric in dict.fromkeys(name for score in scores for name in score.values):
        values = torch.tensor([score.values[metric] for score in scores if metric in score.values])
        summary[metric] = values.nanmean().item()
    confusions = [score.confusion for score in scores if score.confusion is not None]
    if confusions:
        total = torch.stack(confusions).sum(0)
        summary["miou"] = segmentation_metrics.mean_iou(total)
        iou = segmentation_metrics.class_iou(total).tolist()
        summary["iou"] = {label: None if value != value else value for label, value in zip(labels, iou, strict=True)}
    histograms = [score.drift for score in scores if score.drift is not None]
    if histograms:
        summary["drift_auroc"] = segmentation_metrics.drift_auroc(torch.stack(histograms).sum(0))
    return summary


def _score_case(
    case: Case, methods: Mapping[str, Method], measures: Measures, crop: bool
) -> tuple[dict[str, PictureScore], Crop | None]:
    lr = to_pixels(read_picture(case.lr))
    height, width = (measures.scale * side for side in lr.shape[:2])
    hr = None if case.hr is None else to_pixels(read_picture(case.hr))[:height, :width]
    labels = None if case.labels is None else _read_labels(case.labels, measures)[:, :height, :width]
    results: dict[str, Result] = {}
    scores: dict[str, PictureScore] = {}
    for name, method in methods.items():
        results[name] = method(case, lr, (width, height))
        shape = results[name].pixels.shape[:2]
        _check_size(shape, (height, width), f"the SR picture of {name}", _rule(case, measures.scale))
        scores[name] = _score_result(results[name], lr, hr, labels, measures)
    if hr is not None:
        _measure_distances(scores, results, hr, measures)
    if hr is not None and labels is not None and measures.judge is not None:
        scores[REFERENCE] = PictureScore({})
        _judge(scores[REFERENCE], round_to_bytes(hr), labels, measures)
    pictures = {name: result.pixels for name, result in results.items()}
    return scores, choose_crop(case.stem, lr, pictures, hr) if crop and pictures else None


def _score_result(
    result: Result, lr: np.ndarray, hr: np.ndarray | None, labels: Tensor | None, measures: Measures
) -> PictureScore:
    sr = _to_batch(result.pixels)
    score = PictureScore({})
    if hr is not None:
        reference = _to_batch(hr)
        score.values["psnr_y"] = metrics.psnr_y(sr, reference, measures.left_out).item()
        score.values["ssim_y"] = metrics.ssim_y(sr, reference, measures.left_out).item()
    score.values["color_drift"] = metrics.color_drift(sr, _to_batch(lr if hr is None else hr)).item()
    if labels is not None and measures.judge is not None:
        _judge(score, result.pixels, labels, measures)
        if result.drift is not None:
            wrong = torch.from_numpy(result.classes.astype(np.int64))[None] != labels
            valid = (labels >= 0) & (labels < len(measures.labels))
            score.drift = segmentation_metrics.drift_histograms(torch.from_numpy(result.drift)[None], wrong, valid)
    return score


@torch.inference_mode()
def _measure_distances(
    scores: dict[str, PictureScore], results: dict[str, Result], hr: np.ndarray, measures: Measures
) -> None:
    """Add the learned distances, of several methods in one pass: what a network sees in HR is computed once for all."""
    names = list(results)
    for first in range(0, len(names), TOGETHER):
        some = names[first : first + TOGETHER]
        sr, reference = torch.cat([_to_batch(results[name].pixels) for name in some]), _to_batch(hr)
        for metric, distance in measures.distances.items():
            device = next(distance.buffers()).device
            found = distance(sr.to(device), reference.to(device)).tolist()
            for name, value in zip(some, found, strict=True):
                scores[name].values[metric] = value


@torch.inference_mode()
def _judge(score: PictureScore, pixels: np.ndarray, labels: Tensor, measures: Measures) -> None:
    """Add the judge's confusion counts and the boundary F-score."""
    device = next(measures.judge.parameters()).device
    logits = measures.judge(_to_batch(pixels).to(device)).float().cpu()
    logits = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
    prediction, classes = logits.argmax(1), len(measures.labels)
    score.confusion = segmentation_metrics.confusion_matrix(prediction, labels, classes)
    score.values["boundary_f"] = segmentation_metrics.boundary_f(prediction, labels, classes).nanmean().item()


def _to_batch(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]


def _read_labels(path: Path, measures: Measures) -> Tensor:
    """(1, H, W) int64 ids, void as -1."""
    labels = torch.from_numpy(read_labels(path).astype(np.int64))[None]
    return labels if measures.void is None else labels.masked_fill(labels == measures.void, -1)


def _whole_part(size: tuple[int, int], wanted: tuple[int, int], scale: int) -> tuple[int, int]:
    """A size without what is left where its sides do not divide by the scale: LR does not show it."""
    height, width = (side - side % scale for side in size)
    return (height, width) if (height, width) == wanted else size


def _rule(case: Case, scale: int) -> str:
    return f"{scale} times the size of {case.lr.name}"


def _check_size(size: tuple[int, int], wanted: tuple[int, int], name: str | Path, rule: str) -> None:
    if size != wanted:
        raise ImageError(
            f"{name} is {size[1]}x{size[0]}; {wanted[1]}x{wanted[0]} is needed, {rule}. Check the folders and --scale."
        )
