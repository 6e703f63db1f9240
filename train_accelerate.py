"""Train SSG-RWSR (Aakerberg et al., WACV-W 2022) with Accelerate: `python train_accelerate.py --config configs/X.yaml`.

Stages, each skippable: `guide` (segmentation network on HR pictures with labels), `warmup` (generator on source pairs).
"""

import logging
import sys

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssg_hub.config import TrainConfig, parse_config
from ssg_hub.data import CropDataset, load_pictures, sample_generators
from ssg_hub.degradation import GenericPrior, load_degradation
from ssg_hub.errors import SSGError
from ssg_hub.guide import Guide
from ssg_hub.losses import PerceptualLoss, class_weights, segmentation_loss
from ssg_hub.stage import Stage
from ssg_hub.model import SSGModel
from ssg_hub.validation import DevSet, score_guide

log = logging.getLogger("train")


def train_guide(accelerator: Accelerator, config: TrainConfig) -> Guide:
    """Stage `guide`: cross-entropy on HR crops and their labels, a share of them degraded and enlarged again."""
    pictures = load_pictures(config.guide_data, config.data_root, with_labels=True)
    dataset = CropDataset(pictures, config.guide_crop, config.seed, turn=False, zoom=(0.8, 1.6))
    guide = new_guide(config).train()
    weights = class_weights(pictures, len(config.class_names)).to(accelerator.device)
    if config.channels_last:
        guide = guide.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(guide.parameters(), lr=config.guide_lr, weight_decay=0.01)
    guide, optimizer = accelerator.prepare(guide, optimizer)
    stage = Stage(accelerator, config, "guide", config.guide_steps)
    stage.resume()
    for batch in stage.batches(dataset, config.guide_batch):
        with accelerator.accumulate(guide):
            set_learning_rate(optimizer, stage.learning_rate(config.guide_lr))
            image = degrade_some(batch["image"], batch["seed"], config)
            loss = segmentation_loss(guide(image), batch["label"], config.void_id, weights)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(guide.parameters(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        stage.losses = {"cross_entropy": loss.detach()}
    guide = accelerator.unwrap_model(guide).eval().requires_grad_(False)
    report(accelerator, "guide", score_guide(guide, config))
    if accelerator.is_main_process:
        guide.save_pretrained(config.output_dir / "guide")
    accelerator.free_memory()
    return guide


def new_guide(config: TrainConfig) -> Guide:
    """The light segmentation network, its trunk started from ImageNet where weights are given."""
    guide = Guide(
        {
            "model_type": "ssg_lite_segmentation",
            "width": config.guide_width,
            "id2label": dict(enumerate(config.class_names)),
            **({"palette": config.class_palette} if config.class_palette else {}),
        }
    )
    if config.guide_backbone:
        state = torch.load(config.guide_backbone, map_location="cpu", weights_only=True)
        guide.network.load_backbone(state)
    return guide


def degrade_some(image: Tensor, seeds: Tensor, config: TrainConfig) -> Tensor:
    """Replace a share of the batch by their degraded, enlarged selves, so that the guide can read bad pictures too."""
    chosen = [i for i, seed in enumerate(seeds.tolist()) if seed % 1000 < 1000 * config.guide_degraded]
    if not chosen:
        return image
    lr = GenericPrior().degrade(image[chosen], config.scale, sample_generators(seeds[chosen]))
    image = image.clone()
    image[chosen] = F.interpolate(lr, scale_factor=config.scale, mode="bicubic").clamp(0, 1)
    return image


def warm_up(accelerator: Accelerator, config: TrainConfig, generator: nn.Module) -> tuple[nn.Module, dict]:
    """Stage `warmup`: L1, and VGG features where `perceptual_weight` asks, on source pairs. Returns the EMA, its scores."""
    dataset = CropDataset(load_pictures(config.source, config.data_root), config.hr_crop, config.seed)
    degradation = load_degradation(config.degradation, config.data_root)
    perceptual = load_perceptual(accelerator, config)
    optimizer = torch.optim.Adam(generator.parameters(), lr=config.lr, betas=(0.9, 0.99))
    ema = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)).to(accelerator.device)
    generator, optimizer = accelerator.prepare(generator, optimizer)
    stage = Stage(accelerator, config, "warmup", config.warmup_steps, averages=(ema,))
    stage.resume()
    dev, scores = DevSet(config), {}
    for batch in stage.batches(dataset, config.batch):
        with accelerator.accumulate(generator):
            set_learning_rate(optimizer, stage.learning_rate(config.lr))
            hr = batch["image"]
            lr = degradation.degrade(hr, config.scale, sample_generators(batch["seed"]))
            sr = generator(lr)
            losses = {"l1": F.l1_loss(sr, hr)}
            if perceptual:
                losses["perceptual"] = config.perceptual_weight * perceptual(sr, hr)
            accelerator.backward(sum(losses.values()))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(generator.parameters(), config.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            ema.update_parameters(accelerator.unwrap_model(generator))
        stage.losses = {name: value.detach() for name, value in losses.items()}
        if accelerator.sync_gradients and stage.next_due(config.validate_every):
            scores = dev.score(ema.module)
            report(accelerator, "warmup", scores)
    accelerator.free_memory()
    return ema.module, scores


def new_model(config: TrainConfig, guide: Guide | None) -> SSGModel:
    """The model to be trained: a fresh generator, or `generator_weights` with the architecture that these have."""
    if config.generator_weights:
        return SSGModel.from_components(guide=guide).load_generator(config.generator_weights)
    options = {"scale": config.scale, **config.generator_config}
    return SSGModel.from_components(config.generator_type, guide=guide, generator_config=options)


def load_guide(config: TrainConfig) -> Guide | None:
    """The ready guide that the config names: a folder, or a Hub id."""
    if config.guide_model is None:
        return None
    return Guide.from_pretrained(config.guide_model).eval().requires_grad_(False)


def export(model: SSGModel, config: TrainConfig, scores: dict[str, float]) -> None:
    """Save the finished model with a card that says what it was trained on and how it scored on the dev set."""
    facts = {"data": config.training_data, "license_note": config.license_note, "metrics": scores}
    model = model.describe(license=config.license, **{name: fact for name, fact in facts.items() if fact})
    if config.save_dtype == "fp16":
        model = model.half()
    model.save_pretrained(config.output_dir / "model")
    log.info("saved %s", config.output_dir / "model")


def load_perceptual(accelerator: Accelerator, config: TrainConfig) -> PerceptualLoss | None:
    if config.perceptual_weight == 0:
        return None
    return PerceptualLoss(config.perceptual_weights).to(accelerator.device)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def report(accelerator: Accelerator, stage: str, scores: dict[str, float]) -> None:
    if scores and accelerator.is_main_process:
        log.info("%s: %s", stage, ", ".join(f"{name} {value:.4f}" for name, value in scores.items()))


def main(arguments: list[str]) -> None:
    config = parse_config(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=config.mixed_precision,
        gradient_accumulation_steps=config.gradient_accumulation,
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=str(config.output_dir),
    )
    set_seed(config.seed)
    accelerator.init_trackers("logs")
    guide = train_guide(accelerator, config) if config.guide_steps else load_guide(config)
    model, scores = new_model(config, guide), {}
    if config.warmup_steps:
        model.generator, scores = warm_up(accelerator, config, model.generator)
    if accelerator.is_main_process:
        export(model, config, scores)
    accelerator.end_training()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SSGError as error:
        sys.exit(f"error: {error}")
