"""The page's room for clips in a real browser. Needs Chromium and the playwright package; see `test_browser.py`."""

import json
import threading
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")
pytest.importorskip("cv2", reason="OpenCV is not installed (pip install 'ssg-hub[video]')")
expect = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed").expect

from conftest import make_tiny_model  # noqa: E402
from made_clips import Recipe, make_clip  # noqa: E402

import app  # noqa: E402
from ssg_hub.demo import clip_handlers, texts  # noqa: E402
from ssg_hub.demo.settings import Settings  # noqa: E402

PATIENCE = 120_000  # ms; only the slowest machine needs it
expect.set_options(timeout=PATIENCE)


@pytest.fixture
def clip(tmp_path) -> Path:
    """Thirty frames of H.264."""
    return make_clip(tmp_path, Recipe("walk.mp4", "libx264", times=tuple(range(30)), options={"crf": "10", "g": "5"}))


@pytest.fixture
def look() -> dict:
    """How the browser is set; a test may say otherwise."""
    return {"locale": "en-US", "viewport": {"width": 1280, "height": 900}}


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A running demo with the tiny model. Starting one for each test would take longer than they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        settings = Settings(max_clip_seconds=2, max_clip_frames=30, max_clip_pixels=4000)
        demo = app.build_demo(make_tiny_model(), settings)
        _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
        yield url
        demo.close()


@pytest.fixture
def page(browser, url, look):
    """The page in Chromium, in its room for clips; script errors fail the test."""
    errors = []
    context = browser.new_context(**look)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(url, wait_until="domcontentloaded", timeout=PATIENCE)
    page.click("#rooms [data-room=clips]")
    page.wait_for_selector("#clip-run", state="attached")
    yield page
    context.close()
    assert errors == []


def choose(page, path: Path, forecast: str) -> None:
    """Choose a clip that can be upscaled, and wait until the page has looked at it and says what to expect."""
    page.set_input_files("#clip-picker input", path)
    expect(page.locator("#clip-forecast [role=status]")).to_contain_text(forecast)
    expect(page.locator(".player .headline")).to_contain_text(path.name)
    expect(page.locator("#clip-run")).to_be_enabled()


def test_before_and_after_play_in_step(page, clip):
    expect(page.locator("text=The first 2 seconds, or 30 frames")).to_be_visible()
    expect(page.locator("#clip-run")).to_be_disabled()
    expect(page.locator("#main")).to_be_hidden()
    choose(page, clip, "48 × 32 → 96 × 64 · 30 frames")
    assert page.locator(".player .poster").evaluate("image => image.decode().then(() => image.naturalWidth)") == 48
    page.click("#clip-run")
    page.wait_for_selector(".player[data-state=done]")
    page.wait_for_selector("#clip-status:has-text('Done in')")
    names = ("clip-before", "clip-after")
    playing = "() => document.querySelector('.clip-after').currentTime > 0.2"
    if not page.evaluate("document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.640028\"')"):
        pytest.skip("this Chromium plays no H.264")
    page.wait_for_function(playing)
    page.wait_for_function(  # within two frames, thirty times in a row; after a hitch of the machine it is tried again
        """() => new Promise(done => {
          const [before, after] = ["clip-before", "clip-after"].map(name => document.querySelector(`.${name}`));
          let left = 30;
          const look = () => {
            const apart = Math.abs(before.currentTime - after.currentTime);
            if (Math.min(apart, 1.2 - apart) >= 0.09) done(false); // they begin again after 1.2 s
            else if (left-- > 0) requestAnimationFrame(look);
            else done(true);
          };
          look();
        })"""
    )
    page.click(".player .play")
    page.click(".player [aria-label='One frame on']")
    times = [page.locator(f".{name}").evaluate("video => video.currentTime") for name in names]
    assert times[0] == pytest.approx(times[1], abs=0.002)
    page.click(".player [aria-label='One frame back']")
    assert page.locator(".clip-after").evaluate("video => video.currentTime") == pytest.approx(
        times[1] - 0.04, abs=0.003
    )
    page.focus(".player .keys")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.querySelector('.screen').style.getPropertyValue('--split')") == "51%"
    page.click(".player .play")
    page.click("#rooms [data-room=pictures]")
    assert page.locator(".player video").evaluate_all("all => all.every(each => each.paused)"), "heard, but not seen"
    page.click("#rooms [data-room=clips]")
    with page.expect_download() as waiting:
        page.click(".player [data-get=get_report]")
    assert json.loads(Path(waiting.value.path()).read_text())["frames"] == 30


@pytest.mark.parametrize(
    "look",
    [
        {"locale": "zh-CN", "viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"},
        pytest.param({"locale": "en-US", "viewport": {"width": 1440, "height": 900}}, marks=pytest.mark.slow),
    ],
)
def test_a_clip_is_one_press_away_at_any_width(page, clip, look):
    said = texts.TEXTS["zh" if look["locale"] == "zh-CN" else "en"]
    expect(page.locator("#clip-run")).to_be_hidden()
    expect(page.locator("#player")).to_contain_text(said["clip_empty"])
    choose(page, clip, "48 × 32 → 96 × 64")
    expect(page.locator("#clip-picker .hint")).to_have_text(said["choose_other_clip"])
    page.click("#clip-run")
    page.wait_for_selector(".player[data-state=done] .downloads a")
    for shown in (".player .area", "#clip-run"):  # what was made, and the button, are in view
        expect(page.locator(shown)).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= look["viewport"]["width"]
    assert all(shape.bounding_box()["width"] > 8 for shape in page.locator(".player .controls path").all())
    assert said["clip_honesty"] in page.inner_text("#player") and "ssg_" not in page.inner_text("body")


def test_a_limit_is_said_before_the_click_and_cancel_stops(page, clip, tmp_path, monkeypatch):
    from ssg_hub.model import SSGModel

    large = make_clip(tmp_path, Recipe("large.mp4", "libx264", size=(80, 60)))
    page.set_input_files("#clip-picker input", large)
    page.wait_for_selector("#clip-forecast [role=alert]:has-text('at most 0.004 megapixels')")
    expect(page.locator("#clip-run")).to_be_disabled()
    choose(page, clip, "30 frames")
    page.fill("#clip-start input", "99")
    page.wait_for_selector("#clip-forecast [role=alert]:has-text('Begin earlier')")
    expect(page.locator("#clip-run")).to_be_disabled()
    page.fill("#clip-start input", "0")
    page.wait_for_selector("#clip-forecast [role=status]:has-text('30 frames')")
    upscale_video, release, began = SSGModel.upscale_video, threading.Event(), threading.Event()

    def slow(self, *args, **options):
        began.set()
        release.wait(PATIENCE / 1000)
        return upscale_video(self, *args, **options)

    monkeypatch.setattr(SSGModel, "upscale_video", slow)
    page.click("#clip-run")
    assert began.wait(60)
    page.click("#clip-cancel")
    page.wait_for_selector("#clip-status:has-text('Cancelled')")
    expect(page.locator("#clip-run")).to_be_enabled()
    expect(page.locator("#clip-cancel")).to_be_hidden()
    release.set()


@pytest.mark.slow
def test_a_choice_made_while_a_clip_is_looked_at_counts(page, clip, tmp_path, monkeypatch):
    look, release = clip_handlers.clip_facts, threading.Event()

    def slow(*args):
        release.wait(PATIENCE / 1000)
        return look(*args)

    choose(page, clip, "48 × 32 → 96 × 64 · 30 frames")
    small = make_clip(tmp_path, Recipe("small.mp4", "libx264", size=(32, 16), times=tuple(range(20))))
    monkeypatch.setattr(clip_handlers, "clip_facts", slow)
    page.set_input_files("#clip-picker input", small)
    expect(page.locator("#clip-forecast")).to_have_text("Reading…")
    expect(page.locator("#clip-run"), "it would upscale the clip before").to_be_disabled()
    page.locator("#clip-size").get_by_role("radio", name="4×").check()
    page.fill("#clip-start input", "0.4")
    release.set()
    expect(page.locator("#clip-forecast [role=status]")).to_contain_text("32 × 16 → 128 × 64 · 10 frames")
    expect(page.locator(".player .headline")).to_contain_text("small.mp4")
    expect(page.locator("#clip-run")).to_be_enabled()
