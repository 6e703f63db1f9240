"""What one adversarial step changes and what it leaves alone, watched at every update of the script's own loop."""

import math
import shutil
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from tiny_run import random_heads, train_here, write_config

import train_accelerate
from ssg_hub.degradation import load_degradation
from ssg_hub.errors import ConfigError, SSGError
from ssg_hub.networks.guide import Guide
from ssg_hub.training.batches import source_pair
from ssg_hub.training.config import TrainConfig
from ssg_hub.training.learner import average_norms, prepare
from ssg_hub.training.losses import SourceLosses
from ssg_hub.training.models import first_guide, first_model
from ssg_hub.training.run import Run
from ssg_hub.training.stage import Stage
from ssg_hub.training.validation import DevSet


@pytest.fixture
def watch(data, tmp_path, monkeypatch):
    """Run the adversarial stage in this process; returns what each call of `Stage.update` changed."""

    def run(**changes) -> SimpleNamespace:
        values = yaml.safe_load(write_config(tmp_path, data, **changes).read_text())
        config = TrainConfig(**values)
        seen = SimpleNamespace(updates=[], rates=[], dtypes=set(), learners={}, networks={}, stage=None)

        class WatchedStage(Stage):
            def __init__(self, run, name, steps, states=()):
                super().__init__(run, name, steps, states)
                seen.stage, seen.networks["ema"] = self, states[0].module

            def update(self, learner):
                before = {name: snapshot(network) for name, network in seen.networks.items()}
                moved = super().update(learner)
                changed = {name for name, network in seen.networks.items() if differ(before[name], snapshot(network))}
                owner = next(name for name, network in seen.networks.items() if network is learner.bare)
                seen.updates.append((owner, moved, changed, {k: snapshot(v) for k, v in seen.networks.items()}))
                seen.rates.append((owner, learner.optimizer.param_groups[0]["lr"]))
                seen.learners[owner] = learner
                return moved

            def save(self):
                """Nothing is kept."""

        monkeypatch.setattr(train_accelerate, "Stage", WatchedStage)
        build = train_accelerate.first_discriminator

        def build_watched(*arguments):
            seen.networks["discriminator"] = build(*arguments)
            return seen.networks["discriminator"]

        monkeypatch.setattr(train_accelerate, "first_discriminator", build_watched)
        session = Run(config)
        with session.under_way():
            guide = first_guide(config)
            generator = first_model(config, guide).generator
            generator.conv_first.register_forward_hook(lambda layer, inputs, output: seen.dtypes.add(output.dtype))
            seen.networks |= {"generator": generator} | ({"guide": guide} if guide else {})
            objective = SourceLosses(config, session.accelerator.device)
            train_accelerate.adversarial(session, generator, guide, guide, DevSet(config), objective)
        return seen

    return run


def snapshot(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


def differ(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(a[name], b[name]) for name in a)


def test_each_update_moves_its_own_network_alone(watch):
    seen = watch(adversarial_steps=2)
    assert [(owner, moved) for owner, moved, *_ in seen.updates] == [("generator", True), ("discriminator", True)] * 2
    for owner, _, changed, _ in seen.updates:
        assert changed == {owner}
    # the EMA moves between the generator's update and the discriminator's, and towards the generator
    after_g, after_d = seen.updates[2][3], seen.updates[3][3]
    decay = min(0.999, 2 / 11)  # the second update of a short run: (1 + 1) / (10 + 1)
    for name, value in after_g["ema"].items():
        expected = torch.lerp(value, after_g["generator"][name], 1 - decay)
        assert torch.allclose(after_d["ema"][name], expected, atol=1e-6)


def test_a_run_hands_its_discriminator_on_to_the_next(watch, data, tmp_path):
    learnt = watch(adversarial_steps=2)
    file = tmp_path / "run/discriminator.safetensors"
    shutil.copy(file, tmp_path / "kept.safetensors")
    state = load_file(file)
    assert all(torch.equal(state[name], value) for name, value in learnt.networks["discriminator"].state_dict().items())
    begins = watch(adversarial_steps=1, discriminator_weights=str(tmp_path / "kept.safetensors")).updates[0]
    assert begins[0] == "generator" and not differ(begins[3]["discriminator"], state)


def test_a_joint_guide_is_moved_by_its_own_update_alone(watch):
    seen = watch(adversarial_steps=1, guide="joint")
    assert [(owner, changed) for owner, _, changed, _ in seen.updates] == [
        (name, {name}) for name in ("generator", "discriminator", "guide")
    ]


def test_accumulation_moves_both_networks_once_per_step(watch):
    seen = watch(adversarial_steps=1, gradient_accumulation=2)
    assert [(owner, moved) for owner, moved, *_ in seen.updates] == [
        ("generator", False),
        ("discriminator", False),
        ("generator", True),
        ("discriminator", True),
    ]


def test_an_update_brings_its_own_gradient_alone_back_into_its_units(scaled):
    """In fp16 losses are multiplied by a scale; one optimizer steps while the other still accumulates."""
    stage = bare_stage(scaled, max_skipped_updates=0)
    networks = [torch.nn.Linear(1, 1, bias=False) for _ in range(2)]
    learners = prepare(scaled, *[(network, torch.optim.SGD(network.parameters(), 1.0)) for network in networks])
    before = [network.weight.item() for network in networks]
    for value in (1.0, 3.0):
        with scaled.accumulate(*networks):
            for learner in learners:
                scaled.backward(learner.bare(torch.tensor([[value]])).sum())
                stage.update(learner)
    rate = 1 / 20  # of the first of twenty steps, in which it rises
    moved = [start - network.weight.item() for start, network in zip(before, networks, strict=True)]
    assert moved == pytest.approx([2 * rate, 2 * rate], rel=1e-3)


def test_in_fp16_dropped_updates_count_in_a_row_and_for_each_network(scaled):
    """The scaler tries a larger scale every 2000 steps: a long run has many that are too large, and is healthy."""
    stage = bare_stage(scaled, max_skipped_updates=1)
    networks = [torch.nn.Linear(1, 1, bias=False) for _ in range(2)]
    learners = prepare(scaled, *[(network, torch.optim.SGD(network.parameters(), 1.0)) for network in networks])

    def update(*values: float) -> None:
        for learner, value in zip(learners, values, strict=True):
            scaled.backward(learner.bare(torch.tensor([[value]])).sum())
            stage.update(learner)

    for _ in range(3):
        update(math.inf, 1.0)
        update(1.0, 1.0)
    assert stage.skipped_updates == 3
    update(math.inf, 1.0)
    with pytest.raises(SSGError, match="2 updates had gradients that are not finite"):
        update(math.inf, 1.0)


def bare_stage(accelerator: Accelerator, **config) -> Stage:
    """A stage that updates, and does nothing else."""
    stage = object.__new__(Stage)
    stage.run, stage.accelerator, stage.name, stage.steps, stage.step = None, accelerator, "adversarial", 1, 0
    stage.skipped_updates = 0
    stage.config = SimpleNamespace(max_grad_norm=math.inf, anneal="steps", **config)
    return stage


@pytest.fixture
def scaled():
    """An accelerator with a gradient scaler, as a GPU has it in fp16; two micro-batches a step."""
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=True, mixed_precision="fp16", gradient_accumulation_steps=2)
    accelerator.scaler, accelerator.native_amp = torch.amp.GradScaler("cpu", init_scale=1024.0), True
    yield accelerator
    AcceleratorState._reset_state(reset_partial_state=True)


def test_batch_norms_have_the_mean_of_all_processes():
    norm = torch.nn.BatchNorm2d(2)
    norm.running_mean.copy_(torch.tensor([1.0, 2.0])), norm.running_var.copy_(torch.tensor([3.0, 4.0]))
    other = torch.tensor([3.0, 2.0, 1.0, 8.0])  # of the second process, in the same order
    two = SimpleNamespace(num_processes=2, reduce=lambda own, how: (own + other) / 2 if how == "mean" else None)
    average_norms(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), norm), two)
    assert norm.running_mean.tolist() == [2, 2] and norm.running_var.tolist() == [2, 6]


def test_the_guide_has_its_norms_averaged_after_each_update(data, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(train_accelerate, "average_norms", lambda network, accelerator: seen.append(type(network)))
    stages = {"guide_model": None, "guide_width": 8, "guide_steps": 2, "adversarial_steps": 0, "target": []}
    train_here(write_config(tmp_path, data, gradient_accumulation=2, **stages))
    assert seen == [Guide, Guide]


def test_the_guide_that_is_saved_is_the_average(data, tmp_path, monkeypatch):
    """Statistics of batch norms included. The second of two updates counts 9/11: a short run is not held back."""
    seen = []
    monkeypatch.setattr(
        train_accelerate, "average_norms", lambda network, _: seen.append(deepcopy(network.state_dict()))
    )
    stages = {"guide_model": None, "guide_width": 8, "guide_steps": 2, "adversarial_steps": 0, "target": []}
    train_here(write_config(tmp_path, data, guide_lr=0.01, guide_lovasz=0.5, **stages))
    first, second = seen
    saved = Guide.from_pretrained(tmp_path / "run/guide").state_dict()
    for name, tensor in saved.items():
        if tensor.is_floating_point():
            assert not torch.equal(first[name], second[name])
            wanted = first[name] + 9 / 11 * (second[name] - first[name])
            assert torch.allclose(tensor, wanted, atol=1e-6), name


def test_the_guide_loss_alone_moves_the_generator(watch):
    others = dict.fromkeys(("l1_weight", "perceptual_weight", "adversarial_weight", "consistency_weight"), 0.0)
    seen = watch(adversarial_steps=1, guide_weight=1.0, **others)
    assert [(owner, changed) for owner, _, changed, _ in seen.updates] == [("generator", {"generator"})]


def test_the_consistency_with_real_lr_needs_no_guide(watch):
    others = dict.fromkeys(("l1_weight", "perceptual_weight", "adversarial_weight", "guide_weight"), 0.0)
    moved = watch(adversarial_steps=1, guide_model=None, target_labels=None, **others)
    assert [(owner, changed) for owner, _, changed, _ in moved.updates] == [("generator", {"generator"})]


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    return random_heads(tmp_path_factory.mktemp("heads"))


TERMS = ("l1", "perceptual", "lpips", "dists", "ldl", "mesh", "guide_feature", "adversarial")


@pytest.mark.parametrize("term", TERMS)
def test_every_term_on_source_moves_the_generator_by_itself(watch, heads, term):
    chosen = {f"{name}_weight": float(name == term) for name in TERMS}
    seen = watch(adversarial_steps=1, guide_weight=0, consistency_weight=0, **chosen, **heads)
    assert seen.updates[0][:3] == ("generator", True, {"generator"})
    assert [owner for owner, *_ in seen.updates[1:]] == (["discriminator"] if term == "adversarial" else [])
    assert list(seen.stage.losses) == [term] + (["discriminator"] if term == "adversarial" else [])


@pytest.mark.parametrize("kind", ["patch", "features", "semantic"])
def test_each_discriminator_is_moved_by_its_own_update_alone(watch, heads, kind):
    seen = watch(adversarial_steps=2, discriminator=kind, lpips_weight=1.0, **heads)
    assert [(owner, changed) for owner, _, changed, _ in seen.updates] == [
        (name, {name}) for name in ("generator", "discriminator")
    ] * 2


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("mixed", torch.bfloat16)])
def test_mixed_precision_leaves_the_generator_out_unless_asked(watch, precision, dtype):
    AcceleratorState._reset_state(reset_partial_state=True)  # which knows one precision per process
    try:
        seen = watch(adversarial_steps=1, mixed_precision="bf16", generator_precision=precision)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert seen.dtypes == {dtype}
    assert [(owner, changed) for owner, _, changed, _ in seen.updates] == [
        (name, {name}) for name in ("generator", "discriminator")
    ]


def test_another_precision_than_an_earlier_runs_needs_a_new_process(data, tmp_path):
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        Accelerator(cpu=True, mixed_precision="bf16")
        values = yaml.safe_load(write_config(tmp_path, data).read_text())
        Run(TrainConfig(**values, mixed_precision="bf16"))
        with pytest.raises(ConfigError, match=r"mixed_precision is no, .* here it is bf16.*new process"):
            Run(TrainConfig(**values, mixed_precision="no"))
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_the_discriminator_warms_up_alone(watch):
    """Generator, EMA and the generator's optimizer are untouched; its learning rate rises once it begins."""
    seen = watch(adversarial_steps=26, discriminator_warmup_steps=3, lr=1e-3)
    owners = [owner for owner, *_ in seen.updates]
    assert owners == ["discriminator"] * 3 + ["generator", "discriminator"] * 23
    assert [changed for _, _, changed, _ in seen.updates[:3]] == [{"discriminator"}] * 3
    start, before_g = seen.updates[0][3], seen.updates[2][3]
    for name in ("generator", "ema", "guide"):
        assert not differ(start[name], before_g[name])
    assert not differ(start["generator"], start["ema"])  # which begins as a copy
    rates = [rate for owner, rate in seen.rates if owner == "generator"]
    cosine = [0.01 + 0.99 * (1 + math.cos(math.pi * step / 26)) / 2 for step in range(3, 26)]
    warm = [min(1, (index + 1) / 20) for index in range(23)]
    assert rates == pytest.approx([1e-3 * a * b for a, b in zip(cosine, warm, strict=True)], rel=1e-6)
    # Adam has counted the generator's 23 updates, and no more
    assert {int(state["step"]) for state in seen.learners["generator"].optimizer.state.values()} == {23}
    assert {int(state["step"]) for state in seen.learners["discriminator"].optimizer.state.values()} == {26}


def test_updates_that_are_not_finite_are_dropped_and_counted_until_they_are_too_many(watch):
    with pytest.raises(SSGError, match=r"3 updates had gradients that are not finite.*learning rate"):
        watch(l1_weight=1e300, adversarial_weight=0.0, max_skipped_updates=2)


def test_the_average_stays_where_the_generator_did_not_step(watch):
    seen = watch(l1_weight=1e300, adversarial_weight=0.0, adversarial_steps=2, max_skipped_updates=2)
    assert [(moved, changed) for _, moved, changed, _ in seen.updates] == [(False, set())] * 2
    assert seen.stage.skipped_updates == 2
    assert not differ(seen.updates[0][3]["ema"], snapshot(seen.networks["ema"]))


def test_the_grain_that_is_kept_is_in_the_target_of_source_pairs(data):
    """The same LR whatever is kept; the target is HR and a share of the noise, which HR's own noise is not."""
    source = {"hr": torch.full((2, 3, 32, 32), 0.5), "seed": torch.tensor([1, 2])}
    configs = [TrainConfig(output_dir="out", source=["hr"], keep_grain=share) for share in (0.0, 0.5, 1.0)]
    none, half, whole = (source_pair(source, load_degradation("generic"), config) for config in configs)
    assert torch.equal(none.lr, whole.lr) and none.hr is none.wanted is source["hr"]
    kept = whole.wanted - source["hr"]
    assert kept.abs().max() > 0.005 and torch.allclose(kept, 2 * (half.wanted - source["hr"]), atol=1e-6)
    assert torch.equal(whole.hr, whole.wanted)  # the discriminator takes grain for real as well


def test_a_sharpened_target_is_not_what_the_discriminator_takes_for_real(data):
    source = {"hr": torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), "lr": torch.zeros(1)}
    source |= {"judged": torch.ones(1), "seed": torch.tensor([1])}
    config = TrainConfig(output_dir="out", source=["hr"], source_lr="lr", sharpen=0.5)
    pair = source_pair(source, None, config)
    assert pair.hr is source["hr"] and not torch.equal(pair.wanted, pair.hr)


def test_sr_and_hr_are_shown_without_edges_of_random_widths(data):
    """Each sample's by its seed alone, so that no mesh can hide between the generator's grid and that of VGG16."""
    hr = torch.rand(32, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    source = {"hr": hr, "lr": torch.zeros(32, 3, 12, 12), "judged": torch.ones(32), "seed": torch.arange(32)}
    config = TrainConfig(output_dir="out", source=["hr"], source_lr="lr", hr_crop=48, grid_shift=8, sharpen=0.5)
    pair = source_pair(source, None, config)
    assert pair.hr.shape == pair.wanted.shape == (32, 3, 40, 40) and pair.lr is source["lr"]
    assert torch.equal(pair.shown(hr), pair.hr) and not torch.equal(pair.wanted, pair.hr)
    for picture, shown, (down, right) in zip(hr, pair.hr, pair.corners.tolist(), strict=True):
        assert torch.equal(shown, picture[:, down : down + 40, right : right + 40])
    assert set(pair.corners.flatten().tolist()) == set(range(9))
    alone = source_pair({name: value[5:6] for name, value in source.items()}, None, config)
    assert torch.equal(alone.corners[0], pair.corners[5])


def test_the_whole_step_takes_shifted_views(watch, heads):
    seen = watch(adversarial_steps=2, grid_shift=8, ldl_weight=1.0, lpips_weight=1.0, **heads)
    assert [(owner, changed) for owner, _, changed, _ in seen.updates] == [
        (name, {name}) for name in ("generator", "discriminator")
    ] * 2
