"""The demo over HTTP, as a program uses it: the same pixels as the library, clear refusals, and nothing left behind."""

import json
import shutil
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")

from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

import app  # noqa: E402
from ssg_hub.demo import texts  # noqa: E402
from ssg_hub.demo.job import Request  # noqa: E402
from ssg_hub.demo.settings import Settings, from_environment  # noqa: E402


@pytest.fixture
def serve(serve_url, cache):
    """Start a demo; gives a function (model, settings) -> client."""

    def start(model, settings: Settings | None = None) -> Client:
        url = serve_url(model, settings)
        return Client(url, verbose=False, download_files=str(cache.parent / "downloads"))

    return start


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 24, 3), np.uint8)).save(path)
    return path


def test_a_program_gets_the_pixels_of_the_library(tiny_model, serve, photo):
    client = serve(tiny_model)
    picture, mask, report = client.predict(handle_file(str(photo)), 3, 0.7, {"car": 0.5}, True, api_name="/upscale")
    strength = {label: 0.35 if label == "car" else 0.7 for label in tiny_model.labels}
    expected = tiny_model.upscale(photo, outscale=3, strength=strength, color_fix=True)
    assert np.array_equal(Image.open(picture), expected.image)
    assert np.array_equal(Image.open(mask), expected.mask)
    assert report["output"] == {"width": 72, "height": 54} and "not evidence" in report["honesty"]
    assert report["classes"] == json.loads(json.dumps(expected.report["classes"]))


def test_sixteen_bits_and_transparency_survive(tiny_model, serve, tmp_path):
    from ssg_hub.images.reading import Picture, read_picture, write_picture

    values = np.random.default_rng(0).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    deep = Picture(values, alpha=values[..., 0].copy())
    write_picture(deep, tmp_path / "deep.png")
    picture, _, _ = serve(tiny_model).predict(handle_file(str(tmp_path / "deep.png")), api_name="/upscale")
    expected, got = tiny_model.upscale(tmp_path / "deep.png").picture, read_picture(picture)
    assert got.bits == 16
    assert np.array_equal(got.values, expected.values) and np.array_equal(got.alpha, expected.alpha)


def test_a_model_without_a_guide_gives_a_picture_and_no_mask(serve, photo):
    from ssg_hub.model import SSGModel

    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    picture, mask, report = serve(model).predict(handle_file(str(photo)), api_name="/upscale")
    assert Image.open(picture).size == (96, 72) and mask is None and "classes" not in report


def test_what_cannot_be_done_is_a_sentence_without_server_paths(tiny_model, serve, photo, tmp_path, cache):
    client = serve(tiny_model, Settings(max_pixels=1000, max_output_pixels=10_000))
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:200])
    Image.new("RGB", (40, 30)).save(tmp_path / "large.png")
    refusals = [
        (("text.png", 4), "not a picture"),
        (("cut.png", 4), "damaged"),
        (("large.png", 1), "at most 0.001"),
        (("photo.png", 6), "at most 0.01"),
        (("photo.png", 4, 1, {"dragon": 1}), "dragon"),
        (("photo.png", 4, 1, {"car": "much"}), "much"),
        (("photo.png", 4, 1, ["car"]), "it needs a form like"),
        (("photo.png", None), "outscale"),
        (("photo.png", 4, None), "strength"),
        (("photo.png", 4, 1, {}, False, True, "/etc"), "not a model"),
        (("photo.png", 0.5), "outscale"),
    ]
    for (name, *options), words in refusals:
        with pytest.raises(AppError) as refusal:
            client.predict(handle_file(str(tmp_path / name)), *options, api_name="/upscale")
        assert words in str(refusal.value)
        assert str(cache) not in str(refusal.value) and "Traceback" not in str(refusal.value)
    with pytest.raises(AppError, match="no picture yet"):
        client.predict(None, api_name="/upscale")
    assert not list(cache.rglob("*_x*")), "a refused request left a result behind"


def test_an_error_of_ours_is_not_shown_but_logged(tiny_model, serve, photo, monkeypatch, caplog):
    def broken(*args, **options):
        raise RuntimeError("the secret of /srv/app")

    monkeypatch.setattr(type(tiny_model), "upscale", broken)
    client = serve(tiny_model)
    with pytest.raises(AppError) as refusal:
        client.predict(handle_file(str(photo)), api_name="/upscale")
    assert "secret" not in str(refusal.value) and "our side" in str(refusal.value)
    assert "the secret of /srv/app" in caplog.text


def test_only_what_is_meant_for_programs_is_offered_to_them(tiny_model, serve):
    endpoints = serve(tiny_model).view_api(return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/upscale"]
    names = [parameter["parameter_name"] for parameter in endpoints["/upscale"]["parameters"]]
    assert names == ["image", "outscale", "strength", "class_strength", "color_fix", "segment", "model"]
    assert "not evidence" in endpoints["/upscale"]["description"]


def test_results_are_deleted_when_their_time_is_over(tiny_model, serve, photo, cache):
    client = serve(tiny_model, Settings(keep_seconds=8))
    picture, _, _ = client.predict(handle_file(str(photo)), api_name="/upscale")
    deadline = time.monotonic() + 60
    ours = {name for group in app.EXAMPLES.values() for name in group}

    def left() -> list[str]:
        return [path.name for path in cache.rglob("*") if path.is_file() and path.name not in ours]

    assert Path(picture).name == "photo_x4.png"  # it was there: the client has its own copy
    while left() and time.monotonic() < deadline:
        time.sleep(0.3)
    assert left() == []


def test_a_second_model_that_cannot_be_loaded_is_named_without_its_place(tiny_model, serve, photo, tmp_path, caplog):
    place = tmp_path / "private" / "gone.pth"
    client = serve(tiny_model, Settings(other_models={"gone": str(place)}))
    with pytest.raises(AppError) as refusal:
        client.predict(handle_file(str(photo)), model="gone", api_name="/upscale")
    assert "The model gone cannot be loaded" in str(refusal.value) and "private" not in str(refusal.value)
    assert str(place) in caplog.text


def test_nobody_cancels_the_run_of_another(tiny_model):
    from types import SimpleNamespace

    from ssg_hub.demo.handlers import Handlers
    from ssg_hub.demo.line import Ticket

    handlers = Handlers(None, None, None)
    mine, other = (SimpleNamespace(session_hash=name, headers={}) for name in ("mine", "other"))
    ticket = Ticket()
    with handlers._stoppable("mine", ticket):
        assert handlers.cancel(other) == "" and not ticket.stopped()
        assert handlers.cancel(mine) == "Cancelled." and ticket.stopped()


def test_on_zerogpu_only_what_can_be_pickled_goes_to_the_gpu(tiny_model, photo, monkeypatch):
    import pickle
    from types import SimpleNamespace

    from ssg_hub.demo import settings, workshop
    from ssg_hub.errors import ConfigError
    from ssg_hub.images.reading import read_picture

    asked = []

    def gpu(duration):
        def lend(task):
            def run(*args):
                asked.append(duration(*args))
                return pickle.loads(pickle.dumps(task(*pickle.loads(pickle.dumps(args)))))

            return run

        return lend

    monkeypatch.setattr(settings, "spaces", SimpleNamespace(GPU=gpu), raising=False)
    for module in (settings, workshop):
        monkeypatch.setattr(module, "LENT", True)
    shop = workshop.Workshop(Settings(other_models={"b": "b"}), tiny_model, lambda source: tiny_model)
    assert set(shop._models) == {"default", "b"}, "a model was not loaded before the GPU's process is made"
    picture = read_picture(photo)
    result = shop.run("default", picture, Request(), lambda done, total: None)
    expected = tiny_model.upscale(photo)
    assert np.array_equal(result.image, expected.image) and np.array_equal(result.drift, expected.drift)
    assert asked == [20]
    with pytest.raises(ConfigError, match="dragon"):
        shop.run("default", picture, Request(class_strength={"dragon": 1}), lambda done, total: None)


def test_class_strength_multiplies_and_what_is_not_set_stays():
    assert Request(strength=0.5).options(["sky", "car"])["strength"] == 0.5
    wanted = Request(strength=0.5, class_strength={"car": 0.2})
    assert wanted.options(["sky", "car"])["strength"] == {"sky": 0.5, "car": 0.1}


def test_both_languages_have_every_sentence_with_the_same_gaps():
    from string import Formatter

    def gaps(lang: str) -> dict[str, set]:
        return {key: {gap for _, gap, _, _ in Formatter().parse(t) if gap} for key, t in texts.TEXTS[lang].items()}

    assert gaps("en") == gaps("zh")


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SSG_MODELS", f"a/b, fine=c/d, {app.FOLDER}")
    monkeypatch.setenv("SSG_MAX_PIXELS", "1_000")
    monkeypatch.setenv("SSG_DEVICE", "cpu")
    expected = replace(
        Settings(), other_models={"a/b": "a/b", "fine": "c/d", "examples": str(app.FOLDER)}, max_pixels=1000
    )
    assert from_environment() == expected
    for name, value, words in (
        ("SSG_QUEUE_SIZE", "many", "SSG_QUEUE_SIZE is 'many'"),
        ("SSG_MAX_FILE_SIZE", "40", "SSG_MAX_FILE_SIZE: '40' is not a size"),
        ("SSG_MODELS", "a=b/c,a=d/e", "SSG_MODELS has 'a' twice"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValueError, match=words):
                from_environment()


def test_the_examples_can_be_upscaled_and_the_zip_holds_everything(tiny_model, cache):
    from ssg_hub.demo.cache import Ledger
    from ssg_hub.demo.job import write_files
    from ssg_hub.images.reading import read_picture

    paths = [app.FOLDER / name for group in app.EXAMPLES.values() for name in group]
    assert sorted(path.name for path in paths) == sorted(path.name for path in app.FOLDER.glob("*.*g"))
    for path in paths:
        result = tiny_model.upscale(path, outscale=1)
        with Ledger(cache, 10**9).new_folder(10**6) as folder:
            files = write_files(result, str(path), folder)
        stem = files.picture.stem
        names = zipfile.ZipFile(files.everything).namelist()
        assert names == [f"{stem}.png", f"{stem}_mask.png", f"{stem}_drift.png", f"{stem}_report.json"]
        assert np.array_equal(read_picture(files.picture).values, result.picture.values)
    shutil.rmtree(cache)
