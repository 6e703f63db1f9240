"""The noise of a camera, laid over clean pictures: patches at unit strength beside the strength per brightness."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from ..images import levels
from .ops import Generators, rand

PATCH = 16
BINS = 16  # of brightness
MIN_PATCHES = 6  # for a brightness bin to count, and for a picture to use only its own patches
OVERLAP = 4  # of patches when they are laid
WHITE_PATCHES = 64
LUMA = torch.tensor(levels.LUMA)


@dataclass
class NoiseModel:
    """The noise of a camera.

    Attributes:
        patches: (P, 3, 16, 16), zero mean, unit variance; spatial and colour correlation as cut.
        owners: (P,) index of the picture that a patch comes from.
        levels: (N, 3, BINS) standard deviation in each picture per channel and brightness bin, in [0, 1] units.
        notes: what had to be assumed, in sentences.
    """

    patches: Tensor
    owners: Tensor
    levels: Tensor
    notes: list[str] = field(default_factory=list)

    def sample(self, lr: Tensor, records: Tensor, generator: Generators) -> Tensor:
        """Noise for clean LR pictures.

        Args:
            lr: (B, 3, H, W) in [0, 1].
            records: (B,) which picture's noise each sample gets.
            generator: one CPU generator, or one per sample.

        Returns:
            (B, 3, H, W), of the strength that belongs to each pixel's brightness.
        """
        height, width = lr.shape[-2:]
        step = PATCH - OVERLAP
        # enough for the picture at every shift below, though `_lay` takes an overlap off
        rows, columns = ((side + OVERLAP - 2) // step + 2 for side in (height, width))
        count = rows * columns
        draws = rand((len(lr), 3 * count + 2), generator)
        chosen = self._choose(records, draws[:, :count])
        patches = self.patches[chosen].to(lr)
        turn = (draws[:, count : 2 * count] < 0.5).view(len(lr), count, 1, 1, 1).to(lr.device)
        patches = torch.where(turn, patches.flip((-2, -1)), patches)
        # the sign is not turned: clipping and compression leave skewed noise
        canvas = _lay(patches, rows, columns, step)
        corners = (draws[:, -2:] * step).long().tolist()
        fields = [c[:, y : y + height, x : x + width] for c, (y, x) in zip(canvas, corners, strict=True)]
        return torch.stack(fields) * interpolate_levels(self.levels[records].to(lr), lr)

    def _choose(self, records: Tensor, draws: Tensor) -> Tensor:
        """Patch indices (B, n): a picture's own patches if it has enough, else those of all."""
        chosen = torch.empty(draws.shape, dtype=torch.long)
        for i, record in enumerate(records.tolist()):
            pool = (self.owners == record).nonzero().flatten()
            if len(pool) < MIN_PATCHES:
                pool = torch.arange(len(self.patches))
            chosen[i] = pool[(draws[i] * len(pool)).long().clamp(max=len(pool) - 1)]
        return chosen


def _lay(patches: Tensor, rows: int, columns: int, step: int) -> Tensor:
    """Patches (B, n, 3, s, s) side by side with overlaps whose squared weights sum to one, so that variance is even."""
    ramp = torch.sin(0.5 * torch.pi * (torch.arange(OVERLAP) + 0.5) / OVERLAP)
    edge = torch.cat((ramp, torch.ones(PATCH - 2 * OVERLAP), ramp.flip(0))).to(patches)
    weighted = (patches * edge.view(-1, 1) * edge).flatten(2).transpose(1, 2)
    size = (rows * step + OVERLAP, columns * step + OVERLAP)
    return F.fold(weighted, size, PATCH, stride=step)[..., OVERLAP:-OVERLAP, OVERLAP:-OVERLAP]


def interpolate_levels(levels: Tensor, brightness: Tensor) -> Tensor:
    """Strength (B, C, H, W) at each brightness in [0, 1] from (B, C, BINS) strengths at the bins' centres."""
    position = (brightness * BINS - 0.5).clamp(0, BINS - 1).flatten(2)
    low = position.floor().long().clamp(max=BINS - 2)
    share = position - low
    return (levels.gather(2, low) * (1 - share) + levels.gather(2, low + 1) * share).view_as(brightness)


def white_noise(sigma: float, pictures: int, note: str) -> NoiseModel:
    """White noise of one strength, where none can be cut."""
    patches = torch.randn((WHITE_PATCHES, 3, PATCH, PATCH), generator=torch.Generator().manual_seed(0))
    patches = patches - patches.mean((-2, -1), keepdim=True)
    return NoiseModel(patches, torch.full((WHITE_PATCHES,), -1), torch.full((pictures, 3, BINS), sigma), [note])
