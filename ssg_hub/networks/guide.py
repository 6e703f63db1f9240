"""The guide: a semantic segmentation network that reads SR pictures, with its own resize and normalisation inside.

Everything between the SR pixels and the logits is differentiable, so that a loss on the logits trains the generator
(SSG-RWSR, sec. 3.2).
"""

import colorsys
import copy
import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, SSGError
from ..storage import as_path, expand_home, is_folder
from .building import HOOKED, ONE_AT_A_TIME, as_usual, check_finite, is_of_transformers, sketch
from .guide_config import check_guide_config, read_labels
from .lite_segmentation import MODEL_TYPE, LiteConfig, LiteSegmentation

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PROBE = 64  # pixels a side of the picture on which a configuration is tried
_tried: set[str] = set()  # configurations, as JSON, whose guides can read


class Guide(nn.Module):
    """Any transformers semantic segmentation model behind one interface, rebuilt from its configuration, offline.

    Args:
        guide_config: a transformers configuration as a dict of JSON values (`model_type`, `id2label`, …) and
            `image_mean`, `image_std` (three floats each), `palette` (one RGB triple of 0–255 per class) and
            `input_scale` (the size at which the network reads a picture, relative to the picture's own; default 1).

    Raises:
        ConfigError: an unknown `model_type`, labels that do not count 0, 1, 2, …, or another impossible value.

    >>> guide = Guide({"model_type": "ssg_lite_segmentation", "width": 8, "id2label": {0: "sky", 1: "road"}}).eval()
    >>> guide.labels
    ['sky', 'road']
    >>> tuple(guide(torch.rand(1, 3, 64, 48)).shape)
    (1, 2, 16, 12)
    """

    if TYPE_CHECKING:  # annotations here would count as its public interface
        network: Any  # of transformers or our own: a module with a `config`, whose values are attributes
        mean: Tensor
        std: Tensor

    def __init__(self, guide_config: dict):
        super().__init__()
        self.network = _build_network(guide_config)
        config = self.network.config
        self.labels = read_labels(config.id2label)
        self.palette = [tuple(color) for color in config.palette]
        if len(self.palette) != len(self.labels):
            raise ConfigError(f"the guide has {len(self.labels)} classes but its palette {len(self.palette)} colours.")
        self.register_buffer("mean", torch.tensor(config.image_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.image_std).view(1, 3, 1, 1), persistent=False)

    @classmethod
    def from_pretrained(cls, name: str | Path, **hub_options: Any) -> "Guide":
        """Load a transformers segmentation model from the Hub or a folder, weights included.

        Args:
            name: a Hub id such as "nvidia/segformer-b0-finetuned-ade-512-512", or a folder.
            hub_options: `revision`, `token`, `local_files_only`, … as transformers takes them.

        Raises:
            ConfigError: the model is not a semantic segmentation model, or reads blue before red.
            CheckpointError: its weights are missing, damaged or incomplete.
            HubError: the Hub refused or is out of reach.
        """
        from ..storage.hub import REACH_OPTIONS, check_cached, check_reach
        from ..storage.hub_errors import hub_errors

        if is_folder(name):
            return cls._load(expand_home(str(name)), hub_options)
        with hub_errors(str(name), hub_options.get("revision"), hub_options.get("token")):
            options = {key: hub_options[key] for key in hub_options if key in REACH_OPTIONS}
            check_reach(str(name), "config.json", **options)
            try:
                return cls._load(name, hub_options)
            finally:  # transformers compares no hashes; a damaged file must not stay in the cache
                place = {key: hub_options[key] for key in ("revision", "cache_dir") if key in hub_options}
                check_cached(str(name), "config.json", **place)

    @classmethod
    @as_usual()
    def _load(cls, name: str | Path, hub_options: dict) -> "Guide":
        from transformers import AutoModelForSemanticSegmentation, PreTrainedConfig

        from . import lite_transformers  # noqa: F401  (registers the light network)

        try:
            config, _ = PreTrainedConfig.get_config_dict(name, **hub_options)
            if "model_type" not in config:
                raise ValueError("it has no config.json with a model_type")
            check_reading(sketch(lambda: cls(config)))
            with ONE_AT_A_TIME:
                network, info = AutoModelForSemanticSegmentation.from_pretrained(
                    name, trust_remote_code=False, output_loading_info=True, dtype=torch.float32, **hub_options
                )
        except SSGError:
            raise
        except OSError as error:
            if not is_folder(name):
                raise  # the Hub's, or about it
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"no segmentation model at {name} ({reason}). Give a folder or a Hub id.") from error
        except ValueError as error:
            raise ConfigError(f"{name} is not a semantic segmentation model of transformers: {error}") from error
        except Exception as error:  # foreign files in a foreign library: it fails in every way there is
            raise CheckpointError(f"the guide {name} is damaged ({_brief(error)}). Get it again.") from error
        # The counters of norms are of no use here, and older files lack them.
        if missing := sorted(key for key in info["missing_keys"] if not key.endswith("num_batches_tracked")):
            raise CheckpointError(
                f"the weights of {name} lack {len(missing)} tensors, for instance {missing[0]}: "
                "it is no finished segmentation model. Give another one."
            )
        guide = cls({**network.config.to_dict(), **_read_normalisation(name, hub_options)})
        guide.network.load_state_dict(network.state_dict())
        check_finite(guide.state_dict(), str(name))
        return guide.eval()

    @property
    def guide_config(self) -> dict:
        """The JSON values from which an equal guide can be built."""
        config = self.network.config
        return json.loads(json.dumps({**config.to_diff_dict(), "model_type": config.model_type}))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a transformers folder that `from_pretrained` reads back, normalisation and palette included."""
        self.network.save_pretrained(as_path(folder))

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

    def __getstate__(self) -> dict:
        """Without the hooks that transformers installs at the first pass: they cannot be pickled, and come again."""
        tensors = {id(tensor): tensor for tensor in (*self.network.parameters(), *self.network.buffers())}
        network = copy.deepcopy(self.network, tensors)  # shares its tensors
        for part in network.modules():
            vars(part).pop(HOOKED, None)
            for key in [key for key, hook in part._forward_hooks.items() if is_of_transformers(hook)]:
                del part._forward_hooks[key]
        return {**vars(self), "_modules": {**self._modules, "network": network}}

    def _prepare(self, image: Tensor) -> Tensor:
        """Resized and normalised as the network wants it."""
        scale = self.network.config.input_scale
        if scale != 1:
            size = cast(list[int], [_scaled(side, scale) for side in image.shape[-2:]])
            image = F.interpolate(image, size=size, mode="bilinear", antialias=True)
        return (image - self.mean) / self.std


def _scaled(side: int | Tensor, scale: float) -> int | Tensor:
    """A side times a factor, rounded, at least 1; while a network is traced sides are tensors, and stay so."""
    if isinstance(side, Tensor):
        return (side * scale).round().clamp(min=1).long()
    return max(1, round(side * scale))


def check_reading(guide: Guide) -> None:
    """Pass a picture without memory through a guide that was built by `sketch`, to see that it can run.

    Once for each configuration: it takes half of the time of loading a small model.

    Raises:
        ConfigError: it cannot, or does not give one logit for each class.
    """
    try:
        config = json.dumps(guide.guide_config, sort_keys=True)
        if config in _tried:
            return
        logits = guide.eval()(torch.empty(1, 3, PROBE, PROBE, device="meta"))
        fits = logits.ndim == 4 and logits.shape[:2] == (1, len(guide.labels))
    except Exception as error:  # a foreign network with foreign values
        raise ConfigError(
            f"the guide of guide_config cannot read a picture of {PROBE}x{PROBE} pixels ({_brief(error)}). "
            "Get the config again, or use another guide."
        ) from error
    if not fits:
        raise ConfigError(
            f"the guide gives {tuple(logits.shape)} for {len(guide.labels)} classes. Get the config again."
        )
    _tried.add(config)


def default_palette(classes: int) -> list[tuple[int, int, int]]:
    """Distinct colours: hues by the golden ratio, brightness alternating."""
    colors = (colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.65, (0.95, 0.7)[i % 2]) for i in range(classes))
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colors]


def _build_network(guide_config: dict) -> nn.Module:
    config = check_guide_config(guide_config)
    config = {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "input_scale": 1.0, **config}

    model_type = config.pop("model_type")
    if model_type == MODEL_TYPE:
        return _build_light(config)
    from transformers import AutoConfig, AutoModelForSemanticSegmentation, PreTrainedConfig

    try:
        if taken := [key for key in config if callable(getattr(PreTrainedConfig, key, None))]:
            raise ConfigError(f"guide_config has {taken[0]}, which is no setting of a network. Get the config again.")
        with ONE_AT_A_TIME:
            transformers_config = AutoConfig.for_model(model_type, **config)
            if getattr(transformers_config, "palette", None) is None:
                transformers_config.palette = default_palette(transformers_config.num_labels)
            return AutoModelForSemanticSegmentation.from_config(
                transformers_config, dtype=torch.float32, trust_remote_code=False
            )
    except ConfigError:
        raise
    except Exception as error:  # a foreign library with foreign values
        if isinstance(error, ValueError) and str(error).startswith("Unrecognized"):
            raise ConfigError(
                f"guide_config has model_type {model_type!r:.60}, which transformers does not know as a semantic "
                "segmentation model. Use for instance 'segformer', or upgrade transformers."
            ) from error
        raise ConfigError(
            f"the guide of guide_config cannot be built ({_brief(error)}). Get the config again."
        ) from error


def _build_light(config: dict) -> LiteSegmentation:
    """Our own network, which needs no transformers."""
    try:
        light = LiteConfig(**config)
        if not hasattr(light, "palette"):
            light.palette = default_palette(len(light.id2label))
        with ONE_AT_A_TIME:
            return LiteSegmentation(light)
    except ConfigError:
        raise
    except Exception as error:  # sizes that make no network
        raise ConfigError(
            f"the guide of guide_config cannot be built ({_brief(error)}). Get the config again."
        ) from error


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _read_normalisation(name: str | Path, hub_options: dict) -> dict:
    """The mean and standard deviation that the model was trained with, where its repository has an image processor.

    What the processor's file does not say is the default of its class in transformers.

    Raises:
        ConfigError: it reads pictures whose red and blue are swapped.
    """
    from transformers import AutoImageProcessor
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        processor, _ = ImageProcessingMixin.get_image_processor_dict(str(name), **hub_options)
    except OSError:
        return {}
    defaults: object = SimpleNamespace(do_normalize="image_mean" in processor)
    with suppress(ValueError, ImportError):  # a class that transformers does not know
        defaults = AutoImageProcessor.from_pretrained(str(name), trust_remote_code=False, backend="pil", **hub_options)

    def read(key: str, default: object = None) -> Any:
        return processor.get(key, getattr(defaults, key, default))

    if read("do_flip_channel_order"):
        raise ConfigError(f"the guide {name} reads blue before red (do_flip_channel_order). Use another guide.")
    if not read("do_normalize"):
        return {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    return {"image_mean": read("image_mean", IMAGENET_MEAN), "image_std": read("image_std", IMAGENET_STD)}
