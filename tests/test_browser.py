"""The demo in a real browser: what a visitor does, sees and takes home. Needs Chromium and the playwright package.

What the server answers is waited for (`expect`, `wait_for`), never read right away: no test depends on who is faster.
"""

import io
import json
import re
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")
expect = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed").expect

import app  # noqa: E402
from ssg_hub.demo.settings import Settings  # noqa: E402
from ssg_hub.demo.texts import TEXTS  # noqa: E402
from ssg_hub.upscaling.progress import Progress  # noqa: E402

PATIENCE = 120_000  # ms; only the slowest machine needs it
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WIDE_DARK = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"}
PHONE_ZH = {"viewport": PHONE, "has_touch": True, "locale": "zh-CN"}
DONE = ".viewer[data-state=done] .downloads a"
expect.set_options(timeout=PATIENCE)


def slow(*values):
    """A case of a walk that another case takes every time."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A running demo with a small untrained model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        second = tmp_path_factory.mktemp("models") / "plain"
        make_model(seed=1).save_pretrained(second)
        limits = {
            "max_pixels": 100_000,
            "max_file_size": "300kb",
            "max_files": 4,
            "queue_size": 1,
            "max_large_pixels": 2000,
            "max_output_pixels": 500_000,
        }
        demo = app.build_demo(
            make_model(), Settings(**limits, other_models={"large": str(second), "plain": str(second)})
        )
        _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
        yield url
        demo.close()


@pytest.fixture
def visit(browser, url):
    """Open the page; every script error and every error on the console fails the test."""
    contexts, errors = [], []

    def open_page(**options):
        context = browser.new_context(**{"locale": "en-US", "viewport": DESK, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(url, wait_until="domcontentloaded", timeout=PATIENCE)
        await_scripts(page)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def photo(tmp_path) -> Path:
    return make_photo(tmp_path / "street.png")


def make_photo(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    return path


def make_model(seed: int = 0):
    import torch

    from ssg_hub.model import SSGModel
    from ssg_hub.networks.guide import Guide

    torch.manual_seed(seed)
    guide = Guide({"model_type": "ssg_lite_segmentation", "width": 8, "id2label": {"0": "sky", "1": "road"}})
    return SSGModel.from_components("compact", guide=guide, generator_config={"features": 8, "convs": 2})


def await_scripts(page) -> None:
    """Wait until the page hears what is done to it."""
    page.wait_for_selector(".viewer .modes button")
    page.wait_for_selector("#picker .folder", state="attached")
    page.wait_for_selector("#run", state="attached")


def hand_over(page, *paths: Path) -> None:
    """Give files to the picker."""
    page.set_input_files("#picker label input", paths)


def choose(page, path: Path) -> None:
    """Choose a picture that can be upscaled, and wait until the page has looked at it and says what to expect."""
    hand_over(page, path)
    await_forecast(page, path)


def await_forecast(page, path: Path) -> None:
    width, height = Image.open(path).size
    expect(page.locator("#viewer .headline")).to_have_text(f"{path.name} · {width} × {height}")
    expect(page.locator("#forecast [role=status]")).to_contain_text(f"{width} × {height} → ")
    expect(page.locator("#run")).to_be_enabled()


def drop(page, selector: str, path: Path) -> None:
    """Drop a file on an element, as from a file manager."""
    data = page.evaluate_handle(
        """async ([bytes, name]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
          return data;
        }""",
        [list(path.read_bytes()), path.name],
    )
    for kind in ("dragenter", "dragover"):
        page.dispatch_event(selector, kind, {"dataTransfer": data})
    assert page.evaluate("document.body.classList.contains('dropping')")
    page.dispatch_event(selector, "drop", {"dataTransfer": data})
    assert not page.evaluate("document.body.classList.contains('dropping')")


def upscale(page) -> None:
    page.click("#run")
    page.wait_for_selector(DONE)
    expect(page.locator("#status")).to_contain_text("Done in")
    expect(page).to_have_title(re.compile("Done in .* · ssg-hub"))
    expect(page.locator("#run")).to_be_enabled()


def mode(page, name: str) -> None:
    page.click(f"#viewer .modes [data-mode={name}]")


def download(page, key: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f".downloads [data-get={key}]")
    return Path(waiting.value.path()).read_bytes()


def fetch(page, selector: str) -> Image.Image:
    """The picture that an <img> shows, as the server sent it."""
    source = page.locator(selector).first.evaluate("image => image.src")
    return Image.open(io.BytesIO(page.request.get(source).body()))


def test_the_page_opens_with_a_result_and_every_view_of_it(visit):
    page = visit()
    assert page.locator(".sheet .after").evaluate("image => image.decode().then(() => image.naturalWidth)") == 960
    expect(page.locator(".sheet .before")).to_be_visible()
    expect(page.locator("#run")).to_be_disabled()
    area = page.locator("#viewer .area")
    box = area.bounding_box()
    assert box["width"] * box["height"] > 0.3 * DESK["width"] * DESK["height"], "the picture is small"
    area.click(position={"x": box["width"] * 0.2, "y": 50})
    assert page.evaluate("parseFloat(document.querySelector('.sheet').style.getPropertyValue('--split'))") < 25
    page.focus(".keys")
    before = int(page.input_value(".keys"))
    page.keyboard.press("ArrowRight")
    assert int(page.input_value(".keys")) == before + 1
    assert page.evaluate("parseFloat(document.querySelector('.sheet').style.getPropertyValue('--split'))") == before + 1
    mode(page, "mask")
    shares = page.locator(".legend b").all_inner_texts()
    assert sum(float(share.strip("<% ")) for share in shares) == pytest.approx(100, abs=len(shares))
    assert page.is_visible("text=Hatched: no class reaches 50%") and page.is_visible(".legend .uncertain i")
    area.hover(position={"x": box["width"] * 0.4, "y": box["height"] * 0.9})
    page.wait_for_selector(".tip:has-text('%')")
    name, probability = page.inner_text(".tip").split(" · ")
    assert page.inner_text(".legend .marked span") == name and 50 <= int(probability.rstrip(" %")) <= 100
    page.dispatch_event("#viewer .sheet", "pointerleave", {"pointerType": "touch"})  # a finger is lifted
    expect(page.locator(".tip")).to_be_visible()
    page.dispatch_event("#viewer .sheet", "pointerleave", {"pointerType": "mouse"})
    expect(page.locator(".tip")).to_be_hidden()
    mode(page, "drift")
    assert page.is_visible("text=of this picture is trusted")  # the embedded model's map is a probability
    assert page.inner_text(".heat").split("\n") == ["0 %", "100 %"]
    assert page.locator(".layer").evaluate("image => image.decode().then(() => image.naturalWidth)") == 512
    mode(page, "side")
    origin = "image => getComputedStyle(image).transformOrigin"
    places = [[image.evaluate(origin) for image in page.locator(".lens img").all()]]
    page.focus(".lens")
    page.keyboard.press("ArrowRight")
    places.append([image.evaluate(origin) for image in page.locator(".lens img").all()])
    assert len(places[0]) == 2 and len(set(places[1])) == 1 and places[0] != places[1], (
        "the panels do not move together"
    )


@pytest.mark.slow
def test_the_picture_fills_the_screen_and_comes_back(visit):
    page = visit()
    button, area = page.get_by_role("button", name="Full screen"), page.locator("#viewer .area")
    height = area.bounding_box()["height"]
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.wait_for_function(
        "height => document.querySelector('#viewer .sheet').getBoundingClientRect().height > height",
        arg=height,
    )
    mode(page, "mask")
    for seen in (page.locator(".legend li").first, area):
        expect(seen).to_be_in_viewport(ratio=1)
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    page.wait_for_function(
        "height => document.querySelector('#viewer .area').getBoundingClientRect().height == height",
        arg=height,
    )


def test_from_a_drop_to_slider_mask_drift_and_downloads_and_on_to_the_next_picture(visit, photo, tmp_path):
    page = visit()
    drop(page, "#programs", photo)
    await_forecast(page, photo)
    expect(page.locator("#forecast")).to_contain_text("40 × 30 → 160 × 120")
    expect(page.locator("#viewer .modes")).to_be_hidden()
    upscale(page)
    expected = make_model().upscale(photo)
    bicubic = Image.open(photo).resize((160, 120), Image.Resampling.BICUBIC)
    for selector, wanted in ((".sheet .before", bicubic), (".sheet .after", expected.image)):
        shown = fetch(page, selector)
        assert shown.format == "PNG" and np.array_equal(shown.convert("RGB"), wanted)
    assert page.is_visible("text=An upscaled picture is an estimate.")
    mode(page, "mask")
    names = [label["name"] if label["id"] < 2 else "uncertain" for label in expected.labels]
    assert page.locator(".legend span").all_inner_texts() == names
    readings = [np.asarray(part) for part in expected.readings]
    sheet = page.locator(".sheet")
    box = sheet.bounding_box()
    centres = np.asarray(expected.mask)[2::4, 2::4]  # of the cells
    clear = np.argwhere((centres == readings[0]) | (centres == expected.report["uncertain_id"]))
    for row, column in clear[:: len(clear) // 3]:
        sheet.hover(position={"x": (column + 0.5) / 40 * box["width"], "y": (row + 0.5) / 30 * box["height"]})
        share = f"{readings[1][row, column] / 2.55:.0f} %"
        page.wait_for_selector(f".tip:has-text('{share}')")
        expect(page.locator("#viewer .tip")).to_contain_text(("sky", "road")[readings[0][row, column]])
    mode(page, "drift")
    assert page.is_visible("text=the detail may be invented")  # this model's is not
    assert fetch(page, ".layer").size == (160, 120)
    assert np.array_equal(Image.open(io.BytesIO(download(page, "get_picture"))), expected.image)
    mask = Image.open(io.BytesIO(download(page, "get_mask")))
    assert mask.mode == "P" and np.array_equal(mask, expected.mask)
    archive = zipfile.ZipFile(io.BytesIO(download(page, "get_zip")))
    assert json.loads(archive.read("street_x4_report.json"))["output"] == {"width": 160, "height": 120}

    choose(page, make_photo(tmp_path / "next.png", seed=1))
    for gone in ("#status .status", ".downloads a"):
        expect(page.locator(gone)).to_have_count(0)
    page.get_by_role("radio", name="JPEG").check()
    page.wait_for_selector("#quality")
    page.get_by_role("radio", name="2×").check()
    page.wait_for_selector("#forecast:has-text('80 × 60')")
    upscale(page)
    got = Image.open(io.BytesIO(download(page, "get_picture")))
    assert got.format == "JPEG" and got.size == (80, 60)


def test_what_cannot_be_done_is_said_where_it_is_chosen(visit, tmp_path):
    (tmp_path / "letter.png").write_text("Dear Sir or Madam")
    (tmp_path / "heavy.tif").write_bytes(bytes(301 * 1024))
    Image.new("RGB", (100, 90)).save(tmp_path / "small.png")
    page = visit()
    hand_over(page, tmp_path / "letter.png")
    page.wait_for_selector("#forecast [role=alert]:has-text('not a picture')")
    expect(page.locator("#run")).to_be_disabled()
    expect(page.locator("#viewer .message")).to_contain_text("not a picture")
    hand_over(page, tmp_path / "heavy.tif")
    page.wait_for_selector(".fault:has-text('heavy.tif is larger than what is taken here')")
    choose(page, tmp_path / "small.png")
    page.get_by_role("radio", name="8×").check()
    page.wait_for_selector("#forecast [role=alert]:has-text('at most 0.5 are made here')")
    expect(page.locator("#run"), "a press would end in the same sentence").to_be_disabled()
    page.get_by_role("radio", name="4×").check()
    page.wait_for_selector("#forecast [role=status]:has-text('400 × 360')")
    expect(page.locator("#run")).to_be_enabled()


def test_a_photograph_beyond_the_limits_is_reduced_in_the_browser(visit, tmp_path):
    """A phone's photograph has more pixels than a page takes; it is turned upright before that."""
    wide = Image.linear_gradient("L").resize((600, 400)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    wide.save(tmp_path / "phone.jpg", exif=exif)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (316, 316, 4), np.uint8)).save(tmp_path / "heavy.png")
    page = visit(viewport=PHONE, has_touch=True)
    hand_over(page, tmp_path / "phone.jpg")
    page.wait_for_selector(".note:has-text('phone.jpg was too large for this page, so it was reduced to 258 × 387.')")
    page.wait_for_selector("#forecast:has-text('258 × 387 → 516 × 774')")
    expect(page.get_by_role("radio", name="2×"), "4× would be refused").to_be_checked()
    expect(page.locator("#run")).to_be_enabled()
    expect(page.locator("#viewer .headline")).to_have_text("phone.jpg · 258 × 387")
    shown = np.asarray(fetch(page, ".sheet .after").convert("L")).astype(float)
    expected = np.asarray(wide.convert("L").rotate(-90, expand=True).resize(shown.shape[::-1]))
    assert np.abs(shown - expected).mean() < 3
    hand_over(page, tmp_path / "heavy.png")  # few pixels, many bytes
    page.wait_for_selector(".headline:has-text('heavy.jpg · 316 × 316')")
    expect(page.locator("#picker .note")).to_contain_text("heavy.jpg")
    Image.new("RGB", (100, 90)).save(tmp_path / "small.png")
    choose(page, tmp_path / "small.png")
    expect(page.locator("#picker .note"), "what was said of another picture stays").to_be_hidden()


@pytest.mark.parametrize(("lang", "look"), [("en", WIDE_DARK), slow("zh", PHONE_ZH)])
def test_several_at_once_have_their_states_one_zip_and_no_second_run_of_what_is_there(
    visit, tmp_path, monkeypatch, lang, look
):
    from ssg_hub.model import SSGModel

    upscale_one, runs, said = SSGModel.upscale, [], TEXTS[lang]

    def counted(self, image, **options):
        runs.append(options["outscale"])
        if len(runs) == 2:
            raise RuntimeError("a fault of ours")
        return upscale_one(self, image, **options)

    def await_states(*keys: str) -> None:
        expect(page.locator(".strip .state")).to_have_text([said[key] for key in keys])

    def await_end(count: int) -> None:
        words = said["finished_many"].format(done=count, n=4, seconds="|").partition("|")[0].strip()
        expect(page.locator("#status")).to_contain_text(words)

    monkeypatch.setattr(SSGModel, "upscale", counted)
    (tmp_path / "letter.png").write_text("Dear Sir or Madam")
    photos = [make_photo(tmp_path / f"{number}.png", seed=number) for number in range(3)]
    page = visit(**look)
    hand_over(page, photos[0], tmp_path / "letter.png", *photos[1:], photos[0])
    page.wait_for_selector(f".fault:has-text('{said['too_many'].format(n=4)}')")
    page.wait_for_selector(f"#forecast:has-text('{said['forecast_many'].format(n=4)}')")
    expect(page.locator("#forecast")).to_contain_text(said["forecast_refused"].format(n=1))
    await_states("chosen", "failed_state", "chosen", "chosen")
    page.click("#run")
    await_end(2)
    await_states("done", "failed_state", "failed_state", "done")
    thumbnail = page.locator(".strip button").nth(2)
    thumbnail.focus()
    page.keyboard.press("Enter")
    expect(thumbnail).to_have_attribute("aria-pressed", "true")
    expect(thumbnail, "a press took the focus away").to_be_focused()
    expect(page.locator("#viewer .reason"), "nothing says why it failed").to_have_text(said["failed"])
    expect(page.locator("#viewer .reason")).to_be_visible()
    assert len(runs) == 3
    page.click("#run")
    thumbnail.focus()
    await_end(3)
    await_states("done", "failed_state", "done", "done")
    expect(thumbnail, "a new state took the focus away").to_be_focused()
    assert len(runs) == 4, "what was there already was computed again"
    archive = zipfile.ZipFile(io.BytesIO(download(page, "zip_of_all")))
    assert {f"{number}_x4.png" for number in range(3)} <= set(archive.namelist())
    wanted = upscale_one(make_model(), photos[1]).image
    assert np.array_equal(Image.open(io.BytesIO(archive.read("1_x4.png"))), wanted)


ALBUM = ["9.png", "10.png", "a.png"]  # by number, as people read them


@pytest.fixture
def album(tmp_path) -> Path:
    """A folder of pictures, folders and other files; beside it, `empty` has no pictures."""
    album = tmp_path / "album"
    (album / "deep/er").mkdir(parents=True)
    for name in ("10.png", "9.png", "deep/er/a.png", ".hidden.png"):
        make_photo(album / name)
    (album / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("no picture")
    return album


def test_a_folder_gives_its_pictures_and_what_lies_below_it(visit, album):
    page = visit()
    with page.expect_file_chooser() as asked:
        page.click("#picker .folder")
    asked.value.set_files(album)
    page.wait_for_selector("#forecast:has-text('3 photographs')")
    expect(page.locator(".strip .name")).to_have_text(ALBUM)
    page.set_input_files("#picker .folder + input", album.with_name("empty"))
    page.wait_for_selector(".fault:has-text('no pictures in this folder')")


@pytest.mark.slow
def test_a_folder_may_be_dragged_onto_the_page(visit, album):
    for folder, words in ((album, "3 photographs"), (album.with_name("empty"), None)):
        page = visit()
        drag(page, folder)
        page.wait_for_selector(f"#forecast:has-text('{words}')" if words else ".fault:has-text('no pictures')")
        if words:
            expect(page.locator(".strip .name")).to_have_text(ALBUM)


def drag(page, path: Path) -> None:
    """Drag a file or a folder onto the page, as the desktop does."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})


@pytest.mark.slow
def test_the_button_is_in_view_on_a_low_screen(visit, photo):
    page = visit(viewport={"width": 1366, "height": 600})
    expect(page.locator("#run"), "there is nothing to upscale yet").to_be_hidden()
    choose(page, photo)
    expect(page.locator("#run")).to_be_in_viewport(ratio=1)
    upscale(page)
    for seen in ("#run", DONE):  # what was made can be taken without scrolling
        expect(page.locator(seen).first).to_be_in_viewport(ratio=1)


@pytest.mark.slow
def test_two_models_and_bicubic_can_be_compared(visit, photo):
    page = visit(**WIDE_DARK)
    choose(page, photo)
    page.click("#advanced button")
    page.get_by_label("Compare with a second model").click()
    page.get_by_role("option", name="plain").click()
    upscale(page)
    bicubic = Image.open(photo).resize((160, 120), Image.Resampling.BICUBIC)
    ours, other = make_model().upscale(photo).image, make_model(seed=1).upscale(photo).image
    other_model = page.locator(".left-choice button:has-text('plain')")
    other_model.press("Enter")
    expect(other_model).to_be_focused()
    assert np.array_equal(fetch(page, ".sheet .before").convert("RGB"), other)
    expect(page.locator("#viewer .tag.left")).to_have_text("plain")
    mode(page, "side")
    for number, wanted in enumerate((bicubic, ours, other)):
        assert np.array_equal(fetch(page, f".lens img >> nth={number}").convert("RGB"), wanted)
    mode(page, "compare")
    page.get_by_label("Compare with a second model").click()
    page.get_by_role("option", name="none").click()
    upscale(page)
    expect(page.locator("#viewer .tag.left"), "the picture on the left is gone").to_have_text("Before (bicubic)")
    assert np.array_equal(fetch(page, ".sheet .before").convert("RGB"), bicubic)


@pytest.mark.parametrize("look", [WIDE_DARK, slow({"viewport": PHONE, "has_touch": True})])
def test_best_quality_is_one_press_away_and_says_where_it_ends(visit, photo, tmp_path, look):
    page = visit(**look)
    choose(page, photo)
    page.get_by_role("radio", name="Best quality").check()
    upscale(page)
    assert np.array_equal(fetch(page, ".sheet .after").convert("RGB"), make_model(seed=1).upscale(photo).image)
    Image.new("RGB", (60, 50)).save(tmp_path / "wide.png")
    hand_over(page, tmp_path / "wide.png")
    page.wait_for_selector("#forecast:has-text('Best quality takes pictures of at most 0.002 megapixels')")
    expect(page.locator("#run")).to_be_disabled()
    page.get_by_role("radio", name="Fast").check()
    page.wait_for_selector("#forecast:has-text('60 × 50 → 240 × 200')")
    expect(page.locator("#run")).to_be_enabled()


def test_those_who_wait_see_their_place_one_too_many_is_told_and_cancel_stops(visit, photo, monkeypatch):
    from ssg_hub.model import SSGModel

    upscale_one, release, began = SSGModel.upscale, threading.Event(), threading.Event()

    def slow(self, image, **options):
        options["watch"](Progress("upscaling"))
        began.set()
        release.wait(PATIENCE / 1000)
        return upscale_one(self, image, **options)

    pages, zh = [visit(), visit(**PHONE_ZH), visit(**WIDE_DARK)], TEXTS["zh"]
    for page in pages:
        choose(page, photo)
    monkeypatch.setattr(SSGModel, "upscale", slow)
    pages[0].click("#run")
    pages[0].wait_for_selector("#status:has-text('Upscaling')")
    expect(pages[0].locator("#run")).to_be_disabled()
    assert began.wait(60)
    pages[1].click("#run")
    pages[1].wait_for_selector(f"#status:has-text('{zh['waiting_next']}')")
    pages[2].click("#run")
    pages[2].wait_for_selector("#status [role=alert]:has-text('Too many pictures')")
    pages[1].click("#cancel")
    pages[1].wait_for_selector(f"#status:has-text('{zh['cancelled']}')")
    pages[0].click("#cancel")
    pages[0].wait_for_selector("#status:has-text('Cancelled')")  # though its work has not ended yet
    expect(pages[0].locator("#cancel")).to_be_hidden()
    expect(pages[0].locator("#run")).to_be_enabled()
    release.set()
    monkeypatch.undo()
    upscale(pages[0])


@pytest.mark.slow
def test_a_new_picture_ends_the_run_of_the_one_before(visit, photo, tmp_path, monkeypatch):
    from ssg_hub.model import SSGModel

    upscale_one, release, began = SSGModel.upscale, threading.Event(), threading.Event()

    def slow(self, image, **options):
        began.set()
        release.wait(PATIENCE / 1000)
        return upscale_one(self, image, **options)

    page = visit()
    choose(page, photo)
    with monkeypatch.context() as patch:
        patch.setattr(SSGModel, "upscale", slow)
        page.click("#run")
        assert began.wait(60)
        choose(page, make_photo(tmp_path / "next.png", seed=1))
        release.set()
    page.wait_for_timeout(700)  # for what must not happen
    expect(page.locator("#run"), "the former run wrote over the page").to_be_enabled()
    expect(page.locator("#status .status")).to_have_count(0)
    upscale(page)
    assert fetch(page, ".sheet .after").size == (160, 120)


@pytest.mark.slow
def test_the_last_choice_counts_however_long_an_upload_takes(visit, photo):
    page, uploads = visit(), []
    page.route("**/gradio_api/upload*", lambda route: uploads.append(route))
    picker, title = page.locator("#picker .picker"), page.locator("#picker .title")

    def begin_upload() -> None:
        hand_over(page, photo)
        expect(title).to_have_text("Uploading…")
        while not uploads:
            page.wait_for_timeout(20)

    begin_upload()
    page.evaluate(DROP_OF_NOTHING)
    uploads.pop().continue_()
    await_forecast(page, photo)
    expect(picker, "what brings no file ended the upload").not_to_have_class(re.compile("busy"))

    for answer in ({}, {"json": []}):  # the server's, and one that the page cannot read
        begin_upload()
        page.click("#examples button >> nth=4")
        expect(page.locator("#viewer .headline")).to_contain_text("cat.jpg")
        expect(picker).not_to_have_class(re.compile("busy"))
        route = uploads.pop()
        route.fulfill(**answer) if answer else route.continue_()
        page.wait_for_timeout(700)  # for what must not happen
        expect(title, "the upload replaced the example").to_have_text("cat.jpg")
        expect(page.locator("#viewer .headline")).to_contain_text("cat.jpg")
        expect(page.locator("#picker .fault")).to_be_hidden()


# A drop that says it brings files and has none, as of a picture from another tab.
DROP_OF_NOTHING = """() => {
  const event = new DragEvent("drop", { bubbles: true, cancelable: true });
  Object.defineProperty(event, "dataTransfer", { value: { types: ["Files"], items: [], files: [] } });
  document.body.dispatchEvent(event);
}"""


@pytest.mark.slow
def test_a_choice_made_while_a_picture_is_looked_at_counts(visit, photo, tmp_path, monkeypatch):
    from ssg_hub.demo import decoding

    preview, release = decoding.preview, threading.Event()

    def slow(*args):
        release.wait(PATIENCE / 1000)
        return preview(*args)

    page = visit()
    choose(page, photo)
    upscale(page)
    Image.new("RGB", (300, 200)).save(tmp_path / "large.png")
    monkeypatch.setattr(decoding, "preview", slow)
    hand_over(page, tmp_path / "large.png")
    expect(page.locator("#forecast")).to_have_text("Reading…")
    expect(page.locator("#run"), "it would upscale the picture before").to_be_disabled()
    page.get_by_role("radio", name="1×").check()  # 4× would become 2×, which is what fits
    release.set()
    await_forecast(page, tmp_path / "large.png")
    expect(page.locator("#forecast")).to_contain_text("300 × 200 → 300 × 200")
    expect(page.get_by_role("radio", name="1×")).to_be_checked()
    upscale(page)
    assert fetch(page, ".sheet .after").size == (300, 200)


def test_a_class_found_gets_a_slider_that_changes_the_result(visit, photo):
    page = visit(**WIDE_DARK)
    choose(page, photo)
    upscale(page)
    expected = make_model().upscale(photo)
    found = [label["name"] for label in expected.labels if label["id"] < 2]
    assert found, "the untrained guide finds no class in the test picture; choose another seed"
    page.click("#advanced button")
    slider = page.get_by_label(f"range slider for {found[0]}")
    for key, strength in (("Home", 0.0), ("End", 1.0)):
        with page.expect_response("**/run/predict*", timeout=20_000):  # the server knows it
            slider.press(key)
        before = page.locator(".sheet .after").get_attribute("src")
        page.click("#run")
        page.wait_for_function("src => document.querySelector('.sheet .after').getAttribute('src') != src", arg=before)
        wanted = make_model().upscale(photo, strength={found[0]: strength})
        assert np.array_equal(fetch(page, ".sheet .after").convert("RGB"), wanted.image)
        expect(page.locator("#run")).to_be_enabled()


def test_on_a_phone_in_chinese_all_is_in_reach_and_the_result_in_view(visit, photo):
    page = visit(**PHONE_ZH)
    zh, modes = TEXTS["zh"], page.locator("#viewer .modes button")
    expect(page.locator("#run"), "a button that does nothing covers the page").to_be_hidden()
    expect(page.locator("#run")).to_have_text("放大")
    expect(page.locator("#picker .title")).to_have_text("选择照片")
    expect(modes).to_have_text([zh[key] for key in ("compare", "side", "mask", "drift")])
    for button in modes.all():
        expect(button).to_be_visible()
    page.tap("#examples button >> nth=4")
    page.wait_for_selector(".headline:has-text('cat.jpg')")
    choose(page, photo)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.tap("#run")
    page.wait_for_selector(DONE)
    expect(page.locator("#viewer .area"), "the result is out of view").to_be_in_viewport(ratio=1)
    expect(page.locator("#status")).to_contain_text("完成")
    run, status = (page.locator(name).bounding_box() for name in ("#run", "#status"))
    assert abs(status["y"] + status["height"] - run["y"]) < 40, "the status is not beside the button"
    for name in ("mask", "drift", "side", "compare"):
        mode(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    said = page.inner_text("body")
    assert zh["honesty"] in said and "__i18n__" not in said and "ssg_" not in said


@pytest.mark.parametrize(("locale", "widths"), [("en-US", (1440, 1280, 390)), slow("zh-CN", (1280,))])
def test_nothing_sticks_out_at_any_width(visit, locale, widths):
    page = visit(locale=locale)
    shown = ("#viewer .modes button", "#size label", "#format label", ".cards button", ".more button", "#picker .title")
    for width in widths:
        page.set_viewport_size({"width": width, "height": 844})
        for name in ("mask", "drift", "side", "compare"):
            mode(page, name)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        for box in (each.bounding_box() for selector in shown for each in page.locator(selector).all()):
            assert box["x"] >= 0 and box["x"] + box["width"] <= width, (width, box)
    for card in page.locator(".cards button").all():
        card.scroll_into_view_if_needed()  # its pictures load only then
    page.wait_for_function("[...document.querySelectorAll('.cards img')].every(image => image.naturalWidth > 50)")
    drag = "all => all.map(each => each.dispatchEvent(new DragEvent('dragstart', { bubbles: true, cancelable: true })))"
    assert not any(page.locator(".cards img").evaluate_all(drag)), "the page's own picture could be dropped on it"


@pytest.mark.parametrize("scheme", ["light", slow("dark")])
def test_everything_has_a_name_and_can_be_read(visit, photo, scheme):
    page = visit(color_scheme=scheme)
    for fold in ("#advanced", "#programs"):
        page.click(f"{fold} button")
    choose(page, photo)
    upscale(page)
    assert page.evaluate(NAMELESS) == []
    seen = ["#run", "#title p", "#forecast .status", "#status .status", "#picker .title", "#picker .hint", ".facts"]
    seen += [".honesty", "#panel .info-text", "#size .selected span", "#size label:not(.selected) span", ".cards b"]
    seen += [
        ".downloads a >> nth=0",
        ".downloads a >> nth=1",
        "#viewer .modes button >> nth=0",
        "#viewer .modes button >> nth=1",
    ]
    seen += [".level", ".tag.left", "#examples-title p", ".cards small", ".more b", "footer button"]
    for selector in seen:
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (selector, scheme)
    mode(page, "mask")
    for selector in (".legend span", ".legend b", ".explanation", ".fader span"):
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (selector, scheme)


# What can be used but has no name for whoever does not see it.
NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, [role=slider]")]
  .filter(element => element.offsetParent && element.type != "file")
  .filter(element => !(element.getAttribute("aria-label") || element.labels?.[0]?.innerText.trim()
    || element.innerText?.trim() || element.title))
  .map(element => element.outerHTML.slice(0, 200))"""
# Contrast of an element's text with the nearest painted background behind it (WCAG 2.1, 1.4.3).
CONTRAST = """target => {
  const element = target.nodeType ? target : document.querySelector(target);
  const parse = color => {
    const canvas = document.createElement('canvas').getContext('2d');
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  let node = element, behind;
  while (node && !(behind = parse(getComputedStyle(node).backgroundColor))[3]) node = node.parentElement;
  const ink = parse(getComputedStyle(element).color), paper = node ? behind : [255, 255, 255];
  const opacity = parseFloat(getComputedStyle(element).opacity);
  const mixed = ink.slice(0, 3).map((value, i) => value * opacity + paper[i] * (1 - opacity));
  const [high, low] = [luminance(mixed), luminance(paper)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}"""
