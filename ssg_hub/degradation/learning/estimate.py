"""From a folder of pictures to a degradation bank: compression, noise, kernels, and what is kept of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, ImageError
from ..bank import DegradationBank
from ..bank_files import SCALES
from ..kernels import check_kernel, kernel_size, render_kernels
from ..noise import BINS, LUMA, NoiseModel
from .compression import Compression, find_lattices, reliability
from .jpeg_noise import estimate_jpeg_noise
from .noise_patches import ROUNDING, estimate_noise
from .parametric import fit_parametric
from .pictures import Pictures, cut_examples, read_pictures
from .spectrum import NaturalPrior, Spectra, measure_spectra, tile_side

LEAST_SIGNAL = 0.03  # share of the frequencies at which a scene must stand above the noise
OUTLIER, LEAST_DEVIATION = 3.5, 0.05  # deviations from the median at which an estimate is dropped; of log width
LAGS = 6  # pixels over which noise may be correlated
METHODS = ("parametric", "kernelgan")


def learn_bank(
    folder: str | Path,
    scale: int = 4,
    method: str = "parametric",
    generic_share: float = 0.0,
    clean: str | Path | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> DegradationBank:
    """Learn a camera from LR pictures alone.

    Args:
        folder: of pictures by one camera, or a single picture; subfolders are read too.
        scale: 1, 2 or 4.
        method: "parametric" or "kernelgan".
        generic_share: from 0 to 1; a few tenths make up for what the pictures do not show.
        clean: folder of sharp HR pictures of similar scenes, for the natural prior; the built-in one by default.
        seed: of everything random.
        on_progress: called with (done, total) steps.

    Raises:
        ImageError: no readable picture, or none from which a kernel can be estimated.
        ConfigError: an unknown method or scale, a share outside of 0 to 1, or KernelGAN at scale 1.
    """
    if method not in METHODS:
        raise ConfigError(f"unknown kernel estimator {method!r}; choose one of {', '.join(METHODS)}.")
    if not 0 <= generic_share <= 1:
        raise ConfigError(f"generic_share is {generic_share!r:.60}; it must be a number from 0 to 1.")
    if scale not in SCALES:
        raise ConfigError(f"a bank for scale {scale} cannot be estimated; the scale must be 1, 2 or 4.")
    if method == "kernelgan" and scale == 1:
        raise ConfigError("KernelGAN learns a reduction by 2, and scale 1 reduces nothing. Use method parametric.")
    return learn_from(read_pictures(folder), scale, method, generic_share, clean, seed, on_progress)


def learn_from(
    pictures: Pictures,
    scale: int = 4,
    method: str = "parametric",
    generic_share: float = 0.0,
    clean: str | Path | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> DegradationBank:
    """`learn_bank`, from pictures that were read already; record i of the bank is that of picture i."""
    progress = _Progress(on_progress)
    progress.advance(5)
    compressions = find_compressions(pictures)
    progress.advance(30)
    noise = estimate_all_noise(pictures, compressions, seed)
    progress.advance(50)
    prior = read_prior(clean, scale) if clean else None
    kernels, rejected, notes = estimate_kernels(
        pictures, compressions, noise, scale, method, prior, seed, progress.part(50, 100)
    )
    luma, chroma = (
        torch.stack([getattr(c, n) if c else torch.zeros(8, 8) for c in compressions]) for n in ("luma", "chroma")
    )
    qualities = [c.quality for c in compressions if c]
    report: dict[str, Any] = {
        "pictures": len(pictures.pixels),
        "skipped": pictures.skipped,
        "kernel_estimator": method,
        "kernels_rejected": rejected,
        "jpeg_found": {"tables": sum(c is not None for c in pictures.tables), "pictures": len(qualities)},
        "jpeg_quality": [min(qualities), max(qualities)] if qualities else None,
        "video_found": sum(c is not None and c.codec == "mpeg2" for c in compressions),
        "notes": [*_tell_left_out(pictures, rejected), *notes, *noise.notes],
        "names": pictures.names,
    }
    if len(pictures.pixels) == 1:
        report["notes"].append("There was one picture only: its kernel, noise and compression stand for the camera.")
    examples = cut_examples(pictures.pixels)
    return DegradationBank(scale, kernels, noise, luma, chroma, generic_share, True, report, examples)


def _tell_left_out(pictures: Pictures, rejected: dict[str, int]) -> list[str]:
    """What the bank was not learnt from, in sentences."""
    read = len(pictures.pixels)
    notes = []
    if (chosen := read + sum(pictures.skipped.values())) < pictures.found:
        notes.append(f"Of the {pictures.found} pictures {chosen} were looked at, evenly spread.")
    if pictures.skipped:
        notes.append(f"Left out: {_count(pictures.skipped)}.")
    if rejected:
        notes.append(
            f"No kernel could be estimated from {sum(rejected.values())} of {read} pictures ({_count(rejected)}): "
            "those of others take their place."
        )
    return notes


def _count(reasons: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items())


class _Progress:
    """Percentages of the whole, passed on to the caller."""

    def __init__(self, on_progress: Callable[[int, int], None] | None):
        self.on_progress = on_progress

    def advance(self, percent: int) -> None:
        if self.on_progress:
            self.on_progress(percent, 100)

    def part(self, start: int, end: int) -> Callable[[int, int], None]:
        return lambda done, total: self.advance(start + round((end - start) * done / total))


def find_compressions(pictures: Pictures) -> list[Compression | None]:
    """Of each picture: the tables in its file, else the lattice in its pixels."""
    unknown = [i for i, tables in enumerate(pictures.tables) if tables is None]
    found = list(pictures.tables)
    for i, lattice in zip(unknown, find_lattices([pictures.pixels[i] for i in unknown]), strict=True):
        found[i] = lattice
    return found


def estimate_all_noise(pictures: Pictures, compressions: list[Compression | None], seed: int) -> NoiseModel:
    """The noise of all pictures: fitted before compression where there was one, cut out elsewhere."""
    plain = [i for i, compression in enumerate(compressions) if compression is None]
    packed = [i for i, compression in enumerate(compressions) if compression is not None]
    floats = pictures.floats()
    parts = []
    if plain:
        parts.append((plain, estimate_noise([floats[i] for i in plain], seed)))
    if packed:
        chosen = [compressions[i] for i in packed]
        parts.append((packed, estimate_jpeg_noise([pictures.pixels[i] for i in packed], chosen, seed)))
    levels = torch.zeros(len(compressions), 3, BINS)
    owners = []
    for members, model in parts:
        levels[members] = model.levels
        index = torch.tensor([*members, -1])  # owner -1 (nobody's) stays
        owners.append(index[model.owners])
    patches = torch.cat([model.patches for _, model in parts])
    return NoiseModel(patches, torch.cat(owners), levels, [note for _, model in parts for note in model.notes])


def read_prior(folder: str | Path, scale: int) -> NaturalPrior:
    """The natural prior of sharp HR pictures.

    Raises:
        ImageError: fewer than 20 pictures that are large enough.
    """
    tile = 64
    sharp = [p.astype(np.float32) / 255 for p in read_pictures(folder).pixels if min(p.shape[:2]) >= tile * scale]
    if len(sharp) < 20:
        raise ImageError(f"{folder} holds {len(sharp)} sharp pictures of at least {tile * scale} px; 20 are needed.")
    return NaturalPrior.from_pictures(sharp, scale, tile)


def estimate_kernels(
    pictures: Pictures,
    compressions: list[Compression | None],
    noise: NoiseModel,
    scale: int,
    method: str,
    prior: NaturalPrior | None,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> tuple[Tensor, dict[str, int], list[str]]:
    """One kernel (k, k) per picture; those that fail are replaced by others of the set.

    Returns:
        kernels (N, k, k); reason -> number of rejections; notes.

    Raises:
        ImageError: no kernel was accepted.
    """
    if method == "kernelgan":
        from .kernelgan import estimate_kernelgan

        kernels, notes = estimate_kernelgan(pictures.floats(), scale, seed, on_progress)
        reasons = [check_kernel(kernel, scale) for kernel in kernels]
    else:
        kernels, reasons, notes = _parametric_kernels(pictures, compressions, noise, scale, prior, on_progress)
    rejected = {reason: reasons.count(reason) for reason in sorted(set(reasons)) if reason}
    good = [i for i, reason in enumerate(reasons) if not reason]
    if not good:
        raise ImageError(
            f"no blur kernel could be estimated from {len(kernels)} pictures ({_count(rejected)}). "
            "Give sharper or less noisy pictures, or use the generic prior."
        )
    rng = np.random.default_rng(seed)
    for i, reason in enumerate(reasons):
        if reason:
            kernels[i] = kernels[rng.choice(good)]
    return kernels, rejected, notes


def _parametric_kernels(
    pictures: Pictures,
    compressions: list[Compression | None],
    noise: NoiseModel,
    scale: int,
    prior: NaturalPrior | None,
    on_progress: Callable[[int, int], None],
) -> tuple[Tensor, list[str], list[str]]:
    floats = pictures.floats()
    tile = tile_side(floats)
    large = [i for i, picture in enumerate(floats) if min(picture.shape[:2]) >= tile]
    spectra = measure_spectra([floats[i] for i in large], tile)
    believed = torch.ones_like(spectra.power)
    for position, i in enumerate(large):
        if compressions[i]:
            believed[position] = reliability(pictures.pixels[i], compressions[i], spectra.fy, spectra.fx)
    fit = fit_parametric(spectra, noise_spectra(noise, spectra, large), scale, prior, on_progress, believed)
    detailed = (fit.signal >= LEAST_SIGNAL) & (spectra.power.mean(1) > ROUNDING)
    usable = detailed & is_like_the_others(fit.log_area, fit.stretch, detailed)
    size = kernel_size(scale)
    reasons = ["too small for the spectrum"] * len(floats)
    kernels = torch.zeros(len(floats), size, size)
    if usable.any():
        area, stretch = spread_as_measured(fit.log_area, fit.stretch, fit.error, usable)
        kernels[large] = render_kernels(area, stretch, fit.motion, size).float()
    for position, i in enumerate(large):
        if not detailed[position]:
            reasons[i] = "no detail above the noise"
        else:
            reasons[i] = check_kernel(kernels[i], scale) if usable[position] else "unlike the others"
    moving = int(fit.motion.sum())
    return kernels, reasons, [f"{moving} of {len(large)} kernels are motion, the others anisotropic Gaussians."]


def is_like_the_others(log_area: Tensor, stretch: Tensor, detailed: Tensor) -> Tensor:
    """Which estimates (N,) are no outliers among those of `detailed` pictures (N,); an outlier describes its scene.

    Args:
        log_area, stretch: (N,) and (N, 2) of the kernels; see `render_kernels`.
        detailed: (N,) whether a picture has detail above its noise.
    """
    values = torch.cat((log_area.view(-1, 1), stretch), dim=1)
    if not detailed.any():
        return detailed
    middle = values[detailed].median(0).values
    deviation = 1.4826 * (values[detailed] - middle).abs().median(0).values + LEAST_DEVIATION
    return ((values - middle).abs() < OUTLIER * deviation).all(1)


def spread_as_measured(log_area: Tensor, stretch: Tensor, error: Tensor, usable: Tensor) -> tuple[Tensor, Tensor]:
    """Shrink each picture's parameters towards the set's mean, so that they spread as much as the true ones.

    Estimates spread by their errors too. Each parameter is scaled about its mean by the root of the share of its
    variance that the errors leave (constrained empirical Bayes: Louis, JASA 1984).

    Args:
        log_area, stretch: (N,) and (N, 2) of the kernels; see `render_kernels`.
        error: (N, 3) standard deviations of all three.
        usable: (N,) which pictures the mean and the spread are taken from.

    Returns:
        log_area (N,) and stretch (N, 2).
    """
    values = torch.cat((log_area.view(-1, 1), stretch), dim=1)
    chosen, variance = values[usable], error[usable].square()
    weights = 1 / (variance + chosen.var(0, unbiased=False))
    mean = (weights * chosen).sum(0) / weights.sum(0)
    spread = (weights * (chosen - mean).square()).sum(0) / weights.sum(0)
    true = (spread - (weights * variance).sum(0) / weights.sum(0)).clamp(min=0)
    shrunk = mean + (values - mean) * (true / spread.clamp(min=1e-9)).sqrt()
    return shrunk[:, 0], shrunk[:, 1:]


def noise_spectra(noise: NoiseModel, spectra: Spectra, members: list[int]) -> Tensor:
    """Power spectra (n, F) of the luma noise of the pictures `members`, at the frequencies of `spectra`."""
    luma = torch.einsum("pcij,c->pij", noise.patches.double(), LUMA.double())
    size = luma.shape[-1]
    power = torch.zeros_like(spectra.fx)
    for dy in range(-LAGS, LAGS + 1):
        for dx in range(-LAGS, LAGS + 1):
            a = luma[:, max(0, dy) : size + min(0, dy), max(0, dx) : size + min(0, dx)]
            b = luma[:, max(0, -dy) : size + min(0, -dy), max(0, -dx) : size + min(0, -dx)]
            taper = (1 - abs(dy) / (LAGS + 1)) * (1 - abs(dx) / (LAGS + 1))
            phase = 2 * torch.pi * (dy * spectra.fy + dx * spectra.fx)
            power += taper * (a * b).mean() * torch.cos(phase)
    levels = noise.levels[members].double().square().mean(1)  # (n, BINS)
    brightness = spectra.brightness.view(len(members), BINS, -1).sum(2)
    strength = (levels * brightness).sum(1)
    return strength.view(-1, 1) * power.clamp(min=1e-3 * power.max())
