"""A `~` at the beginning of a path is the user's folder, and an empty path is none, wherever Python hands on a text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from standins import make_model

from ssg_hub.errors import CheckpointError, ConfigError, ImageError
from ssg_hub.evaluation.methods import FromFolder
from ssg_hub.evaluation.scoring import pair_files
from ssg_hub.images.reading import read_labels, read_picture, read_size
from ssg_hub.loading import load_networks
from ssg_hub.upscaling.streaming import upscale_file
from ssg_hub.upscaling.upscale import upscale

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path


def test_pictures(home):
    assert np.array_equal(read_picture("~/a.png").values, PIXELS) and np.array_equal(read_labels("~/a.png"), PIXELS)
    assert read_size("~/a.png") == (12, 8)
    upscale(make_model(), "~/a.png").save("~/b.png")
    upscale_file(make_model(), "~/a.png", "~/c.png")
    assert np.array_equal(Image.open(home / "b.png"), Image.open(home / "c.png"))


def test_folders_of_an_evaluation(home):
    (case,) = pair_files("~", labels="~")
    assert case.lr == case.labels == home / "a.png" and FromFolder("~").files == {"a": home / "a.png"}


def test_clips(home):
    pytest.importorskip("av", reason="PyAV is not installed (pip install 'ssg-hub[video]')")
    from ssg_hub.video.job import Request

    request = Request.gather("~/a.mp4", "~/b.mp4")
    assert (request.source, request.target) == (home / "a.mp4", home / "b.mp4")


def test_an_export(home, tiny_model):
    for package in ("onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed (pip install 'ssg-hub[export]')")
    from ssg_hub.networks.exporting import export_onnx

    (home / "a.onnx").touch()
    with pytest.raises(ImageError, match="a.onnx exists and is kept"):
        export_onnx(tiny_model, "~/a.onnx")


def test_a_path_is_what_it_says(home, monkeypatch):
    """As the command gives it, for which the shell has put in the user's folder already."""
    (home / "~").mkdir()
    Image.fromarray(PIXELS).save(home / "~" / "b.png")
    monkeypatch.chdir(home)
    assert np.array_equal(read_picture(Path("~/b.png")).values, PIXELS)
    with pytest.raises(ImageError, match="no file ~nobody-at-all/b.png"):
        read_picture("~nobody-at-all/b.png")
    with pytest.raises(ImageError, match="null"):
        read_picture("~\0")


def test_an_empty_path_is_not_the_current_folder(home, tiny_model, monkeypatch):
    monkeypatch.chdir(home)
    before = sorted(home.iterdir())
    for use in (
        lambda: tiny_model.save_pretrained(""),
        lambda: upscale_file(make_model(), "", "b.png"),
        lambda: upscale_file(make_model(), "a.png", ""),
        lambda: upscale(make_model(), "a.png").save(""),
        lambda: pair_files(""),
    ):
        with pytest.raises(ConfigError, match="a path is empty"):
            use()
    with pytest.raises(CheckpointError, match="with an empty name"):
        load_networks("")
    with pytest.raises(ImageError, match="is empty"):
        read_picture("")
    assert sorted(home.iterdir()) == before


def test_clips_of_an_empty_path(home):
    pytest.importorskip("av", reason="PyAV is not installed (pip install 'ssg-hub[video]')")
    for source, target in (("", "b.mp4"), ("a.mp4", "")):
        with pytest.raises(ConfigError, match="a path is empty"):
            make_model().upscale_video(source, target)
