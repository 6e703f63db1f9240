"""The benchmark behind docs/results.md: the sets it makes, what its peers have still to do, and its tables."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from standins import Difference

from benchmarks import evaluation_data, peers
from benchmarks.results import __main__ as results
from benchmarks.results import aims, kept, measuring, tables
from ssg_hub.evaluation.scoring import evaluate_folder
from ssg_hub.upscaling.pipeline import MARGIN

VOID = 11


def draw(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def small_shared(tmp_path, monkeypatch):
    """Data like the shared folder's, of two pictures a set; what is made goes below tmp_path."""
    data = tmp_path / "shared/data"
    for number, stem in enumerate(("01", "02")):
        draw(data / f"kodak/{stem}.png", (72, 50), number)
        draw(data / f"camvid/train/images/{stem}.png", (64, 48), number)
        (data / "camvid/train/labels").mkdir(exist_ok=True)
        ids = np.random.default_rng(number).integers(0, 4, (48, 64), dtype=np.uint8)
        Image.fromarray(ids).save(data / f"camvid/train/labels/{stem}.png")
        for camera in evaluation_data.CAMERAS:
            draw(data / f"camvid/dev_lr/{camera}/{stem}.png", (16, 12), number)
    monkeypatch.setenv("SSG_SHARED", str(tmp_path / "shared"))
    monkeypatch.setattr(evaluation_data, "MADE", tmp_path / "sets")
    monkeypatch.setattr(peers, "OUTPUT", tmp_path / "peers")
    monkeypatch.setattr(measuring, "CANDIDATES", tmp_path / "candidates")
    monkeypatch.setattr(kept, "KEPT", tmp_path / "scores")
    monkeypatch.setattr(measuring, "find_distances", lambda where: {"lpips": Difference(), "dists": Difference()})
    return tmp_path / "shared"


def test_kodak_is_made_once_and_as_it_says(small_shared):
    sets = evaluation_data.kodak_sets(small_shared)
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for s in sets for path in s.lr.iterdir()}
    assert [path.suffix for path in sorted(first)] == [".png", ".png", ".png", ".png", ".jpg", ".jpg"]
    assert {Image.open(path).size for path in first} == {(18, 12)}
    expected = Image.open(small_shared / "data/kodak/01.png").crop((0, 0, 72, 48)).resize((18, 12), Image.BICUBIC)
    assert np.array_equal(np.asarray(Image.open(sets[0].lr / "01.png")), np.asarray(expected))
    made = next(path for path in first if path.parent.name == "kodak-generic" and path.stem == "02")
    made.write_bytes(b"an older prior's")
    evaluation_data.kodak_sets(small_shared)
    again = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first}
    assert [path for path in first if again[path] != first[path]] == [made]  # rewritten, and newer than its SR
    assert again[made][0] == first[made][0]


def test_peers_make_what_is_missing_and_stop_by_the_clock(small_shared, tiny_model, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "tiny.safetensors"
    save_file(tiny_model.generator.state_dict(), weights)
    monkeypatch.setattr(peers, "PEERS", {"tiny": str(weights)})
    monkeypatch.setattr(peers, "camvid_sets", lambda shared, part: [])
    line = ["peers", "--sets", "kodak-bicubic"]
    monkeypatch.setattr(sys, "argv", [*line, "--minutes", "0"])
    assert peers.main() == 3 and "2 pictures are left" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", line)
    assert peers.main() == 0 and "all 2 pictures are made" in capsys.readouterr().out
    bicubic = evaluation_data.kodak_sets(small_shared)[0]
    assert peers.missing("tiny", bicubic) == []
    sr = peers.peer_folder("tiny", "kodak-bicubic") / "01.png"
    lr = bicubic.lr / "01.png"
    expected = tiny_model.upscale(lr, segment=False, color_fix=False).image  # as its authors publish it
    assert np.array_equal(np.asarray(Image.open(sr)), np.asarray(expected))
    lr.touch()
    assert peers.missing("tiny", bicubic) == [(lr, sr)]


def test_a_candidate_makes_each_picture_once_and_again_when_lr_is_newer(small_shared, tiny_model):
    bicubic = evaluation_data.kodak_sets(small_shared)[0]
    made = sorted(measuring.make("tiny", tiny_model, bicubic).glob("*.png"))
    assert [path.name for path in made] == ["01.png", "02.png"]
    made[0].write_bytes(b"kept")
    measuring.make("tiny", tiny_model, bicubic)
    assert made[0].read_bytes() == b"kept"
    os.utime(made[0], (0, 0))
    measuring.make("tiny", tiny_model, bicubic)
    expected = tiny_model.upscale(bicubic.lr / "01.png", segment=False).image
    assert np.array_equal(np.asarray(Image.open(made[0])), np.asarray(expected))


def test_the_report_has_every_row_and_its_ratio_with_the_yardstick(
    small_shared, tiny_model, tmp_path, monkeypatch, capsys
):
    tiny_model.save_pretrained(tmp_path / "model")
    save_file(tiny_model.generator.state_dict(), tmp_path / "tiny.safetensors")
    monkeypatch.setattr(peers, "PEERS", {measuring.YARDSTICK: str(tmp_path / "tiny.safetensors")})
    for pictures in (*evaluation_data.camvid_sets(small_shared, "dev"), *evaluation_data.kodak_sets(small_shared)):
        for stem in ("01", "02"):
            sr = peers.peer_folder(measuring.YARDSTICK, pictures.name) / f"{stem}.png"
            sr.parent.mkdir(parents=True, exist_ok=True)
            tiny_model.upscale(next(pictures.lr.glob(f"{stem}.*")), segment=False).save(sr)
    monkeypatch.setattr(measuring, "TURNS", 1)
    monkeypatch.setattr(measuring, "ROOT", tmp_path)
    line = ["results", "--dev", "--candidates", f"tiny={tmp_path / 'model'}", "--peers", measuring.YARDSTICK]
    monkeypatch.setattr(sys, "argv", [*line, "--judge", str(tmp_path / "model")])
    assert results.main() == 0
    printed = capsys.readouterr().out
    # the yardstick is the candidate's own generator here, so that every ratio is 1
    for title in ("CamVid dev, noisy", "CamVid dev, phone"):
        assert f"| {title} | tiny | 1.000 | 1.000 | +0.00 | 1.000 |" in printed
    for title in ("Kodak, bicubic", "Kodak, generic prior", "Kodak, bicubic, JPEG 40"):
        assert f"| {title} | tiny | 1.000 | 1.000 | +0.00 | – |" in printed
    assert "| HR |" in printed and "| bicubic |" in printed and "black" in printed
    assert "| CamVid dev, noisy: LPIPS at most 0.92 of x4plus's | 1.000 | **no** |" in printed
    assert "| Kodak, bicubic, JPEG 40: DISTS at most x4plus's | 1.000 of it | yes |" in printed


def test_only_rows_with_new_pictures_are_measured_again(small_shared, tiny_model, monkeypatch):
    measured = []

    def evaluate(lr, methods, *others, **options):
        measured.append(list(methods))
        return evaluate_folder(lr, methods, *others, **options)

    def scores_of(models, dev="noisy"):
        found = measuring.Measurements(models, [], "dev", [dev], "judge", small_shared)
        return found.score(found.camvid_sets()[0]).scores

    tiny_model.guide.labels = tiny_model.labels
    monkeypatch.setattr(measuring, "load_guide", lambda where: tiny_model.guide)
    monkeypatch.setattr(measuring, "evaluate_folder", evaluate)
    first = scores_of({"a": tiny_model})
    assert measured == [["bicubic", "a"]] and list(first) == ["bicubic", "a", "HR"]
    assert scores_of({"a": tiny_model}) == first and len(measured) == 1
    again = scores_of({"a": tiny_model, "b": tiny_model})  # another row beside those that are kept
    assert measured[1:] == [["b"]] and again["b"] == again["a"] == first["a"] and again["HR"] == first["HR"]
    draw(next(measuring.CANDIDATES.glob("a-*/camvid-dev-noisy")) / "01.png", (64, 48), 9)
    other = scores_of({"a": tiny_model, "b": tiny_model})
    assert measured[2:] == [["a"]] and other["a"] != first["a"] and other["bicubic"] == first["bicubic"]
    monkeypatch.setattr(measuring, "find_distances", lambda where: {"lpips": Difference()})
    assert "dists" not in scores_of({"a": tiny_model})["a"] and measured[3:] == [["bicubic", "a"]]


def test_colours_are_measured_where_they_deviate_most(tiny_model):
    """A generator that adds 3 levels of red, but at one pixel 7; the colour fix takes back the 3."""
    at = 4 * MARGIN + 5

    class Reddish(torch.nn.Module):
        scale = 4

        def __init__(self):
            super().__init__()
            self.shift = torch.nn.Parameter(torch.tensor([3.0, 0, 0]).view(1, 3, 1, 1) / 255)

        def forward(self, lr):
            sr = lr.repeat_interleave(4, 2).repeat_interleave(4, 3) + self.shift
            sr[..., at, at] += 4 * self.shift[..., 0, 0] / 3
            return sr

    tiny_model.generator = Reddish()
    found = measuring.Measurements.__new__(measuring.Measurements)
    found.models, found.peers = {"reddish": tiny_model}, []
    found.networks = lambda: {"peer": tiny_model, "reddish": tiny_model}
    found.deviations = found._deviations
    assert tables.tell_colors(found).splitlines()[-2:] == [
        "| peer | 7 | 7 | 7 | 7 | 0 | 0 | 7 | 7 | 7 | 0 | 0 |",
        "| reddish | 4 | 4 | 4 | 4 | 0 | 0 | 4 | 4 | 4 | 0 | 0 |",
    ]
    found.seconds = lambda: {"reddish": 1.0, "x4plus": 9.0}
    found.guide_miou = lambda: {"reddish": {"HR": 0.65, "noisy": 0.1, "phone": 0.499}}
    assert [line[1:] for line in aims.other_aims(found, "reddish")] == [
        ("4 (black)", False),
        ("1/9.0", False),
        ("0.650", True),
        ("0.499", False),
    ]
