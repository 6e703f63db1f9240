"""`ssg evaluate` and the library beneath it: figures, files, the picture sheet, several processes, and clear errors."""

import json
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from PIL import Image
from process_group import run_processes
from safetensors.torch import load_file, save_file

from ssg_hub import cli
from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.evaluation import distances, metrics
from ssg_hub.evaluation.methods import FromFolder, FromModel, Result, bicubic, to_pixels
from ssg_hub.evaluation.picture_sheet import choose_crop
from ssg_hub.evaluation.scoring import Measures, evaluate_folder, pair_files, summarize
from ssg_hub.evaluation.segmentation_metrics import confusion_matrix, mean_iou
from ssg_hub.images.picture import Picture
from ssg_hub.loading import load_guide

SCALE = 4
STEMS = ["a", "b", "c"]
LABELS = ["sky", "road", "car", "tree"]
VOID = 11


def save(pixels, path):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def data(tmp_path):
    """Three pictures of 64x48 in blocks of four colours, their label maps, and LR by PIL's bicubic."""
    random = np.random.default_rng(0)
    palette = np.array([[90, 150, 230], [110, 110, 110], [200, 40, 40], [30, 120, 30]], np.uint8)
    for stem in STEMS:
        labels = random.integers(0, 4, (6, 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        noise = random.integers(0, 20, (48, 64, 3), dtype=np.uint8)
        save(palette[labels] + noise, tmp_path / f"hr/{stem}.png")
        labels[:4] = VOID
        save(labels, tmp_path / f"labels/{stem}.png")
        lr = Image.open(tmp_path / f"hr/{stem}.png").resize((16, 12), Image.Resampling.BICUBIC)
        save(np.asarray(lr), tmp_path / f"lr/{stem}.png")
    return tmp_path


@pytest.fixture
def model_folder(tiny_model, tmp_path):
    tiny_model.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def distances_folder(tmp_path):
    """A folder like the one that LPIPS and DISTS read, with random networks."""
    generator = torch.Generator().manual_seed(0)
    folder = tmp_path / "networks"
    folder.mkdir()
    for name, tensors in (("alexnet_features", alexnet(generator)), ("vgg16_features_fp16", vgg16(generator))):
        save_file(tensors, folder / f"{name}.safetensors")
    return folder


def alexnet(generator):
    shapes = {f"features.{index}": (shape[1], shape[0], shape[2], shape[2]) for index, shape in metrics.ALEXNET.items()}
    return random_convolutions(shapes, generator)


def vgg16(generator):
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    indices = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    shapes = {f"features.{i}": (channels[n + 1], channels[n], 3, 3) for n, i in enumerate(indices)}
    return {name: tensor.half() for name, tensor in random_convolutions(shapes, generator).items()}


def random_convolutions(shapes, generator):
    """Weights that keep the signal's size, as He et al. have them, and small biases."""
    tensors = {}
    for name, shape in shapes.items():
        tensors[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        tensors[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.05
    return tensors


@pytest.fixture(autouse=True)
def no_networks_on_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("SSG_LPIPS", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "absent"))


class ColorJudge(torch.nn.Module):
    """Names the class by the nearest colour, at a quarter of the size: right on these pictures but at the edges."""

    def __init__(self):
        super().__init__()
        colors = torch.tensor([[90, 150, 230], [110, 110, 110], [200, 40, 40], [30, 120, 30]]) + 10
        self.colors = torch.nn.Parameter(colors / 255)

    def forward(self, image):
        small = torch.nn.functional.avg_pool2d(image, SCALE)
        return -(small[:, None] - self.colors.view(1, 4, 3, 1, 1)).square().sum(2)


def read(path):
    return torch.from_numpy(np.array(Image.open(path), np.float32) / 255).permute(2, 0, 1)[None]


# ------------------------------------------------------------------------------------------------- library


def test_figures_are_those_of_the_metrics(data):
    """Means over the pictures of what the metrics give for PIL's bicubic; mIoU of all pixels together."""
    judge = ColorJudge()
    evaluation = evaluate_folder(
        data / "lr", {"bicubic": bicubic}, data / "hr", data / "labels", Measures(judge=judge, labels=LABELS)
    )
    psnr, confusion = [], 0
    for stem in STEMS:
        resized = Image.open(data / f"lr/{stem}.png").resize((64, 48), Image.Resampling.BICUBIC)
        resized.save(data / "bicubic.png")
        sr = read(data / "bicubic.png")
        psnr.append(metrics.psnr_y(sr, read(data / f"hr/{stem}.png"), border=SCALE).item())
        prediction = torch.nn.functional.interpolate(judge(sr), size=(48, 64), mode="bilinear").argmax(1)
        labels = torch.from_numpy(np.array(Image.open(data / f"labels/{stem}.png"), np.int64))[None]
        confusion += confusion_matrix(prediction, labels, 4)
    scores = evaluation.scores["bicubic"]
    assert scores["psnr_y"] == pytest.approx(np.mean(psnr), abs=1e-4)
    assert scores["miou"] == pytest.approx(mean_iou(confusion))
    assert list(scores["iou"]) == LABELS
    assert evaluation.scores["HR"]["miou"] > scores["miou"] > 0.5
    assert set(evaluation.scores["HR"]) == {"boundary_f", "miou", "iou"}
    assert "lpips" not in scores


def test_perfect_results_score_perfectly(data):
    evaluation = evaluate_folder(data / "lr", {"copy": FromFolder(data / "hr")}, data / "hr")
    scores = evaluation.scores["copy"]
    assert scores["psnr_y"] == float("inf")
    assert (scores["ssim_y"], scores["color_drift"]) == (pytest.approx(1), 0)


def test_void_by_id_and_by_having_no_class(data):
    """Ids of no class never count; an id that is a class counts unless it is named as void."""
    methods = {"copy": FromFolder(data / "hr")}
    counts = []
    for void in (None, 2):
        measures = Measures(judge=ColorJudge(), labels=LABELS, void=void)
        score = evaluate_folder(data / "lr", methods, data / "hr", data / "labels", measures).pictures["copy"]["a"]
        counts.append(score.confusion.sum(1).tolist())
    labels = np.asarray(Image.open(data / "labels/a.png"))
    assert counts[0] == [int((labels == index).sum()) for index in range(4)]
    assert counts[1] == [count if index != 2 else 0 for index, count in enumerate(counts[0])]


def test_drift_that_marks_the_wrong_pixels(data):
    """A method whose drift is high exactly where its class is wrong has an AUROC of 1."""

    def method(case, lr, size):
        classes = np.asarray(Image.open(case.labels)) % 4
        drift = np.zeros(classes.shape, np.float32)
        drift[20:30], classes = 0.7, np.where(np.arange(48)[:, None] // 10 == 2, (classes + 1) % 4, classes)
        return Result(bicubic(case, lr, size).pixels, classes, drift)

    measures = Measures(judge=ColorJudge(), labels=LABELS)
    evaluation = evaluate_folder(data / "lr", {"bicubic": bicubic, "x": method}, None, data / "labels", measures)
    assert evaluation.scores["x"]["drift_auroc"] == 1
    assert "drift_auroc" not in evaluation.scores["bicubic"]


def test_parts_of_a_set_can_be_summarized(data):
    """What a bootstrap needs: the figures of any choice of pictures."""
    measures = Measures(judge=ColorJudge(), labels=LABELS)
    evaluation = evaluate_folder(data / "lr", {"bicubic": bicubic}, data / "hr", data / "labels", measures)
    pictures = evaluation.pictures["bicubic"]
    assert summarize(list(pictures.values()), LABELS) == evaluation.scores["bicubic"]
    part = summarize([pictures["a"], pictures["a"], pictures["c"]], LABELS)
    expected = (2 * pictures["a"].values["psnr_y"] + pictures["c"].values["psnr_y"]) / 3
    assert part["psnr_y"] == pytest.approx(expected)


def test_a_model_is_a_method_and_progress_is_told(data, tiny_model):
    progress = []
    evaluation = evaluate_folder(
        data / "lr",
        {"model": FromModel(tiny_model, color_fix=False)},
        data / "hr",
        on_progress=lambda done, total: progress.append((done, total)),
    )
    with torch.inference_mode():
        sr = tiny_model.generator(read(data / "lr/a.png")).clamp(0, 1)
    expected = metrics.psnr_y((sr * 255).round() / 255, read(data / "hr/a.png"), border=SCALE).item()
    assert evaluation.pictures["model"]["a"].values["psnr_y"] == pytest.approx(expected, abs=1e-3)
    assert progress == [(1, 3), (2, 3), (3, 3)]


def test_hr_with_a_remainder_is_cropped(data):
    """HR of 66x51 belongs to LR of 16x12: bicubic reduction crops to what the scale divides first."""
    for stem in STEMS:
        hr = np.asarray(Image.open(data / f"hr/{stem}.png"))
        save(np.pad(hr, ((0, 3), (0, 2), (0, 0)), mode="edge"), data / f"larger/{stem}.png")
    scores = [evaluate_folder(data / "lr", {"x": bicubic}, data / hr).scores["x"]["psnr_y"] for hr in ("hr", "larger")]
    assert scores[0] == scores[1]


def test_crops_show_where_methods_differ():
    lr, hr = np.full((40, 60, 3), 0.5, np.float32), np.full((160, 240, 3), 0.5, np.float32)
    other = hr.copy()
    other[100:140, 150:200] = 0.9
    crop = choose_crop("a", lr, {"one": hr, "other": other}, hr)
    assert crop.corner[0] <= 150 and crop.corner[0] + 96 >= 200 and crop.corner[1] <= 100 and crop.corner[1] + 96 >= 140
    assert list(crop.views) == ["LR", "one", "other", "HR"]
    assert crop.views["LR"].shape == (24, 24, 3) and crop.views["other"].shape == (96, 96, 3)
    assert crop.views["other"].max() == 230 and crop.views["one"].max() == 128


def test_gray_and_deep_pictures_become_rgb():
    gray = Picture(np.array([[0, 65535]], np.uint16))
    assert to_pixels(gray).tolist() == [[[0, 0, 0], [1, 1, 1]]]


def test_what_is_hidden_under_transparent_pixels_counts_for_nothing(data):
    scores = []
    for hidden in (0, 255):
        for folder, size in (("lr", 6), ("hr", 24)):
            for path in (data / folder).iterdir():
                image = Image.open(path).convert("RGBA")
                image.paste((hidden, 0, 0, 0), (0, 0, size, size))
                image.save(path)
        scores.append(evaluate_folder(data / "lr", {"bicubic": bicubic}, data / "hr").scores)
    assert scores[0] == scores[1]


# ------------------------------------------------------------------------------------------------ command


def test_command_writes_table_json_sheet_and_pictures(data, model_folder, distances_folder, capsys):
    for stem in STEMS:
        save(np.asarray(Image.open(data / f"hr/{stem}.png")), data / f"copies/{stem}.png")
    arguments = ["evaluate", str(model_folder), "--lr", str(data / "lr"), "--hr", str(data / "hr")]
    arguments += ["--labels", str(data / "labels"), "--sr", f"copy={data / 'copies'}", "--lpips", str(distances_folder)]
    arguments += ["-o", str(data / "out"), "--save-sr", str(data / "sr"), "--crops", "2"]
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split("  ")[-1].strip() == "drift AUROC ↑"
    assert [line.split()[0] for line in printed[1:5]] == ["bicubic", "copy", "tiny", "HR"]
    report = json.loads((data / "out/scores.json").read_text())
    assert list(report["scores"]["tiny"]) == [
        *("psnr_y", "ssim_y", "color_drift", "boundary_f", "lpips", "dists", "miou", "iou", "drift_auroc")
    ]
    assert report["scores"]["copy"]["psnr_y"] is None  # infinite; JSON has no such number
    for metric in ("lpips", "dists"):
        assert report["scores"]["copy"][metric] == pytest.approx(0, abs=1e-6)
        assert report["scores"]["bicubic"][metric] > 0.01
    assert set(report["pictures"]["tiny"]) == set(STEMS)
    with Image.open(data / "out/sheet.png") as sheet:
        assert sheet.mode == "RGB" and sheet.width > 5 * 64 and sheet.height > 2 * 48
    saved = evaluate_folder(data / "lr", {"tiny": FromFolder(data / "sr")}, data / "hr").scores["tiny"]
    assert saved["psnr_y"] == pytest.approx(report["scores"]["tiny"]["psnr_y"], abs=1e-6)

    assert cli.main(arguments) == 2
    assert "scores.json is there already. Give --overwrite" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite"]) == 0


def test_folders_without_a_model_and_without_networks(data, capsys):
    """What is not measured is said first, before any work, and apart from the table."""
    assert cli.main(["evaluate", "--lr", str(data / "lr"), "--hr", str(data / "hr"), "--sr", f"x={data / 'hr'}"]) == 0
    printed, notes = capsys.readouterr()
    assert [line.split()[0] for line in printed.splitlines()[1:3]] == ["bicubic", "x"]
    assert printed.splitlines()[1].split()[3] == "–"
    assert printed.splitlines()[2].split()[1:5] == ["∞", "1.0000", "–", "–"]
    assert [line.partition(".")[0] for line in notes.splitlines()[:2]] == [
        "LPIPS is not measured: no AlexNet here",
        "DISTS is not measured: no VGG16 here",
    ]


def test_without_references_colours_are_held_against_lr(data, model_folder, capsys):
    assert cli.main(["evaluate", str(model_folder), "--lr", str(data / "lr")]) == 0
    printed, notes = capsys.readouterr()
    table = printed.splitlines()
    assert table[0].split("  ")[-1].strip() == "colour ΔE ↓" and "PSNR" not in table[0]
    assert "against the LR pictures" in notes


def test_several_models_are_rows_and_a_generator_file_is_one(data, tiny_model, model_folder, capsys):
    """The same generator as a model, by name, and as a bare file: the same figures, and pictures apart."""
    save_file(tiny_model.generator.state_dict(), data / "bare.safetensors")
    arguments = ["evaluate", str(model_folder), f"other={model_folder}", str(data / "bare.safetensors")]
    arguments += ["--lr", str(data / "lr"), "--hr", str(data / "hr"), "--save-sr", str(data / "sr")]
    assert cli.main(arguments) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["bicubic", "tiny", "other", "bare"]
    assert rows[1][1:] == rows[2][1:] == rows[3][1:] != rows[0][1:]
    assert sorted(path.name for path in (data / "sr").iterdir()) == ["bare", "other", "tiny"]
    assert (data / "sr/bare/a.png").is_file()


def test_a_judge_from_transformers(data, tiny_model, model_folder, tmp_path, capsys):
    """Any transformers segmentation model judges; the guide of the same weights judges the same."""
    tiny_model.guide.network.save_pretrained(tmp_path / "judge")
    figures = []
    for judge in (tmp_path / "judge", model_folder):
        arguments = ["evaluate", "--lr", str(data / "lr"), "--labels", str(data / "labels"), "--judge", str(judge)]
        assert cli.main([*arguments, "--sr", f"x={data / 'hr'}"]) == 0
        figures.append(capsys.readouterr().out.splitlines()[2])
    assert figures[0] == figures[1]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(data, model_folder, tmp_path, monkeypatch):
    options = ["evaluate", str(model_folder), "--lr", str(data / "lr"), "--hr", str(data / "hr")]
    options += ["--labels", str(data / "labels"), "--device", "cpu"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the processes have
    try:
        assert cli.main([*options, "-o", str(tmp_path / "one")]) == 0
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    ended = run_processes([sys.executable, "-m", "ssg_hub", *options, "-o", str(tmp_path / "two")])
    assert [code for code, _ in ended] == [0, 0], ended
    one, two = (json.loads((tmp_path / f"{name}/scores.json").read_text()) for name in ("one", "two"))
    assert one["scores"] == two["scores"]
    assert one["pictures"] == two["pictures"]
    assert (tmp_path / "one/sheet.png").read_bytes() == (tmp_path / "two/sheet.png").read_bytes()


def test_names_that_macos_spelt_belong_together(data):
    """As two characters, e and an accent, in one folder, and as one in the other."""
    (data / "lr/a.png").rename(data / "lr/cafe\u0301.png")
    (data / "hr/a.png").rename(data / "hr/caf\u00e9.png")
    cases = {case.stem: case for case in pair_files(data / "lr", data / "hr")}
    assert cases.keys() == {"caf\u00e9", "b", "c"} and cases["caf\u00e9"].lr.stem == "cafe\u0301"


@pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")
def test_a_name_in_no_utf_8_is_scored_like_any(data):
    """As an archive of another system leaves them; it can be printed and written in no other form than escaped."""
    name = os.fsdecode(b"caf\xe9")
    for folder in ("lr", "hr"):
        (data / folder / "a.png").rename(data / folder / f"{name}.png")
    folders = ["--lr", str(data / "lr"), "--hr", str(data / "hr"), "--sr", f"x={data / 'hr'}"]
    assert cli.main(["evaluate", *folders, "-o", str(data / "out")]) == 0
    assert name in json.loads((data / "out/scores.json").read_bytes())["pictures"]["x"]


# ------------------------------------------------------------------------------------------------- errors


def refused(capsys, *arguments):
    assert cli.main(["evaluate", *map(str, arguments)]) == 2
    *notes, message = capsys.readouterr().err.splitlines()
    assert message.startswith("ssg evaluate: ")
    assert not any("Traceback" in note for note in notes)
    return message


def test_stems_that_do_not_match(data, capsys):
    (data / "hr/b.png").unlink()
    (data / "hr/c.png").rename(data / "hr/c_hr.png")
    message = refused(capsys, "--lr", data / "lr", "--hr", data / "hr", "--sr", f"x={data / 'lr'}")
    assert "2 of 3 LR pictures have no HR file in" in message and ": b, c." in message


def test_results_that_are_missing(data, capsys):
    save(np.zeros((48, 64, 3), np.uint8), data / "part/a.png")
    message = refused(capsys, "--lr", data / "lr", "--sr", f"x={data / 'part'}")
    assert "2 of 3 LR pictures have no SR file in" in message


def test_sizes_that_do_not_match(data, capsys):
    message = refused(capsys, "--lr", data / "lr", "--sr", f"x={data / 'lr'}")
    assert "the SR picture of x is 16x12; 64x48 is needed, 4 times the size of a.png" in message
    message = refused(capsys, "--lr", data / "lr", "--hr", data / "hr", "--scale", 2, "--sr", f"x={data / 'lr'}")
    assert "a.png is 64x48; 32x24 is needed" in message


@pytest.mark.parametrize("folder, needed", [("lr", "80x48"), ("hr", "64x48"), ("labels", "64x48")])
def test_what_is_wrong_with_the_last_file_is_told_before_the_first_is_scored(data, folder, needed):
    methods = {"x": lambda *_: pytest.fail("a picture was made")}
    folders = {name: data / name for name in ("lr", "hr", "labels")}
    last = sorted(folders[folder].iterdir())[-1]
    Image.new("L", (20, 12)).save(last)
    with pytest.raises(ImageError, match=f"{needed} is needed, 4 times the size of {last.name}"):
        evaluate_folder(methods=methods, **folders)
    last.write_bytes(last.read_bytes()[:20])
    with pytest.raises(ImageError, match=last.name):
        evaluate_folder(methods=methods, **folders)


@pytest.mark.parametrize("distances, side", [({}, 19), ({"dists": None}, 19), ({"lpips": None, "dists": None}, 31)])
def test_a_picture_that_is_too_small_is_named_before_the_first_is_scored(data, distances, side):
    methods = {"x": lambda *_: pytest.fail("a picture was made")}
    for folder, size in (("lr", (20, 4)), ("hr", (80, 16))):
        Image.new("RGB", size).save(data / folder / "c.png")
    with pytest.raises(ImageError, match=f"hr/c.png is too small to be compared: {side} pixels a side"):
        evaluate_folder(data / "lr", methods, data / "hr", measures=Measures(distances=distances))


def test_label_maps_in_colour(data):
    measures = Measures(judge=ColorJudge(), labels=LABELS)
    with pytest.raises(ImageError, match="has 3 channels; a label map holds one class id per pixel"):
        evaluate_folder(data / "lr", {"x": bicubic}, None, data / "hr", measures)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sr", "folder"], "takes NAME=DIR"),
        (["--sr", "bicubic=lr"], "there is a row 'bicubic' already"),
        (["--sr", "x=absent"], "absent is not a folder"),
        (["--sr", "x=empty"], "empty has no pictures"),
        (["--sr", "x=hr", "--labels", "labels"], "--labels needs a judge"),
        (["--sr", "x=hr", "--judge", "tiny"], "--judge needs --labels"),
        (
            ["--sr", "x=hr", "--hr", "hr", "--lpips", "empty"],
            "empty has neither alexnet_features.safetensors nor vgg16",
        ),
        (["absent.safetensors"], "no weights file at absent.safetensors"),
        (["tiny", "tiny"], "there is a row 'tiny' already. Name it: OTHER=tiny"),
        (["bicubic=tiny"], "there is a row 'bicubic' already"),
        (["x="], "a model is given as NAME=MODEL"),
        (["tiny", "b=tiny", "--labels", "labels"], "needs one judge for all: tiny and b have guides"),
        (["--sr", "x=hr", "--save-sr", "out"], "only folders are scored"),
        (["--sr", "x=hr", "--device", "toaster"], "device 'toaster' cannot be used here"),
        (["--sr", "x=hr", "-o", "lr/a.png"], "lr/a.png is a file; -o takes a folder"),
        (["tiny", "--save-sr", "lr/a.png/sr"], "a.png is a file; --save-sr takes a folder"),
    ],
)
def test_options_that_do_not_fit(data, model_folder, monkeypatch, capsys, options, message):
    (data / "empty").mkdir()
    monkeypatch.chdir(data)
    assert message in refused(capsys, "--lr", "lr", *options)


@pytest.mark.parametrize(
    "options",
    [
        ["tiny", "--save-sr", "lr"],
        ["tiny", "--save-sr", "hr", "--hr", "hr"],
        ["tiny", "--save-sr", "./labels/../labels", "--labels", "labels"],
        ["tiny", "--save-sr", "copies", "--sr", "x=copies"],
        ["tiny", "x=tiny", "--save-sr", "in"],
        ["tiny", "-o", "lr"],
    ],
)
def test_no_result_replaces_a_picture_that_is_read(data, model_folder, monkeypatch, capsys, options):
    monkeypatch.chdir(data)
    for folder in ("lr", "hr", "labels"):
        shutil.copy(f"{folder}/{STEMS[0]}.png", f"{folder}/sheet.png")
    shutil.copytree("hr", "copies")
    Path("in").mkdir()
    Path("in/x").symlink_to(data / "lr")
    before = {path: path.read_bytes() for path in data.rglob("*.png")}
    assert "is one of the pictures to read" in refused(capsys, "--lr", "lr", *options, "--overwrite")
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize(("option", "number"), [("--scale", 0), ("--border", -1), ("--crops", -1), ("--void", -1)])
def test_numbers_that_are_too_small(data, capsys, option, number):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--lr", str(data / "lr"), "--sr", f"x={data / 'hr'}", f"{option}={number}"])
    assert f"argument {option}: it takes a whole number of at least {number + 1}, not '{number}'" in (
        capsys.readouterr().err
    )


def test_two_files_of_one_stem(data):
    save(np.zeros((12, 16, 3), np.uint8), data / "lr/a.jpg")
    with pytest.raises(ConfigError, match=r"both a\.jpg and a\.png"):
        evaluate_folder(data / "lr", {"x": bicubic})


def test_judges_that_are_none(tmp_path, tiny_model):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ConfigError, match="nothing is not a semantic segmentation model"):
        load_guide(str(tmp_path / "nothing"))
    tiny_model.guide.network.config.save_pretrained(tmp_path / "weightless")
    with pytest.raises(CheckpointError, match="no segmentation model at"):
        load_guide(str(tmp_path / "weightless"))
    type(tiny_model)(generator_type="compact", generator_config={"features": 4, "convs": 1}).save_pretrained(
        tmp_path / "blind"
    )
    with pytest.raises(ConfigError, match="SSGModel without a guide"):
        load_guide(str(tmp_path / "blind"))


def test_processes_that_do_not_know_of_each_other(data, monkeypatch, capsys):
    """As on an accelerator that Accelerate does not spread over, when torchrun starts two."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(accelerate, "PartialState", lambda cpu, timeout: SimpleNamespace(num_processes=1, device="cpu"))
    message = refused(capsys, "--lr", data / "lr", "--sr", f"x={data / 'hr'}")
    assert "2 processes were launched, but Accelerate sees 1" in message


def test_models_of_different_scales_need_one(data, model_folder, tmp_path, tiny_model, capsys):
    double = type(tiny_model)(generator_type="compact", generator_config={"features": 4, "convs": 1, "scale": 2})
    double.save_pretrained(tmp_path / "double")
    message = refused(capsys, model_folder, tmp_path / "double", "--lr", data / "lr")
    assert "the models enlarge 2 and 4 times. Give --scale." in message


def test_distances_are_found_where_other_tools_leave_their_networks(tmp_path, monkeypatch, distances_folder):
    """By variable, in torch's cache, VGG16 in the Hub's; and the same weights give the same distances everywhere."""
    assert distances.find_distances() == {}
    sr, hr = (torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    monkeypatch.setenv("SSG_LPIPS", str(distances_folder))
    expected = {name: distance(sr, hr) for name, distance in distances.find_distances().items()}
    assert list(expected) == ["lpips", "dists"]
    monkeypatch.delenv("SSG_LPIPS")
    (tmp_path / "torch/checkpoints").mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    torch.save(
        load_file(distances_folder / "alexnet_features.safetensors"), tmp_path / "torch/checkpoints/alexnet-owt-7.pth"
    )
    assert list(distances.find_distances()) == ["lpips"]
    cached = str(distances_folder / "vgg16_features_fp16.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *names: cached)
    found = distances.find_distances()
    assert all(torch.equal(distance(sr, hr), expected[name]) for name, distance in found.items())


def test_a_folder_with_one_network_gives_one_distance(distances_folder):
    (distances_folder / "alexnet_features.safetensors").unlink()
    assert list(distances.find_distances(str(distances_folder))) == ["dists"]


def test_pictures_in_one_pass_or_alone_are_as_far_from_hr(data, distances_folder):
    """Six methods are seen four at a time; a method's figures do not depend on its company."""
    found = distances.find_distances(str(distances_folder))
    methods = {f"m{index}": FromFolder(data / "hr") if index == 2 else bicubic for index in range(6)}
    together = evaluate_folder(data / "lr", methods, data / "hr", measures=Measures(distances=found)).scores
    for name in ("m2", "m5"):
        alone = evaluate_folder(
            data / "lr", {name: methods[name]}, data / "hr", measures=Measures(distances=found)
        ).scores[name]
        for metric in ("lpips", "dists"):
            assert together[name][metric] == pytest.approx(alone[metric], abs=1e-5)
