"""The training of an adaptation, as a configuration of the one training script: the whole step, without labels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from ..devices import gpu_has_bf16, training_device
from ..errors import ConfigError
from ..training.config import Scale, TrainConfig
from .materials import Materials

if TYPE_CHECKING:
    from ..model import SSGModel

GENERIC_SHARE = 0.25  # of the source pairs that the generic prior makes: what the pictures did not show
DISCRIMINATOR = Path(__file__).with_name("discriminator.safetensors")  # trained with the embedded generator; see NOTICE
DISCRIMINATOR_STEPS = 5  # at most, in which it alone learns, to know SR of this camera
GPU_MINUTES, CPU_MINUTES, SLOW_MINUTES = 5.0, 10.0, 20.0  # the budget, where none is given


def trainable_scale(model: "SSGModel") -> Scale:
    """How many times a model enlarges.

    Raises:
        ConfigError: the training has no such scale.
    """
    for scale in get_args(Scale):
        if scale == model.scale:
            return scale
    known = ", ".join(map(str, get_args(Scale)))
    raise ConfigError(f"the model enlarges {model.scale} times; adapting is for {known}. Start with another model.")


def default_minutes() -> float:
    """How long an adaptation takes unless told otherwise: less on a GPU, more on one core or without bf16."""
    if training_device() == "cuda":
        return GPU_MINUTES
    return CPU_MINUTES if has_bf16() and (os.cpu_count() or 1) > 1 else SLOW_MINUTES


def has_bf16() -> bool:
    """Whether bf16 is faster than fp32 here: on GPUs that have it, and on CPUs with instructions for it."""
    if training_device() == "cuda":
        return gpu_has_bf16()
    return bool(torch.cpu._is_avx512_bf16_supported())


def build_config(
    materials: Materials,
    bank: Path,
    output: Path,
    start: "SSGModel",
    model: str,
    guide: str | None,
    vgg: Path,
    minutes: float,
    seed: int,
    resume: bool,
) -> TrainConfig:
    """The configuration of an adaptation.

    Args:
        materials: the pieces.
        bank: folder of the camera's bank, with its share of the generic prior.
        output: folder of the run.
        start: the model to begin with; `model` is its name.
        guide: name of the guide, which is the teacher too; None without one.
        vgg: VGG16's weights.
        minutes: of training, over all sittings.
        resume: continue the newest checkpoint.
    """
    facts = start.config.trained_on
    gpu = training_device() == "cuda"
    return TrainConfig(
        output_dir=output,
        seed=seed,
        scale=trainable_scale(start),
        generator_weights=model,
        guide_model=guide,
        void_id=255,
        source=[str(materials.source)],
        degradation=str(bank),
        target=[str(materials.target)],
        hr_crop=192 if gpu else 128,
        target_crop=192,
        flat_share=0.02,
        workers=2 if gpu else 0,
        batch=8 if gpu else 4,
        target_batch=2 if gpu else 1,
        adversarial_steps=10**7,  # the clock ends it
        discriminator_warmup_steps=min(DISCRIMINATOR_STEPS, max(1, round(minutes))),
        lr=1e-4,
        ema_decay=0.99,
        l1_weight=1.0,
        perceptual_weight=0,
        lpips_weight=1.0,
        dists_weight=0.4,
        adversarial_weight=0.1,
        discriminator="features",
        discriminator_features=64,
        discriminator_weights=DISCRIMINATOR,
        discriminator_lr=2e-4,
        guide_weight="balanced" if guide else 0,
        perceptual_weights=vgg,
        mixed_precision="bf16" if has_bf16() else "no",
        max_minutes=minutes,
        anneal="clock",
        on_interrupt="finish",
        checkpoint_every=50,
        checkpoints_kept=1,
        validate_every=10**7,
        resume="latest" if resume else None,
        tracker="none",
        license=start.config.license or "other",
        license_note=facts.get("license_note") or "",
        training_data=_as_text(facts.get("data")),
    )


def _as_text(data: str | list | None) -> str:
    return "; ".join(data) if isinstance(data, (list, tuple)) else data or ""
