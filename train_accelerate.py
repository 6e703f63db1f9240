"""Train SSG-RWSR (Aakerberg et al., WACV-W 2022) with Accelerate: `python train_accelerate.py --config configs/X.yaml`.

Stages, each skippable:
  guide        a segmentation network on HR pictures with labels; `teacher` is its twin for degraded pictures
  warmup       the generator on source pairs: L1
  adversarial  L1 + perceptual + adversarial on source pairs; cross-entropy *through the guide* on real LR pictures;
               in its first `discriminator_warmup_steps` only the discriminator learns
"""

import logging
import sys
from copy import deepcopy

import torch
import torch._functorch.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ssg_hub.data.crops import LabeledCrops, PairedCrops, SourceCrops, TargetCrops, sample_generators
from ssg_hub.data.streams import load_stream
from ssg_hub.data.tables import load_pairs, load_pictures
from ssg_hub.degradation import load_degradation
from ssg_hub.errors import SSGError
from ssg_hub.evaluation.judges import load_guide
from ssg_hub.model import SSGModel
from ssg_hub.networks.discriminators import build_discriminator
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.perceptual import DISTS, LPIPSVGG, SharedFeatures, VGG16Features
from ssg_hub.training.balance import GradientBalance
from ssg_hub.training.config import TrainConfig, parse_config
from ssg_hub.training.losses import (
    PerceptualLoss,
    class_weights,
    deceive_loss,
    low_pass_consistency,
    pseudo_labels,
    random_view,
    real_fake_loss,
    segmentation_loss,
    with_grain,
)
from ssg_hub.training.run import Run, Stopped
from ssg_hub.training.stage import Stage
from ssg_hub.training.validation import DevSet, score_guide

log = logging.getLogger("train")
BETAS = (0.9, 0.99)  # ESRGAN's and Real-ESRGAN's choice, for both networks


def train_guide(run: Run, guide: Guide, name: str, steps: int, degraded: float) -> Guide:
    """Cross-entropy on HR crops and their labels, a share of them degraded and enlarged again."""
    config, accelerator = run.config, run.accelerator
    pictures = load_pictures(config.guide_data, config.data_root, labels=True)
    crops = LabeledCrops(pictures, config.guide_crop, config.seed, jitter=config.guide_jitter)
    weights = class_weights(pictures, len(guide.labels)).to(accelerator.device)
    degradation = load_degradation(config.degradation)
    guide = in_memory_format(guide.train().requires_grad_(True), config)
    optimizer = torch.optim.AdamW(guide.parameters(), lr=config.guide_lr, weight_decay=0.01)
    guide, optimizer = accelerator.prepare(guide, optimizer)
    stage = Stage(run, name, steps)
    for batch in stage.batches({"hr": (crops, config.guide_batch)}):
        hr, label, seed = (batch["hr"][key] for key in ("hr", "label", "seed"))
        with accelerator.accumulate(guide):
            picture = degrade_some(hr, seed, degraded, degradation, config.scale)
            loss = segmentation_loss(guide(picture), label, config.void_id, weights, accelerator)
            accelerator.backward(loss)
            stage.update(optimizer, guide.parameters())
        stage.losses = {"cross_entropy": loss.detach()}
        if stage.validation_due():
            stage.record_scores(score_guide(accelerator.unwrap_model(guide), config))
    guide = accelerator.unwrap_model(guide).eval().requires_grad_(False)
    if accelerator.is_main_process:
        guide.save_pretrained(config.output_dir / name)
    accelerator.free_memory()
    return guide


def warm_up(run: Run, generator: nn.Module, guide: Guide | None) -> tuple[nn.Module, dict]:
    """L1 (and VGG features, where asked for) on source pairs. Returns the generator's EMA and its scores."""
    config, accelerator = run.config, run.accelerator
    crops = source_crops(config)
    degradation = load_degradation(config.degradation)
    weight = config.warmup_perceptual_weight
    perceptual = PerceptualLoss(config.perceptual_weights).to(accelerator.device) if weight else None
    generator = in_memory_format(generator.requires_grad_(True), config)
    ema = new_ema(generator, run)
    if config.compile:
        generator.compile()
    optimizer = torch.optim.Adam(generator.parameters(), lr=config.lr, betas=BETAS)
    generator, optimizer = accelerator.prepare(generator, optimizer)
    stage = Stage(run, "warmup", config.warmup_steps, states=(ema,))
    dev = DevSet(config)
    for batch in stage.batches({"source": (crops, config.batch)}):
        with accelerator.accumulate(generator):
            with torch.no_grad():
                lr, hr = source_pair(batch["source"], degradation, config)
            with accelerator.autocast():
                sr = generator(lr)
                losses = {"l1": config.l1_weight * F.l1_loss(sr, hr)}
                if perceptual:
                    losses["perceptual"] = weight * perceptual(sr, hr)
            accelerator.backward(sum(losses.values()))
            if stage.update(optimizer, generator.parameters()):
                ema.update_parameters(accelerator.unwrap_model(generator))
        stage.losses = {name: value.detach() for name, value in losses.items()}
        if stage.validation_due():
            stage.validate(dev, ema.module, guide)
    accelerator.free_memory()
    return ema.module, stage.scores


def adversarial(run: Run, generator: nn.Module, guide: Guide | None, teacher: Guide | None) -> tuple[nn.Module, dict]:
    """The step of SSG-RWSR: one update of the generator on all losses, one of the discriminator, and the EMA."""
    config, accelerator = run.config, run.accelerator
    joint = config.guide == "joint" and guide is not None
    crops = adversarial_crops(config, guide, joint)
    degradation = load_degradation(config.degradation)
    eyes = load_features(config, accelerator.device)
    perceptual = load_perceptual(config, eyes, accelerator.device)
    generator = in_memory_format(generator.requires_grad_(True), config)
    discriminator = in_memory_format(build_discriminator(config.discriminator, config.discriminator_features), config)
    ema, last_layer = new_ema(generator, run), generator.last_layer
    if config.generator_precision == "fp32":
        run_in_fp32(generator)
    if config.compile:
        torch._functorch.config.donated_buffer = False  # the balance goes backward through a graph that is kept
        generator.compile()
        discriminator.compile()
    networks = [generator, discriminator] + ([guide.requires_grad_(True)] if joint else [])
    rates = [config.lr, config.discriminator_lr, config.guide_lr]
    optimizers = [torch.optim.Adam(n.parameters(), lr, betas=BETAS) for n, lr in zip(networks, rates, strict=False)]
    prepared = accelerator.prepare(*networks, *optimizers)
    networks, optimizers = prepared[: len(networks)], prepared[len(networks) :]
    generator, discriminator, *joint_guide = networks
    generator_optimizer, discriminator_optimizer, *guide_optimizer = optimizers
    # for the generator's update, in which both are frozen
    critic = accelerator.unwrap_model(discriminator)
    frozen_guide = accelerator.unwrap_model(joint_guide[0]) if joint else guide and guide.to(accelerator.device)
    fixed_weight = None if config.guide_weight == "balanced" else config.guide_weight
    balance = GradientBalance(accelerator, last_layer, config.guide_share, fixed_weight)
    stage = Stage(run, "adversarial", config.adversarial_steps, states=(ema, balance))
    dev = DevSet(config)
    for batch in stage.batches(crops):
        target = batch.get("target")
        warming_up = stage.step < config.discriminator_warmup_steps  # then the generator makes pictures, and stays
        losses, watched = {}, {}
        with accelerator.accumulate(*networks):
            with torch.no_grad():
                lr, hr = source_pair(batch["source"], degradation, config)
            # 1. the generator
            discriminator.requires_grad_(False)
            with accelerator.autocast(), torch.set_grad_enabled(not warming_up):
                sr = generator(lr)
                sr_t = generator(target["lr"]) if target and not warming_up else None
            if not warming_up:
                with accelerator.autocast():
                    losses = source_losses(sr, hr, perceptual, eyes, critic, config)
                    if target:
                        terms = target_losses(sr_t, target, frozen_guide, teacher, run)
                        if "guide" in terms:  # weighed against the source's losses alone: consistency is its companion
                            weight = balance(sum(losses.values()), terms["guide"], stage.step)
                            watched = {"guide_weight": weight, "cross_entropy": terms["guide"].detach()}
                            terms["guide"] = weight * terms["guide"]
                        losses |= terms
                accelerator.backward(sum(losses.values()))
                if stage.update(generator_optimizer, generator.parameters()):
                    ema.update_parameters(accelerator.unwrap_model(generator))
            # 2. the discriminator
            if config.adversarial_weight:
                discriminator.requires_grad_(True)
                with accelerator.autocast():
                    real, fake = discriminator(discriminator_view(hr, sr, eyes)).chunk(2)
                    losses["discriminator"] = real_fake_loss(real, fake)
                accelerator.backward(losses["discriminator"])
                stage.update(discriminator_optimizer, discriminator.parameters())
            # 3. the guide, on HR and SR, where it is trained along
            if joint and not warming_up:
                joint_guide[0].requires_grad_(True)
                with accelerator.autocast():
                    losses["joint_guide"] = joint_guide_loss(joint_guide[0], batch, sr_t.detach(), teacher, run)
                accelerator.backward(losses["joint_guide"])
                stage.update(guide_optimizer[0], joint_guide[0].parameters())
        stage.losses = {name: value.detach() for name, value in losses.items()} | watched
        if stage.validation_due():
            stage.validate(dev, ema.module, frozen_guide)
    accelerator.free_memory()
    return ema.module, stage.scores


def adversarial_crops(config: TrainConfig, guide: Guide | None, joint: bool) -> dict:
    """What one step reads: source HR; real LR where a loss has use for it; HR with labels for a guide trained along."""
    crops = {"source": (source_crops(config), config.batch)}
    if guide is not None or (config.target and config.consistency_weight):
        labels = guide is not None and config.target_labels
        target = load_pictures(config.target, config.data_root, labels=labels or False)
        target = TargetCrops(target, config.target_crop, config.seed, config.scale, config.void_id)
        crops["target"] = (target, config.target_batch)
    if joint:
        labeled = load_pictures(config.guide_data, config.data_root, labels=True)
        crops["labeled"] = (LabeledCrops(labeled, config.target_crop, config.seed), config.target_batch)
    return crops


def source_crops(config: TrainConfig) -> SourceCrops | PairedCrops:
    if config.source_lr:
        pairs = load_pairs(config.source, config.source_lr, config.data_root)
        return PairedCrops(pairs, config.hr_crop, config.seed, config.scale)
    load = load_stream if config.streaming else load_pictures
    return SourceCrops(load(config.source, config.data_root), config.hr_crop, config.seed, config.flat_share)


def source_pair(source: dict[str, Tensor], degradation, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """LR of a source batch, which came with it or is made, and the HR that is wanted of it."""
    if "lr" in source:
        return source["lr"], source["hr"]
    lr, grain = degradation.degrade_with_grain(source["hr"], config.scale, sample_generators(source["seed"]))
    return lr, with_grain(source["hr"], grain, config.keep_grain)


def source_losses(
    sr: Tensor, hr: Tensor, perceptual: dict, eyes: nn.Module | None, critic: nn.Module, config: TrainConfig
) -> dict[str, Tensor]:
    """The generator's objective on source pairs, each term with its weight; no network runs for a weight of 0."""
    losses = {"l1": config.l1_weight * F.l1_loss(sr, hr)}
    losses |= {name: weight * distance(sr, hr).mean() for name, (weight, distance) in perceptual.items()}
    if config.adversarial_weight:
        losses["adversarial"] = config.adversarial_weight * deceive_loss(critic(eyes(sr) if eyes else sr))
    return losses


def target_losses(
    sr: Tensor, target: dict[str, Tensor], guide: Guide | None, teacher: Guide | None, run: Run
) -> dict[str, Tensor]:
    """The objective on real LR pictures without HR: `guide`, the cross-entropy, not weighed yet; `consistency`."""
    config, losses = run.config, {}
    if guide is not None:
        guide.requires_grad_(False)
        view, label = guide_view(sr, target, teacher, config)
        losses["guide"] = segmentation_loss(guide(view), label, config.void_id, accelerator=run.accelerator)
    if config.consistency_weight:
        losses["consistency"] = config.consistency_weight * low_pass_consistency(sr, target["lr"])
    return losses


def discriminator_view(hr: Tensor, sr: Tensor, eyes: nn.Module | None) -> Tensor | list[Tensor]:
    """HR and SR as one batch for the discriminator, without a gradient: the pictures, or what `eyes` see of them."""
    if eyes is None:
        return torch.cat((hr, sr.detach()))
    with torch.no_grad():
        return [torch.cat((real, fake.detach())) for real, fake in zip(eyes(hr), eyes(sr), strict=True)]


def joint_guide_loss(guide: nn.Module, batch: dict, sr: Tensor, teacher: Guide | None, run: Run) -> Tensor:
    """Cross-entropy of a guide that is trained along: on HR with labels, and on the target's SR (detached)."""
    labeled, void_id = batch["labeled"], run.config.void_id
    view, label = guide_view(sr, batch["target"], teacher, run.config)
    pairs = ((guide(labeled["hr"]), labeled["label"]), (guide(view), label))
    return sum(segmentation_loss(logits, ids, void_id, accelerator=run.accelerator) for logits, ids in pairs)


def guide_view(
    sr: Tensor, target: dict[str, Tensor], teacher: Guide | None, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """What the guide reads of the target's SR, and the labels: those that came with it, or the teacher's."""
    if "label" in target:
        label = target["label"]
    else:
        label = pseudo_labels(teacher, target["lr"], config.scale, config.pseudo_threshold, config.void_id)
    return random_view(sr, label, target["seed"], config.void_id)


def degrade_some(hr: Tensor, seeds: Tensor, share: float, degradation, scale: int) -> Tensor:
    """Replace a share of the batch by their degraded, enlarged selves, so that a guide can read bad pictures too."""
    chosen = [index for index, seed in enumerate(seeds.tolist()) if seed % 1000 < 1000 * share]
    if not chosen:
        return hr
    lr = degradation.degrade(hr[chosen], scale, sample_generators(seeds[chosen]))
    pictures = hr.clone()
    pictures[chosen] = F.interpolate(lr, size=hr.shape[-2:], mode="bicubic", align_corners=False).clamp(0, 1)
    return pictures


def new_guide(config: TrainConfig) -> Guide:
    """The light segmentation network, its trunk started from ImageNet where weights are given."""
    options = {
        "width": config.guide_width,
        "trunk": config.guide_trunk,
        "id2label": dict(enumerate(config.class_names)),
    }
    if config.class_palette:
        options["palette"] = config.class_palette
    guide = Guide({"model_type": "ssg_lite_segmentation", **options})
    if config.guide_backbone:
        guide.network.load_backbone(torch.load(config.guide_backbone, map_location="cpu", weights_only=True))
    return guide


def new_model(config: TrainConfig, guide: Guide | None) -> SSGModel:
    """The model to be trained: a fresh generator, or `generator_weights` with the architecture that these have."""
    if config.generator_weights:
        return SSGModel.from_components(guide=guide).load_generator(config.generator_weights)
    options = {"scale": config.scale, **config.generator_config}
    return SSGModel.from_components(config.generator_type, guide=guide, generator_config=options)


def new_ema(generator: nn.Module, run: Run) -> AveragedModel:
    """The exponential moving average of the generator: what ships."""

    def average(averages, currents, updates) -> None:
        # a short run must not be held back by its start: the decay grows with the number of updates
        decay = min(run.config.ema_decay, (1 + int(updates)) / (10 + int(updates)))
        get_ema_multi_avg_fn(decay)(averages, currents, updates)

    ema = AveragedModel(generator, multi_avg_fn=average)
    return ema.to(run.accelerator.device).requires_grad_(False)


def load_features(config: TrainConfig, device: torch.device) -> SharedFeatures | None:
    """VGG16 for a discriminator that reads features; LPIPS then shares them."""
    if config.discriminator != "features" or not config.adversarial_weight:
        return None
    return in_memory_format(SharedFeatures(VGG16Features(config.perceptual_weights)).to(device), config)


def load_perceptual(
    config: TrainConfig, eyes: SharedFeatures | None, device: torch.device
) -> dict[str, tuple[float, nn.Module]]:
    """The perceptual losses of the adversarial stage, {name: (weight, loss)}; none is loaded for a weight of 0."""
    losses, vgg = {}, config.perceptual_weights
    if config.perceptual_weight:
        losses["perceptual"] = (config.perceptual_weight, PerceptualLoss(vgg))
    if config.lpips_weight:
        losses["lpips"] = (config.lpips_weight, LPIPSVGG(config.lpips_heads, eyes or vgg))
    if config.dists_weight:
        losses["dists"] = (config.dists_weight, DISTS(config.dists_heads, vgg))
    return {name: (weight, in_memory_format(loss.to(device), config)) for name, (weight, loss) in losses.items()}


def run_in_fp32(network: nn.Module) -> None:
    """Keep a network out of mixed precision, also where Accelerate wraps it."""
    forward = network.forward

    def forward_in_fp32(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    network.forward = forward_in_fp32


def in_memory_format(network: nn.Module, config: TrainConfig) -> nn.Module:
    return network.to(memory_format=torch.channels_last) if config.channels_last else network


def train_guides(run: Run) -> tuple[Guide | None, Guide | None]:
    """The guide and the teacher: trained, loaded, or None where the config has no use for them."""
    config = run.config
    guide = None
    if config.guide_model or config.guide_steps:
        guide = load_guide(config.guide_model) if config.guide_model else new_guide(config)
        guide.requires_grad_(False)
    if config.guide_steps:
        guide = train_guide(run, guide, "guide", config.guide_steps, config.guide_degraded)
    teacher = guide
    if config.teacher_steps:
        teacher = train_guide(run, deepcopy(guide), "teacher", config.teacher_steps, degraded=1.0)
    return guide, teacher and teacher.to(run.accelerator.device)


def export(model: SSGModel, scores: dict[str, float], run: Run) -> None:
    """Save the finished model with a card that says what it was trained on and how it scored; push it where asked."""
    config = run.config
    facts = {"data": config.training_data, "license_note": config.license_note, "metrics": scores}
    steps = {name: value for name, value in config.model_dump().items() if name.endswith("_steps") and value}
    model.describe(license=config.license, **{name: fact for name, fact in facts.items() if fact}, **steps)
    if config.save_dtype == "fp16":
        model = model.half()
    model.save_pretrained(config.output_dir / "model")
    log.info("saved %s", config.output_dir / "model")
    if config.push_to_hub:
        log.info("pushed %s", model.push_to_hub(config.push_to_hub, private=True))


def main(arguments: list[str]) -> None:
    config = parse_config(arguments)
    run = Run(config)
    guide, teacher = train_guides(run)
    model, scores = new_model(config, guide), {}
    if config.warmup_steps:
        model.generator, scores = warm_up(run, model.generator, guide)
    if config.adversarial_steps:
        guided = bool(config.target) and config.guide_weight != 0
        model.generator, scores = adversarial(run, model.generator, guide if guided else None, teacher)
    if run.accelerator.is_main_process:
        export(model.cpu(), scores, run)
    run.accelerator.end_training()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SSGError as error:
        sys.exit(f"error: {error}")
    except Stopped as reason:
        sys.exit(str(reason))
