"""The guide: a semantic segmentation network that reads SR pictures, with its own resize and normalisation inside.

Everything between the SR pixels and the logits is differentiable, so that a loss on the logits trains the generator
(SSG-RWSR, sec. 3.2).
"""

import colorsys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ConfigError

OWN_KEYS = ("image_mean", "image_std", "palette", "input_scale")  # ours, in guide_config beside transformers' keys
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
        self.network = _build_network({k: v for k, v in guide_config.items() if k not in OWN_KEYS})
        self.labels = _read_labels(self.network.config.id2label)
        self.palette = [tuple(color) for color in guide_config.get("palette") or default_palette(len(self.labels))]
        if len(self.palette) != len(self.labels):
            raise ConfigError(f"the guide has {len(self.labels)} classes but its palette {len(self.palette)} colours.")
        self.input_scale = float(guide_config.get("input_scale", 1.0))
        mean, std = guide_config.get("image_mean", IMAGENET_MEAN), guide_config.get("image_std", IMAGENET_STD)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.image_mean, self.image_std = list(mean), list(std)

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
        return {
            **self.network.config.to_diff_dict(),
            "model_type": self.network.config.model_type,
            "id2label": {str(index): label for index, label in enumerate(self.labels)},
            "image_mean": self.image_mean,
            "image_std": self.image_std,
            "palette": [list(color) for color in self.palette],
            "input_scale": self.input_scale,
        }

    def forward(self, image: Tensor) -> Tensor:
        """Segment pictures.

        Args:
            image: (B, 3, H, W), RGB in [0, 1].

        Returns:
            Logits (B, K, h, w) at the network's own resolution, often a quarter of the picture's.
        """
        if self.input_scale != 1:
            size = [max(1, round(side * self.input_scale)) for side in image.shape[-2:]]
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        return self.network((image - self.mean) / self.std).logits


def default_palette(classes: int) -> list[tuple[int, int, int]]:
    """Distinct colours: hues by the golden ratio, brightness alternating."""
    return [
        tuple(round(255 * c) for c in colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.65, (0.95, 0.7)[i % 2]))
        for i in range(classes)
    ]


def _build_network(config: dict) -> nn.Module:
    from transformers import AutoConfig, AutoModelForSemanticSegmentation

    from . import lite_segmentation  # noqa: F401  (registers the light network)

    config = dict(config)
    model_type = config.pop("model_type", None)
    try:
        transformers_config = AutoConfig.for_model(model_type, **_int_keys(config))
        return AutoModelForSemanticSegmentation.from_config(transformers_config)
    except ValueError as error:
        raise ConfigError(
            f"guide_config has model_type {model_type!r}, which transformers does not know as a semantic segmentation "
            "model. Use for instance 'segformer', or upgrade transformers."
        ) from error


def _int_keys(config: dict) -> dict:
    """JSON turns the integer keys of id2label into strings; turn them back."""
    if isinstance(config.get("id2label"), dict):
        config["id2label"] = {int(index): label for index, label in config["id2label"].items()}
        config["label2id"] = {label: index for index, label in config["id2label"].items()}
    return config


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
