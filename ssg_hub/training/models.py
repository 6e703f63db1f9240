"""The networks that a run begins with, and the model that it ends with."""

import logging
import shlex
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import CheckpointError, ConfigError
from ..loading import load_guide, load_model
from ..model import SSGModel
from ..networks.guide import Guide
from ..networks.tensor_files import read_tensors
from ..storage import public_name
from .config import TrainConfig
from .run import Run

log = logging.getLogger("train")


def first_guide(config: TrainConfig) -> Guide | None:
    """The guide as a run begins with it: loaded, new, or None where the config has no use for one.

    Raises:
        ConfigError: `class_names` are not those of `guide_model`, so that label maps would be misread; or
            `guide_skies` with no class sky.
        CheckpointError, HubError: as `load_guide`; or a `guide_backbone` that is damaged or does not fit.
    """
    if not (config.guide_model or config.guide_steps):
        return None
    guide = load_guide(config.guide_model) if config.guide_model else new_guide(config)
    if config.class_names and config.class_names != guide.labels:
        raise ConfigError(
            f"class_names are {_shorten(config.class_names)}, but the guide {config.guide_model} names its classes "
            f"{_shorten(guide.labels)}. Leave class_names out, and give label maps with the guide's ids."
        )
    if config.guide_skies and "sky" not in guide.labels:
        raise ConfigError(
            f"guide_skies is {config.guide_skies}, but no class of the guide is named sky: {_shorten(guide.labels)}. "
            "Leave guide_skies at 0."
        )
    return guide.requires_grad_(False)


def _shorten(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", … ({len(names)})" if len(names) > 5 else "")


def new_guide(config: TrainConfig) -> Guide:
    """The light segmentation network, its trunk started from ImageNet where weights are given."""
    options: dict[str, Any] = {
        "width": config.guide_width,
        "trunk": config.guide_trunk,
        "id2label": dict(enumerate(config.class_names)),
    }
    if config.class_palette:
        options["palette"] = config.class_palette
    guide = Guide({"model_type": "ssg_lite_segmentation", **options})
    if config.guide_backbone:
        try:
            guide.network.load_backbone(read_tensors(config.guide_backbone, "EfficientNet-Lite weights"))
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(
                f"guide_backbone {config.guide_backbone} does not fit guide_trunk {config.guide_trunk} ({reason})."
            ) from None
    return guide


def first_model(config: TrainConfig, guide: Guide | None) -> SSGModel:
    """The model to be trained: a fresh generator, or that of `generator_weights` with the architecture that it has."""
    if config.generator_weights is None:
        options = {"scale": config.scale, **config.generator_config}
        return SSGModel.from_components(config.generator_type, guide, options)
    start = load_model(config.generator_weights)
    if start.scale != config.scale:
        raise ConfigError(
            f"generator_weights {config.generator_weights} enlarges {start.scale} times, but scale is {config.scale}. "
            f"Set scale to {start.scale}, or use other weights."
        )
    _note_architecture(start, config)
    model = SSGModel.from_components(start.config.generator_type, guide, start.config.generator_config)
    model.generator = start.generator
    known = start.config.trained_on
    terms = {key: known.get(key) for key in ("data", "license_note")}  # the weights carry them on
    return model.describe(generator_weights=public_name(config.generator_weights), **terms)


def _note_architecture(start: SSGModel, config: TrainConfig) -> None:
    """Say where the configuration asks for another architecture than that of `generator_weights`, which is taken."""
    own = {"generator_type": start.config.generator_type, **start.config.generator_config}
    stated = {"generator_type": config.generator_type} if "generator_type" in config.model_fields_set else {}
    stated |= config.generator_config
    if others := [f"{key} {value}" for key, value in stated.items() if own.get(key, value) != value]:
        log.warning(
            "generator_weights are of a generator %s with %s; these keys of the configuration have no effect: %s.",
            start.config.generator_type,
            ", ".join(f"{key} {value}" for key, value in start.config.generator_config.items()),
            ", ".join(others),
        )


def new_ema(network: nn.Module, run: Run) -> AveragedModel:
    """The exponential moving average of a network, its batch norms' statistics included: what a stage results in."""

    def average(averages, currents, updates) -> None:
        # a short run must not be held back by its start: the decay grows with the number of updates
        decay = min(run.config.ema_decay, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(decay)(averages, currents, updates)

    ema = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    return ema.to(run.accelerator.device).requires_grad_(False)


def in_memory_format(network: nn.Module, config: TrainConfig) -> nn.Module:
    """Channels last where the config says so."""
    if config.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return network


def start_generator(generator: nn.Module, run: Run) -> tuple[nn.Module, AveragedModel]:
    """The generator, made trainable in the format and precision that the config asks for, and its EMA."""
    config = run.config
    generator = in_memory_format(generator.requires_grad_(True), config)
    ema = new_ema(generator, run)  # a copy, so before the generator's own forward is replaced
    if config.generator_precision == "fp32":
        _keep_in_fp32(generator)
    if config.compile:
        generator.compile()
    return generator, ema


def _keep_in_fp32(network: nn.Module) -> None:
    """Keep a network out of mixed precision, also where Accelerate wraps it."""
    forward = network.forward

    def forward_in_fp32(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    network.forward = forward_in_fp32


def _training_data(model: SSGModel, config: TrainConfig) -> str | list[str]:
    """What the card says of the data: what the configuration says, else what is known of `generator_weights`."""
    earlier = model.config.trained_on.get("data")
    if config.training_data or not earlier:
        return config.training_data
    return [*([earlier] if isinstance(earlier, str) else earlier), "trained further on data that were not recorded"]


def export(model: SSGModel, scores: dict[str, float], run: Run) -> None:
    """Save the finished model with a card that says what it was trained on and how it scored; push it where asked.

    A new generator that was not trained, because the run ended before, is neither saved nor pushed.
    """
    config, made = run.config, run.steps_made
    trained = "warmup" in made or made.get("adversarial", 0) > config.discriminator_warmup_steps
    if not trained and config.generator_weights is None:
        log.warning("the generator is new and was not trained in this run, so there is no model to save.")
        if guides := [str(config.output_dir / stage) for stage in ("guide", "teacher") if stage in made]:
            log.info("saved before: %s, for guide_model", " and ".join(guides))
        return
    facts = {"data": _training_data(model, config), "license_note": config.license_note, "metrics": scores}
    steps = {f"{stage}_steps": count for stage, count in made.items()}
    if alone := min(config.discriminator_warmup_steps, made.get("adversarial", 0)):
        steps["discriminator_warmup_steps"] = alone
    model.describe(license=config.license, **{name: fact for name, fact in facts.items() if fact}, **steps)
    if config.save_dtype == "fp16":
        model = model.half()
    folder = config.output_dir / "model"
    model.save_pretrained(folder)
    log.info("saved %s", folder)
    log.info("use it: ssg upscale PICTURES -o RESULTS --model %s", shlex.quote(str(folder)))
    if config.push_to_hub:
        log.info("pushed %s", model.push_to_hub(config.push_to_hub, private=True))
