"""A model that is kept in a folder or on the Hub: loading and saving for `SSGModel`."""

import copy
import inspect
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import CommitInfo

from .devices import best_device, check_values
from .errors import CheckpointError, ConfigError, SSGError, check_type, refuse_unknown
from .networks import int8
from .networks.building import ONE_AT_A_TIME, as_usual, check_finite, first_odd
from .storage import as_path, hub
from .storage.card import Pictures, check_license, name_folder, save_pictures, write_card
from .storage.config_file import read_config
from .storage.finding import open_checkpoint
from .storage.replacing import replacing
from .storage.weights import check_weights, own_memory
from .storage.weights_files import INT8, check_shard_size, check_variant, patterns_of

VARIANT_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
PUSH_OPTIONS = {"private", "revision", "commit_message", "token", "create_pr"}
SPREADING = ("auto", "balanced", "balanced_low_0", "sequential")  # device maps that spread a model over its machine
LOAD_OPTIONS = {"dtype", "device_map", "max_memory", "low_cpu_mem_usage", "offload_folder", "offload_state_dict"}


class SavedModel(ModelMixin, ConfigMixin):
    """diffusers' model base with our checks before a file is read, our card, and all-or-nothing saving."""

    config_name = "config.json"  # type: ignore[assignment]  # in diffusers None, which subclasses replace
    if TYPE_CHECKING:  # diffusers calls it a dict; its values are attributes too
        config: Any

    @classmethod
    def sketch(cls, config: Mapping[str, Any]) -> "SavedModel":
        """The model of a config without memory for its weights; raises ConfigError where it could not run."""
        raise NotImplementedError

    def _check_networks(self) -> None:
        """Raise ConfigError where the networks are not those of the config, by which alone they are loaded again."""
        raise NotImplementedError

    def to(self, *args: Any, **kwargs: Any) -> Self:  # type: ignore[override]  # diffusers' wrapper hides what it takes
        """Move or cast, as for any module."""
        with _quiet_diffusers():  # it warns of modules kept in float32, also when there are none
            return super().to(*args, **kwargs)

    @classmethod
    @as_usual()
    def from_pretrained(  # type: ignore[override]  # has a default; takes no other path than str and Path
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
    ) -> Self:
        """Load a saved model, in evaluation mode.

        Args:
            pretrained_model_name_or_path: a folder, a Hub id, or "embedded" (as None) or "large" for a checkpoint
                inside the package, which needs no network. A file of weights alone goes into `ssg_hub.load_model`.
            revision: branch, tag or commit on the Hub.
            torch_dtype: dtype of the weights; float32 by default, also for half-precision files, because CPUs are
                slow at half precision and some operators lack it there.
            variant: which weights, when there are several: "fp16" for `diffusion_pytorch_model.fp16.safetensors`.
            token: Hub access token.
            local_files_only: look in the cache only.
            cache_dir, force_download: as elsewhere on the Hub.
            kwargs: `device_map`, `max_memory`, `low_cpu_mem_usage`, …, as diffusers takes them (`LOAD_OPTIONS`). These
                models are small: `device_map="auto"` is the first of cuda, mps and cpu that this machine has.

        Raises:
            CheckpointError: no model there, damaged, a pickle, another library's, or from a newer release.
            ConfigError: an unknown option, or one with an impossible value.
            HubError: the Hub refused, was out of reach, or sent something else than announced.

        >>> from ssg_hub import SSGModel
        >>> model = SSGModel.from_pretrained()
        >>> model.scale, len(model.labels)
        (4, 11)
        """
        refuse_unknown("from_pretrained", kwargs, _keywords(cls.from_pretrained) | LOAD_OPTIONS)
        torch_dtype = kwargs.pop("dtype", torch_dtype) or torch.float32
        if not (isinstance(torch_dtype, torch.dtype) and torch_dtype.is_floating_point):
            raise ConfigError(f"torch_dtype is {torch_dtype!r}; it needs a torch dtype such as torch.float16.")
        hub_options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        name, folder = open_checkpoint(
            pretrained_model_name_or_path, variant, revision, force_download=force_download, **hub_options
        )
        config = read_config(folder, name)
        try:
            drawn = cls.sketch(config)
        except SSGError as error:
            raise CheckpointError(f"the config of {name} cannot be used: {error}") from error
        check_weights(folder, variant, drawn.state_dict(), name)
        if kwargs.get("device_map") in SPREADING:
            kwargs["device_map"] = best_device()
        # Cast afterwards: diffusers makes torch_dtype that of every new tensor of the process, in other threads too.
        kwargs |= {"torch_dtype": torch_dtype if kwargs.get("device_map") else torch.float32}
        try:
            with ONE_AT_A_TIME, _quiet_diffusers():
                model = super().from_pretrained(folder, variant=variant, use_safetensors=True, **kwargs)
        except Exception as error:  # what was checked above fits; what is left is the machine's, or diffusers' own
            detail = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{name} could not be loaded ({type(error).__name__}: {detail}).") from error
        own_memory(model)
        check_finite(model.state_dict(), name)
        if model.dtype != torch_dtype:
            model.to(torch_dtype)
        model.register_to_config(_name_or_path=name)
        int8.attach(model.generator, folder)
        return model

    def save_pretrained(  # type: ignore[override]  # takes no other path than str and Path
        self,
        save_directory: str | Path,
        *,
        variant: str | None = None,
        pictures: Pictures | None = None,
        max_shard_size: int | str = "10GB",
        is_main_process: bool = True,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        save_function: Callable | None = None,
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
            max_shard_size: bytes, or a text such as "2GB"; weights beyond it are split into several files.
            is_main_process: False writes nothing.
            state_dict: weights to save in place of the model's own, all of them, such as those that
                `accelerator.get_state_dict(model)` gathers where each process has a part.
            save_function: not used; taken because scripts for Accelerate give it.
            safe_serialization: False is refused: no pickles.
            repo_id: where the model is or will be on the Hub, for the card; default the folder.
            push_to_hub: push there as well.
            push_options: for `push_to_hub`.

        Raises:
            CheckpointError: the folder cannot be written, or holds a README or a config of something else, which would
                be replaced.
            ConfigError: an unknown option, an impossible value, a licence that the Hub does not know, or networks that
                were exchanged by hand, so that they, or the weights in `state_dict`, are not those of the config.
            HubError: as `push_to_hub`, where that is asked for; the folder is written by then.
        """
        if not safe_serialization:
            raise CheckpointError(
                "safe_serialization=False asks for a pickle, which is never written here. Leave it out."
            )
        refuse_unknown("save_pretrained", push_options, _keywords(self.save_pretrained) | PUSH_OPTIONS)
        if push_options and not push_to_hub:
            raise ConfigError(f"save_pretrained got {next(iter(push_options))}=, which only push_to_hub=True can use.")
        if repo_id is not None:
            hub.check_id(repo_id)
        if not is_main_process:
            return
        folder = as_path(save_directory).expanduser()
        model = self._to_save(variant, max_shard_size, state_dict)
        with replacing(folder, variant) as stage:
            shown = model._write(stage, variant, pictures, max_shard_size)
            write_card(stage, self.config, repo_id or name_folder(folder), shown)
        if push_to_hub:
            self.push_to_hub(
                repo_id or folder.resolve().name,
                variant=variant,
                pictures=pictures,
                max_shard_size=max_shard_size,
                state_dict=state_dict,
                **push_options,
            )

    def push_to_hub(  # type: ignore[override]  # all but the name by keyword; returns the commit, which is its URL too
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
        state_dict: Mapping[str, torch.Tensor] | None = None,
    ) -> CommitInfo:
        """Push config, weights and our model card as one commit; the repository and the branch are made where missing.

        They are made only when all files are written, so that no empty repository is left of what cannot be saved.

        Args:
            repo_id: "owner/name", or a name in one's own namespace.
            private: visibility of a repository that is created now; None leaves it to the account's default.
            revision: branch; default main.
            commit_message: default "Upload SSGModel".
            token: access token with write permission; None for the saved one.
            create_pr: propose the commit instead of making it.
            variant, pictures, max_shard_size, state_dict: as for `save_pretrained`.

        Returns:
            The commit: its URL as text, with `.oid` and `.repo_url`.

        Raises:
            HubError: the Hub refused or was out of reach.
            ConfigError: as `save_pretrained`, or a name that no repository can have.
            CheckpointError: the folder for temporary files is full.
        """
        hub.check_id(repo_id)
        model = self._to_save(variant, max_shard_size, state_dict)
        with tempfile.TemporaryDirectory() as folder:
            with replacing(Path(folder), variant) as stage:
                shown = model._write(stage, variant, pictures, max_shard_size)
                branch = None if create_pr else revision
                repo_id = hub.open_repo(repo_id, private=private, revision=branch, token=token)
                write_card(stage, self.config, repo_id, shown)
            return hub.push_folder(
                Path(folder),
                repo_id,
                revision=revision,
                commit_message=commit_message or "Upload SSGModel",
                token=token,
                create_pr=create_pr,
                delete_patterns=patterns_of(variant),
            )

    def to_json_string(self) -> str:
        """The config as JSON, without the place that this copy was loaded from."""
        config = json.loads(super().to_json_string())
        config.pop("_name_or_path", None)
        return json.dumps(config, indent=2, sort_keys=True) + "\n"

    def _to_save(
        self, variant: str | None, shard_size: int | str, weights: Mapping[str, torch.Tensor] | None
    ) -> "SavedModel":
        """This model, with other weights where they are given; raises ConfigError unless it can be saved so."""
        check_variant(variant)
        check_shard_size(shard_size)
        check_license(self.config.license)
        model = self if weights is None else self._with_weights(weights)
        model._check_networks()
        check_values(model.device)
        return model

    def _write(
        self, folder: Path, variant: str | None, pictures: Pictures | None, shard_size: int | str
    ) -> dict[str, str]:
        """Write all but the card into an empty folder; returns the card's pictures, {caption: path in the folder}."""
        shown = save_pictures(pictures or {}, folder)
        dtype = VARIANT_DTYPES.get(variant, self.dtype)
        cast = self if dtype == self.dtype else copy.deepcopy(self).to(dtype)
        super(SavedModel, cast).save_pretrained(folder, variant=variant, max_shard_size=shard_size)
        if (packed := int8.pack_attached(self.generator)) is not None:
            (folder / INT8).write_bytes(packed)
        return shown

    def _with_weights(self, weights: Mapping[str, torch.Tensor]) -> "SavedModel":
        """A model of the same config with other weights; this one may be in parts, on several machines.

        Raises:
            ConfigError: they are not those of the config's networks, or not all of them.
        """
        check_type("state_dict", weights, Mapping, "a dict of tensors")
        with as_usual():
            model = self.sketch(self.config)
        if odd := first_odd(weights, model.state_dict()):
            raise ConfigError(
                f"state_dict has not the weights of the model's config, first in {odd:.100}. It must have all weights "
                "of the model, by their names in model.state_dict(), or be left out."
            )
        model.load_state_dict(weights, assign=True)
        model.generator.int8 = getattr(self.generator, "int8", None)  # saved only if they are of these weights
        model.register_to_config(**self.config)
        return model


def _keywords(function: Callable) -> set[str]:
    """The options that a function takes by name alone."""
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


@contextmanager
def _quiet_diffusers() -> Iterator[None]:
    verbosity = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
