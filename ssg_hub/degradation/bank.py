"""A camera learnt from its pictures: a bank of kernels, noise and compression that makes LR from any HR."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from ..storage import as_path
from . import bank_files
from .generic import GenericPrior
from .interface import Degradation
from .noise import NoiseModel
from .ops import Generators, check_sides, compress_with, rand, reduce_with

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

GRID = 16  # pixels: the period of the blocks of JPEG with halved colour


@dataclass
class DegradationBank(Degradation):
    """What was learnt from N pictures; each gives one record: its kernel, noise and compression belong together.

    LR is made at its own scale alone, in steps of 1/255.

    Attributes:
        scale: reduction from HR to LR.
        kernels: (N, k, k) over HR pixels, summing to 1; the whole way from HR to LR, reduction included.
        noise: see `NoiseModel`.
        luma_steps, chroma_steps: (N, 8, 8) JPEG quantisation steps; zeros where a picture was not compressed.
        generic_share: share of samples that the generic prior makes instead.
        random_grid: shift the JPEG blocks at random, as they are in crops; else they begin at the picture's corner.
        report: how the estimation went (JSON): counts, rejections, notes.
        examples: (n, 3, h, w) uint8, pieces of the camera's own pictures for the contact sheet; n may be 0.
    """

    scale: int
    kernels: Tensor
    noise: NoiseModel
    luma_steps: Tensor
    chroma_steps: Tensor
    generic_share: float = 0.0
    random_grid: bool = True
    report: dict = field(default_factory=dict)
    examples: Tensor = field(default_factory=lambda: torch.empty(0, 3, 1, 1, dtype=torch.uint8))

    def degrade_with_grain(self, hr: Tensor, scale: int, generator: Generators) -> tuple[Tensor, Tensor]:
        if scale != self.scale:
            raise ConfigError(
                f"this bank was estimated for scale {self.scale}, degrade got {scale}. Estimate another bank."
            )
        check_sides(hr, scale)
        draws = rand((len(hr), 2), generator)
        records = (draws[:, 0] * len(self.kernels)).long()
        clean = reduce_with(hr, self.kernels[records], scale).clamp(0, 1)
        noisy = (clean + self.noise.sample(clean, records, generator)).clamp(0, 1)
        lr, grain = self._compress(noisy, records, generator), noisy - clean
        if self.generic_share > 0:
            generic = (draws[:, 1] < self.generic_share).to(lr.device).view(-1, 1, 1, 1)
            others = GenericPrior().degrade_with_grain(hr, scale, generator)
            lr, grain = (torch.where(generic, other, own) for other, own in zip(others, (lr, grain), strict=True))
        return (lr * 255).round() / 255, grain

    def _compress(self, lr: Tensor, records: Tensor, generator: Generators) -> Tensor:
        """JPEG with each record's tables; samples whose record has none are left as they are."""
        steps = self.luma_steps[records]
        compressed = steps.amax((1, 2)) > 0
        offsets = (rand((len(lr), 2), generator) * GRID).long() * self.random_grid
        if not compressed.any():
            return lr
        height, width = lr.shape[-2:]
        padded = F.pad(lr, (GRID, 0, GRID, 0), mode="replicate")
        # the block grid begins `offset` pixels before the picture
        cut = [p[:, GRID - y :, GRID - x :] for p, (y, x) in zip(padded, offsets.tolist(), strict=True)]
        fill = [(0, GRID - x, 0, GRID - y) for y, x in offsets.tolist()]
        shifted = torch.stack([F.pad(part, f, mode="replicate") for part, f in zip(cut, fill, strict=True)])
        made = compress_with(shifted, steps.clamp(min=1), self.chroma_steps[records].clamp(min=1))
        made = torch.stack(
            [m[:, y : y + height, x : x + width] for m, (y, x) in zip(made, offsets.tolist(), strict=True)]
        )
        return torch.where(compressed.to(lr.device).view(-1, 1, 1, 1), made, lr)

    def save(self, folder: str | Path) -> None:
        """Write `degradation.json` and `degradation.safetensors`, beside whatever else is in the folder.

        Raises:
            ConfigError: the folder cannot be written.
        """
        bank_files.write_bank(as_path(folder), self._config(), self._tensors())

    @classmethod
    def load(cls, name: str | Path, revision: str | None = None, token: str | bool | None = None) -> "DegradationBank":
        """Read what `save` or `push_to_hub` wrote.

        Args:
            name: a folder, or the id of a Hub repository.
            revision: branch, tag or commit on the Hub.
            token: access token for a private repository.

        Raises:
            ConfigError: not a bank, damaged, or of a later version.
            HubError: the Hub refused or was out of reach.
        """
        config, tensors = bank_files.read_bank(bank_files.find_bank(name, revision, token), str(name))
        noise = NoiseModel(tensors["patches"], tensors["owners"], tensors["levels"], config["noise_notes"])
        bank = cls(
            config["scale"],
            tensors["kernels"],
            noise,
            tensors["luma_steps"],
            tensors["chroma_steps"],
            config["generic_share"],
            config["random_grid"],
            config["report"],
        )
        bank.examples = tensors.get("examples", bank.examples)
        return bank

    def push_to_hub(
        self,
        repo_id: str,
        private: bool | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
    ) -> "CommitInfo":
        """Add the bank to a Hub repository, which may hold a model; it is created if it is missing.

        The names of the pictures and the pieces of them stay here. Noise patches of 16 px are uploaded.

        Raises:
            HubError: the Hub refused or was out of reach.
        """
        config, tensors = self._config(), self._tensors()
        config["report"] = {key: value for key, value in self.report.items() if key != "names"}
        tensors.pop("examples")
        return bank_files.push_bank(repo_id, config, tensors, self.describe(), private, revision, token)

    def _config(self) -> dict:
        return {
            "scale": self.scale,
            "generic_share": self.generic_share,
            "random_grid": self.random_grid,
            "noise_notes": self.noise.notes,
            "report": self.report,
        }

    def _tensors(self) -> dict[str, Tensor]:
        noise = self.noise
        return {
            "kernels": self.kernels,
            "luma_steps": self.luma_steps,
            "chroma_steps": self.chroma_steps,
            "patches": noise.patches.half(),
            "owners": noise.owners,
            "levels": noise.levels,
            "examples": self.examples,
        }

    def describe(self) -> str:
        """A few lines for people: how many records, how wide the kernels are, how strong the noise, which JPEG."""
        from .kernels import measure_kernel

        shapes = [measure_kernel(kernel)[0] for kernel in self.kernels]
        widths = torch.tensor([[shape.major, shape.minor] for shape in shapes])
        sigma = self.noise.levels.square().mean((0, 1)).sqrt() * 255
        compressed = self.luma_steps.amax((1, 2)) > 0
        lines = [
            f"scale {self.scale}, {len(self.kernels)} records",
            f"kernels: {widths[:, 0].mean():.2f} +- {widths[:, 0].std(unbiased=False):.2f} HR px along, "
            f"{widths[:, 1].mean():.2f} +- {widths[:, 1].std(unbiased=False):.2f} across",
            f"noise: {sigma[2]:.1f} in the dark, {sigma[8]:.1f} in mid-gray, {sigma[14]:.1f} in the light (of 255); "
            f"{len(self.noise.patches)} patches",
            f"JPEG: {int(compressed.sum())} of {len(compressed)} records",
        ]
        return "\n".join(lines + [f"note: {note}" for note in self.report.get("notes", [])])
