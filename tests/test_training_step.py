"""What one adversarial step changes and what it leaves alone, watched at every update of the script's own loop."""

import signal
from types import SimpleNamespace

import pytest
import torch
import yaml
from tiny_run import make_data, write_config

import train_accelerate
from ssg_hub.degradation import load_degradation
from ssg_hub.errors import SSGError
from ssg_hub.evaluation.judges import load_guide
from ssg_hub.training.config import TrainConfig
from ssg_hub.training.run import Run
from ssg_hub.training.stage import Stage


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def signals():
    """A run takes over two signals; pytest wants them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def watch(data, tmp_path, monkeypatch):
    """Run the adversarial stage in this process; returns what each call of `Stage.update` changed."""

    def run(**changes) -> SimpleNamespace:
        values = yaml.safe_load(write_config(tmp_path, data, **changes).read_text())
        config = TrainConfig(**values)
        seen = SimpleNamespace(updates=[], networks={}, stage=None)

        class WatchedStage(Stage):
            def __init__(self, run, name, steps, states=()):
                super().__init__(run, name, steps, states)
                seen.stage, seen.networks["ema"] = self, states[0].module

            def update(self, optimizer, parameters):
                parameters = list(parameters)
                before = {name: snapshot(network) for name, network in seen.networks.items()}
                moved = super().update(optimizer, parameters)
                changed = {name for name, network in seen.networks.items() if differ(before[name], snapshot(network))}
                owner = next(n for n, net in seen.networks.items() if parameters[0] is next(net.parameters()))
                seen.updates.append((owner, moved, changed, {k: snapshot(v) for k, v in seen.networks.items()}))
                return moved

            def save(self):
                """Nothing is kept."""

        monkeypatch.setattr(train_accelerate, "Stage", WatchedStage)
        build = train_accelerate.build_discriminator

        def build_watched(*arguments):
            seen.networks["discriminator"] = build(*arguments)
            return seen.networks["discriminator"]

        monkeypatch.setattr(train_accelerate, "build_discriminator", build_watched)
        session = Run(config)
        guide = load_guide(config.guide_model).requires_grad_(False) if config.guide_model else None
        generator = train_accelerate.new_model(config, guide).generator
        seen.networks |= {"generator": generator} | ({"guide": guide} if guide else {})
        train_accelerate.adversarial(session, generator, guide, guide)
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


def test_the_guide_loss_alone_moves_the_generator(watch):
    others = dict.fromkeys(("l1_weight", "perceptual_weight", "adversarial_weight", "consistency_weight"), 0.0)
    seen = watch(adversarial_steps=1, guide_weight=1.0, **others)
    assert [(owner, changed) for owner, _, changed, _ in seen.updates] == [("generator", {"generator"})]


def test_the_consistency_with_real_lr_needs_no_guide(watch):
    others = dict.fromkeys(("l1_weight", "perceptual_weight", "adversarial_weight", "guide_weight"), 0.0)
    moved = watch(adversarial_steps=1, guide_model=None, target_labels=None, **others)
    assert [(owner, changed) for owner, _, changed, _ in moved.updates] == [("generator", {"generator"})]
    still = watch(adversarial_steps=1, guide_model=None, consistency_weight=0.0, **others)
    assert [(owner, changed) for owner, _, changed, _ in still.updates] == [("generator", set())]


def test_updates_that_are_not_finite_are_dropped_and_counted_until_they_are_too_many(watch):
    with pytest.raises(SSGError, match=r"3 updates had gradients that are not finite.*learning rate"):
        watch(l1_weight=float("inf"), adversarial_weight=0.0, max_skipped_updates=2)


def test_the_average_stays_where_the_generator_did_not_step(watch):
    seen = watch(l1_weight=float("inf"), adversarial_weight=0.0, adversarial_steps=2, max_skipped_updates=2)
    assert [(moved, changed) for _, moved, changed, _ in seen.updates] == [(False, set())] * 2
    assert seen.stage.skipped_updates == 2
    assert not differ(seen.updates[0][3]["ema"], snapshot(seen.networks["ema"]))


def test_the_grain_that_is_kept_is_in_the_target_of_source_pairs(data):
    """The same LR whatever is kept; the target is HR and a share of the noise, which HR's own noise is not."""
    config = {"output_dir": "out", "source": ["hr"], "hr_crop": 32, "seed": 5}
    source = {"hr": torch.full((2, 3, 32, 32), 0.5), "seed": torch.tensor([1, 2])}
    degradation = load_degradation("generic")
    pairs = {
        share: train_accelerate.source_pair(source, degradation, TrainConfig(**config, keep_grain=share))
        for share in (0.0, 0.5, 1.0)
    }
    assert torch.equal(pairs[0.0][0], pairs[1.0][0]) and torch.equal(pairs[0.0][1], source["hr"])
    half, whole = (pairs[share][1] - source["hr"] for share in (0.5, 1.0))
    assert whole.abs().max() > 0.005 and torch.allclose(whole, 2 * half, atol=1e-6)
