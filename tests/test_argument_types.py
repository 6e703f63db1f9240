"""An argument of a wrong type is named in one sentence, with what is needed, whatever public function it was given."""

from pathlib import Path

import numpy as np
import pytest
from standins import make_model

from ssg_hub import SSGModel, UpscaleExamples, adapt, load_model
from ssg_hub.degradation import load_degradation
from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.errors import ConfigError
from ssg_hub.images.writing import write_picture
from ssg_hub.loading import load_guide, load_networks
from ssg_hub.networks.guide import Guide
from ssg_hub.upscaling.upscale import upscale

PIXELS = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize("name", [3, ["embedded"], b"embedded"], ids=repr)
@pytest.mark.parametrize(
    "load",
    [
        load_model,
        load_networks,
        load_guide,
        load_degradation,
        SSGModel.from_pretrained,
        Guide.from_pretrained,
        DegradationBank.load,
        UpscaleExamples,
    ],
    ids=lambda load: load.__qualname__,
)
def test_what_is_no_name(load, name):
    with pytest.raises(ConfigError, match=rf"is of type {type(name).__name__}; an? .* is needed\.$"):
        load(name)


def test_a_bank_may_be_named_by_a_path(tmp_path):
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/absent\+none is no degradation bank"):
        load_degradation(tmp_path / "absent+none")


def test_what_is_no_path(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_picture(upscale(make_model(), PIXELS).picture, "a.png")
    for use in (
        lambda: tiny_model.save_pretrained(3),
        lambda: tiny_model.guide.save_pretrained(3),
        lambda: upscale(make_model(), PIXELS).save(3),
        lambda: make_model().upscale_file(3, "b.png"),
        lambda: make_model().upscale_file("a.png", 3),
        lambda: adapt(3, "out"),
        lambda: adapt("pictures", 3),
        lambda: adapt("pictures", "out", guide=3),
    ):
        with pytest.raises(ConfigError, match=r"^a name or a path is of type int; a text or a Path is needed\.$"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("load", [load_model, load_networks, load_guide], ids=lambda load: load.__name__)
@pytest.mark.parametrize("option", ["revision", "token", "cache_dir"])
def test_options_of_the_hub(load, option, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    with pytest.raises(ConfigError, match=f"^{option} is of type int; a .* is needed"):
        load("ann/street", **{option: 3})


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (lambda model, path: upscale(3, PIXELS), "the model is of type int; an SSGModel"),
        (lambda model, path: upscale(model, PIXELS, watch=3), "watch is of type int; a function"),
        (lambda model, path: model.upscale_file(path, path.with_name("b.png"), watch=3), "watch is of type int"),
        (lambda model, path: UpscaleExamples(model, mask=True), "mask is of type bool; the name of a column"),
        (lambda model, path: UpscaleExamples(model, into=["a"]), "into is of type list; the name of a column"),
        (lambda model, path: UpscaleExamples(model, keep_going="yes"), "keep_going is of type str; True or False"),
        (lambda model, path: adapt("pictures", "out", minutes="5"), "minutes is of type str; a number"),
        (lambda model, path: adapt("pictures", "out", seed=0.5), "seed is of type float; a whole number"),
        (lambda model, path: adapt("pictures", "out", tell="me"), "tell is of type str; a function"),
    ],
)
def test_what_else_a_function_takes(use, said, tmp_path):
    write_picture(upscale(make_model(), PIXELS).picture, tmp_path / "a.png")
    with pytest.raises(ConfigError, match=f"^{said}.* is needed"):
        use(make_model(), tmp_path / "a.png")


def test_what_a_clip_tells(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed (pip install 'ssg-hub[video]')")
    for name in ("on_progress", "on_segment"):
        with pytest.raises(ConfigError, match=f"^{name} is of type int; a function is needed"):
            make_model().upscale_video(tmp_path, tmp_path / "b.mp4", **{name: 3})
    with pytest.raises(ConfigError, match="^a name or a path is of type int"):
        make_model().upscale_video(tmp_path, 3)


def test_what_is_saved_with_a_model(tiny_model, tmp_path):
    for options, said in (
        ({"state_dict": 3}, "state_dict is of type int; a dict of tensors is needed"),
        ({"repo_id": 3}, "3 cannot be the id of a Hub repository"),
    ):
        with pytest.raises(ConfigError, match=said):
            tiny_model.save_pretrained(tmp_path / "saved", **options)
    with pytest.raises(ConfigError, match="calibration is of type dict; a Calibration is needed"):
        tiny_model.set_calibration({"weights": 3})
    assert not Path(tmp_path / "saved").exists()
