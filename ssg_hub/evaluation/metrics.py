"""How good an SR picture is: fidelity (PSNR, SSIM), perception (LPIPS), colour, and noise in flat parts.

Pictures are (B, 3, H, W), RGB in [0, 1]. Nothing here rounds: to get the figures of 8-bit files, round first, as
`ssg_hub.evaluation.methods` does.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ImageError
from ..images.levels import LUMA
from ..networks.perceptual import HEADS
from ..networks.tensor_files import pick, read_tensors

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
D65_WHITE = (0.95047, 1.0, 1.08883)
ALEXNET = {  # torchvision's index: channels in and out, kernel, stride, padding
    0: (3, 64, 11, 4, 2),
    3: (64, 192, 5, 1, 2),
    6: (192, 384, 3, 1, 1),
    8: (384, 256, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
ALEXNET_POOLS_BEFORE = (3, 6)
COLOR_BLOCK, NOISE_BLOCK = 16, 8  # pixels a side
FLAT_SHARE = 0.2
ALEXNET_SMALLEST = 31  # pixels; below it the second pooling has nothing to pool


def luma(image: Tensor) -> Tensor:
    """BT.601 luma as MATLAB's rgb2ycbcr and BasicSR have it: (B, 1, H, W), black at 16, white at 235."""
    weights = torch.tensor([219 * weight for weight in LUMA], dtype=image.dtype, device=image.device)
    return 16 + (image * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def psnr_y(sr: Tensor, hr: Tensor, border: int = 0) -> Tensor:
    """Peak signal-to-noise ratio of the luma, with peak 255.

    Args:
        sr, hr: (B, 3, H, W) in [0, 1].
        border: pixels left out on every side; the literature's habit is the scale (4 for x4).

    Returns:
        (B,) in dB; infinite for equal pictures.

    Raises:
        ImageError: shapes that differ, or nothing left inside the border.
    """
    sr, hr = _crop_pair(sr, hr, border)
    return 10 * torch.log10(255**2 / (luma(sr) - luma(hr)).square().mean((1, 2, 3)))


def ssim_y(sr: Tensor, hr: Tensor, border: int = 0) -> Tensor:
    """Structural similarity of the luma (Wang et al. 2004): Gaussian window 11x11, sigma 1.5, valid positions only.

    Args:
        sr, hr: (B, 3, H, W) in [0, 1].
        border: pixels left out on every side before the window runs.

    Returns:
        (B,), 1 for equal pictures.

    Raises:
        ImageError: shapes that differ, or fewer than 11 pixels left on a side.
    """
    sr, hr = _crop_pair(sr, hr, border, smallest=SSIM_WINDOW)
    x, y = luma(sr), luma(hr)
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    cov = _window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * cov + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return similarity.mean((1, 2, 3))


def _window(x: Tensor) -> Tensor:
    """Gaussian mean, separable, valid positions."""
    steps = torch.arange(SSIM_WINDOW, dtype=x.dtype, device=x.device) - SSIM_WINDOW // 2
    weights = torch.exp(-(steps**2) / (2 * SSIM_SIGMA**2))
    weights = weights / weights.sum()
    return F.conv2d(F.conv2d(x, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))


def _crop_pair(sr: Tensor, hr: Tensor, border: int, smallest: int = 1) -> tuple[Tensor, Tensor]:
    if sr.ndim != 4 or sr.shape[1:] != hr.shape[1:] or sr.shape[1] != 3 or len(hr) not in (1, len(sr)):
        raise ImageError(
            f"the pictures to compare are {tuple(sr.shape)} and {tuple(hr.shape)}; both must be the same (B, 3, H, W). "
            "Crop or resize one of them."
        )
    if min(sr.shape[-2:]) - 2 * border < smallest:
        raise ImageError(
            f"a picture of {sr.shape[-1]}x{sr.shape[-2]} with a border of {border} left out is too small to compare; "
            f"{smallest} pixels must remain on each side. Use a larger picture or a smaller border."
        )
    height, width = sr.shape[-2:]
    inside = (..., slice(border, height - border), slice(border, width - border))
    return sr[inside], hr[inside]


class LPIPS(nn.Module):
    """Learned perceptual distance (Zhang et al., CVPR 2018), AlexNet, v0.1; built by `from_files`."""

    shift: Tensor
    scale: Tensor

    def __init__(self):
        super().__init__()
        self.features = nn.ModuleDict({str(index): nn.Conv2d(*shape) for index, shape in ALEXNET.items()})
        self.heads = nn.ParameterList(torch.zeros(1, shape[1], 1, 1) for shape in ALEXNET.values())
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @classmethod
    def from_files(cls, features: str | Path, heads: str | Path | None = None) -> "LPIPS":
        """Build from local files, `.safetensors` or `.pth` (read as plain tensors, never unpickled).

        Args:
            features: AlexNet in torchvision's key names (`features.0.weight`, …); a classifier in it is ignored.
            heads: the linear heads, keys `alex.lin0.model.1.weight`, … or `lin0.model.1.weight`, … as LPIPS has them;
                by default those of version 0.1 inside the package.

        Raises:
            CheckpointError: a file is missing or damaged, or lacks a layer.
        """
        network, heads = cls(), HEADS if heads is None else heads
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        alexnet, linear = read_tensors(features, "AlexNet weights"), read_tensors(heads, "LPIPS heads")
        prefix = "alex." if any(name.startswith("alex.") for name in linear) else ""
        state = {}
        for name, shape in shapes.items():
            if name.startswith("features."):
                state[name] = pick(alexnet, name, shape, features, "AlexNet's features")
            else:
                key = f"{prefix}lin{name.removeprefix('heads.')}.model.1.weight"
                state[name] = pick(linear, key, shape, heads, "LPIPS' heads for AlexNet, version 0.1,")
        network.load_state_dict(state)
        return network

    @torch.no_grad()
    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Measure the distance; a metric only: no gradient flows.

        Args:
            sr: (B, 3, H, W) in [0, 1], at least 31 pixels on each side.
            hr: the same, or one picture (1, 3, H, W) for all of them.

        Returns:
            (B,), 0 for equal pictures; lower is better.

        Raises:
            ImageError: shapes that differ, or pictures that are too small.
        """
        sr, hr = _crop_pair(sr, hr, border=0, smallest=ALEXNET_SMALLEST)
        distance = sr.new_zeros(sr.shape[0])
        for x, y, head in zip(self._activations(sr), self._activations(hr), self.heads, strict=True):
            difference = (_unit(x) - _unit(y)).square()
            distance = distance + (difference * head).sum(1).mean((1, 2))
        return distance

    def _activations(self, image: Tensor) -> list[Tensor]:
        x, activations = (2 * image - 1 - self.shift) / self.scale, []
        for index in ALEXNET:
            if index in ALEXNET_POOLS_BEFORE:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(self.features[str(index)](x))
            activations.append(x)
        return activations


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


def color_drift(sr: Tensor, reference: Tensor) -> Tensor:
    """Mean CIE76 colour difference of the local mean colours: what moved when detail is averaged away.

    The areas have sides of 16 SR pixels; sRGB values are averaged.

    Args:
        sr: (B, 3, H, W) in [0, 1].
        reference: HR or LR, (B, 3, h, w) in [0, 1], of the same view at any size.

    Returns:
        (B,) in units of CIELAB (D65); about 2 is just noticeable.
    """
    height, width = (max(1, round(side / COLOR_BLOCK)) for side in sr.shape[-2:])
    sr, reference = (_srgb_to_lab(F.adaptive_avg_pool2d(image, (height, width))) for image in (sr, reference))
    return (sr - reference).square().sum(1).sqrt().mean((1, 2))


def flat_noise(sr: Tensor, reference: Tensor) -> Tensor:
    """What SR has in flat parts of a reference and the reference has not: RMS of the luma's difference within blocks.

    Blocks of 8x8 pixels, each without its mean; the fifth of them in which the reference varies least counts.

    Args:
        sr, reference: (B, 3, H, W) in [0, 1].

    Returns:
        (B,) in grey levels of 255.
    """
    weights = sr.new_tensor(LUMA).view(1, 3, 1, 1) * 255

    def blocks(image: Tensor) -> Tensor:
        cut = F.unfold((image * weights).sum(1, keepdim=True), NOISE_BLOCK, stride=NOISE_BLOCK)
        return cut - cut.mean(1, keepdim=True)

    ours, theirs = blocks(sr), blocks(reference)
    flat = theirs.var(1).argsort(dim=1, stable=True)[:, : max(1, round(FLAT_SHARE * theirs.shape[2]))]
    errors = (ours - theirs).square().mean(1).gather(1, flat)
    return errors.mean(1).sqrt()


def _srgb_to_lab(image: Tensor) -> Tensor:
    linear = torch.where(image <= 0.04045, image / 12.92, ((image.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    white = image.new_tensor(D65_WHITE).view(1, 3, 1, 1)
    xyz = torch.einsum("ij,bjhw->bihw", image.new_tensor(to_xyz), linear) / white
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp(min=0.008856) ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)
