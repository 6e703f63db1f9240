"""The real training script on a tiny configuration: resume, several processes, signals, faults, its products."""

import json
import os
import random
import re
import shutil
import signal
import time
from pathlib import Path
from unittest import mock

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_files import files_up_to
from tiny_run import largest_difference, start, train, train_here, wait_for_path, weights, write_config

from ssg_hub.errors import ConfigError
from ssg_hub.model import SSGModel
from ssg_hub.processes.ending import end_plainly
from ssg_hub.training.checkpoints import list_checkpoints

SEED = int(os.environ.get("SSG_TEST_SEED", 0))  # of what is left to chance here: another one tries other moments
CHECKPOINT = "run/checkpoints/adversarial-{:07d}"
TOKEN = "hf_owner0123456789"


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    train_here(write_config(folder, data))
    return folder


def start_and_signal(folder, config, after: int, delay: float, how: int, *options: str, processes: int = 1):
    """Start the script, and signal all its processes, data workers too, some time after the checkpoint of step `after`.

    Returns:
        The exit codes, and what the first process printed.
    """
    started = start(config, *options, processes=processes)
    wait_for_path(folder / CHECKPOINT.format(after), started[0])
    time.sleep(delay)
    for script in started:
        os.killpg(script.process.pid, how)
    codes, printed = zip(*(script.end() for script in started), strict=True)
    assert list((folder / "run/checkpoints").glob("adversarial-*")), printed[0][-3000:]
    return list(codes), printed[0]


def check_killed_run_equals(whole, folder, config, seed: int, *options, processes=1):
    """Kill a run at a random moment, which the seed fixes, resume it, and compare."""
    chance = random.Random(seed)
    for _ in range(5):  # a run that was quicker than its killer proves nothing
        after, delay = chance.choice([2, 4]), chance.uniform(0, 0.2)
        print(f"seed {seed}: killed {delay:.3f} s after the checkpoint of step {after}")
        codes, _ = start_and_signal(folder, config, after, delay, signal.SIGKILL, *options, processes=processes)
        if killed := codes == [-signal.SIGKILL] * processes and not (folder / "run/model").exists():
            break
        shutil.rmtree(folder / "run")
    assert killed, "no run died of SIGKILL before it had its model"
    if processes == 1:
        train_here(config, "--resume", "latest", *options)
    else:
        train(config, "--resume", "latest", *options, processes=processes)
    last = CHECKPOINT.format(6)
    assert largest_difference(weights(whole / last), weights(folder / last)) == 0
    assert largest_difference(weights(whole / "run/model"), weights(folder / "run/model")) == 0


def test_products_of_a_run(whole):
    checkpoints = sorted(path.name for path in (whole / "run/checkpoints").iterdir())
    assert checkpoints == ["adversarial-0000004", "adversarial-0000006"]
    record = json.loads((whole / "run/run.json").read_text())
    assert record["config"]["lr"] == 1e-3 and record["data"]["hr"]["pictures"] == 5
    card = (whole / "run/model/README.md").read_text()
    assert "library_name: ssg_hub" in card

    from ssg_hub.model import SSGModel

    model = SSGModel.from_pretrained(whole / "run/model")
    assert model.labels == ["sky", "road", "car"] and model.config.generator_config["features"] == 8
    # what ships is the moving average, not the generator of the last step
    last = whole / CHECKPOINT.format(6)
    average = torch.load(last / "custom_checkpoint_1.pkl", weights_only=True)
    raw = load_file(last / "model.safetensors")
    shipped = model.generator.state_dict()
    assert all(torch.equal(value, average[f"module.{name}"]) for name, value in shipped.items())
    assert any(not torch.equal(value, raw[name]) for name, value in shipped.items())


def test_killed_and_resumed_equals_uninterrupted(whole, data, tmp_path):
    check_killed_run_equals(whole, tmp_path, write_config(tmp_path, data), SEED)


@pytest.mark.slow
@pytest.mark.parametrize("kill", range(1, 11))
def test_ten_random_kills(whole, data, tmp_path, kill):
    check_killed_run_equals(whole, tmp_path, write_config(tmp_path, data), SEED + kill)


@pytest.mark.slow
@pytest.mark.parametrize("accumulation", [1, 2])
def test_killed_and_resumed_on_two_processes(data, tmp_path, accumulation):
    options = ("--gradient_accumulation", str(accumulation), "--batch", "1")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    train(write_config(whole, data), *options, processes=2)
    check_killed_run_equals(whole, killed, write_config(killed, data), SEED, *options, processes=2)


@pytest.mark.slow
@pytest.mark.parametrize("option", [("--mixed_precision", "bf16"), ("--compile", "true"), ("--guide_weight", "0")])
def test_other_ways_to_run(whole, data, tmp_path, option):
    """Each trains to other weights than the plain run, near it, and resumes."""
    train(write_config(tmp_path, data), "--adversarial_steps", "2", *option)
    train(tmp_path / "config.yaml", "--adversarial_steps", "3", *option, "--resume", "latest")
    moved = largest_difference(weights(whole / "run/model"), weights(tmp_path / "run/model"))
    assert 0 < moved < 0.1


def test_two_processes_with_half_the_batch_equal_one(data, tmp_path):
    """G and D alike, and the gradients that Adam has gathered; a process that sees half the batch is far from both."""
    one, two, half = (tmp_path / name for name in ("one", "two", "half"))
    one.mkdir(), two.mkdir(), half.mkdir()
    options = ("--adversarial_steps", "3")
    train_here(write_config(one, data), *options)
    scripts = start(write_config(two, data, batch=1, target_batch=1), *options, processes=2)
    ended = [script.end(600) for script in scripts]
    assert [code for code, _ in ended] == [0, 0], ended[0][1][-3000:]
    train_here(write_config(half, data, batch=1, target_batch=1), *options)
    last = CHECKPOINT.format(3)
    # measured: 1e-6 between one and two, 2e-4 from half; gradients 1e-5 and 0.04 of their size
    assert largest_difference(weights(one / last), weights(two / last)) < 2e-5
    assert largest_difference(weights(one / last), weights(half / last)) > 1e-4
    for name in ("optimizer.bin", "optimizer_1.bin"):
        gathered = [gathered_gradients(folder / last / name) for folder in (one, two, half)]
        near, far = ((other - gathered[0]).norm() / gathered[0].norm() for other in gathered[1:])
        assert near < 1e-3 < 0.01 < far


def gathered_gradients(path) -> torch.Tensor:
    """Adam's running means of the gradients, all parameters in one row."""
    state = torch.load(path, weights_only=True)["state"]
    return torch.cat([entry["exp_avg"].flatten() for entry in state.values()])


def test_sigterm_saves_and_says_how_to_go_on(data, tmp_path, caplog):
    config = write_config(tmp_path, data, workers=1)
    options = ("--adversarial_steps", "200", "--checkpoint_every", "2")
    codes, printed = start_and_signal(tmp_path, config, 2, 0.1, signal.SIGTERM, *options)
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    step = int(names[-1][-7:])
    told = f"stopped at adversarial step {step}; continue with --resume latest."
    assert codes == [130] and printed.rstrip().endswith(told) and "Traceback" not in printed
    assert all(not name.startswith(".") for name in names) and len(names) == 2 and 2 <= step < 200
    assert not (tmp_path / "run/model").exists()
    # what was saved is whole: it goes on from that step
    caplog.set_level("INFO", logger="train")
    train_here(config, "--resume", "latest", "--adversarial_steps", str(step + 1))
    assert f"continuing from {names[-1]}" in caplog.text


@pytest.mark.slow
def test_a_process_that_dies_ends_the_others_with_a_sentence(data, tmp_path):
    first, second = start(write_config(tmp_path, data), "--adversarial_steps", "2000", processes=2)
    wait_for_path(tmp_path / CHECKPOINT.format(2), first)
    second.process.kill()
    code, printed = first.end()
    assert second.end()[0] == -signal.SIGKILL, "the process to be killed had ended before"
    assert code == 1 and "Traceback" not in printed, printed[-3000:]
    assert printed.rstrip().splitlines()[-1].startswith("train_accelerate.py: another process of this run has ended")


def test_errors_end_the_script_with_a_sentence(data, tmp_path, capsys):
    """Here true pairs of other sizes."""
    (tmp_path / "lr").mkdir()
    for path in (data / "lr").iterdir():
        Image.open(path).resize((30, 24)).save(tmp_path / "lr" / path.name)
    options = {"source_lr": str(tmp_path / "lr"), "warmup_steps": 2, "adversarial_steps": 0, "workers": 1}
    config = write_config(tmp_path, data, **options)
    assert end_plainly("train", lambda: train_here(config)) == 2
    assert re.search(r"train: .*HR is 128x96 and LR 30x24", capsys.readouterr().err)


def test_a_second_run_into_the_same_folder_is_refused(whole, data):
    with pytest.raises(ConfigError, match="already holds a run.*--resume latest"):
        train_here(whole / "config.yaml")


def test_two_runs_at_once_are_kept_apart(data, tmp_path):
    """Until the first one's processes have ended."""
    config = write_config(tmp_path, data, workers=1)
    (script,) = start(config, "--adversarial_steps", "2000")
    wait_for_path(tmp_path / CHECKPOINT.format(2), script)
    with pytest.raises(ConfigError, match="another process works in .*run. Wait until it ends"):
        train_here(config, "--resume", "latest")
    os.killpg(script.process.pid, signal.SIGKILL)
    assert script.end()[0] == -signal.SIGKILL
    last = list_checkpoints(tmp_path / "run/checkpoints", "adversarial")[-1]
    train_here(config, "--resume", "latest", "--adversarial_steps", str(int(last.name[-7:]) + 1))
    assert (tmp_path / "run/model").is_dir() and not (tmp_path / "run/.lock").exists()


def test_full_disk_leaves_the_previous_checkpoint(data, tmp_path, capsys):
    """The file-size limit of the process stands in for a full disk: writes fail in the middle of a checkpoint."""
    config = write_config(tmp_path, data)
    train_here(config, "--adversarial_steps", "2")
    more = "--resume", "latest", "--adversarial_steps", "4"
    with files_up_to(40_000):
        assert end_plainly("train", lambda: train_here(config, *more)) == 2
    assert "could not be written" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["adversarial-0000002"]


def test_true_pairs_are_not_degraded(data, tmp_path):
    found = []
    for degradation in ("bicubic", "generic"):
        folder = tmp_path / degradation
        folder.mkdir()
        options = {"source_lr": "lr", "warmup_steps": 2, "adversarial_steps": 0, "degradation": degradation}
        train_here(write_config(folder, data, **options))
        found.append(weights(folder / "run/model"))
    assert json.loads((folder / "run/run.json").read_text())["data"]["lr"]["pictures"] == 5
    assert largest_difference(*found) == 0
    made = tmp_path / "made"
    made.mkdir()
    train_here(write_config(made, data, **{**options, "source_lr": None}))
    assert largest_difference(found[0], weights(made / "run/model")) > 0


def test_label_free_run_with_every_stage(data, tmp_path):
    """guide and teacher trained, warm-up, then pseudo-labels; LR validation with a sheet; streaming is another test."""
    options = {
        "target_labels": None,
        "guide_steps": 1,
        "teacher_steps": 1,
        "warmup_steps": 1,
        "adversarial_steps": 1,
        "pseudo_threshold": 0.3,
        "guide": "joint",
        "dev_lr": ["lr"],
        "dev_hr": "hr",
        "tracker": "tensorboard",
        "gradient_accumulation": 2,
    }
    train_here(write_config(tmp_path, data, **options))
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert names == [f"{stage}-0000001" for stage in ("adversarial", "guide", "teacher", "warmup")]
    assert (tmp_path / "run/samples/adversarial-0000001.png").is_file()
    assert list((tmp_path / "run/logs").glob("events*"))
    assert "psnr_lr" in (tmp_path / "run/model/config.json").read_text()
    # each stage trained its own guide on: start -> guide -> teacher, and guide -> the one that was trained along
    start, guide, teacher = (
        load_file(tmp_path / name / "model.safetensors") for name in ("guide_start", "run/guide", "run/teacher")
    )
    model = load_file(tmp_path / "run/model/diffusion_pytorch_model.safetensors")
    along = {name.removeprefix("guide.network."): model[name] for name in model if name.startswith("guide.network.")}
    weight = "decode_head.classifier.weight"
    assert along.keys() >= {weight} and not torch.equal(start[weight], guide[weight])
    assert not torch.equal(guide[weight], teacher[weight]) and not torch.equal(guide[weight], along[weight])


def test_the_card_keeps_the_terms_of_the_weights_it_started_from(data, tmp_path):
    start = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    start.describe(license="other", data="old pictures", license_note="for research").save_pretrained(tmp_path / "old")
    config = write_config(tmp_path, data, adversarial_steps=1, generator_weights=str(tmp_path / "old"))
    train_here(config)
    card = (tmp_path / "run/model/README.md").read_text()
    assert "- old pictures\n- trained further on data that were not recorded\n" in card and "for research" in card
    train_here(config, "--training_data", "new ones", "--license_note", "free", "--output_dir", str(tmp_path / "other"))
    card = (tmp_path / "other/model/README.md").read_text()
    assert "new ones" in card and "free" in card and "old pictures" not in card and "for research" not in card


def train_and_push(config: str) -> dict:
    """In the client's process."""
    with mock.patch.dict(os.environ, HF_TOKEN=TOKEN):
        train_here(Path(config))
    return {}


def test_the_finished_model_is_pushed_to_a_private_repository(hub, client, data, tmp_path):
    hub.users = {TOKEN: "ann"}
    config = write_config(
        tmp_path, data, adversarial_steps=1, push_to_hub="ann/trained", training_data="made-up pictures"
    )
    assert client.run(train_and_push, config=str(config)) == {}
    assert hub.repos["ann/trained"].private
    pushed = hub.files("ann/trained")
    local = {path.name: path.read_bytes() for path in (tmp_path / "run/model").iterdir()}
    weight_file = "diffusion_pytorch_model.safetensors"
    assert pushed[weight_file] == local[weight_file] and pushed["config.json"] == local["config.json"]
    assert b"made-up pictures" in pushed["README.md"] and b"ann/trained" in pushed["README.md"]
