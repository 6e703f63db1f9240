"""`SSGModel`: a generator and its guide as one diffusers model, with its config, saving, loading and the Hub."""

import copy
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.utils import BaseOutput
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import CommitInfo
from torch import Tensor

from .errors import CheckpointError, ConfigError, ImageError, SSGError
from .networks.guide import Guide
from .networks.published import read_generator
from .networks.registry import build_generator
from .storage import checkpoint, hub
from .storage.card import Pictures, build_card, plain_facts, save_pictures

if TYPE_CHECKING:
    from .upscaling.upscale import UpscaleResult
    from .video.upscale_video import VideoResult

VARIANT_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
LOAD_OPTIONS = {"dtype", "device_map", "max_memory", "low_cpu_mem_usage", "offload_folder", "offload_state_dict"}


@dataclass
class SSGOutput(BaseOutput):
    """What the model returns.

    Attributes:
        sample: SR (B, 3, sH, sW), RGB, about [0, 1], not clamped.
        logits: the guide's reading of it, (B, K, h, w) at the guide's resolution; None without a guide.
    """

    sample: Tensor
    logits: Tensor | None = None


class SSGModel(ModelMixin, ConfigMixin):
    """Super-resolution generator and segmentation guide; both are rebuilt from the config alone, offline.

    Args:
        scale: enlargement; where given it must be the generator's.
        generator_type: a key of `ssg_hub.networks.registry.GENERATORS`.
        generator_config: its keyword arguments.
        guide_config: what `Guide` takes, or None for a model without a guide.
        license: Hub identifier of the weights' licence, such as "apache-2.0" or "other"; None when not stated.
        trained_on: what the model card tells; see `ssg_hub.storage.card.build_card`.
        format_version: of the config; see `ssg_hub.storage.checkpoint.FORMAT_VERSION`.

    Raises:
        CheckpointError: a format version that this release does not know.
        ConfigError: an unknown network or option.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        scale: int | None = None,
        generator_type: str = "rrdb",
        generator_config: dict | None = None,
        guide_config: dict | None = None,
        license: str | None = None,
        trained_on: dict | None = None,
        format_version: int = checkpoint.FORMAT_VERSION,
    ):
        super().__init__()
        checkpoint.check_format(format_version, "this config")
        options = dict(generator_config or {})
        if scale is not None and options.setdefault("scale", scale) != scale:
            raise ConfigError(f"scale is {scale} but generator_config says {options['scale']}. Give one of them.")
        self.generator = build_generator(generator_type, options)
        self.guide = None if guide_config is None else Guide(guide_config)
        defaults = {name: option.default for name, option in signature(type(self.generator)).parameters.items()}
        self.register_to_config(
            scale=self.scale, generator_config={**defaults, **options}, trained_on=plain_facts(trained_on or {})
        )

    @property
    def scale(self) -> int:
        """How many times larger SR is than LR, per side."""
        return self.generator.scale

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits' channels; empty without a guide."""
        return [] if self.guide is None else self.guide.labels

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """RGB colours (0–255) of the classes; empty without a guide."""
        return [] if self.guide is None else self.guide.palette

    def forward(self, lr: Tensor) -> SSGOutput:
        """Upscale a batch and segment the result; differentiable throughout.

        Args:
            lr: (B, 3, H, W), RGB in [0, 1], in the model's dtype and on its device.

        Raises:
            ImageError: another shape or dtype.
        """
        self._check_input(lr)
        sr = self.generator(lr)
        return SSGOutput(sample=sr, logits=None if self.guide is None else self.guide(sr))

    def _check_input(self, lr: Tensor) -> None:
        if lr.ndim != 4 or lr.shape[1] != 3 or 0 in lr.shape:
            raise ImageError(
                f"the model got a tensor of shape {tuple(lr.shape)}; it needs (B, 3, H, W), RGB. "
                "For a picture of any other kind use model.upscale(picture)."
            )
        if not lr.is_floating_point():
            raise ImageError(f"the model got {lr.dtype}; it needs floats in [0, 1]. For 8 bit use lr.float() / 255.")
        own = next(self.generator.parameters()).dtype
        if lr.dtype != own and not torch.is_autocast_enabled(lr.device.type):
            raise ImageError(f"the model got {lr.dtype} but its weights are {own}. Use lr.to(model.dtype).")

    def train(self, mode: bool = True) -> "SSGModel":
        """Switch to training or evaluation; a guide without trainable parameters stays in evaluation."""
        super().train(mode)
        if self.guide is not None and not any(p.requires_grad for p in self.guide.parameters()):
            self.guide.eval()
        return self

    def to(self, *args: Any, **kwargs: Any) -> "SSGModel":
        """Move or cast, as for any module."""
        with _quiet_diffusers():  # it warns of modules kept in float32, also when there are none
            return super().to(*args, **kwargs)

    def upscale(self, image: Any, **options: Any) -> "UpscaleResult":
        """Upscale a picture; see `ssg_hub.upscaling.upscale.upscale` for what it takes and returns."""
        from .upscaling.upscale import upscale

        return upscale(self, image, **options)

    def upscale_video(self, source: str | Path, target: str | Path, **options: Any) -> "VideoResult":
        """Upscale a clip from file to file; see `ssg_hub.video.upscale_video.upscale_video` for the options.

        Raises:
            ConfigError: the extra `video` is not installed.
        """
        try:
            from .video.upscale_video import upscale_video
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"clips need the package {error.name}, which is not installed. Use pip install 'ssg-hub[video]'."
            ) from error
        return upscale_video(self, source, target, **options)

    def describe(self, license: str | None = None, **facts: Any) -> "SSGModel":
        """Record what the model card should tell: licence, data, metrics, … (see `ssg_hub.storage.card.build_card`).

        Args:
            license: Hub identifier of the weights' licence; None leaves it.
            facts: entries for the config's `trained_on`; None removes one.

        Raises:
            ConfigError: a value that JSON cannot hold.
        """
        merged = {key: value for key, value in {**self.config.trained_on, **facts}.items() if value is not None}
        self.register_to_config(trained_on=plain_facts(merged), license=license or self.config.license)
        return self

    @classmethod
    def from_components(
        cls,
        generator_type: str = "rrdb",
        guide: "str | Path | Guide | None" = None,
        generator_config: dict | None = None,
        **hub_options: Any,
    ) -> "SSGModel":
        """Make a model with a fresh generator and a ready guide; the only door that downloads a guide.

        Args:
            generator_type, generator_config: as for the class.
            guide: Hub id or folder of a transformers segmentation model, or a `Guide`, or None.
            hub_options: `revision`, `token`, `local_files_only`, … for the guide.

        Raises:
            ConfigError: an unknown network, or a guide that is not a segmentation model.
            HubError: the guide could not be had.
        """
        model = cls(generator_type=generator_type, generator_config=generator_config)
        if guide is not None and not isinstance(guide, Guide):
            with hub.hub_errors(str(guide), hub_options.get("revision"), hub_options.get("token")):
                guide = Guide.from_pretrained(guide, **hub_options)
        if guide is not None:
            model.guide = guide
            model.register_to_config(guide_config=guide.guide_config)
        return model.eval()

    def load_generator(self, path: str | Path) -> "SSGModel":
        """Replace the generator by community weights (ESRGAN, Real-ESRGAN; `.pth` without code, or `.safetensors`).

        The config follows: type, options, scale. What it said of the old generator's training and licence is dropped.

        Raises:
            CheckpointError: see `ssg_hub.networks.published.read_generator`.
        """
        generator_type, generator_config, state = read_generator(path)
        generator = build_generator(generator_type, generator_config)
        generator.load_state_dict(state)
        self.generator = generator.to(self.device, self.dtype).train(self.training)
        self.register_to_config(
            scale=generator.scale,
            generator_type=generator_type,
            generator_config=generator_config,
            license=None,
            trained_on={"generator_weights": Path(path).name},
        )
        return self

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None = None,
        *,
        revision: str | None = None,
        torch_dtype: torch.dtype | None = None,
        variant: str | None = None,
        token: str | bool | None = None,
        local_files_only: bool = False,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        **kwargs: Any,
    ) -> "SSGModel":
        """Load a saved model, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, a Hub id, or None for the checkpoint inside the package, which
                needs no network.
            revision: branch, tag or commit on the Hub.
            torch_dtype: dtype of the weights; float32 by default, also for half-precision files, because CPUs are
                slow at half precision and some operators lack it there.
            variant: which weights, when there are several: "fp16" for `diffusion_pytorch_model.fp16.safetensors`.
            token: Hub access token.
            local_files_only: look in the cache only.
            cache_dir, force_download: as elsewhere on the Hub.
            kwargs: `device_map`, `max_memory`, `low_cpu_mem_usage`, …, as diffusers takes them (`LOAD_OPTIONS`).

        Raises:
            CheckpointError: no model there, damaged, a pickle, another library's, or from a newer release.
            HubError: the Hub refused, was out of reach, or sent something else than announced.
        """
        if unknown := sorted(set(kwargs) - LOAD_OPTIONS):
            raise ConfigError(
                f"from_pretrained got unknown option {unknown[0]}. See its documentation for those it takes."
            )
        torch_dtype = kwargs.pop("dtype", torch_dtype) or torch.float32
        if not isinstance(torch_dtype, torch.dtype):
            raise ConfigError(f"torch_dtype is {torch_dtype!r}; it needs a torch dtype such as torch.float16.")
        hub_options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        name, folder = checkpoint.open_checkpoint(
            pretrained_model_name_or_path, variant, revision, force_download=force_download, **hub_options
        )
        kwargs |= {"torch_dtype": torch_dtype, "variant": variant, "use_safetensors": True}
        try:
            with _quiet_diffusers():  # it warns of what is raised below
                model, info = super().from_pretrained(folder, output_loading_info=True, **kwargs)
        except SSGError as error:
            raise CheckpointError(f"the config of {name} cannot be used: {error}") from error
        except (ValueError, RuntimeError, TypeError, KeyError, OSError) as error:
            detail = str(error).split(". ")[0].removeprefix("Cannot load  because ")
            raise CheckpointError(f"the weights of {name} do not fit its config ({detail}). Get both again.") from error
        checkpoint.check_keys(info, name)
        checkpoint.own_memory(model)
        model.register_to_config(_name_or_path=name)
        return model

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        variant: str | None = None,
        pictures: Pictures | None = None,
        max_shard_size: int | str = "10GB",
        is_main_process: bool = True,
        safe_serialization: bool = True,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        **push_options: Any,
    ) -> None:
        """Save config, weights and model card; all of it or, on an error, nothing.

        Args:
            save_directory: a folder, made where missing; a model already in it is replaced.
            variant: names the weights' file; "fp16" and "bf16" also save them in that precision.
            pictures: {caption: file or PIL image} shown in the card and saved under `pictures/`.
            max_shard_size: weights beyond it are split into several files.
            is_main_process: False writes nothing.
            safe_serialization: False is refused: no pickles.
            repo_id: where the model is or will be on the Hub, for the card; default the folder's name.
            push_to_hub: push there as well.
            push_options: for `push_to_hub`.

        Raises:
            CheckpointError: the folder cannot be written.
            ConfigError: an unknown option, or a licence that the Hub does not know.
        """
        if not safe_serialization:
            raise CheckpointError(
                "safe_serialization=False asks for a pickle, which is never written here. Leave it out."
            )
        if push_options and not push_to_hub:
            raise ConfigError(f"save_pretrained got {next(iter(push_options))}=, which only push_to_hub=True can use.")
        if not is_main_process:
            return
        folder = Path(save_directory).expanduser()
        repo_id = repo_id or folder.resolve().name
        self._write(folder, repo_id, variant, pictures, max_shard_size)
        if push_to_hub:
            self.push_to_hub(repo_id, variant=variant, pictures=pictures, max_shard_size=max_shard_size, **push_options)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
        variant: str | None = None,
        pictures: Pictures | None = None,
        max_shard_size: int | str = "10GB",
    ) -> CommitInfo:
        """Push config, weights and our model card as one commit; the repository and the branch are made where missing.

        Args:
            repo_id: "owner/name", or a name in one's own namespace.
            private: visibility of a repository that is created now; None leaves it to the account's default.
            revision: branch; default main.
            commit_message: default "Upload SSGModel".
            token: access token with write permission; None for the saved one.
            create_pr: propose the commit instead of making it.
            variant, pictures, max_shard_size: as for `save_pretrained`.

        Returns:
            The commit: its URL as text, with `.oid` and `.repo_url`.

        Raises:
            HubError: the Hub refused or was out of reach.
        """
        repo_id = hub.open_repo(repo_id, private=private, revision=None if create_pr else revision, token=token)
        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder), repo_id, variant, pictures, max_shard_size)
            return hub.push_folder(
                Path(folder),
                repo_id,
                revision=revision,
                commit_message=commit_message or "Upload SSGModel",
                token=token,
                create_pr=create_pr,
                delete_patterns=[*checkpoint.weights_names(variant), checkpoint.shard_pattern(variant)],
            )

    def to_json_string(self) -> str:
        """The config as JSON, without the place that this copy was loaded from."""
        config = json.loads(super().to_json_string())
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"

    def _write(self, folder: Path, repo_id: str, variant: str | None, pictures: Pictures | None, shard_size: int | str):
        dtype = VARIANT_DTYPES.get(variant, self.dtype)
        model = self if dtype == self.dtype else copy.deepcopy(self).to(dtype)
        with checkpoint.replacing(folder, variant) as stage:
            super(SSGModel, model).save_pretrained(stage, variant=variant, max_shard_size=shard_size)
            card = build_card(self.config, repo_id, save_pictures(pictures or {}, stage))
            (stage / checkpoint.CARD).write_text(card, encoding="utf-8")


@contextmanager
def _quiet_diffusers() -> Iterator[None]:
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
