"""What a training step reads: crops for each stage, LR made from HR, and what SR is compared with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.crops import LabeledCrops, PairedCrops, SourceCrops, TargetCrops, sample_generators
from ..data.streams import load_stream
from ..data.tables import load_pairs, load_pictures, read_list
from ..degradation import Degradation
from ..networks.guide import Guide
from .config import TrainConfig
from .losses import SourcePair, cut_out

Crops = SourceCrops | PairedCrops | TargetCrops | LabeledCrops
SHARPEN_RADIUS = 25  # half the width of the unsharp mask's Gaussian, in pixels
SHARPEN_THRESHOLD = 10 / 255  # detail below it is left as it is


def source_crops(config: TrainConfig) -> SourceCrops | PairedCrops:
    """Crops of source HR, alone or with their true LR."""
    if config.source_lr:
        pairs = load_pairs(config.source, config.source_lr, config.data_root)
        unjudged = read_list(config.data_root / config.unjudged) if config.unjudged else ()
        return PairedCrops(pairs, config.hr_crop, config.seed, config.scale, unjudged)
    load = load_stream if config.streaming else load_pictures
    return SourceCrops(load(config.source, config.data_root), config.hr_crop, config.seed, config.flat_share)


def adversarial_crops(config: TrainConfig, guide: Guide | None) -> dict[str, tuple[Crops, int]]:
    """What a step reads, and how much: source HR; real LR where a loss has use for it; HR with labels for a guide."""
    crops: dict[str, tuple[Crops, int]] = {"source": (source_crops(config), config.batch)}
    known = None if guide is None else {*range(len(guide.labels)), config.void_id}
    guided = guide is not None and config.guided
    if guided or (config.target and config.consistency_weight):
        table = load_pictures(config.target, config.data_root, labels=(guided and config.target_labels) or False)
        target = TargetCrops(table, config.target_crop, config.seed, config.scale, config.void_id, known)
        crops["target"] = (target, config.target_batch)
    if guided and config.guide == "joint":
        table = load_pictures(config.guide_data, config.data_root, labels=True)
        labeled = LabeledCrops(table, config.target_crop, config.seed, known_ids=known)
        crops["labeled"] = (labeled, config.target_batch)
    return crops


@torch.no_grad()
def source_pair(source: dict[str, Tensor], degradation: Degradation, config: TrainConfig) -> SourcePair:
    """LR of a source batch, which came with it or is made; HR; and what SR is compared with.

    With `grid_shift` HR and SR are shown without some pixels at their edges, a random number of them at each. The
    networks that judge SR pool 2, 4, 8 pixels into one, and the generator makes 4x4 pixels of one: where both grids
    always meet alike, a mesh between them goes unseen.
    """
    hr = source["hr"]
    wanted = sharpened(hr, config.sharpen)
    if "lr" in source:
        lr, judged = source["lr"], source["judged"]
    else:
        lr, grain = degradation.degrade_with_grain(hr, config.scale, sample_generators(source["seed"]))
        # grain last: it is not to be sharpened, and the discriminator must not take it for a fault
        hr, wanted = (with_grain(picture, grain, config.keep_grain) for picture in (hr, wanted))
        judged = hr.new_ones(len(hr))
    shift, side = config.grid_shift, hr.shape[-1] - config.grid_shift
    draws = [torch.randint(shift + 1, (2,), generator=generator) for generator in sample_generators(source["seed"])]
    corners = torch.stack(draws)
    return SourcePair(lr, cut_out(hr, corners, side), cut_out(wanted, corners, side), judged, corners)


def sharpened(hr: Tensor, amount: float) -> Tensor:
    """HR with an unsharp mask, as Real-ESRGAN wants it (Wang et al., ICCV-W 2021, sec. 3.4): crisper edges, calm areas.

    Args:
        hr: (B, 3, H, W) in [0, 1].
        amount: how much of the detail is added; 0.5 is Real-ESRGAN's, 0 returns `hr` itself.
    """
    if amount == 0:
        return hr
    steps = torch.arange(-SHARPEN_RADIUS, SHARPEN_RADIUS + 1, device=hr.device, dtype=torch.float32)
    line = torch.exp(-((steps / (0.3 * (SHARPEN_RADIUS - 1) + 0.8)) ** 2) / 2)  # OpenCV's width for this size
    line = line / line.sum()

    def blur(x: Tensor) -> Tensor:
        mode = "reflect" if min(x.shape[-2:]) > SHARPEN_RADIUS else "replicate"
        padded = F.pad(x, [SHARPEN_RADIUS] * 4, mode=mode).flatten(0, 1).unsqueeze(1)
        return F.conv2d(F.conv2d(padded, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1)).view_as(x)

    detail = hr - blur(hr)
    share = blur((detail.abs() > SHARPEN_THRESHOLD).float())
    return hr + share * ((hr + amount * detail).clamp(0, 1) - hr)


def with_grain(hr: Tensor, grain: Tensor, share: float) -> Tensor:
    """HR that keeps a share of the noise of its LR, enlarged bicubically: the target of a generator that keeps grain.

    Args:
        hr: (B, 3, H, W) in [0, 1]; grain: (B, 3, H/scale, W/scale), from `degrade_with_grain`.
        share: 0 is HR itself, 1 all of the noise.
    """
    if share == 0:
        return hr
    return (hr + share * F.interpolate(grain, size=hr.shape[-2:], mode="bicubic", align_corners=False)).clamp(0, 1)


def degrade_some(hr: Tensor, seeds: Tensor, share: float, degradation: Degradation, scale: int) -> Tensor:
    """Replace a share of the batch by their degraded, enlarged selves, so that a guide can read bad pictures too."""
    chosen = [index for index, seed in enumerate(seeds.tolist()) if seed % 1000 < 1000 * share]
    if not chosen:
        return hr
    lr = degradation.degrade(hr[chosen], scale, sample_generators(seeds[chosen]))
    pictures = hr.clone()
    pictures[chosen] = F.interpolate(lr, size=hr.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)
    return pictures
