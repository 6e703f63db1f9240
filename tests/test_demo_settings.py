"""What the demo's operator sets: read from the environment, checked before a model is loaded, and used."""

import socket
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")

from ssg_hub.demo import settings, viewer
from ssg_hub.demo.request import Request
from ssg_hub.demo.serve import check_address
from ssg_hub.demo.settings import Settings, from_environment, parse_models
from ssg_hub.demo.workshop import Workshop
from ssg_hub.errors import ConfigError
from ssg_hub.images.reading import read_picture

EXAMPLES = viewer.ROOM / "examples"


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SSG_MODELS", f"a/b, fine=c/d, {EXAMPLES}")
    monkeypatch.setenv("SSG_MAX_PIXELS", "1_000")
    monkeypatch.setenv("SSG_DEVICE", "cpu")
    expected = replace(
        Settings(),
        other_models={"large": "large", "a/b": "a/b", "fine": "c/d", "examples": str(EXAMPLES)},
        max_pixels=1000,
    )
    assert from_environment() == expected and expected.offers_large
    for name, value in (("SSG_MAX_LARGE_PIXELS", "0"), ("SSG_MODEL", "a/b")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert "large" not in from_environment().other_models, "large goes with the embedded model alone"
    with monkeypatch.context() as patch:
        patch.setenv("SSG_MODEL", "large")
        patch.delenv("SSG_MAX_PIXELS")
        alone = from_environment()
        assert (alone.max_pixels, alone.max_clip_seconds, alone.offers_large) == (300_000, 0, False)
    for name, value, words in (
        ("SSG_QUEUE_SIZE", "many", "SSG_QUEUE_SIZE is 'many'"),
        ("SSG_MAX_PIXELS", "1__0", "SSG_MAX_PIXELS is '1__0'; it needs a whole number from 1 on"),
        ("SSG_MAX_PIXELS", "²", "SSG_MAX_PIXELS is '²'"),
        ("SSG_MAX_PIXELS", "9" * 5000, "SSG_MAX_PIXELS is '999"),
        ("SSG_MAX_PIXELS", "0", "SSG_MAX_PIXELS is '0'"),
        ("SSG_MAX_CLIP_SECONDS", "-1", "SSG_MAX_CLIP_SECONDS is '-1'; it needs a whole number from 0 on"),
        ("SSG_MAX_FILE_SIZE", "40", "SSG_MAX_FILE_SIZE: '40' is not a size"),
        ("SSG_MAX_FILE_SIZE", "9" * 5000 + "kb", "is not a size"),
        ("SSG_MODELS", "a=b/c,a=d/e", "SSG_MODELS has 'a' twice"),
        ("SSG_DTYPE", "float16", "SSG_DTYPE is 'float16'; choose one of float32, bfloat16"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ConfigError, match=words):
                from_environment()


def test_paths_of_models_may_hold_the_sign_that_ends_a_name(tmp_path, monkeypatch):
    (tmp_path / "step=9").mkdir()
    (tmp_path / "step=9" / "x4.pth").touch()
    monkeypatch.chdir(tmp_path)
    for text, models in {
        f"fine={tmp_path}/step=9/x4.pth": {"fine": f"{tmp_path}/step=9/x4.pth"},
        f"{tmp_path}/step=9/x4.pth, a/b": {"x4": f"{tmp_path}/step=9/x4.pth", "a/b": "a/b"},
        "step=9": {"step=9": "step=9"},
        "~/gone=1/x4.pth": {"~/gone=1/x4.pth": "~/gone=1/x4.pth"},
        "fine = c/d": {"fine": "c/d"},
    }.items():
        assert parse_models(text) == models


def test_bfloat16_only_where_the_machine_computes_in_it(monkeypatch):
    from ssg_hub.upscaling.engines import compiled

    monkeypatch.setenv("SSG_DEVICE", "cpu")
    assert from_environment().precision == "float32"
    monkeypatch.setenv("SSG_DTYPE", "bfloat16")
    monkeypatch.setattr(compiled, "is_installed", lambda: True)
    monkeypatch.setattr(compiled, "has_bfloat16", lambda: True)
    assert from_environment().precision == "bfloat16"
    with monkeypatch.context() as patch:
        patch.setenv("SSG_ENGINE", "torch")
        with pytest.raises(ConfigError, match="SSG_DTYPE is bfloat16, but on a CPU it needs OpenVINO"):
            from_environment()
    with monkeypatch.context() as patch:
        patch.setattr(compiled, "has_bfloat16", lambda: False)
        with pytest.raises(ConfigError, match="this CPU does not compute in it.*Leave it out"):
            from_environment()
    assert "not for mps" in settings.why_not_bfloat16("mps")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: including_emulation)
    assert "this GPU does not" in settings.why_not_bfloat16("cuda:0"), "what is emulated is slower"


def test_the_precision_is_that_of_pictures_clips_estimates_and_the_first_run(tiny_model, monkeypatch):
    from ssg_hub.demo import workshop
    from ssg_hub.upscaling.upscale import Prediction

    asked = []

    class Recorder:
        labels: list[str] = []

        def to(self, device):
            return self

        def upscale(self, picture, **options):
            asked.append(("picture", options["dtype"]))

        def upscale_video(self, source, target, **options):
            asked.append(("clip", options["dtype"]))

    def predict(model, size, outscale, **how):
        asked.append(("estimate", how["dtype"]))
        return Prediction(4, 4, 1, 1)

    picture = read_picture(Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)))
    with monkeypatch.context() as patch:
        patch.setattr(workshop, "predict", predict)
        shop = Workshop(Settings(precision="bfloat16", other_devices=("meta",)), Recorder(), None)
        shop.warm_up()
        shop.run("default", picture, Request(), None)
        shop.run_clip("default", "in.mp4", "out.mp4")
        shop.predict("default", None, (4, 4), 4)
        assert {dtype for _, dtype in asked} == {"bfloat16"} and len(asked) == 4
        shop.run("default", picture, Request(device="meta"), None)
        shop.predict("default", "meta", (4, 4), 4)
        assert [dtype for _, dtype in asked[4:]] == [None, None], "the other device may not compute in it"
    shop = Workshop(Settings(precision="bfloat16"), tiny_model, None)
    result = shop.run("default", picture, Request(), lambda progress: None)
    assert result.report["dtype"] == "bfloat16"
    exact = Workshop(Settings(), tiny_model, None).run("default", picture, Request(), lambda progress: None)
    assert exact.report["dtype"] == "float32" and not np.array_equal(exact.image, result.image)


def test_an_address_that_is_taken_is_named_before_a_model_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot be served at 127.0.0.1, port {port} .*leave the port out"):
            check_address(None, port)
    check_address(None, port)
    check_address("127.0.0.1", None)
    with pytest.raises(ConfigError, match="port 70000"):
        check_address(None, 70000)
