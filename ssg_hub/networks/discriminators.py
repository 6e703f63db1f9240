"""Discriminators: PatchGAN (RealSR's choice), a U-Net (Real-ESRGAN's), and two that see more than pixels.

None has batch statistics, so that the processes of a distributed run need not agree on any.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import ConfigError


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al., CVPR 2017) without normalisation: (B, 3, H, W) to logits (B, 1, about H/8, W/8).

    Args:
        features: channels of the first layer; doubled at each of the three reductions.
    """

    def __init__(self, features: int = 64):
        super().__init__()
        widths = [3, features, 2 * features, 4 * features]
        layers: list[nn.Module] = []
        for c_in, c_out in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(widths[-1], 8 * features, 3, padding=1), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(8 * features, 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image * 2 - 1)


class UNetDiscriminator(nn.Module):
    """Real-ESRGAN's U-Net (Wang et al., ICCV-W 2021, sec. 3.4): (B, 3, H, W) to logits (B, 1, H, W), a verdict a pixel.

    Args:
        features: channels at full resolution. H and W must divide by 8.
    """

    def __init__(self, features: int = 64):
        super().__init__()
        widths = [features, 2 * features, 4 * features, 8 * features]
        self.first = nn.Conv2d(3, features, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False))
            for c_in, c_out in zip(widths, widths[1:], strict=False)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(c_in, c_out, 3, padding=1, bias=False))
            for c_in, c_out in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.refine = nn.ModuleList(
            spectral_norm(nn.Conv2d(features, features, 3, padding=1, bias=False)) for _ in range(2)
        )
        self.last = nn.Conv2d(features, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.first(image), 0.2)
        skips = []
        for conv in self.down:
            skips.append(x)
            x = F.leaky_relu(conv(x), 0.2)
        for conv in self.up:
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = F.leaky_relu(conv(x), 0.2) + skips.pop()
        for conv in self.refine:
            x = F.leaky_relu(conv(x), 0.2)
        return self.last(x)


class FeatureDiscriminator(nn.Module):
    """Reads frozen VGG16 features instead of pixels (projected GAN, Sauer et al., NeurIPS 2021): a short run suffices.

    One head each for blocks 2 to 4. It takes the five activations of `perceptual.VGG16Features` and returns logits
    (B, 3, H/8, W/8), a verdict of each head at each place. H and W must divide by 8.

    Args:
        features: channels of a head.
    """

    BLOCKS = {1: 128, 2: 256, 3: 512}  # index of the activation: its channels

    def __init__(self, features: int = 64):
        super().__init__()
        heads = []
        for index, channels in self.BLOCKS.items():
            layers: list[nn.Module] = [nn.Conv2d(channels, features, 1), nn.LeakyReLU(0.2)]
            for _ in range(3 - index):
                layers += [nn.Conv2d(features, features, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.LeakyReLU(0.2)]
            heads.append(nn.Sequential(*layers, nn.Conv2d(features, 1, 3, padding=1)))
        self.heads = nn.ModuleList(heads)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, 0.2)
                nn.init.zeros_(layer.bias)

    def forward(self, *activations: Tensor) -> Tensor:
        return torch.cat(
            [head(_unit_power(activations[index])) for index, head in zip(self.BLOCKS, self.heads, strict=True)], 1
        )


def _unit_power(x: Tensor) -> Tensor:
    """Each pixel's feature vector scaled to a mean square of 1."""
    x = x.float()
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-6)


class SemanticDiscriminator(nn.Module):
    """PatchGAN that knows what the picture shows (after SeD, Li et al., CVPR 2024): leaves are judged as leaves.

    SeD brings semantics in by cross-attention; here they scale and shift the features at each place, which is cheaper.

    Args:
        features: channels of the first layer; doubled at each of the three reductions.
        semantics: channels of the semantic map.
    """

    def __init__(self, features: int, semantics: int):
        super().__init__()
        pixels = PatchDiscriminator(features).layers
        self.read, self.judge = pixels[:6], pixels[6:]
        self.modulate = nn.Conv2d(semantics, 8 * features, 1)
        nn.init.zeros_(self.modulate.weight)  # it begins as a PatchGAN that knows nothing
        nn.init.zeros_(self.modulate.bias)

    def forward(self, image: Tensor, semantics: Tensor) -> Tensor:
        """Logits (B, 1, about H/8, W/8) for pictures (B, 3, H, W) in [0, 1] and what HR shows, (B, C, h, w)."""
        x = self.read(image * 2 - 1)
        known = F.group_norm(semantics.float(), 1)  # of one size whatever the guide
        known = F.interpolate(known, size=x.shape[-2:], mode="bilinear", align_corners=False)
        gain, shift = self.modulate(known).chunk(2, 1)
        return self.judge(x * (1 + gain) + shift)


DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "patch": PatchDiscriminator,
    "unet": UNetDiscriminator,
    "features": FeatureDiscriminator,
    "semantic": SemanticDiscriminator,
}


def build_discriminator(kind: str, features: int, **options: int) -> nn.Module:
    """Build a discriminator of a kind in `DISCRIMINATORS`; `semantic` takes the option `semantics`.

    Raises:
        ConfigError: for an unknown kind.
    """
    if kind not in DISCRIMINATORS:
        raise ConfigError(f"unknown discriminator {kind!r}; known are {', '.join(DISCRIMINATORS)}.")
    return DISCRIMINATORS[kind](features, **options)
