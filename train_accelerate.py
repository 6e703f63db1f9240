"""Train SSG-RWSR (Aakerberg et al., WACV-W 2022) with Accelerate: `python train_accelerate.py --config configs/X.yaml`.

Stages, each skippable:
  guide        a segmentation network on HR pictures with labels; `teacher` is a copy of it for degraded pictures
  warmup       the generator on source pairs: L1
  adversarial  L1 + perceptual + adversarial on source pairs; cross-entropy *through the guide* on real LR pictures;
               in its first `discriminator_warmup_steps` only the discriminator learns
"""

import sys
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch._functorch.config
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ssg_hub.data.crops import LabeledCrops
from ssg_hub.data.tables import load_pictures
from ssg_hub.degradation import load_degradation
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.perceptual import find_vgg16
from ssg_hub.processes.ending import end_plainly
from ssg_hub.training.adversary import View, choose_view, first_discriminator, join, save_discriminator
from ssg_hub.training.balance import GradientBalance
from ssg_hub.training.batches import adversarial_crops, degrade_some, source_crops, source_pair
from ssg_hub.training.checks import check_labels
from ssg_hub.training.config import TrainConfig, parse_config
from ssg_hub.training.learner import Learner, average_norms, prepare
from ssg_hub.training.losses import PerceptualLoss, SourceLosses, SourcePair, low_pass_consistency, real_fake_loss
from ssg_hub.training.models import export, first_guide, first_model, in_memory_format, new_ema, start_generator
from ssg_hub.training.run import Run
from ssg_hub.training.segmentation import class_weights, lovasz_loss, pseudo_labels, random_view, segmentation_loss
from ssg_hub.training.stage import Stage
from ssg_hub.training.validation import DevSet, score_guide

BETAS = (0.9, 0.99)  # ESRGAN's and Real-ESRGAN's choice, for both networks


def train_guide(run: Run, guide: Guide, name: str, steps: int, degraded: float) -> Guide:
    """Cross-entropy on HR crops and their labels, a share of them degraded and enlarged again."""
    config, accelerator = run.config, run.accelerator
    pictures = load_pictures(config.guide_data, config.data_root, labels=True)
    known = {*range(len(guide.labels)), config.void_id}
    changes = {"jitter": config.guide_jitter, "recolor": config.guide_recolor, "paste": config.guide_paste}
    if config.guide_skies:
        changes |= {"skies": config.guide_skies, "sky": guide.labels.index("sky")}
    crops = LabeledCrops(pictures, config.guide_crop, config.seed, known_ids=known, **changes)
    weights = class_weights(pictures, len(guide.labels), config.void_id, config.guide_balance).to(accelerator.device)
    degradation = load_degradation(config.degradation)
    guide = in_memory_format(guide.train().requires_grad_(True), config)
    ema = new_ema(guide, run)
    optimizer = torch.optim.AdamW(guide.parameters(), lr=config.guide_lr, weight_decay=0.01)
    (learner,) = prepare(accelerator, (guide, optimizer))
    stage = Stage(run, name, steps, states=(ema,))
    for batch in stage.batches({"hr": (crops, config.guide_batch)}):
        hr, label, seed = (batch["hr"][key] for key in ("hr", "label", "seed"))
        with accelerator.accumulate(learner.network):
            picture = degrade_some(hr, seed, degraded, degradation, config.scale)
            logits = learner.network(picture)
            losses = {"cross_entropy": segmentation_loss(logits, label, config.void_id, weights, accelerator)}
            if config.guide_lovasz:
                losses["lovasz"] = config.guide_lovasz * lovasz_loss(logits, label, config.void_id)
            accelerator.backward(sum(losses.values()))
            if stage.update(learner):
                average_norms(learner.bare, accelerator)
                ema.update_parameters(learner.bare)
        stage.losses = {name: value.detach() for name, value in losses.items()}
        if stage.validation_due():
            stage.record_scores(score_guide(ema.module, config))
    guide = learner.bare.eval().requires_grad_(False)
    guide.load_state_dict(ema.module.state_dict())  # into the network that the model has, too
    if accelerator.is_main_process:
        guide.save_pretrained(config.output_dir / name)
    accelerator.free_memory()
    return guide


def warm_up(
    run: Run, generator: nn.Module, guide: Guide | None, dev: DevSet, perceptual: PerceptualLoss | None
) -> tuple[nn.Module, dict]:
    """L1 (and VGG features, where asked for) on source pairs. Returns the generator's EMA and its scores."""
    config, accelerator = run.config, run.accelerator
    crops = source_crops(config)
    degradation = load_degradation(config.degradation)
    generator, ema = start_generator(generator, run)
    (learner,) = prepare(accelerator, (generator, torch.optim.Adam(generator.parameters(), config.lr, BETAS)))
    stage = Stage(run, "warmup", config.warmup_steps, states=(ema,))
    for batch in stage.batches({"source": (crops, config.batch)}):
        pair = source_pair(batch["source"], degradation, config)
        with accelerator.accumulate(learner.network):
            with accelerator.autocast():
                sr = pair.shown(learner.network(pair.lr))
                losses = {"l1": config.l1_weight * F.l1_loss(sr, pair.wanted)}
                if perceptual:
                    losses["perceptual"] = config.warmup_perceptual_weight * perceptual(sr, pair.wanted)
            accelerator.backward(sum(losses.values()))
            if stage.update(learner):
                ema.update_parameters(learner.bare)
        stage.losses = {name: value.detach() for name, value in losses.items()}
        if stage.validation_due():
            stage.validate(dev, ema.module, guide)
    accelerator.free_memory()
    return ema.module, stage.scores


@dataclass
class Players:
    """The networks and losses of the adversarial stage.

    Attributes:
        generator, discriminator: trained.
        joint_guide: the guide's learner if it is trained too, else None.
        ema: the generator's moving average.
        guide: reads SR, its weights frozen for the generator's update; None without a guide.
        teacher: gives labels where the target has none.
        objective: on source pairs.
        view: turns a picture into the discriminator's input.
        balance: the weight of the guide loss.
    """

    generator: Learner
    discriminator: Learner
    joint_guide: Learner | None
    ema: AveragedModel
    guide: Guide | None
    teacher: Guide | None
    objective: SourceLosses
    view: View
    balance: GradientBalance

    @property
    def networks(self) -> list[nn.Module]:
        learners = (self.generator, self.discriminator, self.joint_guide)
        return [learner.network for learner in learners if learner is not None]


def adversarial(
    run: Run, generator: nn.Module, guide: Guide | None, teacher: Guide | None, dev: DevSet, objective: SourceLosses
) -> tuple[nn.Module, dict]:
    """The step of SSG-RWSR: one update of the generator on all losses, one of the discriminator, and the EMA."""
    config = run.config
    crops = adversarial_crops(config, guide)
    degradation = load_degradation(config.degradation)
    players = gather_players(run, generator, guide, teacher, objective)
    stage = Stage(run, "adversarial", config.adversarial_steps, states=(players.ema, players.balance))
    for batch in stage.batches(crops):
        pair, target = source_pair(batch["source"], degradation, config), batch.get("target")
        with run.accelerator.accumulate(*players.networks):
            if stage.step < config.discriminator_warmup_steps:  # the generator makes pictures, and stays as it is
                with torch.no_grad():
                    sr, sr_t, losses = pair.shown(players.generator.network(pair.lr)), None, {}
            else:
                sr, sr_t, losses = train_generator(run, stage, players, pair, target)
            if config.adversarial_weight:
                losses["discriminator"] = train_discriminator(run, stage, players, pair, sr)
            if players.joint_guide and sr_t is not None:
                losses["joint_guide"] = train_joint_guide(run, stage, players, batch, sr_t)
        stage.losses = {name: torch.as_tensor(value).detach() for name, value in losses.items()}
        if stage.validation_due():
            stage.validate(dev, players.ema.module, players.guide)
    if run.accelerator.is_main_process and config.adversarial_weight:
        save_discriminator(players.discriminator.bare, config.output_dir)
    run.accelerator.free_memory()
    return players.ema.module, stage.scores


def gather_players(
    run: Run, generator: nn.Module, guide: Guide | None, teacher: Guide | None, objective: SourceLosses
) -> Players:
    """Build what the adversarial stage needs beside the generator, and hand what is trained to Accelerate."""
    config, accelerator = run.config, run.accelerator
    last_layer = generator.last_layer
    generator, ema = start_generator(generator, run)
    guide = guide and guide.to(accelerator.device)
    discriminator = in_memory_format(first_discriminator(config, guide), config)
    if config.compile:
        torch._functorch.config.donated_buffer = False  # the balance goes backward through a graph that is kept
        discriminator.compile()
    trained = [(generator, config.lr), (discriminator, config.discriminator_lr)]
    if config.guide == "joint" and config.guided:
        trained.append((guide.requires_grad_(True), config.guide_lr))
    pairs = [(network, torch.optim.Adam(network.parameters(), rate, BETAS)) for network, rate in trained]
    generator, discriminator, *joint_guide = prepare(accelerator, *pairs)
    generator.begins = config.discriminator_warmup_steps
    fixed_weight = None if config.guide_weight == "balanced" else config.guide_weight
    balance = GradientBalance(accelerator, last_layer, config.guide_share, fixed_weight)
    view = choose_view(config, objective.vgg, guide)
    joint_guide = joint_guide[0] if joint_guide else None
    return Players(generator, discriminator, joint_guide, ema, guide, teacher, objective, view, balance)


def train_generator(
    run: Run, stage: Stage, players: Players, pair: SourcePair, target: dict[str, Tensor] | None
) -> tuple[Tensor, Tensor | None, dict]:
    """One update of the generator, and of its EMA where it moved. Returns SR of both domains and the losses."""
    generator, critic, guide = players.generator, players.discriminator.bare, players.guide
    critic.requires_grad_(False)
    if guide is not None:
        guide.requires_grad_(False)
    with run.accelerator.autocast():
        sr = pair.shown(generator.network(pair.lr))
        sr_t = generator.network(target["lr"]) if target else None
        losses = players.objective(sr, pair, lambda sr: critic(*players.view(sr, pair.hr)), players.ema, guide)
        logged = {}
        if target:
            terms = target_losses(sr_t, target, guide, players.teacher, run)
            if "guide" in terms:
                # The balance comes first: the guide is weighed against the losses on source alone. The consistency is
                # the guide's companion on target pictures and would, counted among the others, weaken it.
                logged = {"guide_weight": players.balance(sum(losses.values()), terms["guide"], stage.step)}
                logged["cross_entropy"] = terms["guide"].detach()
                terms["guide"] = logged["guide_weight"] * terms["guide"]
            losses |= terms
        if stage.gradients_due():
            logged |= players.balance.norms(losses)
    run.accelerator.backward(sum(losses.values()))
    if stage.update(generator):
        players.ema.update_parameters(generator.bare)
    return sr, sr_t, losses | logged


def train_discriminator(run: Run, stage: Stage, players: Players, pair: SourcePair, sr: Tensor) -> Tensor:
    """One update of the discriminator on HR and SR. Returns its loss."""
    discriminator = players.discriminator
    discriminator.bare.requires_grad_(True)
    with run.accelerator.autocast():
        both = join(players.view(pair.hr, pair.hr), players.view(sr, pair.hr))
        real, fake = discriminator.network(*both).chunk(2)
        loss = real_fake_loss(real, fake, pair.judged)
    run.accelerator.backward(loss)
    stage.update(discriminator)
    return loss


def train_joint_guide(run: Run, stage: Stage, players: Players, batch: dict, sr: Tensor) -> Tensor:
    """One update of the guide: cross-entropy on HR with labels, and on the target's SR. Returns the loss."""
    guide, labeled, void_id = players.joint_guide, batch["labeled"], run.config.void_id
    guide.bare.requires_grad_(True)
    with run.accelerator.autocast():
        view, label = guide_view(sr.detach(), batch["target"], players.teacher, run.config)
        pairs = ((guide.network(labeled["hr"]), labeled["label"]), (guide.network(view), label))
        loss = sum(segmentation_loss(logits, ids, void_id, accelerator=run.accelerator) for logits, ids in pairs)
    run.accelerator.backward(loss)
    stage.update(guide)
    return loss


def target_losses(
    sr: Tensor, target: dict[str, Tensor], guide: Guide | None, teacher: Guide | None, run: Run
) -> dict[str, Tensor]:
    """The objective on real LR pictures without HR: `guide`, the cross-entropy, not weighed yet; `consistency`."""
    config, losses = run.config, {}
    if guide is not None and config.guided:
        view, label = guide_view(sr, target, teacher, config)
        losses["guide"] = segmentation_loss(guide(view), label, config.void_id, accelerator=run.accelerator)
    if config.consistency_weight:
        losses["consistency"] = config.consistency_weight * low_pass_consistency(sr, target["lr"])
    return losses


def guide_view(
    sr: Tensor, target: dict[str, Tensor], teacher: Guide | None, config: TrainConfig
) -> tuple[Tensor, Tensor]:
    """What the guide reads of the target's SR, and the labels: those that came with it, or the teacher's."""
    if "label" in target:
        label = target["label"]
    else:
        label = pseudo_labels(teacher, target["lr"], config.scale, config.pseudo_threshold, config.void_id)
    return random_view(sr, label, target["seed"], config.void_id)


def train_guides(run: Run, guide: Guide | None) -> tuple[Guide | None, Guide | None]:
    """The guide and the teacher, trained where the config says so; the teacher is the guide where it has no stage."""
    config = run.config
    if config.guide_steps:
        guide = train_guide(run, guide, "guide", config.guide_steps, config.guide_degraded)
    teacher = guide
    if config.teacher_steps and not run.ended_early:
        teacher = train_guide(run, deepcopy(guide), "teacher", config.teacher_steps, degraded=1.0)
    return guide, teacher and teacher.to(run.accelerator.device)


def main(arguments: list[str]) -> None:
    """What the command line does: `train` by a configuration file."""
    train(parse_config(arguments)).accelerator.end_training()


def train(config: TrainConfig) -> Run:
    """Read and check everything first, then run the stages, then save the model; the processes stay connected."""
    run = Run(config)
    with run.under_way():
        guide = first_guide(config)
        model = first_model(config, guide)
        check_labels(config, guide)
        dev, device = DevSet(config), run.accelerator.device
        warms_with_features = config.warmup_steps and config.warmup_perceptual_weight
        perceptual = PerceptualLoss(find_vgg16(config.perceptual_weights)).to(device) if warms_with_features else None
        objective = SourceLosses(config, device) if config.adversarial_steps else None
        guide, teacher = train_guides(run, guide)
        scores = {}
        if config.warmup_steps and not run.ended_early:
            model.generator, scores = warm_up(run, model.generator, guide, dev, perceptual)
        if config.adversarial_steps and not run.ended_early:
            model.generator, scores = adversarial(run, model.generator, guide, teacher, dev, objective)
        if run.accelerator.is_main_process:
            export(model.cpu(), scores, run)
        run.accelerator.wait_for_everyone()
    return run


if __name__ == "__main__":
    sys.exit(end_plainly("train_accelerate.py", lambda: main(sys.argv[1:])))
