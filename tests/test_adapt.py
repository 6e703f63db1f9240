"""`ssg adapt` from end to end on a tiny model: what it writes, what it refuses, how it goes on, and the Hub."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from made_pictures import draw_scene, even_kernel, spoil
from PIL import Image
from safetensors.torch import save_file
from tiny_run import ROOT, environment, random_vgg16, signalled_at, train_here, write_config

from ssg_hub import SSGModel, adapt
from ssg_hub.adapting import strength
from ssg_hub.errors import ConfigError, ImageError
from ssg_hub.networks import perceptual

TOKEN = "hf_owner0123456789"
MINUTES = 0.02


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """A folder with `photos`, a tiny `model` and VGG16 with random weights."""
    folder = tmp_path_factory.mktemp("given")
    make_given(folder)
    return folder


def make_given(folder: Path) -> None:
    from conftest import make_tiny_model

    (folder / "photos").mkdir(parents=True)
    for number in range(10):
        pixels = spoil(draw_scene(number, (384, 288)), even_kernel(2, 2), 4, number)
        Image.fromarray(pixels).save(folder / f"photos/{number}.png")
    make_tiny_model().save_pretrained(folder / "model")
    save_file(random_vgg16(), folder / "vgg.safetensors")


def use_little(put=setattr) -> None:
    """Fewer and smaller pieces and crops than in earnest, and no bf16: another precision cannot follow in the same
    process. `put` takes a module, a name in it, and the new value."""
    from ssg_hub.adapting import adapt as module
    from ssg_hub.adapting import materials, recipe

    def build_config(*given):
        return recipe.build_config(*given).model_copy(update={"hr_crop": 64, "target_crop": 64, "batch": 2})

    put(module, "build_config", build_config)
    for name, value in {"PAIRS": 2, "PAIR_SIDE": 64, "HR_PIECES": 16, "SHOWN": 2, "HR_LONGEST": 300}.items():
        put(materials, name, value)
    put(recipe, "has_bf16", lambda: False)
    put(recipe, "DISCRIMINATOR_STEPS", 0)  # so that the very first step trains the generator


@pytest.fixture(scope="module", autouse=True)
def _little():
    """As `use_little`, also for what the fixtures of this file train; the next file has what is in earnest again."""
    with pytest.MonkeyPatch.context() as patch:
        use_little(patch.setattr)
        yield


def run(given: Path, output: Path, **options):
    options = {"model": given / "model", "minutes": MINUTES, "anyway": True, **options}
    return adapt(given / "photos", output, perceptual_weights=given / "vgg.safetensors", **options)


@pytest.fixture(scope="module")
def adapted(given, tmp_path_factory):
    """One adaptation, for the tests that look at it."""
    output = tmp_path_factory.mktemp("adapted") / "camera"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strength, "is_better", lambda points: True)
        return run(given, output)


def test_the_folder_is_a_model_with_its_bank_and_report(adapted, given):
    folder = adapted.folder
    model = SSGModel.from_pretrained(folder)
    assert model.labels == SSGModel.from_pretrained(given / "model").labels
    assert model.config.trained_on["adapted_from"] == "model"  # not where it lies
    assert (folder / "degradation.json").is_file()
    report = (folder / "report.html").read_text()
    assert report.count('class="row"') == 2 and report.count("data:image/webp") == 2 * 3 + 1
    assert "<svg" in report and "It blurs by about" in report and "<script" not in report
    assert all(f"<td>{share:.0%}</td>" in report for share in strength.SHARES) and adapted.strength in strength.SHARES
    assert model.config.trained_on["adapted_strength"] == adapted.strength
    card = (folder / "README.md").read_text()
    assert "adapted to one camera by 10 of its pictures, without HR or labels" in card and "| before |" in card


def test_the_generator_was_trained(adapted, given):
    before, after = (SSGModel.from_pretrained(f).generator.state_dict() for f in (given / "model", adapted.folder))
    assert any(not torch.equal(before[name].half().float(), after[name]) for name in before)


def test_pictures_that_are_refused_cost_no_download(given, tmp_path, monkeypatch):
    """VGG16 is half a gigabyte and comes after the look at the pictures; a file that is missing is told before it."""

    def fetch():
        raise AssertionError("VGG16 was fetched")

    monkeypatch.setattr(perceptual, "fetch_vgg16", fetch)
    few = tmp_path / "few"
    few.mkdir()
    for number in range(3):
        shutil.copy(given / f"photos/{number}.png", few)
    with pytest.raises(ImageError, match="--anyway goes on all the same"):
        adapt(few, tmp_path / "out", model=given / "model", minutes=MINUTES)
    missing = tmp_path / "vgg.safetensors"
    with pytest.raises(ConfigError, match="no VGG16 weights at .*vgg.safetensors"):
        adapt(tmp_path / "nothing", tmp_path / "out", perceptual_weights=missing)
    assert not (tmp_path / "out").exists()


def test_another_line_is_refused(adapted, given):
    with pytest.raises(ConfigError, match=r"another request \(seed differ"):
        run(given, adapted.folder, seed=1)
    assert (adapted.folder / "config.json").is_file()


@pytest.mark.slow
def test_the_same_line_goes_on(adapted, given, monkeypatch):
    monkeypatch.setattr(strength, "is_better", lambda points: True)
    heard = []
    steps = newest_step(adapted.folder)
    again = run(given, adapted.folder, minutes=2 * MINUTES, tell=heard.append)
    assert again.before == adapted.before and heard[0].startswith("going on")
    assert newest_step(adapted.folder) > steps


def newest_step(folder: Path) -> int:
    return max(int(path.name.rpartition("-")[2]) for path in folder.glob("work/training/checkpoints/adversarial-*"))


@pytest.fixture
def copied(adapted, tmp_path) -> Path:
    """A copy of the adaptation's folder, in which the same line goes on without preparing all again."""
    return shutil.copytree(adapted.folder, tmp_path / "camera")


def test_what_is_not_better_is_not_handed_over(given, copied, monkeypatch):
    """Not even where an earlier call has handed over an adapted model."""
    monkeypatch.setattr(strength, "is_better", lambda points: False)
    found = run(given, copied)
    start_state, kept = (SSGModel.from_pretrained(f).state_dict() for f in (given / "model", copied))
    assert not found.better and found.strength == 0
    assert all(torch.equal(start_state[name], kept[name]) for name in start_state)
    assert "Not better" in (copied / "report.html").read_text()


def push_adapted(folder: str, output: str, repo_id: str) -> dict:
    """In the client's process: go on adapting, push, and load what was pushed."""
    use_little()
    with mock.patch.dict(os.environ, HF_TOKEN=TOKEN), mock.patch.object(strength, "is_better", lambda points: True):
        found = run(Path(folder), Path(output), push_to_hub=repo_id)
        loaded, own = SSGModel.from_pretrained(repo_id).state_dict(), found.model.state_dict()
    return {"same": all(torch.equal(loaded[name], own[name]) for name in own)}


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_impossible_minutes_are_refused_at_once(given, tmp_path, minutes):
    with pytest.raises(ConfigError, match="minutes is"):
        run(given, tmp_path / "camera", minutes=minutes)
    assert not (tmp_path / "camera").exists()


def test_a_model_whose_scale_no_training_has_is_refused_at_once(given, tmp_path, monkeypatch):
    from ssg_hub.adapting import adapt as module

    monkeypatch.setattr(module, "read_pictures", lambda folder: pytest.fail("the pictures were read before"))
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1, "scale": 3})
    model.save_pretrained(tmp_path / "x3")
    with pytest.raises(ConfigError, match="enlarges 3 times; adapting is for 1, 2, 4"):
        run(given, tmp_path / "camera", model=tmp_path / "x3")


def test_a_result_is_pushed_without_the_users_pictures(hub, client, given, copied):
    hub.users = {TOKEN: "ann"}
    assert client.run(push_adapted, folder=str(given), output=str(copied), repo_id="ann/camera") == {"same": True}
    files = hub.files("ann/camera")
    assert {"config.json", "README.md", "degradation.json", "degradation.safetensors"} < set(files)
    assert not any("report" in name or "work" in name for name in files)
    assert "names" not in json.loads(files["degradation.json"])["report"]


# --- the clock and the signal, in the training script itself


def test_learning_rates_fall_by_the_clock():
    from types import SimpleNamespace

    from ssg_hub.training.stage import Stage

    stage = Stage.__new__(Stage)
    stage.config = SimpleNamespace(anneal="clock", max_minutes=2.0)
    stage.step, stage.steps = 100, 10**7
    learner = SimpleNamespace(rate=1.0, begins=0)
    rates = []
    for stage.seconds in (0.0, 60.0, 120.0, 500.0):
        rates.append(stage._learning_rate(learner))
    assert rates == pytest.approx([1.0, 0.505, 0.01, 0.01])


def test_a_clock_needs_minutes(data, tmp_path):
    from ssg_hub.training.config import parse_config

    with pytest.raises(ConfigError, match="anneal: clock needs max_minutes"):
        parse_config(["--config", str(write_config(tmp_path, data, anneal="clock"))])


def test_an_interrupted_run_finishes_with_its_model_and_goes_on(data, tmp_path):
    clock = {"anneal": "clock", "on_interrupt": "finish", "max_minutes": 30, "adversarial_steps": 10**6}
    config = write_config(tmp_path, data, **clock)
    with signalled_at(tmp_path / "run/checkpoints/adversarial-0000002", signal.SIGINT):
        train_here(config)
    assert (tmp_path / "run/model/config.json").is_file()
    stopped = newest(tmp_path)
    train_here(config, "--resume", "latest", "--max_minutes", "0.0001")  # they are over: one step more, and the end
    assert newest(tmp_path) == stopped + 1


def newest(folder: Path) -> int:
    return max(int(path.name.rpartition("-")[2]) for path in folder.glob("run/checkpoints/adversarial-*"))


@pytest.mark.slow
def test_two_processes_adapt_together(given, tmp_path):
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launcher += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "ssg_hub"]
    words = [
        "adapt",
        str(given / "photos"),
        "-o",
        str(tmp_path / "camera"),
        "--model",
        str(given / "model"),
        "--anyway",
    ]
    words += ["--minutes", "0.1", "--perceptual-weights", str(given / "vgg.safetensors")]
    done = subprocess.run([*launcher, *words], env=environment(), capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert (tmp_path / "camera/report.html").is_file(), done.stderr[-3000:]
    assert done.stderr.count("training for") == 1
