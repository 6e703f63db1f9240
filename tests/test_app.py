"""The demo over HTTP, as a program uses it: the same pixels as the library, clear refusals, and nothing left behind."""

import copy
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
import zipfile
from pathlib import Path

import anyio
import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")

from gradio_client import Client, handle_file  # noqa: E402
from gradio_client.exceptions import AppError  # noqa: E402

from ssg_hub.demo import texts, translations, viewer  # noqa: E402
from ssg_hub.demo.request import Request  # noqa: E402
from ssg_hub.demo.settings import Settings, from_environment  # noqa: E402
from ssg_hub.errors import ImageError, SSGError, VideoError  # noqa: E402

EXAMPLES = viewer.ROOM / "examples"


@pytest.fixture
def serve(serve_url, cache):
    """Start a demo; gives a function (model, settings) -> client."""

    def start(model, settings: Settings | None = None) -> Client:
        url = serve_url(model, settings)
        return Client(url, verbose=False, download_files=str(cache.parent / "downloads"))

    return start


@pytest.fixture
def client(demo_of_all, tmp_path) -> Client:
    """A client of the demo with the usual settings."""
    return Client(demo_of_all[0], verbose=False, download_files=str(tmp_path / "downloads"))


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (18, 24, 3), np.uint8)).save(path)
    return path


def test_a_program_gets_the_pixels_of_the_library(tiny_model, client, photo):
    picture, mask, report = client.predict(handle_file(str(photo)), 3, 0.7, {"car": 0.5}, False, api_name="/upscale")
    strength = {label: 0.35 if label == "car" else 0.7 for label in tiny_model.labels}
    expected = tiny_model.upscale(photo, outscale=3, strength=strength, color_fix=False)
    assert np.array_equal(Image.open(picture), expected.image)
    assert np.array_equal(Image.open(mask), expected.mask)
    assert report["output"] == {"width": 72, "height": 54} and "not evidence" in report["honesty"]
    assert report["classes"] == json.loads(json.dumps(expected.report["classes"]))


def test_sixteen_bits_and_transparency_survive(tiny_model, client, tmp_path):
    from ssg_hub.images.reading import Picture, read_picture, write_picture

    values = np.random.default_rng(0).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    deep = Picture(values, alpha=values[..., 0].copy())
    write_picture(deep, tmp_path / "deep.png")
    picture, _, _ = client.predict(handle_file(str(tmp_path / "deep.png")), api_name="/upscale")
    expected, got = tiny_model.upscale(tmp_path / "deep.png").picture, read_picture(picture)
    assert got.bits == 16
    assert np.array_equal(got.values, expected.values) and np.array_equal(got.alpha, expected.alpha)


def test_a_model_without_a_guide_gives_a_picture_and_no_mask(serve, photo):
    from ssg_hub.model import SSGModel

    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    picture, mask, report = serve(model).predict(handle_file(str(photo)), api_name="/upscale")
    assert Image.open(picture).size == (96, 72) and mask is None and "classes" not in report


def test_a_call_over_plain_http_may_leave_out_the_last_values_and_keeps_its_number(tiny_model, demo_of_all, photo):
    import httpx

    url, session = demo_of_all[0], "a-session"
    path = httpx.post(f"{url}gradio_api/upload", files={"files": photo.open("rb")}).json()[0]
    picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
    join = {"data": [picture, 2], "fn_index": 13, "session_hash": session}
    assert httpx.post(f"{url}gradio_api/queue/join", json=join).status_code == 200
    with httpx.stream("GET", f"{url}gradio_api/queue/data", params={"session_hash": session}, timeout=60) as lines:
        said = next(json.loads(line[5:]) for line in lines.iter_lines() if "process_completed" in line)
    assert said["success"]
    got = Image.open(io.BytesIO(httpx.get(f"{url}gradio_api/file={said['output']['data'][0]['path']}").content))
    assert np.array_equal(got, tiny_model.upscale(photo, outscale=2).image)


def test_the_page_itself_is_sent_compressed(demo_of_all):
    import httpx

    plain, packed = (httpx.get(demo_of_all[0], headers={"accept-encoding": name}) for name in ("identity", "gzip"))
    assert packed.headers["content-encoding"] == "gzip" and packed.text.startswith("<!doctype html>")
    assert int(packed.headers["content-length"]) * 4 < int(plain.headers["content-length"]) == len(plain.content)


def test_a_visitor_takes_little_memory(tiny_model, demo_of_all):
    """Each call of a program is a visitor to Gradio, which remembers thousands."""
    from gradio import state_holder

    import app

    demo = app.build_demo(tiny_model)
    tracemalloc.start()
    try:
        kept = [state_holder.SessionState(demo) for _ in range(50)]
        each = tracemalloc.get_traced_memory()[0] / len(kept)
    finally:
        tracemalloc.stop()
    assert each < 20_000  # bytes; Gradio's own takes 150,000


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


def test_an_error_of_ours_is_not_shown_but_logged(tiny_model, client, photo, monkeypatch, caplog):
    def broken(*args, **options):
        raise RuntimeError("the secret of /srv/app")

    monkeypatch.setattr(type(tiny_model), "upscale", broken)
    with pytest.raises(AppError) as refusal:
        client.predict(handle_file(str(photo)), api_name="/upscale")
    assert "secret" not in str(refusal.value) and "our side" in str(refusal.value)
    assert "the secret of /srv/app" in caplog.text


def test_only_what_is_meant_for_programs_is_offered_to_them(client):
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert list(endpoints) == ["/upscale", "/upscale_clip"]
    names = [parameter["parameter_name"] for parameter in endpoints["/upscale"]["parameters"]]
    assert names[:7] == ["image", "outscale", "strength", "class_strength", "color_fix", "segment", "model"]
    assert names[7:] == ["denoise", "format", "quality"]
    assert "not evidence" in endpoints["/upscale"]["description"]


def test_results_are_deleted_when_their_time_is_over(tiny_model, serve, photo, cache, monkeypatch):
    from types import SimpleNamespace

    client = serve(tiny_model, Settings(keep_seconds=10))
    picture, _, _ = client.predict(handle_file(str(photo)), api_name="/upscale")

    def left() -> list[str]:
        return [path.name for path in cache.rglob("*") if path.is_file()]

    assert Path(picture).name == "photo_x4.png" and "photo_x4.png" in left()  # the client has its own copy
    later = SimpleNamespace(time=lambda: time.time() + 10, monotonic=time.monotonic)
    monkeypatch.setattr("ssg_hub.demo.cache.time", later)
    deadline = time.monotonic() + 60
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left() == []


def test_a_second_model_that_cannot_be_loaded_is_named_without_its_place(tiny_model, serve, photo, tmp_path, caplog):
    place = tmp_path / "private" / "gone.pth"
    client = serve(tiny_model, Settings(other_models={"gone": str(place)}))
    with pytest.raises(AppError) as refusal:
        client.predict(handle_file(str(photo)), model="gone", api_name="/upscale")
    assert "The model gone cannot be loaded" in str(refusal.value) and "private" not in str(refusal.value)
    assert str(place) in caplog.text


def test_the_denoise_slider_is_there_only_for_a_model_that_has_the_choice(tiny_model, serve, photo):
    from ssg_hub.demo.picture_work import Choices

    plain = serve(tiny_model)
    assert not component(plain, "denoise")["visible"]
    with pytest.raises(AppError, match="one set of weights"):
        plain.predict(handle_file(str(photo)), denoise=0.5, api_name="/upscale")
    grainy = {name: value * 0.9 for name, value in tiny_model.generator.state_dict().items()}
    both = tiny_model.set_denoise_weights(grainy, default=0.25)
    client = serve(both)
    slider = component(client, "denoise")
    assert slider["visible"] and slider["value"] == 0.25
    pictures = [
        Image.open(client.predict(handle_file(str(photo)), denoise=denoise, api_name="/upscale")[0])
        for denoise in (None, 0.25, 0.0)
    ]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[1], pictures[2])
    assert np.array_equal(pictures[2], both.upscale(photo, denoise=0.0).image)
    values = ("default", "", 4, 1.0, {}, 0.5, False, True, "auto", "png", 90, "cpu")
    assert Choices(*values).request([], True, None).denoise == 0.5
    assert Choices(*values).request([], False, None).denoise is None  # the slider is hidden, but has a value


def test_best_quality_is_a_choice_beside_the_embedded_model(tiny_model, serve, photo, tmp_path):
    from types import SimpleNamespace

    from ssg_hub.demo.picture_handlers import PictureHandlers
    from ssg_hub.demo.workshop import Workshop

    assert not component(serve(tiny_model), "model")["visible"]
    best = copy.deepcopy(tiny_model)
    best.generator.load_state_dict({name: value * 0.5 for name, value in tiny_model.generator.state_dict().items()})
    best.save_pretrained(tmp_path / "best")
    grainy = {name: value * 0.9 for name, value in tiny_model.generator.state_dict().items()}
    fast = tiny_model.set_denoise_weights(grainy)
    settings = Settings(other_models={"large": str(tmp_path / "best")}, max_large_pixels=500)
    client = serve(fast, settings)
    choice = component(client, "model")
    assert choice["visible"] and choice["value"] == "default"
    assert [value for _, value in choice["choices"]] == ["default", "large"]
    assert ["fast" in str(choice["choices"][0][0]), "best" in str(choice["choices"][1][0])] == [True, True]
    picture, _, _ = client.predict(handle_file(str(photo)), model="large", api_name="/upscale")
    assert np.array_equal(Image.open(picture), best.upscale(photo).image)
    Image.new("RGB", (40, 30)).save(tmp_path / "wide.png")
    client.predict(handle_file(str(tmp_path / "wide.png")), outscale=1, api_name="/upscale")
    with pytest.raises(AppError, match=r"at most 0.0005 megapixels.*Choose Fast, or reduce it"):
        client.predict(handle_file(str(tmp_path / "wide.png")), outscale=1, model="large", api_name="/upscale")

    shop = Workshop(settings, fast, lambda source: best)
    assert list(shop._models) == ["default"], "the large model is loaded when it is first wanted"
    handlers, visitor = PictureHandlers(shop, None, None, None), SimpleNamespace(headers={})
    rest = handlers.choose_model("large", visitor)
    assert rest["visible"] and not rest["interactive"] and rest["info"] == "Best quality always cleans"
    again = handlers.choose_model("default", visitor)
    assert again["visible"] and again["interactive"] and again["value"] == 1
    items = [{"input": (40, 30), "note": ""}]
    for lang, words in (("en", "Choose Fast"), ("zh", "快速")):
        said, possible = handlers._forecast(items, "large", 1, "cpu", lang)
        assert words in said and not possible
    said, possible = handlers._forecast(items, "default", 1, "cpu", "en")
    assert "40 × 30" in said and possible


def test_before_its_first_run_best_quality_is_reckoned_from_the_fast_model(tiny_model, monkeypatch):
    from types import SimpleNamespace

    from ssg_hub.demo import workshop
    from ssg_hub.upscaling.upscale import Prediction

    fast, best = tiny_model, SimpleNamespace(to=lambda device: best)
    paces = {id(fast): 2.0, id(best): None}
    monkeypatch.setattr(
        workshop, "predict", lambda model, size, outscale, **_: Prediction(4, 4, 1, 1, paces[id(model)])
    )
    shop = workshop.Workshop(Settings(other_models={"large": "large"}), fast, lambda source: best)
    assert shop.predict("large", None, (9, 9), 4).seconds == 2.0 * workshop.LARGE_COST
    paces[id(best)] = 5.0
    assert shop.predict("large", None, (9, 9), 4).seconds == 5.0, "what this machine has measured counts more"
    paces[id(best)] = paces[id(fast)] = None
    assert shop.predict("large", None, (9, 9), 4).seconds is None


def test_a_device_can_be_chosen_where_the_operator_left_a_choice(tiny_model, client, serve, monkeypatch):
    from ssg_hub.demo.workshop import Workshop

    assert not component(client, "device")["visible"]
    two = Settings(device="cpu", other_devices=("meta",))
    choice = component(serve(tiny_model, two), "device")
    assert choice["visible"] and [value for _, value in choice["choices"]] == ["cpu", "meta"]
    shop = Workshop(two, tiny_model, None)
    assert [shop.device(name) for name in ("cpu", "meta", "cuda:7", None)] == [None, "meta", None, None]
    assert Request(device="meta").options([])["device"] == "meta" and Request().options([])["device"] is None
    monkeypatch.setattr("ssg_hub.devices.best_device", lambda: "cuda")
    monkeypatch.delenv("SSG_DEVICE", raising=False)
    assert (from_environment().device, from_environment().other_devices) == ("cuda", ("cpu",))
    monkeypatch.setenv("SSG_DEVICE", "cuda")
    assert from_environment().other_devices == (), "the operator has decided"


def test_what_a_guide_does_not_know_is_said_with_what_it_knows():
    from types import SimpleNamespace

    from ssg_hub.demo.results import what_is_in_it

    def item(share: float, classes: list[str], lang: str) -> dict:
        labels = [
            {"id": 0, "name": "road", "color": [128, 64, 128], "share": 1 - share},
            {"id": len(classes), "name": "uncertain", "color": [0, 0, 0], "share": share},
        ]
        report = {"uncertain_id": len(classes), "uncertain_below": 0.5}
        return what_is_in_it(SimpleNamespace(labels=labels, report=report, calibration=None), classes, lang)

    streets = ["road", "car"]
    assert item(0.4, streets, "en")["unsure"] == (
        "40% of this picture was not recognised. Only these are known: road, car."
    )
    assert item(0.4, streets, "zh")["classes"] == ["道路", "汽车"]
    assert item(0.1, streets, "en")["unsure"] == "" and "no class reaches 50%" in item(0.1, streets, "en")["hatched"]
    assert "k11 and 138 more" in item(0.5, [f"k{number}" for number in range(150)], "en")["unsure"]


def test_the_map_of_a_calibrated_model_comes_with_its_number(tiny_model):
    from ssg_hub.demo.results import what_may_be_invented
    from ssg_hub.upscaling.calibration import Calibration

    lr, classes = Image.new("RGB", (16, 12)), (0.0,) * len(tiny_model.labels)
    assert what_may_be_invented(tiny_model.upscale(lr), "en") == "", "plain drift has words of its own"
    for thresholds, words in (
        ({0.1: 1.0}, "100% of this picture is trusted"),
        ({0.1: 0.0}, "< 1% of"),
        ({0.2: 1.0}, ""),
    ):
        tiny_model.set_calibration(Calibration((0.0, 0.0, 0.0), classes, thresholds))
        result = tiny_model.upscale(lr)
        english, chinese = (what_may_be_invented(result, lang) for lang in ("en", "zh"))
        assert words in english and english.startswith("The brighter") and ("at most 10%" in english) == bool(words)
        assert ("10%" in chinese) == bool(words)


def component(client: Client, elem_id: str) -> dict:
    """What the page's configuration says of a component."""
    return next(part["props"] for part in client.config["components"] if part["props"].get("elem_id") == elem_id)


def test_a_browser_can_only_choose_its_uploads(tiny_model, tmp_path, photo):
    from types import SimpleNamespace

    from ssg_hub.demo.cache import Ledger
    from ssg_hub.demo.picture_handlers import PictureHandlers

    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "mine.png").write_bytes(photo.read_bytes())
    (cache / "link.png").symlink_to(photo)
    handlers = PictureHandlers(SimpleNamespace(settings=Settings(max_files=3)), None, Ledger(cache, 10**6), None)
    paths = [str(photo), "/etc/passwd", f"{cache}/../photo.png", str(cache / "link.png"), str(cache), "", None, 7]
    for path in paths:
        assert handlers.room.files({"files": [{"path": path}]}) == []
    for odd in (None, [], "text", {"files": None}, {"files": "text"}, {"files": [7, None, "text", {}]}):
        assert handlers.room.files(odd) == []
    mine = {"path": str(cache / "mine.png")}
    assert handlers.room.files({"files": [mine] * 9}) == [str(cache / "mine.png")] * 3


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
    result = shop.run("default", picture, Request(), lambda progress: None)
    expected = tiny_model.upscale(photo)
    assert np.array_equal(result.image, expected.image) and np.array_equal(result.drift, expected.drift)
    assert asked == [20]
    with pytest.raises(ConfigError, match="dragon"):
        shop.run("default", picture, Request(class_strength={"dragon": 1}), lambda progress: None)


def test_class_strength_multiplies_and_what_is_not_set_stays():
    assert Request(strength=0.5).options(["sky", "car"])["strength"] == 0.5
    wanted = Request(strength=0.5, class_strength={"car": 0.2})
    assert wanted.options(["sky", "car"])["strength"] == {"sky": 0.5, "car": 0.1}


@pytest.fixture
def open_handlers(tiny_model, cache):
    """A function (another model's name, its loader, places in the line) -> what the events of the page call."""
    from ssg_hub.demo.cache import Ledger
    from ssg_hub.demo.line import Line
    from ssg_hub.demo.picture_handlers import PictureHandlers
    from ssg_hub.demo.workshop import Workshop

    cache.mkdir()
    opened = []

    def open_them(name: str = "other", load=None, places: int = 1) -> PictureHandlers:
        shop = Workshop(Settings(other_models={name: name}), tiny_model, load)
        opened.append(PictureHandlers(shop, Line(places), Ledger(cache, 10**9), anyio.CapacityLimiter(1)))
        return opened[-1]

    yield open_them
    for handlers in opened:
        handlers.line.close()


def test_a_class_is_set_only_for_a_model_that_has_it(open_handlers, tiny_model, photo, cache):
    import asyncio
    import shutil
    from types import SimpleNamespace

    from ssg_hub.model import SSGModel

    shutil.copy(photo, cache)
    plain = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    handlers = open_handlers("plain", lambda source: plain)
    visitor = SimpleNamespace(headers={}, session_hash="a-session")
    picked = {"files": [{"path": str(cache / photo.name)}], "of": 1}

    async def run(model: str) -> Image.Image:
        made = await handlers.look(picked, visitor)
        values = (model, "", 4, 1.0, {"car": 0.5}, None, False, True, "auto", "png", 90, "cpu")
        async for _ in handlers.run(visitor, picked, made, *values):
            pass
        (item,) = made.items
        assert (item["state"], item["note"]) == ("done", "")
        return Image.open(cache / made.tokens[0] / "files/photo_x4.png")

    expected = tiny_model.upscale(photo, strength={"car": 0.5}, color_fix=False)
    assert np.array_equal(asyncio.run(run("default")), expected.image)
    assert np.array_equal(asyncio.run(run("plain")), plain.upscale(photo, color_fix=False).image)


def test_a_result_too_large_for_its_format_is_refused_before_the_work(open_handlers, cache):
    import asyncio

    Image.new("RGB", (4096, 1)).save(cache / "long.png")
    handlers = open_handlers()
    handlers.workshop.run = lambda *work: pytest.fail("it was upscaled")
    with pytest.raises(gr.Error, match="16384x4 is too large for WEBP.*Write a PNG"):
        asyncio.run(handlers.upscale(str(cache / "long.png"), format="webp"))


def test_others_are_served_while_a_model_is_loaded(open_handlers, tiny_model, photo, cache):
    import asyncio
    import shutil
    import threading
    from types import SimpleNamespace

    shutil.copy(photo, cache)
    loading, served, waited = threading.Event(), threading.Event(), []

    def load(source: str):
        loading.set()
        waited.append(served.wait(20))
        return tiny_model

    handlers = open_handlers("slow", load, places=2)
    picked = {"files": [{"path": str(cache / photo.name)}], "of": 1}

    async def run(model: str, second: str = "") -> None:
        visitor = SimpleNamespace(headers={}, session_hash=f"{model} {second}")
        made = await handlers.look(picked, visitor)
        values = (model, second, 4, 1.0, {}, None, False, False, "auto", "png", 90, "cpu")
        async for _ in handlers.run(visitor, picked, made, *values):
            pass
        assert made.items[0]["state"] == "done"

    async def visitors(*choice: str) -> None:
        slow = asyncio.create_task(run(*choice))
        await asyncio.to_thread(loading.wait, 20)
        await run("default")
        served.set()
        await slow

    for choice in (("slow",), ("default", "slow")):
        handlers.workshop._models.pop("slow", None)
        loading.clear()
        served.clear()
        asyncio.run(visitors(*choice))
    assert waited == [True, True]


def test_what_a_server_no_longer_has_is_said_or_made_again(open_handlers, photo, cache):
    import asyncio
    import shutil
    from types import SimpleNamespace

    paths = [cache / "a.png", cache / "b.png"]
    for path in paths:
        shutil.copy(photo, path)
    handlers = open_handlers()
    visitor = SimpleNamespace(headers={}, session_hash="a-session")
    picked = {"files": [{"path": str(path)} for path in paths], "of": 1}
    values = ("default", "", 4, 1.0, {}, None, False, False, "auto", "png", 90, "cpu")

    async def run(made, picked=picked) -> list[tuple]:
        return [given async for given in handlers.run(visitor, picked, made, *values)]

    async def visit() -> None:
        made = await handlers.look(picked, visitor)
        await run(made)
        for path in (cache / made.tokens[0] / "files").iterdir():
            path.unlink()  # as a sweep does; their folder goes later
        made.keys[1] = None  # of a run that was cancelled
        await run(made)
        assert any((cache / made.tokens[0] / "files").iterdir()), "it counts as there"
        of_before = {"files": [{"path": str(cache / "of_a_server_before.png")}], "of": 2}
        assert "no longer on the server" in str(await run(None, of_before))
        assert "no longer on the server" not in str(await run(None)), "it is only not looked at yet"

    asyncio.run(visit())


def test_both_languages_have_every_sentence_with_the_same_gaps():
    from string import Formatter

    def gaps(lang: str) -> dict[str, set]:
        return {key: {gap for _, gap, _, _ in Formatter().parse(t) if gap} for key, t in texts.TEXTS[lang].items()}

    assert gaps("en") == gaps("zh")


@pytest.mark.parametrize("name", texts.CARDS | texts.MORE_EXAMPLES)
def test_an_example_gives_every_file_and_what_the_viewer_needs(tiny_model, cache, name):
    from ssg_hub.demo import archive
    from ssg_hub.demo.cache import Ledger
    from ssg_hub.demo.results import make_item, write_files
    from ssg_hub.images.reading import read_picture

    picture = read_picture(EXAMPLES / name)
    result = tiny_model.upscale(picture, outscale=1)
    with Ledger(cache, 10**9).new_folder(10**6) as folder:
        files = write_files(result, name, folder, Request(outscale=1))
        item = make_item(name, picture, result, files, {}, tiny_model.labels, "en")
    stem = f"{Path(name).stem}_x1"
    archived = zipfile.ZipFile(io.BytesIO(b"".join(archive.write_zip(sorted((folder / "files").iterdir())))))
    assert archived.testzip() is None
    assert sorted(archived.namelist()) == [
        f"{stem}.png",
        f"{stem}_drift.png",
        f"{stem}_mask.png",
        f"{stem}_report.json",
    ]
    got = read_picture(archived.read(f"{stem}.png"))
    assert np.array_equal(got.values, result.picture.values)
    assert json.loads(archived.read(f"{stem}_report.json"))["classes"] == json.loads(
        json.dumps(result.report["classes"])
    )
    assert (item["width"], item["height"]) == picture.size and item["pictures"][1]["url"].endswith(f"{stem}.png")
    assert sum(float(entry["share"].rstrip("%").lstrip("< ")) for entry in item["legend"]) == pytest.approx(100, abs=4)
    opening = viewer.opening_value()
    assert all(item.keys() == ours.keys() for ours in (*opening["items"], *opening["items_zh"]))


@pytest.mark.parametrize(("mode", "bits"), [("L", 8), ("L", 16), ("LA", 8), ("RGB", 8)])
def test_before_and_after_have_the_same_profile_and_it_is_for_their_mode(tiny_model, cache, mode, bits):
    from ssg_hub.demo.cache import Ledger
    from ssg_hub.demo.results import make_item, write_files
    from ssg_hub.images.picture import Picture

    values = np.random.default_rng(0).integers(0, 2**bits, (12, 16, 3)).astype(f"uint{bits}")
    values, alpha = values if mode == "RGB" else values[..., 0], values[..., 1].copy() if mode == "LA" else None
    profile = bytes(16) + (b"RGB " if mode == "RGB" else b"GRAY") + bytes(16) + b"acsp" + bytes(160)
    picture = Picture(values, alpha, icc=profile)
    result = tiny_model.upscale(picture, outscale=1, segment=False)
    with Ledger(cache, 10**9).new_folder(10**6) as folder:
        files = write_files(result, "gray.png", folder, Request(outscale=1))
        make_item("gray.png", picture, result, files, {"another": result.image}, tiny_model.labels, "en")
    for view in (folder / "before.png", folder / "0.png"):
        with Image.open(view) as shown:
            assert shown.mode == mode and shown.info["icc_profile"] == profile
    with Image.open(files.picture) as after:
        assert (after.mode == "RGB") == (mode == "RGB") and after.info["icc_profile"] == profile


def test_the_commonest_errors_are_chinese_for_whoever_reads_chinese(photo, tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed (pip install 'ssg-hub[video]')")
    from ssg_hub.demo import decoding
    from ssg_hub.demo.clip_reading import look_at
    from ssg_hub.demo.refusals import sentence_for
    from ssg_hub.images import formats
    from ssg_hub.images.opening import naming
    from ssg_hub.images.reading import read_picture

    def fail(call, *arguments) -> Exception:
        with pytest.raises(SSGError) as caught:
            call(*arguments)
        return caught.value

    def run_out(name: str) -> None:
        with naming(name):
            raise MemoryError

    path = str(tmp_path / "night.png")
    Path(path).write_bytes(photo.read_bytes()[:999])
    no_picture, no_clip, broken, sound = (str(tmp_path / name) for name in ("a.png", "a.txt", "a.mp4", "a.mkv"))
    Path(no_picture).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    Path(no_clip).write_text("no clip")
    Path(broken).write_bytes(b"\0\0\0\x14ftypisom" + bytes(99))
    errors = [
        (path, fail(read_picture, path)),
        (no_picture, fail(read_picture, b"no picture")),
        (path, fail(run_out, path)),
        *((path, ImageError(decoding._too_much({"path": path, "task": task}))) for task in ("read", "clip")),
        (path, fail(formats.check_size, (16384, 8), "WEBP")),
        (no_clip, fail(look_at, no_clip, 99)),
        (broken, fail(look_at, broken, 99)),
        (sound, VideoError(f"{sound} holds no video that can be decoded. Give another file.")),
    ]
    chinese = [sentence_for(error, path, "zh") for path, error in errors]
    assert all(sentence.endswith("。") and str(tmp_path) not in sentence for sentence in chinese), chinese
    assert len(set(chinese)) == len(chinese) == len(translations.ERRORS_ZH)
    assert "night.png" in chinese[0] and sentence_for(errors[0][1], path, "en").startswith("night.png is damaged")
    assert sentence_for(SSGError("another"), None, "zh") == "another"


def test_the_commonest_notes_are_chinese_for_whoever_reads_chinese(photo, cache, tmp_path):
    from ssg_hub.demo.cache import Ledger
    from ssg_hub.demo.results import make_item, write_files
    from ssg_hub.images.picture import Picture
    from ssg_hub.images.reading import read_picture
    from ssg_hub.model import SSGModel
    from ssg_hub.upscaling.setup import NOTES

    deep = np.random.default_rng(0).integers(0, 65536, (8, 9, 3)).astype(np.uint16)
    picture = Picture(deep, alpha=deep[..., 0].copy(), text={"Title": "a title"})
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    result = model.upscale(picture, outscale=1)
    with Ledger(cache, 10**9).new_folder(10**6) as folder:
        files = write_files(result, "deep.png", folder, Request(outscale=1, format="jpeg"))
        english, chinese = (
            make_item("deep.png", picture, result, files, {}, model.labels, lang)["notes"] for lang in ("en", "zh")
        )
    pages = [Image.open(photo).convert("CMYK"), Image.open(photo)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    english += [*read_picture(tmp_path / "pages.tif").notes, NOTES["tile_halved"].format(times=3)]
    chinese += [translations.note(sentence, "zh") for sentence in english[len(chinese) :]]
    assert len(english) == len(translations.NOTES_ZH) and len(set(chinese)) == len(chinese)
    assert all(sentence.endswith("。") for sentence in chinese), chinese
    assert any("Title" in sentence for sentence in chinese) and any("3" in sentence for sentence in chinese)


def test_every_example_has_its_caption_and_no_file_is_forgotten():
    assert sorted(texts.CARDS | texts.MORE_EXAMPLES) == sorted(path.name for path in EXAMPLES.glob("*.*g"))
    results = (viewer.ROOM / "opening/cards").iterdir()
    assert sorted(viewer.card_file(name) for name in texts.CARDS) == sorted(f"opening/cards/{p.name}" for p in results)


def test_the_page_opens_with_a_result_that_is_in_the_package():
    value = viewer.opening_value()
    for (item,), lang in ((value["items"], "en"), (value["items_zh"], "zh")):
        urls = [*(picture["url"] for picture in item["pictures"]), item["mask"], item["drift"], item["readings"]]
        files = [viewer.ROOM / url.removeprefix(viewer.STATIC) for url in urls]
        assert all(file.is_file() for file in files)
        sizes = {Image.open(file).size for file in files[:2]}
        assert sizes == {(item["width"], item["height"])}
        assert item["pictures"][1]["title"] == texts.TEXTS[lang]["after"]
        assert item["chance"].startswith(texts.TEXTS[lang]["chance_explained"])
    shipped = [path for name in viewer.PICTURES for path in (viewer.ROOM / name).rglob("*.*")]
    assert sum(path.stat().st_size for path in shipped) < 1_000_000


@pytest.mark.parametrize("format", ["jpeg", "webp", "avif", "tiff"])
def test_a_result_comes_in_the_format_that_was_asked_for(tiny_model, client, photo, format):
    from ssg_hub.demo.request import OUTPUT_FORMATS

    if format not in OUTPUT_FORMATS:
        pytest.skip(f"Pillow has no {format} here")
    low, high = (
        Path(client.predict(handle_file(str(photo)), format=format, quality=quality, api_name="/upscale")[0])
        for quality in (10, 95)
    )
    assert Image.open(high).format == format.upper() and Image.open(high).size == (96, 72)
    if format == "tiff":
        assert np.array_equal(Image.open(high), tiny_model.upscale(photo).image)
    else:
        assert low.stat().st_size < high.stat().st_size


def test_a_zip_holds_only_results_whose_names_are_known(demo_of_all, client, photo):
    import httpx

    url, cache = demo_of_all
    client.predict(handle_file(str(photo)), api_name="/upscale")
    client.predict(handle_file(str(photo)), 2, api_name="/upscale")
    tokens = [
        path.parents[1].name
        for path in cache.rglob("photo_x*.png")
        if "mask" not in path.name and "drift" not in path.name
    ]
    answer = httpx.get(f"{url}ssg-hub/zip/{'-'.join(tokens)}")
    archived = zipfile.ZipFile(io.BytesIO(answer.content))
    assert {"photo_x4.png", "photo_x2.png"} <= set(archived.namelist()) and archived.testzip() is None
    for wrong in (
        "0" * 32,
        "..",
        tokens[0] + "-..",
        "-".join(f"{number:032x}" for number in range(101)),
        "%2e%2e%2f",
        tokens[0][:-1],
    ):
        assert httpx.get(f"{url}ssg-hub/zip/{wrong}", follow_redirects=True).status_code == 404


def test_a_zip_has_as_many_results_as_the_page_takes_and_none_is_missing(tiny_model, serve_url, cache):
    import httpx

    url, tokens = serve_url(tiny_model, Settings(max_files=101)), [f"{number:032x}" for number in range(102)]
    for token in tokens:
        (cache / token / "files").mkdir(parents=True)
        (cache / token / "files" / f"{token}.png").write_bytes(b"picture")

    def fetch(count: int, lang: str = "en") -> httpx.Response:
        return httpx.get(f"{url}ssg-hub/zip/{'-'.join(tokens[:count])}", headers={"accept-language": lang})

    archived = zipfile.ZipFile(io.BytesIO(fetch(101).content))
    assert archived.namelist() == [f"{token}.png" for token in tokens[:101]]
    assert fetch(102).status_code == 404
    (cache / tokens[7] / "files" / f"{tokens[7]}.png").unlink()
    for lang in ("en", "zh"):
        answer = fetch(9, lang)
        assert answer.status_code == 404 and answer.json()["detail"] == texts.TEXTS[lang]["results_gone"]


def test_files_of_one_name_are_numbered_in_a_zip(tmp_path):
    from ssg_hub.demo.archive import write_zip

    paths = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        paths.append(tmp_path / str(number) / ("A.png" if number == 1 else "a.png"))
        paths[-1].write_bytes(bytes([number]) * 100_000)
    archived = zipfile.ZipFile(io.BytesIO(b"".join(write_zip(paths))))
    assert archived.namelist() == ["a.png", "A (2).png", "a (3).png"], "Windows and macOS take A.png for a.png"
    assert [archived.read(name)[0] for name in archived.namelist()] == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        b"".join(write_zip([*paths, tmp_path / "gone.png"]))


def test_mcp_is_announced_only_where_it_is_served(tiny_model, cache):
    from types import SimpleNamespace

    import app
    from ssg_hub.demo.programs import has_mcp

    visitor = SimpleNamespace(headers={"host": "pictures.example", "x-forwarded-proto": "https"})
    for served in {False, has_mcp()}:
        demo = app.build_demo(tiny_model, Settings())
        app.launch(demo, prevent_thread_lock=True, quiet=True, mcp_server=served)
        said = next(fn.fn for fn in demo.fns.values() if fn.api_name == "fill")(visitor)
        demo.close()
        assert ("https://pictures.example/gradio_api/mcp/" in said) == served
        assert 'Client("https://pictures.example")' in said


def test_ssg_demo_serves_the_page_from_anywhere_and_ends_in_order(tiny_model, tmp_path):
    import httpx

    tiny_model.save_pretrained(tmp_path / "model")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "cache").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(viewer.ROOM.parents[1]), "GRADIO_TEMP_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "ssg_hub", "demo", "--model", str(tmp_path / "model"), "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        url, deadline, page = f"http://127.0.0.1:{port}/", time.monotonic() + 120, None
        visitor = httpx.Client()  # a new one for each try would cost more than the server's start
        while page is None and process.poll() is None and time.monotonic() < deadline:
            try:
                page = visitor.get(url)
            except httpx.TransportError:
                time.sleep(0.2)
        assert page is not None and page.status_code == 200
        assert httpx.get(f"{url}{viewer.STATIC}opening/after.webp").headers["content-type"] == "image/webp"
        assert len(list((tmp_path / "cache").iterdir())) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        print(process.communicate(timeout=60)[1].decode())  # for whoever reads why the page did not come
    assert list((tmp_path / "cache").iterdir()) == [], "pictures of visitors stayed behind"


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_a_page_that_has_ended_takes_no_signals_any_more(monkeypatch):
    from ssg_hub.demo import serve

    def end() -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(serve, "from_environment", end)
    with pytest.raises(KeyboardInterrupt):
        serve.main()
    assert signal.getsignal(signal.SIGTERM) is before


def test_ssg_demo_says_what_is_wrong_in_a_sentence(monkeypatch, capsys):
    from ssg_hub.cli import main

    monkeypatch.setenv("SSG_QUEUE_SIZE", "many")
    assert main(["demo"]) == 2
    assert "SSG_QUEUE_SIZE is 'many'" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo"]) == 2
    assert 'pip install "ssg-hub[demo]"' in capsys.readouterr().err
