"""What a discriminator is shown: the picture, or what VGG16 or the guide see in it."""

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from ..networks.discriminators import build_discriminator
from ..networks.guide import Guide
from ..networks.perceptual import SharedFeatures
from ..networks.tensor_files import pick, read_tensors
from ..storage.whole_file import whole_file
from .config import TrainConfig

View = Callable[[Tensor, Tensor], tuple[Tensor, ...]]
FILE = "discriminator.safetensors"  # in the run's folder, beside the model


def first_discriminator(config: TrainConfig, guide: Guide | None) -> nn.Module:
    """The discriminator as a run begins with it: that of an earlier run, or a new one.

    Raises:
        CheckpointError: `discriminator_weights` are damaged or of another discriminator.
        ConfigError: `semantic` without a guide.
    """
    discriminator = _build(config, guide)
    if path := config.discriminator_weights:
        tensors, needed = read_tensors(path, "discriminator weights"), discriminator.state_dict()
        wanted = f"weights of {config.discriminator} with {config.discriminator_features} features"
        discriminator.load_state_dict({name: pick(tensors, name, x.shape, path, wanted) for name, x in needed.items()})
    return discriminator


def save_discriminator(discriminator: nn.Module, folder: Path) -> None:
    """Write `discriminator.safetensors`: a run that continues from this one's generator should begin with it.

    Raises:
        CheckpointError: the disk is full or not writable; a file of before stays as it was.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in discriminator.state_dict().items()}
    try:
        with whole_file(folder / FILE) as file:
            file.write(save(tensors))
    except OSError as error:
        raise CheckpointError(
            f"{folder / FILE} could not be written ({error.strerror}). Make room on the disk, then continue with "
            "--resume latest."
        ) from error


def _build(config: TrainConfig, guide: Guide | None) -> nn.Module:
    """The discriminator that the config names; `semantic` is built for what the guide sees."""
    if config.discriminator != "semantic":
        return build_discriminator(config.discriminator, config.discriminator_features)
    if guide is None:
        raise ConfigError("discriminator: semantic needs a guide: set guide_steps or guide_model.")
    with torch.no_grad():
        device = next(guide.parameters()).device
        channels = guide.features(torch.zeros(1, 3, 64, 64, device=device))[-1].shape[1]
    return build_discriminator("semantic", config.discriminator_features, semantics=channels)


def choose_view(config: TrainConfig, vgg: nn.Module | None, guide: Guide | None) -> View:
    """How a picture is turned into the discriminator's input.

    Args:
        config: names the discriminator.
        vgg: gives VGG16's activations; needed for `features`.
        guide: needed for `semantic`.

    Returns:
        A function of a picture, SR or HR, and of the HR that belongs to it, both (B, 3, H, W) in [0, 1]. The gradient
        flows to the picture; `semantic` adds what the guide sees in HR to both (SeD), so that it does not depend on
        SR's faults.
    """

    semantics = guide and SharedFeatures(guide.features)

    def show_activations(picture: Tensor, hr: Tensor) -> tuple[Tensor, ...]:
        return tuple(vgg(picture))

    def show_semantics(picture: Tensor, hr: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return picture, semantics(hr)[-1]

    views = {"features": show_activations, "semantic": show_semantics}
    return views.get(config.discriminator, lambda picture, hr: (picture,))


def join(real: tuple[Tensor, ...], fake: tuple[Tensor, ...]) -> list[Tensor]:
    """Both views as one batch, without a gradient: one forward pass of the discriminator for HR and SR."""
    return [torch.cat((r, f.detach())).detach() for r, f in zip(real, fake, strict=True)]
