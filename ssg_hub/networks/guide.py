"""The guide: a semantic segmentation network that reads SR pictures, with its own resize and normalisation inside.

Everything between the SR pixels and the logits is differentiable, so that a loss on the logits trains the generator
(SSG-RWSR, sec. 3.2).
"""

import colorsys
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Guide(nn.Module):
    """Any transformers semantic segmentation model behind one interface, rebuilt from its configuration, offline.

    Args:
        guide_config: a transformers configuration as a dict of JSON values (`model_type`, `id2label`, …) and
            `image_mean`, `image_std` (three floats each), `palette` (one RGB triple of 0–255 per class) and
            `input_scale` (the size at which the network reads a picture, relative to the picture's own; default 1).

    Raises:
        ConfigError: an unknown `model_type`, or labels that do not count 0, 1, 2, …
    """

    def __init__(self, guide_config: dict):
        super().__init__()
        self.network = _build_network(guide_config)
        config = self.network.config
        self.labels = _read_labels(config.id2label)
        self.palette = [tuple(color) for color in config.palette]
        if len(self.palette) != len(self.labels):
            raise ConfigError(f"the guide has {len(self.labels)} classes but its palette {len(self.palette)} colours.")
        self.register_buffer("mean", torch.tensor(config.image_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.image_std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub_options) -> "Guide":
        """Load a transformers segmentation model from the Hub or a folder, weights included.

        Args:
            name: a Hub id such as "nvidia/segformer-b0-finetuned-ade-512-512", or a folder.
            hub_options: `revision`, `token`, `local_files_only`, … as transformers takes them.

        Raises:
            ConfigError: the model is not a semantic segmentation model.
        """
        from transformers import AutoModelForSemanticSegmentation

        from . import lite_segmentation  # noqa: F401  (registers the light network)

        try:
            network = AutoModelForSemanticSegmentation.from_pretrained(name, **hub_options)
        except ValueError as error:
            raise ConfigError(f"{name} is not a semantic segmentation model of transformers: {error}") from error
        guide = cls({**network.config.to_dict(), **_read_normalisation(name, hub_options)})
        guide.network.load_state_dict(network.state_dict())
        return guide.eval()

    @property
    def guide_config(self) -> dict:
        """The JSON values from which an equal guide can be built."""
        config = self.network.config
        return json.loads(json.dumps({**config.to_diff_dict(), "model_type": config.model_type}))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a transformers folder that `from_pretrained` reads back, normalisation and palette included."""
        self.network.save_pretrained(folder)

    def forward(self, image: Tensor) -> Tensor:
        """Segment pictures.

        Args:
            image: (B, 3, H, W), RGB in [0, 1].

        Returns:
            Logits (B, K, h, w) at the network's own resolution, often a quarter of the picture's.
        """
        return self.network(self._prepare(image)).logits

    def features(self, image: Tensor) -> list[Tensor]:
        """What the network's trunk sees in pictures (B, 3, H, W) in [0, 1]: maps (B, C, h, w), fine to coarse.

        Raises:
            ConfigError: the network has no feature maps (some transformers give sequences of tokens).
        """
        states = self.network(self._prepare(image), output_hidden_states=True).hidden_states or ()
        maps = [state for state in states if state.ndim == 4]
        if not maps:
            raise ConfigError(
                f"a guide of type {self.network.config.model_type!r} gives no feature maps. Use another guide, or "
                "leave out what reads its features."
            )
        return maps

    def _prepare(self, image: Tensor) -> Tensor:
        """Resized and normalised as the network wants it."""
        scale = self.network.config.input_scale
        if scale != 1:
            size = [max(1, round(side * scale)) for side in image.shape[-2:]]
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        return (image - self.mean) / self.std


def default_palette(classes: int) -> list[tuple[int, int, int]]:
    """Distinct colours: hues by the golden ratio, brightness alternating."""
    return [
        tuple(round(255 * c) for c in colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.65, (0.95, 0.7)[i % 2]))
        for i in range(classes)
    ]


def _build_network(guide_config: dict) -> nn.Module:
    from transformers import AutoConfig, AutoModelForSemanticSegmentation

    from . import lite_segmentation  # noqa: F401  (registers the light network)

    config = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "input_scale": 1.0, **guide_config}
    model_type = config.pop("model_type", None)
    if isinstance(config.get("id2label"), dict):  # JSON turned its integer keys into strings
        config["id2label"] = {int(index): label for index, label in config["id2label"].items()}
        config["label2id"] = {label: index for index, label in config["id2label"].items()}
    try:
        transformers_config = AutoConfig.for_model(model_type, **config)
        if not hasattr(transformers_config, "palette"):
            transformers_config.palette = default_palette(transformers_config.num_labels)
        return AutoModelForSemanticSegmentation.from_config(transformers_config)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(
            f"guide_config has model_type {model_type!r}, which transformers does not know as a semantic segmentation "
            "model. Use for instance 'segformer', or upgrade transformers."
        ) from error


def _read_labels(id2label: dict[int, str]) -> list[str]:
    if sorted(id2label) != list(range(len(id2label))):
        raise ConfigError(f"the guide's id2label must count 0, 1, 2, …; it has {sorted(id2label)[:5]}….")
    return [str(id2label[index]) for index in range(len(id2label))]


def _read_normalisation(name: str | Path, hub_options: dict) -> dict:
    """The mean and standard deviation that the model was trained with, where its repository says so."""
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        processor, _ = ImageProcessingMixin.get_image_processor_dict(str(name), **hub_options)
    except OSError:
        return {}
    return {key: processor[key] for key in ("image_mean", "image_std") if key in processor}
