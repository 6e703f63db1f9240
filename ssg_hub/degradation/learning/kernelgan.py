"""KernelGAN: a blur kernel learnt inside one picture, as the reduction after which its patches still look like its own.

Bell-Kligler, Shocher, Irani, NeurIPS 2019: a deep linear generator (its layers collapse into one kernel) shrinks the
picture by 2, a discriminator of small receptive field separates its patches from the picture's, and the kernel is kept
summing to 1, centred, sparse and away from its border. The authors say that it fails on noisy and small pictures.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...images.levels import LUMA
from ..kernels import centre_kernel, kernel_size

LAYERS = (7, 5, 3, 1, 1, 1)  # kernel sides of the linear generator; together 13x13 at x2
FEATURES = 32  # the paper has 64; a smaller net costs a quarter and finds the same kernels
CROP = 48  # pixels of the picture that the generator sees per step; the paper's 64 do not fit small pictures
STEPS = 600
LEARNING_RATE = 2e-4
SIDE = 13  # of the x2 kernel
NOTE = "KernelGAN's authors do not recommend it for noisy or small pictures; compare with the parametric estimate."


class LinearGenerator(nn.Module):
    """Convolutions without activations; the last one reduces by 2."""

    def __init__(self):
        super().__init__()
        channels = [1, *[FEATURES] * (len(LAYERS) - 1), 1]
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], side, stride=2 if i == len(LAYERS) - 1 else 1, bias=False)
            for i, side in enumerate(LAYERS)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def kernel(self) -> Tensor:
        """(13, 13) that all layers amount to."""
        x = torch.ones(1, 1, 1, 1)
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            # full convolution of what was collapsed so far with this layer
            side = layer.kernel_size[0]
            x = F.conv2d(F.pad(x, [side - 1] * 4), layer.weight.flip((-2, -1)))
        return x[0, 0]


class PatchDiscriminator(nn.Module):
    """One 7x7 convolution, then 1x1: it judges each 7x7 patch by itself."""

    def __init__(self):
        super().__init__()
        norm = nn.utils.parametrizations.spectral_norm
        blocks = []
        for _ in range(3):
            blocks += [norm(nn.Conv2d(FEATURES, FEATURES, 1)), nn.BatchNorm2d(FEATURES), nn.ReLU()]
        self.net = nn.Sequential(
            norm(nn.Conv2d(1, FEATURES, 7)), *blocks, norm(nn.Conv2d(FEATURES, 1, 1)), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def estimate_kernelgan(
    pictures: list[np.ndarray],
    scale: int,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
    most: int = 8,
    steps: int = STEPS,
) -> tuple[Tensor, list[str]]:
    """Kernels of up to `most` pictures, evenly chosen; the other pictures share them.

    Args:
        pictures: (H, W, 3) float in [0, 1].
        scale: 2 or 4; for 4 the x2 kernel is expanded as in the paper's section 5.

    Returns:
        kernels (N, k, k), centred, summing to 1; notes.
    """
    chosen = np.unique(np.linspace(0, len(pictures) - 1, min(most, len(pictures))).round().astype(int))
    found = []
    for count, i in enumerate(chosen):
        report = None
        if on_progress:
            report = lambda done, total, count=count: on_progress(count * total + done, len(chosen) * total)  # noqa: E731
        found.append(expand_kernel(train_kernelgan(pictures[i], seed + int(i), steps, report), scale))
    nearest = [int(np.abs(chosen - i).argmin()) for i in range(len(pictures))]
    notes = [NOTE]
    if len(chosen) < len(pictures):
        notes.append(f"KernelGAN was run on {len(chosen)} of {len(pictures)} pictures.")
    return torch.stack(found)[nearest], notes


def train_kernelgan(
    picture: np.ndarray, seed: int, steps: int = STEPS, on_progress: Callable[[int, int], None] | None = None
) -> Tensor:
    """The x2 kernel (13, 13) of one picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, discriminator = LinearGenerator(), PatchDiscriminator()
    rng = np.random.default_rng(seed)
    luma = torch.from_numpy(picture).float() @ torch.tensor(LUMA)
    small = (min(luma.shape) - SIDE) // 2 + 1  # the largest output that the picture allows
    side = min((CROP - SIDE) // 2 + 1, small)
    crop = 2 * (side - 1) + SIDE
    odds = _gradient_odds(luma)
    optimizers = [
        torch.optim.Adam(net.parameters(), lr=LEARNING_RATE * STEPS / steps, betas=(0.5, 0.999))
        for net in (generator, discriminator)
    ]
    regulariser = KernelRegulariser()
    for step in range(steps):
        coarse = _cut(luma, crop, odds, rng)
        real = _cut(luma, side, odds, rng)
        real = real + torch.from_numpy(rng.normal(0, 1 / 255, real.shape)).float()
        regulariser.step(step / steps)

        fake = generator(coarse)
        adversarial = (discriminator(fake) - 1).abs().mean()
        loss = adversarial + regulariser(generator.kernel(), coarse, fake)
        _update(optimizers[0], loss)

        judged_real, judged_fake = discriminator(real), discriminator(fake.detach())
        _update(optimizers[1], 0.5 * ((judged_real - 1).abs().mean() + judged_fake.abs().mean()))
        if on_progress and step % 50 == 49:
            on_progress(step + 1, steps)
    kernel = generator.kernel().detach()
    kernel = torch.where(kernel < _nth_largest(kernel, 40), 0.0, kernel)  # the paper's clean-up: the 40 largest taps
    return centre_kernel(kernel.flip((-2, -1)))  # layers correlate, kernels convolve


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def _nth_largest(kernel: Tensor, n: int) -> Tensor:
    return kernel.flatten().sort(descending=True).values[n - 1]


def _gradient_odds(luma: Tensor) -> np.ndarray:
    """Chance (H, W) that a crop is taken around a pixel: the stronger the gradient, the likelier."""
    gy, gx = torch.gradient(luma)
    magnitude = F.avg_pool2d(torch.hypot(gx, gy)[None, None], 9, stride=1, padding=4)[0, 0].double().numpy() + 1e-6
    return magnitude / magnitude.sum()


def _cut(luma: Tensor, side: int, odds: np.ndarray, rng: np.random.Generator) -> Tensor:
    """A crop (1, 1, side, side) around a pixel drawn by `odds`."""
    row, column = divmod(int(rng.choice(odds.size, p=odds.ravel())), odds.shape[1])
    top = min(max(0, row - side // 2), luma.shape[0] - side)
    left = min(max(0, column - side // 2), luma.shape[1] - side)
    return luma[None, None, top : top + side, left : left + side]


class KernelRegulariser:
    """The paper's sec. 4.3: sum to one, nothing at the border, sparse, centred; at first also: like bicubic."""

    def __init__(self):
        grid = torch.arange(SIDE) - (SIDE - 1) / 2
        self.grid = grid
        distance = torch.hypot(grid.view(-1, 1), grid)
        self.border = (1 - torch.exp(-(distance**2) / (2 * (SIDE / 4) ** 2))).clamp(min=0) * (distance > SIDE / 4)
        self.bicubic_weight, self.shape_weight, self.sparse_weight = 5.0, 0.0, 0.0

    def step(self, progress: float) -> None:
        """First follow bicubic; then let go and ask for shape."""
        if progress > 0.2:
            self.bicubic_weight, self.shape_weight = 0.05, 1.0
        if progress > 0.6:
            self.sparse_weight = 5.0

    def __call__(self, kernel: Tensor, coarse: Tensor, fake: Tensor) -> Tensor:
        total = kernel.sum()
        mass = kernel / total.detach().clamp(min=1e-3)
        centre = torch.stack(((mass * self.grid.view(-1, 1)).sum(), (mass * self.grid).sum())).square().sum()
        loss = 0.5 * (total - 1).abs()
        loss = loss + self.shape_weight * (0.5 * (kernel * self.border).abs().sum() + centre.sqrt())
        loss = loss + self.sparse_weight * kernel.abs().clamp(min=1e-8).pow(0.2).mean()
        # the 13x13 kernel's middle is the middle of a pixel, so is that of this reference
        trim = (SIDE - 1) // 2
        smooth = F.conv2d(coarse, BICUBIC_TAPS.view(1, 1, *BICUBIC_TAPS.shape), padding=BICUBIC_TAPS.shape[0] // 2)
        reference = smooth[..., trim : trim + 2 * fake.shape[-2] : 2, trim : trim + 2 * fake.shape[-1] : 2]
        return loss + self.bicubic_weight * (fake - reference).square().mean()


def _bicubic_taps() -> Tensor:
    """(9, 9) samples of the bicubic kernel (a = -0.5) stretched by 2."""
    x = (torch.arange(9) - 4).abs() / 2
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    taps = torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))
    taps = torch.outer(taps, taps)
    return taps / taps.sum()


BICUBIC_TAPS = _bicubic_taps()


def expand_kernel(kernel: Tensor, scale: int) -> Tensor:
    """The x2 kernel (13, 13) as an x2 or x4 kernel of the bank's size.

    Reducing by 4 is taken as reducing by 2 twice: k4 = k2 * upsampled(k2) (the paper's sec. 5, after Michaeli & Irani).
    """
    if scale == 4:
        stretched = torch.zeros(2 * SIDE - 1, 2 * SIDE - 1)
        stretched[::2, ::2] = kernel
        kernel = F.conv2d(F.pad(stretched[None, None], [SIDE - 1] * 4), kernel.flip((-2, -1))[None, None])[0, 0]
    size = kernel_size(scale)
    # half a pixel of shift takes the odd kernel to the even grid
    canvas = torch.zeros(size, size)
    side = min(kernel.shape[0], size - 1)
    cut, start = (kernel.shape[0] - side) // 2, (size - side) // 2
    canvas[start : start + side, start : start + side] = kernel[cut : cut + side, cut : cut + side]
    return centre_kernel(canvas)
