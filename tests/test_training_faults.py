"""What a user can get wrong, and what can break on disk: said in a sentence before the first step, or survived."""

import json
import logging
import re
import shutil
import signal
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_run import ROOT, VOID, largest_difference, train_here, weights, write_config

from ssg_hub import SSGModel, cli
from ssg_hub.data.crops import SourceCrops, make_loader
from ssg_hub.data.tables import load_pictures
from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.noise import white_noise
from ssg_hub.errors import CheckpointError, ConfigError, HubError, SSGError
from ssg_hub.processes.ending import end_plainly
from ssg_hub.training.checkpoints import DamagedCheckpoint, list_checkpoints, prune_checkpoints, read_record
from ssg_hub.training.checks import check_inputs
from ssg_hub.training.config import TrainConfig, parse_config
from ssg_hub.training.resume import check_resume
from ssg_hub.training.script import SCRIPT, find_script, load_script

STEPS = 4  # with a checkpoint at 2 and at 4


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A run of four steps; tests work on copies of it."""
    folder = tmp_path_factory.mktemp("finished")
    train_here(write_config(folder, data, adversarial_steps=STEPS))
    return folder


@pytest.fixture
def copy(finished, data, tmp_path):
    """The finished run in a folder of its own, and its configuration."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return write_config(tmp_path, data, adversarial_steps=STEPS)


def newest(config: Path) -> Path:
    return config.parent / "run/checkpoints/adversarial-0000004"


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", cut),
        ("model_1.safetensors", flip_a_bit),  # which no loader would notice
        pytest.param("optimizer.bin", cut, marks=pytest.mark.slow),
        pytest.param("custom_checkpoint_1.pkl", lambda path: path.unlink(), marks=pytest.mark.slow),
        ("checkpoint.json", cut),
        ("checkpoint.json", lambda path: path.unlink()),
    ],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(finished, copy, caplog, file, damage):
    damage(newest(copy) / file)
    with caplog.at_level(logging.INFO, "train"):
        train_here(copy, "--resume", "latest")
    told = [record.message for record in caplog.records]
    assert any("adversarial-0000004 is damaged" in line and "before it is tried" in line for line in told)
    assert any(line.startswith("continuing from adversarial-0000002") for line in told)
    for name in ("checkpoints/adversarial-0000004", "model"):
        assert largest_difference(weights(finished / "run" / name), weights(copy.parent / "run" / name)) == 0
    assert (copy.parent / "run/checkpoints/set_aside/adversarial-0000004").is_dir()  # nothing is thrown away


def test_where_every_checkpoint_is_damaged_none_is_overwritten(copy):
    for checkpoint in newest(copy).parent.iterdir():
        cut(checkpoint / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"no checkpoint of the stage adversarial can be read \(adversarial-0000004, "
    ):
        train_here(copy, "--resume", "latest")
    assert len(list_checkpoints(newest(copy).parent, "adversarial")) == 2


@pytest.mark.parametrize("folder", ["run/checkpoints", "run", "guide_start", "absent", "other/adversarial-0000004"])
def test_what_is_no_checkpoint_of_this_run_is_refused(copy, folder):
    shutil.copytree(newest(copy), copy.parent / "other/adversarial-0000004")
    before = {path: path.stat().st_mtime_ns for path in newest(copy).iterdir()}
    with pytest.raises(CheckpointError, match="no checkpoint"):
        train_here(copy, "--resume", str(copy.parent / folder))
    assert before == {path: path.stat().st_mtime_ns for path in newest(copy).iterdir()}


def test_an_earlier_checkpoint_by_name_sets_the_later_ones_aside(finished, copy, caplog):
    first = newest(copy).with_name("adversarial-0000002")
    with caplog.at_level(logging.INFO, "train"):
        train_here(copy, "--resume", str(first), "--checkpoint_every", "3")
    assert "moved adversarial-0000004 to" in caplog.text
    assert [path.name for path in list_checkpoints(first.parent, "adversarial")][-1] == "adversarial-0000004"
    assert largest_difference(weights(finished / "run/model"), weights(copy.parent / "run/model")) == 0


def test_another_network_is_refused_and_named(copy):
    wider = "{features: 12, blocks: 1, growth: 4}"
    with pytest.raises(
        CheckpointError, match=r"other networks.*generator_config \{.*8.*\} -> \{.*12.*another output_dir"
    ):
        train_here(copy, "--resume", "latest", "--adversarial_steps", "6", "--generator_config", wider)
    assert newest(copy).is_dir()


def test_changed_settings_and_pictures_are_named_and_taken(copy, caplog):
    record = json.loads((copy.parent / "run/run.json").read_text())
    record["data"]["hr"] |= {"pictures": 4, "sha256": "of others"}
    record["data"]["lr"]["sha256"] = "of others"
    (copy.parent / "run/run.json").write_text(json.dumps(record))
    with caplog.at_level(logging.INFO, "train"):
        train_here(
            copy, "--resume", "latest", "--adversarial_steps", "5", "--lr", "1e-5", "--seed", "3", "--batch", "1"
        )
    assert "the crops with them: hr (4 pictures -> 5), lr (other names or sizes)" in caplog.text
    (told,) = [record.message for record in caplog.records if record.message.startswith("continuing")]
    changes = set(told.partition("changed since then: ")[2].split(", "))
    assert changes >= {"seed 0 -> 3", "adversarial_steps 4 -> 5", "batch 2 -> 1", "lr 0.001 -> 1e-05"}
    assert len(changes) <= 5  # the guide of the copied run is another folder
    optimizer = torch.load(newest(copy).with_name("adversarial-0000005") / "optimizer.bin", weights_only=True)
    last = 1e-5 * 5 / 20 * (0.01 + 0.99 * (1 + np.cos(np.pi * 4 / 5)) / 2)
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(last, rel=1e-6)


def test_a_run_that_has_nothing_to_resume_says_so(copy, tmp_path, caplog):
    config = parse_config(["--config", str(copy), "--resume", "latest"])
    check_resume(config, newest(copy).parent)
    assert caplog.text == ""
    check_resume(config, tmp_path / "typo")
    assert "no checkpoint in" in caplog.text and "begins with its first step" in caplog.text


def test_pruning_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        (tmp_path / f"warmup-000000{step}").mkdir()

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prune_checkpoints(tmp_path, "warmup", 2, best=None)
    assert [path.name for path in list_checkpoints(tmp_path, "warmup")] == ["warmup-0000002", "warmup-0000003"]


def test_a_record_names_the_file_that_changed(copy):
    assert read_record(newest(copy))["settings"]["lr"] == 1e-3
    (newest(copy) / "model.safetensors").unlink()
    with pytest.raises(DamagedCheckpoint):
        read_record(newest(copy))


# --- before the first step


def refuse(config, error: type[SSGError], words: str, *options: str) -> None:
    """The run ends with these words before it has made a step or loaded for long."""
    with pytest.raises(error, match=words):
        train_here(config, *options)
    assert not (config.parent / "run/checkpoints").exists()


def test_a_readme_in_the_place_of_the_model_is_refused_before_the_first_step(data, tmp_path):
    (tmp_path / "run/model").mkdir(parents=True)
    (tmp_path / "run/model/README.md").write_text("# My notes")
    with pytest.raises(CheckpointError, match="README.md that is not of an SSGModel"):
        train_here(write_config(tmp_path, data))


def test_a_run_without_a_step_is_refused(data, tmp_path):
    refuse(write_config(tmp_path, data, adversarial_steps=0), ConfigError, "nothing would be trained")


def test_a_tracker_that_is_not_installed_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr("ssg_hub.training.checks.get_available_trackers", list)
    refuse(write_config(tmp_path, data, tracker="wandb"), ConfigError, "tracker is wandb.*pip install wandb")


def test_names_of_classes_that_are_not_the_guides_are_refused(data, tmp_path):
    config = write_config(tmp_path, data, class_names=["road", "sky", "car"])
    refuse(config, ConfigError, "class_names are road, sky, car, but the guide .* names its classes sky, road, car")


def test_other_skies_without_a_class_of_that_name_are_refused(data, tmp_path):
    config = write_config(tmp_path, data, class_names=["road", "water", "car"], guide_model=None, guide_skies=0.5)
    refuse(config, ConfigError, "no class of the guide is named sky: road, water, car", "--guide_steps", "2")


def test_a_bank_of_another_scale_is_refused_also_where_it_is_one_of_several(data, tmp_path):
    bank = DegradationBank(2, torch.full((1, 16, 16), 1 / 256), white_noise(0.0, 1, ""), *torch.zeros(2, 1, 8, 8))
    bank.save(tmp_path / "bank")
    for name in (f"{tmp_path}/bank", f"generic+generic+generic+{tmp_path}/bank"):
        words = "bank was estimated for scale 2, degrade got 4"
        refuse(write_config(tmp_path, data, degradation=name, guide_steps=1), ConfigError, words)


def own_copy(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("where", ["guide", "target", "dev"])
@pytest.mark.parametrize("kind", ["ids", "channels", "size"])
def test_label_maps_are_looked_at(data, tmp_path, where, kind):
    data = own_copy(data, tmp_path)
    path = data / "hr/labels/3.png"
    ids = np.array(Image.open(path))
    if kind == "ids":
        ids[ids == 2] = 33
    made = {"ids": ids, "channels": np.stack([ids] * 3, -1), "size": ids[:50]}[kind]
    Image.fromarray(made).save(path)
    keys = {
        "guide": {"guide_steps": 1, "target": [], "consistency_weight": 0},
        "target": {},
        "dev": {"dev_labeled": "hr", "target_labels": None},
    }[where]
    words = {"ids": "map of 3 holds the id 33", "channels": "3 channels", "size": "128x50 belongs to the picture 3"}[
        kind
    ]
    refuse(write_config(tmp_path, data, **keys), ConfigError, words)


def test_an_unreadable_picture_with_labels_is_replaced_but_not_in_the_dev_set(data, tmp_path):
    data = own_copy(data, tmp_path)
    cut(data / "hr/images/3.png")
    keys = {"guide_steps": 1, "adversarial_steps": 0, "target": [], "guide_batch": 5}
    config = write_config(tmp_path, data, **keys)
    train_here(config)
    shutil.rmtree(tmp_path / "run")
    refuse(config, ConfigError, "picture 3 of dev_labeled cannot be read", "--dev_labeled", "hr")


def test_pairs_of_other_sizes_are_refused_before_the_first_step(data, tmp_path):
    data = own_copy(data, tmp_path)
    Image.open(data / "lr/3.png").resize((30, 24)).save(data / "lr/3.png")
    cut(data / "lr/2.png")  # another will take its place
    config = write_config(tmp_path, data, source_lr="lr")
    with pytest.raises(ConfigError, match="3: HR is 128x96 and LR 30x24"):
        check_inputs(parse_config(["--config", str(config)]))


@pytest.mark.parametrize(("crop", "small"), [(96, 0), (104, 5)])
def test_source_pictures_that_would_be_enlarged_are_counted(crop, small, data, tmp_path, caplog):
    check_inputs(parse_config(["--config", str(write_config(tmp_path, data, hr_crop=crop))]))
    assert (f"source: {small} of the 5 pictures" in caplog.text) == bool(small)


def dev_pair(data, hr_size, lr_size):
    for name, size in (("dev_hr", hr_size), ("dev_lr", lr_size)):
        (data / name).mkdir()
        Image.open(data / "hr/images/0.png").resize(size).save(data / name / "a.png")
    return {"dev_lr": ["dev_lr"], "dev_hr": "dev_hr", "validate_every": 1, "adversarial_steps": 1}


def test_dev_pairs_of_other_sizes_are_refused(data, tmp_path):
    data = own_copy(data, tmp_path)
    keys = dev_pair(data, (100, 96), (25, 23))
    refuse(write_config(tmp_path, data, **keys), ConfigError, "dev picture a has an LR of 25x23 and an HR of 100x96")


def test_hr_of_a_dev_pair_may_have_a_remainder(data, tmp_path, caplog):
    """As `ssg evaluate` takes it: LR does not show it."""
    data = own_copy(data, tmp_path)
    config = write_config(tmp_path, data, **dev_pair(data, (101, 99), (25, 24)))
    train_here(config)
    assert (tmp_path / "run/samples/adversarial-0000001.png").is_file()
    assert "no checkpoint is kept as the best: lpips_features is not set" in caplog.text


def test_damaged_dev_pictures_are_refused(data, tmp_path):
    data = own_copy(data, tmp_path)
    keys = dev_pair(data, (100, 96), (25, 24))
    cut(data / "dev_hr/a.png")
    refuse(write_config(tmp_path, data, **keys), ConfigError, "dev picture a cannot be read")


def test_perceptual_weights_are_had_before_the_first_step(data, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words = "timm/vgg16.tv_in1k.*perceptual_weights takes VGG16 from a file"
    late = {"perceptual_weights": None, "guide_steps": 1, "warmup_steps": 1}
    refuse(write_config(tmp_path, data, **late), HubError, words)
    late |= {"adversarial_steps": 0, "warmup_perceptual_weight": 0.5}
    refuse(write_config(tmp_path, data, **late), HubError, words)
    save_file({"vgg.lin0.model.1.weight": torch.ones(1, 64, 1, 1)}, tmp_path / "heads.safetensors")
    keys = {"lpips_weight": 1.0, "lpips_heads": str(tmp_path / "heads.safetensors"), "warmup_steps": 1}
    refuse(write_config(tmp_path, data, **keys), CheckpointError, "LPIPS|no layer")


def test_a_run_that_needs_no_perceptual_weights_asks_for_none(data, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    train_here(write_config(tmp_path, data, perceptual_weights=None, adversarial_steps=0, warmup_steps=1))


def test_weights_that_are_not_finite_stop_at_once(data, tmp_path):
    config = write_config(tmp_path, data)
    for folder, file in (("vgg", data / "vgg.safetensors"), ("guide", tmp_path / "guide_start/model.safetensors")):
        state = load_file(file)
        name = next(name for name, tensor in state.items() if tensor.is_floating_point())
        state[name] = torch.full_like(state[name], float("nan"))
        (tmp_path / folder).mkdir(exist_ok=True)
        save_file(state, tmp_path / folder / "model.safetensors")
    shutil.copy(tmp_path / "guide_start/config.json", tmp_path / "guide")
    broken = str(tmp_path / "vgg/model.safetensors")
    refuse(config, CheckpointError, "not finite", "--perceptual_weights", broken)
    refuse(config, CheckpointError, "guide.*not finite", "--guide_model", str(tmp_path / "guide"))


def test_a_generator_that_is_not_finite_stops_at_once(data, tmp_path, tiny_model):
    state = {name: tensor.clone() for name, tensor in tiny_model.generator.state_dict().items()}
    state["conv_last.bias"][0] = float("inf")
    save_file(state, tmp_path / "generator.safetensors")
    config = write_config(tmp_path, data, generator_weights=str(tmp_path / "generator.safetensors"))
    refuse(config, CheckpointError, "conv_last.bias")


def test_a_generator_of_another_scale_is_refused(data, tmp_path):
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1, "scale": 2})
    model.save_pretrained(tmp_path / "x2")
    config = write_config(tmp_path, data, generator_weights=str(tmp_path / "x2"))
    refuse(config, ConfigError, "x2 enlarges 2 times, but scale is 4. Set scale to 2")


def test_a_discriminator_that_cannot_be_gone_on_with_is_refused(finished, data, tmp_path):
    whole, damaged = finished / "run/discriminator.safetensors", tmp_path / "damaged.safetensors"
    shutil.copy(whole, damaged)
    cut(damaged)
    refuse(write_config(tmp_path, data, discriminator_weights=str(damaged)), CheckpointError, "discriminator weights")
    other = write_config(tmp_path, data, discriminator_weights=str(whole), discriminator="patch")
    refuse(other, CheckpointError, "weights of patch with")


def test_a_trunk_that_does_not_fit_is_refused(data, tmp_path):
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "trunk.pth")
    keys = {"guide_model": None, "guide_steps": 1, "guide_backbone": str(tmp_path / "trunk.pth")}
    refuse(write_config(tmp_path, data, **keys), CheckpointError, "does not fit guide_trunk lite0")


# --- while it runs


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_in_data_workers_arrive_as_sentences(tmp_path, workers):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"no picture")
    loader = make_loader(SourceCrops(load_pictures(["."], tmp_path), 32, seed=0), 2, 0, 1, 0, workers)
    with pytest.raises(ConfigError) as caught:
        next(loader)
    assert str(caught.value).startswith("none of the 3 pictures can be read") and "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed."), "data worker was killed"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "memory does not suffice"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            "memory does not suffice",
        ),
        (MemoryError(), "memory does not suffice"),
        (ConfigError("no such key."), "ssg train: no such key."),
    ],
)
def test_what_a_user_can_mend_ends_with_a_sentence(error, words, capsys):
    assert end_plainly("ssg train", Mock(side_effect=error)) == 2
    assert words in capsys.readouterr().err


def test_what_nobody_foresaw_keeps_its_traceback():
    error = RuntimeError("The size of tensor a (3) must match the size of tensor b (4)")
    with pytest.raises(RuntimeError, match="size of tensor"):
        end_plainly("ssg train", Mock(side_effect=error))


@pytest.fixture
def minutes(monkeypatch):
    """A clock on which a minute passes each time that a run looks at it."""
    monkeypatch.setattr("ssg_hub.training.run.time", SimpleNamespace(monotonic=(60.0 * n for n in count()).__next__))


def test_the_clock_ends_a_run_with_checkpoint_and_model_and_it_can_be_continued(minutes, data, tmp_path, caplog):
    """The run looks before each step but the last of a stage: once in the warm-up, four times in the stage after."""
    config = write_config(tmp_path, data, warmup_steps=2, adversarial_steps=500, checkpoint_every=1000)
    with caplog.at_level(logging.INFO, "train"):
        train_here(config, "--max_minutes", "5")
    assert "max_minutes are over: adversarial ends at step 4 of 500" in caplog.text
    checkpoints = tmp_path / "run/checkpoints"
    assert [path.name for path in list_checkpoints(checkpoints, "adversarial")] == ["adversarial-0000004"]
    assert weights(tmp_path / "run/model")
    told = json.loads((tmp_path / "run/model/config.json").read_text())["trained_on"]
    assert {name: told[name] for name in told if "steps" in name} == {"warmup_steps": 2, "adversarial_steps": 4}
    train_here(config, "--resume", "latest", "--adversarial_steps", "5")
    assert (checkpoints / "adversarial-0000005").is_dir()


@pytest.mark.slow
def test_no_stage_begins_after_the_clock_has_ended_one(minutes, data, tmp_path):
    config = write_config(tmp_path, data, warmup_steps=50, adversarial_steps=2)
    train_here(config, "--max_minutes", "1")
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["warmup-0000001"]
    assert weights(tmp_path / "run/model")
    train_here(config, "--resume", "latest", "--warmup_steps", "2")
    names = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    assert names == ["adversarial-0000002", "warmup-0000001", "warmup-0000002"]


@pytest.mark.parametrize("stages", [{"guide_steps": 50}, {"discriminator_warmup_steps": 2}])
def test_a_generator_that_was_not_trained_is_neither_saved_nor_pushed(minutes, data, tmp_path, caplog, stages):
    config = write_config(tmp_path, data, adversarial_steps=60, push_to_hub="ann/trained", **stages)
    with caplog.at_level(logging.INFO, "train"):
        train_here(config, "--max_minutes", "1")
    assert "was not trained in this run, so there is no model to save" in caplog.text
    assert ("run/guide, for guide_model" in caplog.text) == ("guide_steps" in stages)
    assert (tmp_path / "run/checkpoints").is_dir() and not (tmp_path / "run/model").exists()


def test_what_a_run_takes_over_is_given_back(data, tmp_path, monkeypatch):
    """Two signals, and what threads leave unhandled; also after an error."""

    def taken() -> tuple:
        return threading.excepthook, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    def meet_trouble(config):
        during.append(taken())
        raise ConfigError("trouble")

    before, during = taken(), []
    config = write_config(tmp_path, data, adversarial_steps=1)
    monkeypatch.setattr("ssg_hub.training.run.check_inputs", meet_trouble)
    refuse(config, ConfigError, "trouble")
    assert taken() == before and not set(during[0]) & set(before)
    monkeypatch.undo()
    train_here(config)
    assert taken() == before


def test_a_second_ctrl_c_ends_a_run_that_has_made_no_step(data, tmp_path, monkeypatch, caplog):
    """As while a network is downloaded. What a launcher passes on is no second one."""
    passed = []

    def press(config):
        for seconds in (1.0, 1.0, -1.0):
            monkeypatch.setattr("ssg_hub.training.run.SAME_PRESS", seconds)
            signal.raise_signal(signal.SIGINT)
            passed.append(seconds)

    monkeypatch.setattr("ssg_hub.training.run.check_inputs", press)
    with pytest.raises(KeyboardInterrupt):
        train_here(write_config(tmp_path, data, adversarial_steps=1))
    assert passed == [1.0, 1.0] and caplog.text.count("Ctrl-C once more ends it at once") == 1


def test_void_is_a_label_even_among_strange_ids(data, tmp_path):
    """What the check must not refuse: the configuration of the other tests has void pixels."""
    ids = np.array(Image.open(data / "hr/labels/0.png"))
    assert VOID in ids
    train_here(write_config(tmp_path, data, adversarial_steps=1, dev_labeled="hr"))


# --- `ssg train`


def test_ssg_train_runs_the_script(data, tmp_path, capsys, caplog):
    config = write_config(tmp_path, data, adversarial_steps=1)
    with caplog.at_level(logging.INFO, "train"):
        assert cli.main(["train", "--config", str(config), "--lr", "5e-4"]) == 0
    assert caplog.messages[-1] == f"use it: ssg upscale PICTURES -o RESULTS --model {tmp_path / 'run/model'}"
    assert json.loads((tmp_path / "run/run.json").read_text())["config"]["lr"] == 5e-4
    assert cli.main(["train", "--config", str(config)]) == 2
    assert re.match("ssg train: .* already holds a run", capsys.readouterr().err.splitlines()[-1])


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_ssg_train_lists_every_key(capsys, words):
    assert cli.main(["train", *words]) == 0
    printed = capsys.readouterr().out
    for name, field in TrainConfig.model_fields.items():
        assert f"  {name} (" in printed and field.description, name


def test_a_training_may_run_in_a_thread(data, tmp_path):
    """As `ssg_hub.adapt` does where a program calls it in one; signals are the main thread's."""

    config = write_config(tmp_path, data, adversarial_steps=1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(load_script().train, parse_config(["--config", str(config)])).result()
    assert (tmp_path / "run/model/config.json").is_file()


def test_the_wheel_holds_the_script():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    included = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included["train_accelerate.py"] == f"ssg_hub/{SCRIPT}" and find_script() == ROOT / SCRIPT
