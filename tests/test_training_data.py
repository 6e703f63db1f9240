"""Configuration and data of the training: typed, checked, aligned, and the same whatever the number of processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from datasets import ClassLabel, Dataset, Value
from PIL import Image
from tiny_run import VOID

from ssg_hub.data.augmentation import paint_sky, paste_classes, recolor_class
from ssg_hub.data.crops import (
    LabeledCrops,
    PairedCrops,
    PositionSampler,
    SourceCrops,
    TargetCrops,
    make_loader,
)
from ssg_hub.data.tables import fingerprint, load_by_place, load_pairs, load_pictures
from ssg_hub.errors import ConfigError
from ssg_hub.training.batches import source_crops
from ssg_hub.training.checks import check_inputs
from ssg_hub.training.config import TrainConfig, parse_config


def write(tmp_path, **values):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"output_dir": "out", "source": ["hr"], **values}))
    return ["--config", str(path)]


def test_values_arrive_typed(tmp_path):
    (tmp_path / "c.yaml").write_text("output_dir: out\nsource: [hr]\nlr: 2e-4\nbatch: 3\nmixed_precision: no\n")
    config = parse_config(
        ["--config", str(tmp_path / "c.yaml"), "--hr_crop", "64", "--source=[a, b]", "--ema-decay", "9e-1"]
    )
    assert config.lr == 2e-4 and isinstance(config.lr, float)
    assert (config.batch, config.hr_crop, config.source, config.ema_decay) == (3, 64, ["a", "b"], 0.9)
    assert config.mixed_precision == "no"  # which YAML reads as false


def test_pillows_limit_may_be_off_before_the_first_import():
    code = "from PIL import Image; Image.MAX_IMAGE_PIXELS = None; from ssg_hub.data.tables import open_cell"
    code += "; print(open_cell(Image.new('L', (3, 2))).size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(3, 2)\n", done.stderr


GUIDE = {"guide_data": ["hr"], "guide_model": "embedded"}


@pytest.mark.parametrize(
    "arguments",
    [
        {"hr_crop": 100},
        {"hr_crop": 100, "adversarial_steps": 1, "discriminator": "patch"},
        {"hr_crop": 100, "adversarial_steps": 1, "adversarial_weight": 0.0},
        {"guide_crop": 98, "guide_steps": 1, **GUIDE},
        {"guide_crop": 33, "guide_batch": 1, "guide_steps": 1, **GUIDE},
        {"guide_crop": 32, "guide_batch": 1},
    ],
)
def test_sizes_that_the_stages_can_use_are_taken(tmp_path, arguments):
    parse_config(write(tmp_path, **arguments))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bacth": 4}, "did you mean 'batch'"),
        ({"zzz": 4}, "unknown key .zzz.; `ssg train --help` lists them"),
        ({"batch": 0}, "batch"),
        ({"batch": "many"}, "'many'"),
        ({"hr_crop": 50}, "does not divide"),
        ({"guide_steps": 5}, "guide_data"),
        ({"target": ["lr"], "adversarial_steps": 1}, "need a guide"),
        ({"source": None}, "source"),
        ({"source": []}, "source"),
        ({"guide_feature_weight": 1.0}, "guide_model"),
        ({"discriminator": "semantic"}, "guide_model"),
        ({"discriminator_warmup_steps": 5, "adversarial_weight": 0.0}, "adversarial_weight"),
        ({"output_dir": "C:\runs\new"}, r"output_dir: a backslash in double quotes"),
        ({"source": ["D:\bad"]}, r"source: a backslash in double quotes"),
        ({"push_to_hub": "https://huggingface.co/ann/model"}, "Give owner/name"),
        ({"discriminator_warmup_steps": 5, "adversarial_steps": 5}, "no step"),
        ({"adversarial_steps": 1, "l1_weight": 0, "perceptual_weight": 0, "adversarial_weight": 0}, "nothing"),
        ({"source_lr": "lr", "streaming": True}, "source_lr"),
        ({"unjudged": "list.txt"}, "set source_lr"),
        ({"teacher_steps": 5, "guide_data": ["hr"]}, "set guide_steps or guide_model"),
        ({"dev_lr": ["lr"]}, "dev_lr and dev_hr belong together"),
        ({"source_lr": "lr", "keep_grain": 0.5}, "keep_grain"),
        ({"lr": float("inf")}, "lr.*finite"),
        ({"guide_weight": float("nan")}, "guide_weight.*finite"),
        ({"max_grad_norm": float("nan")}, "max_grad_norm"),
        ({"generator_config": {"scale": 2}}, "generator_config has scale 2, but scale is 4"),
        ({"hr_crop": 100, "adversarial_steps": 1}, "hr_crop 100 does not divide by 8, as discriminator: unet"),
        (
            {"hr_crop": 100, "adversarial_steps": 1, "discriminator": "features"},
            "hr_crop 100 does not divide by 8, as discriminator: features",
        ),
        ({"guide_crop": 98, "teacher_steps": 1, **GUIDE}, "guide_crop 98 does not divide by scale 4"),
        ({"guide_crop": 98, "guide_steps": 1, "guide_degraded": 0.5, **GUIDE}, "guide_crop 98 does not divide"),
        ({"guide_crop": 32, "guide_batch": 1, "guide_steps": 1, **GUIDE}, "guide_crop 32 .* guide_batch 1"),
        ({"hr_crop": 16, "grid_shift": 8}, "grid_shift 8 leaves less than 16 pixels of hr_crop 16"),
        ({"grid_shift": 4}, "grid_shift"),
        ({"license": "Apache-2.0"}, "'Apache-2.0' is no Hub identifier"),
    ],
)
def test_impossible_configurations_are_explained(tmp_path, arguments, words):
    with pytest.raises(ConfigError, match=words):
        parse_config(write(tmp_path, **arguments))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("output_dir: out\nsource: [a]\nlr: 1e-4\nsource: [b]\n")
    with pytest.raises(ConfigError, match="c.yaml is not valid YAML: the key 'source' stands in line 2 and in line 4"):
        parse_config(["--config", str(path)])
    path.write_text("output_dir: out\nsource: [a]\ntraining_data: |\n  one\n  two\n")
    assert parse_config(["--config", str(path)]).training_data == "one\ntwo\n"


@pytest.mark.parametrize("arguments", [[], ["--config"], ["--config", "absent.yaml"], ["config.yaml"]])
def test_command_lines_without_a_configuration_are_explained(arguments):
    with pytest.raises(ConfigError):
        parse_config(arguments)


def test_every_published_configuration_is_valid():
    from tiny_run import ROOT

    paths = sorted((ROOT / "configs").rglob("*.yaml"))
    assert paths
    for path in paths:
        parse_config(["--config", str(path)])


def test_source_crops_are_a_function_of_seed_and_position(data):
    table = load_pictures(["hr"], data)
    crops, again = SourceCrops(table, 32, seed=3), SourceCrops(table, 32, seed=3)
    assert all(torch.equal(crops[i]["hr"], again[i]["hr"]) and crops[i]["seed"] == again[i]["seed"] for i in (0, 4, 17))
    assert not torch.equal(crops[0]["hr"], SourceCrops(table, 32, seed=4)[0]["hr"])
    assert crops[2]["hr"].shape == (3, 32, 32) and 0 <= crops[2]["hr"].min() <= crops[2]["hr"].max() <= 1


def test_flat_crops_leave_the_others_as_they_were(data):
    """A share of the samples is one colour all over; the rest, and every sample's degradation, is untouched."""
    table = load_pictures(["hr"], data)
    plain, mixed = (SourceCrops(table, 32, seed=3, flat_share=share) for share in (0.0, 0.3))
    flat = []
    for position in range(200):
        before, after = plain[position], mixed[position]
        assert before["seed"] == after["seed"]
        if not torch.equal(before["hr"], after["hr"]):
            flat.append(after["hr"])
            assert torch.equal(after["hr"], after["hr"][:, :1, :1].expand(3, 32, 32))
    assert 40 <= len(flat) <= 80
    colors = torch.stack([crop[:, 0, 0] for crop in flat])
    assert 0 <= colors.min() <= colors.max() <= 1
    grays = (colors == colors[:, :1]).all(1)
    assert 0.1 < grays.float().mean() < 0.6  # and the others have a hue
    again = SourceCrops(table, 32, seed=3, flat_share=0.3)
    assert all(torch.equal(mixed[i]["hr"], again[i]["hr"]) for i in (0, 7, 31))


def test_an_epoch_visits_every_picture_once(tmp_path):
    for index in range(7):
        Image.new("RGB", (32, 32), (index * 30, 0, 0)).save(tmp_path / f"{index}.png")
    crops = SourceCrops(load_pictures(["."], tmp_path), 32, seed=0)
    for epoch in range(3):
        reds = sorted(round(float(crops[7 * epoch + i]["hr"][0].mean()) * 255) for i in range(7))
        assert reds == [index * 30 for index in range(7)]


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_share_each_batch_and_resume_where_it_stopped(data, workers):
    crops = SourceCrops(load_pictures(["hr"], data), 32, seed=0)

    def seeds(batch, rank, world, start, count):
        loader = iter(make_loader(crops, batch, rank, world, start, workers))
        return [next(loader)["seed"].tolist() for _ in range(count)]

    whole = seeds(4, 0, 1, 0, 3)
    halves = [seeds(2, rank, 2, 0, 3) for rank in range(2)]
    assert whole == [a + b for a, b in zip(*halves, strict=True)]
    assert seeds(4, 0, 1, 8, 1)[0] == whole[2]


def test_positions_of_a_process():
    positions = iter(PositionSampler(batch=2, rank=1, world=3, start=6))
    assert [next(positions) for _ in range(4)] == [8, 9, 14, 15]


@pytest.fixture
def coded(tmp_path):
    """Pictures whose pixels tell their own label: LR 40x30, HR and labels 160x120."""
    for name in ("lr", "hr/images", "hr/labels", "small_labels"):
        (tmp_path / name).mkdir(parents=True)
    ids = np.random.default_rng(0).integers(0, 5, (30, 40)).astype(np.uint8)
    large = ids.repeat(4, 0).repeat(4, 1)
    Image.fromarray(np.repeat(ids[..., None] * 50, 3, 2)).save(tmp_path / "lr/a.png")
    Image.fromarray(np.repeat(large[..., None] * 50, 3, 2)).save(tmp_path / "hr/images/a.png")
    Image.fromarray(large).save(tmp_path / "hr/labels/a.png")
    Image.fromarray(ids).save(tmp_path / "small_labels/a.png")
    return tmp_path


@pytest.mark.parametrize("labels", ["hr/labels", "small_labels"])
@pytest.mark.parametrize("crop", [64, 256])
def test_target_crops_keep_lr_and_labels_aligned(coded, labels, crop):
    crops = TargetCrops(load_pictures(["lr"], coded, labels), crop, seed=0, scale=4, void_id=255)
    for position in range(4):
        sample = crops[position]
        shown = (sample["lr"][0] * 255 / 50).round().long().repeat_interleave(4, 0).repeat_interleave(4, 1)
        counted = sample["label"] != 255
        assert sample["label"].shape == (crop, crop)
        assert counted.all() if crop == 64 else counted.sum() == 120 * 160
        assert torch.equal(shown[counted], sample["label"][counted])


def test_labeled_crops_keep_pictures_and_labels_aligned(coded):
    crops = LabeledCrops(load_pictures(["hr"], coded, True), 64, seed=0, zoom=(1.0, 2.0))
    agreement = []
    for position in range(4):
        sample = crops[position]
        agreement.append((((sample["hr"][0] * 255 / 50).round().long() == sample["label"]).float().mean()).item())
    assert min(agreement) > 0.8  # bicubic edges differ, a shift of one block would leave 0.2


def test_true_pairs_stay_aligned_when_turned(coded):
    crops = PairedCrops(load_pairs(["hr"], "lr", coded), 64, seed=0, scale=4)
    for position in range(6):
        sample = crops[position]
        assert sample["hr"].shape == (3, 64, 64)
        assert torch.equal(sample["hr"], sample["lr"].repeat_interleave(4, 1).repeat_interleave(4, 2))
    assert not torch.equal(crops[0]["lr"], crops[1]["lr"])


def test_true_pairs_that_are_none_are_refused(tmp_path):
    for name, size in (("hr", (64, 64)), ("lr", (16, 15))):
        (tmp_path / name).mkdir()
        Image.new("RGB", size).save(tmp_path / name / "a.png")
    with pytest.raises(ConfigError, match="64x64 and LR 16x15"):
        PairedCrops(load_pairs(["hr"], "lr", tmp_path), 32, seed=0, scale=4)[0]
    Image.new("RGB", (67, 61)).save(tmp_path / "hr/a.png")  # a remainder that LR does not show
    assert PairedCrops(load_pairs(["hr"], "lr", tmp_path), 32, seed=0, scale=4)[0]["hr"].shape == (3, 32, 32)
    (tmp_path / "lr/a.png").rename(tmp_path / "lr/b.png")
    with pytest.raises(ConfigError, match="1 of 1 HR pictures have no LR"):
        load_pairs(["hr"], "lr", tmp_path)


def test_one_class_is_recoloured_and_keeps_its_texture():
    """A sky and a wall, half of the picture each, both with stripes; which of them is recoloured is left to chance."""
    pixels = np.full((40, 40, 3), 100, np.uint8)
    pixels[:, ::2] = 120
    ids = np.zeros((40, 40), np.uint8)
    ids[20:] = 1
    image, label = Image.fromarray(pixels), Image.fromarray(ids)
    for seed in range(6):
        made = np.asarray(recolor_class(image, label, np.random.default_rng(seed)), float)
        top, bottom = made[:14], made[26:]
        kept, changed = (top, bottom) if (top == pixels[:14]).all() else (bottom, top)
        assert (kept == pixels[:14]).all() and not (changed == pixels[:14]).all()
        gains = changed[0] / pixels[0]
        assert np.allclose(gains[::2], gains[0], rtol=0.03) and np.allclose(gains[1::2], gains[0], rtol=0.03)
    again = np.asarray(recolor_class(image, label, np.random.default_rng(5)), float)
    assert (again == made).all()


@pytest.mark.parametrize("change", [{"recolor": 0.5}, {"skies": 0.5, "sky": 3}])
def test_new_colours_leave_labels_and_other_crops_as_they_are(tmp_path, change):
    for kind, mode in (("images", "RGB"), ("labels", "L")):
        (tmp_path / kind).mkdir()
        Image.new(mode, (32, 32), 3 if mode == "L" else (90, 90, 90)).save(tmp_path / kind / "a.png")
    table = load_pictures(["."], tmp_path, labels=True)
    plain, some = LabeledCrops(table, 32, seed=0), LabeledCrops(table, 32, seed=0, **change)
    changed = [not torch.equal(plain[position]["hr"], some[position]["hr"]) for position in range(20)]
    assert 0 < sum(changed) < 20
    assert all(torch.equal(plain[position]["label"], some[position]["label"]) for position in range(20))


def test_a_painted_sky_leaves_the_ground_alone_and_keeps_branches_dark():
    """A white sky with a dark branch, above a gray street; over twenty draws, skies of many colours."""
    pixels = np.full((60, 40, 3), 240, np.uint8)
    pixels[10:14] = 60
    pixels[30:] = 120
    ids = np.zeros((60, 40), np.uint8)
    ids[30:] = 3
    image, label = Image.fromarray(pixels), Image.fromarray(ids)
    colors = []
    for seed in range(20):
        made = np.asarray(paint_sky(image, label, 0, np.random.default_rng(seed)), float)
        assert (made[34:] == 120).all()
        assert made[11:13].mean() < 0.6 * made[4:8].mean()
        colors.append(made[:8].mean((0, 1)))
    bluer = [color[2] - color[0] for color in colors]
    assert max(bluer) > 60 and min(bluer) < 10
    again = np.asarray(paint_sky(image, label, 0, np.random.default_rng(19)), float)
    assert (again == made).all()


def test_no_sky_is_painted_where_there_is_none():
    image, label = Image.new("RGB", (20, 20), (90, 90, 90)), Image.new("L", (20, 20), 3)
    assert paint_sky(image, label, 0, np.random.default_rng(0)) is image


def test_pasted_classes_bring_their_labels_along():
    """Every pixel has the colour of its own picture and that picture's class."""
    label, other = np.zeros((40, 40), np.uint8), np.ones((40, 40), np.uint8)
    other[:, 10:20], other[:, 20:30], other[:, 30:] = 2, 3, 4
    pictures = [Image.fromarray(np.repeat(20 * ids[..., None], 3, -1)) for ids in (label, other)]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        image, ids = paste_classes(pictures[0], Image.fromarray(label), pictures[1], Image.fromarray(other), rng)
        found = np.asarray(ids)
        assert (np.asarray(image) == 20 * found[..., None]).all()
        assert np.isin(found, other).sum() == 800 and len(np.unique(found)) == 3  # two of the four, and the ground


def test_pasting_changes_some_crops_and_no_others(tmp_path):
    for number in range(3):
        for kind, mode in (("images", "RGB"), ("labels", "L")):
            (tmp_path / kind).mkdir(exist_ok=True)
            shade = number if mode == "L" else (60 * number,) * 3
            Image.new(mode, (32, 32), shade).save(tmp_path / kind / f"{number}.png")
    table = load_pictures(["."], tmp_path, labels=True)
    plain, some = (LabeledCrops(table, 32, seed=0, paste=share) for share in (0.0, 0.5))
    changed = [not torch.equal(plain[position]["hr"], some[position]["hr"]) for position in range(30)]
    assert 0 < sum(changed) < 30
    for position in range(30):
        crop = some[position]
        assert torch.equal(crop["label"] * 60, (crop["hr"][0] * 255).round().long())


def test_pairs_and_labels_below_folders_belong_together_by_their_place(tmp_path):
    """A folder a scene, the same names in each."""
    for scene in range(3):
        for kind, side in (("hr", 64), ("lr", 16), ("labeled/images", 64), ("labeled/labels", 64)):
            path = tmp_path / kind / f"{scene}" / f"{'v1.2' if scene else 'first'}.png"
            path.parent.mkdir(parents=True)
            shade = (40 * scene,) * 3
            Image.new("L" if "labels" in kind else "RGB", (side, side), scene if "labels" in kind else shade).save(path)
    crops = PairedCrops(load_pairs(["hr"], "lr", tmp_path), 32, seed=0, scale=4)
    assert all(crops[i]["hr"].mean() == crops[i]["lr"].mean() for i in range(3))
    labeled = LabeledCrops(load_pictures(["labeled"], tmp_path, True), 32, seed=0, zoom=(1, 1))
    assert all(
        float(labeled[i]["hr"].mean()) * 255 / 40 == pytest.approx(labeled[i]["label"].float().mean()) for i in range(3)
    )
    (tmp_path / "lr/2/v1.2.png").rename(tmp_path / "lr/v1.2.png")
    with pytest.raises(ConfigError, match=r"1 of 3 HR .* no LR picture at their place .* instance 2/v1\.2"):
        load_pairs(["hr"], "lr", tmp_path)


def test_pairs_on_a_list_are_not_judged(tmp_path):
    for name in ("hr/calm.png", "hr/sharp.png", "lr/calm.png", "lr/sharp.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32) if "hr" in name else (8, 8), "white" if "sharp" in name else "black").save(
            tmp_path / name
        )
    (tmp_path / "list.txt").write_text("calm\n")
    options = {"output_dir": tmp_path, "data_root": tmp_path, "source": ["hr"], "source_lr": "lr", "hr_crop": 16}
    crops = source_crops(TrainConfig(**options, unjudged="list.txt"))
    assert all(crops[position]["judged"] == crops[position]["hr"].mean() for position in range(4))
    assert all(source_crops(TrainConfig(**options))[position]["judged"] == 1 for position in range(4))
    check_inputs(TrainConfig(**options, unjudged="list.txt"))
    (tmp_path / "list.txt").write_text("other\nCalm.png\n")
    with pytest.raises(ConfigError, match="names none of the 2 pictures"):
        check_inputs(TrainConfig(**options, unjudged="list.txt"))
    (tmp_path / "list.txt").write_text("other\ncalm.png\n")
    check_inputs(TrainConfig(**options, unjudged="list.txt"))
    crops = source_crops(TrainConfig(**options, unjudged="list.txt"))
    assert all(crops[position]["judged"] == crops[position]["hr"].mean() for position in range(4))
    with pytest.raises(ConfigError, match="unjudged: there is no file .*absent"):
        check_inputs(TrainConfig(**options, unjudged="absent.txt"))


def test_pairs_are_the_same_with_and_without_a_table(tmp_path):
    for name in ("hr/images/s/a.png", "lr/images/s/a.png", "flat/s/a.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    for _ in range(2):
        for lr in ("lr", "flat"):
            assert Path(load_pairs(["hr"], lr, tmp_path)[0]["lr"]["path"]).parent.name == "s"
        (tmp_path / "hr/metadata.csv").write_text("image_file_name\nimages/s/a.png\n")


def test_pairs_and_lists_may_spell_a_name_in_one_or_two_characters(tmp_path):
    """macOS may write é as e and an accent."""
    one, two = "caf\u00e9", "cafe\u0301"
    for name in (f"hr/{one}.png", "hr/b.png", f"lr/{two}.png", "lr/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    pairs = load_pairs(["hr"], "lr", tmp_path)
    partners = {Path(row["image"]["path"]).stem: Path(row["lr"]["path"]).stem for row in pairs}
    assert partners == {one: two, "b": "b"}
    (tmp_path / "list.txt").write_text(f"{two}\n", encoding="utf-8")
    assert list(load_by_place("hr#list.txt", tmp_path)) == [Path(one)]


@pytest.mark.parametrize("labels", [True, "maps"])
@pytest.mark.parametrize("table", [False, True])
def test_label_maps_may_spell_a_name_in_one_or_two_characters(labels, table, tmp_path):
    one, two, folder = "caf\u00e9", "cafe\u0301", "hr/labels" if labels is True else labels
    for name in (f"hr/images/{one}/{two}.png", "hr/images/b.png", f"{folder}/{two}/{one}.png", f"{folder}/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    if table:
        rows = (f"images/{name},labels/{name}" for name in (f"{two}/{one}.png", "b.png"))
        text = "\n".join(["image_file_name,label_file_name", *rows])
        (tmp_path / "hr/metadata.csv").write_text(text, encoding="utf-8")
    pictures = load_pictures(["hr"], tmp_path, labels=labels)
    partners = {Path(row["image"]["path"]).stem: Path(row["label"]["path"]).stem for row in pictures}
    assert partners == {two: one, "b": "b"}


def test_a_label_map_serves_the_picture_that_is_spelled_like_it(tmp_path):
    """Two pictures whose names look the same, and one map: it is not taken for both."""
    for name in ("images/caf\u00e9.png", "images/cafe\u0301.png", "labels/caf\u00e9.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    with pytest.raises(ConfigError, match="1 label files are missing, for instance .*cafe\u0301"):
        load_pictures(["."], tmp_path, labels=True)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_names_that_no_table_can_hold_are_refused(tmp_path):
    for name in (b"a.png", b"caf\xe9.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / os.fsdecode(name))
    with pytest.raises(ConfigError, match="the names of 1 image files are not UTF-8, for instance .*caf"):
        load_pictures(["."], tmp_path)


def test_pairs_that_are_not_unique_are_refused(tmp_path):
    for name in ("one/a.png", "two/a.png", "lr/a.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    with pytest.raises(ConfigError, match="two HR pictures of source are called a"):
        load_pairs(["one", "two"], "lr", tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "lr/a.jpg")
    with pytest.raises(ConfigError, match=r"both a\.jpg and a\.png"):
        load_pairs(["one"], "lr", tmp_path)


def test_training_sees_pictures_as_users_do(tmp_path):
    """Orientation, 16 bits, floats, transparency: the same pixels as for upscaling."""
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32] = 255
    exif, clear = Image.Exif(), np.zeros((64, 64, 4), np.uint8)
    exif[274], clear[:, :32] = 3, (200, 200, 200, 255)
    images = {
        "deep.png": Image.fromarray(ramp),
        "deep.tif": Image.fromarray(ramp),
        "float.tif": Image.fromarray((ramp / 65535).astype(np.float32)),
        "clear.png": Image.fromarray(clear),
        "turned.jpg": Image.fromarray(upright).transpose(Image.Transpose.ROTATE_180),
    }
    means = {"clear.png": 200 / 255}
    for name, image in images.items():
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        image.save(folder / name, **({"exif": exif, "quality": 100} if name == "turned.jpg" else {}))
        sample = SourceCrops(load_pictures([folder.name], tmp_path), 64, seed=0)[0]["hr"]
        assert float(sample.mean()) == pytest.approx(means.get(name, 0.5), abs=0.005), name
    (tmp_path / "turned_jpg" / "labels").mkdir()
    (tmp_path / "turned_jpg" / "images").mkdir()
    (tmp_path / "turned_jpg" / "turned.jpg").rename(tmp_path / "turned_jpg/images/a.jpg")
    Image.fromarray(upright[..., 0] // 255).save(tmp_path / "turned_jpg/labels/a.png")
    sample = LabeledCrops(load_pictures(["turned_jpg"], tmp_path, True), 64, seed=1, zoom=(1, 1))[0]
    assert sample["hr"][0][sample["label"] == 1].min() > 0.9 > 0.1 > sample["hr"][0][sample["label"] == 0].max()


def test_an_eps_in_training_starts_no_program(tmp_path, monkeypatch):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/RAN\nexit 1\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    (tmp_path / "data").mkdir()
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\nshowpage\n%%EOF\n"
    (tmp_path / "data/photo.png").write_bytes(eps)
    with pytest.raises(ConfigError, match="none of the 1 pictures"):
        SourceCrops(load_pictures(["data"], tmp_path), 32, seed=0)[0]
    assert not (tmp_path / "RAN").exists()


@pytest.mark.parametrize(
    ("text", "encoding", "count"),
    [
        ("my photo 1\nb\n", "utf-8", 2),
        ("b\n", "utf-8-sig", 1),
        ("b.png\r\nmy photo 2.png\r\n", "utf-8", 2),
        ("below/b\nbelow/c.png", "utf-8", 2),
        ("c", "utf-8", 1),
        ("below/d\n\n  \n", "utf-8", 0),
        ("b", "utf-16", None),
    ],
)
def test_lists_of_names_as_people_write_them(text, encoding, count, tmp_path):
    for name in ("my photo 1", "my photo 2", "b", "below/c", "below/b"):
        path = tmp_path / "d/images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    if "below" not in text:
        (tmp_path / "d/images/below/b.png").unlink()
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    if count:
        assert len(load_pictures(["d#list.txt"], tmp_path)) == count
        return
    with pytest.raises(ConfigError, match="lists no picture of d" if count == 0 else "UTF-8"):
        load_pictures(["d#list.txt"], tmp_path)


@pytest.mark.parametrize("text", ["image_file_name\na.png\n", "label;image_file_name\nx;a.png\n"])
def test_a_table_as_excel_saves_it(text, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8-sig")
    assert len(load_pictures(["."], tmp_path)) == 1
    (tmp_path / "metadata.csv").write_text("image_file_name,label_file_name\na.png\n")
    with pytest.raises(ConfigError, match="1 label files are missing"):
        load_pictures(["."], tmp_path, labels=True)


def test_labels_of_another_size_are_refused(coded):
    Image.new("L", (50, 50)).save(coded / "small_labels/a.png")
    crops = TargetCrops(load_pictures(["lr"], coded, "small_labels"), 64, seed=0, scale=4, void_id=255)
    with pytest.raises(ConfigError, match="50x50.*40x30"):
        crops[0]


def test_a_corrupt_picture_is_skipped_and_counted(data, tmp_path):
    for path in (data / "hr/images").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    crops = SourceCrops(load_pictures(["."], tmp_path), 32, seed=0)
    assert sorted(crops[i]["skipped"] for i in range(len(crops))) == [0] * 5 + [1]
    for path in tmp_path.iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(ConfigError, match="none of the 6"):
        crops[0]


def test_entries_of_every_kind(data, tmp_path):
    assert len(load_pictures(["hr", "lr"], data)) == 10
    (data / "some.txt").write_text("0\n3\n")
    assert len(load_pictures(["hr#some.txt"], data, True)) == 2
    (tmp_path / "metadata.csv").write_text("image_file_name,label_file_name\na.png,b.png\n")
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert load_pictures(["."], tmp_path, True).column_names == ["image", "label"]
    before = fingerprint("hr", data)
    Image.new("RGB", (8, 8)).save(data / "hr/images/0.png")
    assert before["pictures"] == 5 and fingerprint("hr", data) != before


def test_a_list_chooses_from_a_table_too(data, tmp_path):
    for name in ("0.png", "1.png", "2.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    rows = "0.png,2.png\n1.png,1.png\n2.png,0.png\n"
    (tmp_path / "metadata.csv").write_text("image_file_name,label_file_name\n" + rows)
    (tmp_path / "list.txt").write_text("2\n1.png\n")
    table = load_pictures([".#list.txt"], tmp_path, labels=True)
    pairs = [(Path(row["image"]["path"]).name, Path(row["label"]["path"]).name) for row in table]
    assert pairs == [("1.png", "1.png"), ("2.png", "0.png")]
    assert len(load_by_place(".#list.txt", tmp_path)) == 2
    (tmp_path / "list.txt").write_text("3\n")
    with pytest.raises(ConfigError, match="list.txt lists no picture of ."):
        load_pictures([".#list.txt"], tmp_path)
    with pytest.raises(ConfigError, match="a list is for a folder"):
        load_pictures(["somebody/pictures#list.txt"], tmp_path)


def test_a_folder_of_labels_goes_before_those_of_a_table(tmp_path):
    for name in ("images/a/1.png", "b/1.png", "own.png", "others/a/1.png", "others/b/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    (tmp_path / "metadata.csv").write_text("image_file_name,label_file_name\nimages/a/1.png,own.png\nb/1.png,own.png\n")
    named = load_pictures(["."], tmp_path, labels="others")["label"]
    assert [Path(cell["path"]).relative_to(tmp_path).as_posix() for cell in named] == [
        "others/a/1.png",
        "others/b/1.png",
    ]
    with pytest.raises(
        ConfigError, match="somebody/pictures is a Hub dataset, and the label maps in the folder others"
    ):
        load_pictures(["somebody/pictures"], tmp_path, labels="others")


def test_pictures_without_names_can_be_read_but_not_paired(monkeypatch, tmp_path):
    """As sets of the Hub have them that were made of pictures in memory."""
    pictures = [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8))]
    made = Dataset.from_dict({"image": pictures, "label": [image.convert("L") for image in pictures]})
    monkeypatch.setattr("datasets.load_dataset", lambda name, split: made)
    crops = LabeledCrops(load_pictures(["somebody/pictures"], tmp_path, labels=True), 8, seed=0, known_ids={0})
    assert crops[0]["hr"].shape == (3, 8, 8)
    crops.known_ids = {1}
    with pytest.raises(ConfigError, match=r"label map of \(without a name\) holds the id 0"):
        crops[0]
    with pytest.raises(ConfigError, match="2 of the 2 pictures of somebody/pictures have no names"):
        load_by_place("somebody/pictures", tmp_path)


@pytest.mark.parametrize("kind", [ClassLabel(names=["cat", "dog"]), Value("float32")])
def test_a_column_that_holds_no_pictures_is_named(monkeypatch, tmp_path, kind):
    made = Dataset.from_dict({"image": [Image.new("RGB", (8, 8))] * 2, "label": [1, 0]}).cast_column("label", kind)
    monkeypatch.setattr("datasets.load_dataset", lambda name, split: made)
    with pytest.raises(ConfigError, match="the column label of the Hub dataset somebody/pictures holds no pictures"):
        load_pictures(["somebody/pictures"], tmp_path, labels=True)


def test_two_pictures_of_one_name_are_not_paired(tmp_path):
    for name in ("a.png", "a.webp", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(ConfigError, match="two pictures called a"):
        load_by_place(".", tmp_path)


@pytest.mark.parametrize(
    ("entry", "words"), [("absent", "no data folder"), ("empty", "no pictures"), ("lr", "missing")]
)
def test_bad_entries_are_explained(data, entry, words):
    (data / "empty").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match=words):
        load_pictures([entry], data, labels=True)


def test_void_is_never_a_class(data):
    crops = TargetCrops(load_pictures(["lr"], data, "hr/labels"), 64, seed=0, scale=4, void_id=VOID)
    assert set(crops[0]["label"].unique().tolist()) <= {0, 1, 2, VOID}
