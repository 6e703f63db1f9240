"""The demo in a real browser: what a visitor does, sees and takes home. Needs Chromium and the playwright package."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="gradio is not installed (pip install 'ssg-hub[demo]')")
playwright = pytest.importorskip("playwright.sync_api", reason="the playwright package is not installed")

import app  # noqa: E402
from ssg_hub.demo.settings import Settings  # noqa: E402

CHROMIUM = os.environ.get("SSG_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt install chromium, or set SSG_CHROMIUM)")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 120_000  # ms; only the slowest machine needs it


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A running demo with a small untrained model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        second = tmp_path_factory.mktemp("models") / "plain"
        make_model(seed=1).save_pretrained(second)
        limits = {"max_pixels": 100_000, "max_file_size": "300kb", "queue_size": 1}
        demo = app.build_demo(make_model(), Settings(**limits, other_models={"plain": str(second)}))
        _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
        yield url
        demo.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, url):
    """Open the page; every script error fails the test."""
    contexts, errors = [], []

    def open_page(**options):
        context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url, wait_until="domcontentloaded", timeout=PATIENCE)
        page.wait_for_selector("#run", timeout=PATIENCE)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "street.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(path)
    return path


def make_model(seed: int = 0):
    import torch

    from ssg_hub.model import SSGModel
    from ssg_hub.networks.guide import Guide

    torch.manual_seed(seed)
    guide = Guide({"model_type": "ssg_lite_segmentation", "width": 8, "id2label": {"0": "sky", "1": "road"}})
    return SSGModel.from_components("compact", guide=guide, generator_config={"features": 8, "convs": 2})


def choose(page, path: Path) -> None:
    page.set_input_files("#input input[type=file]", path)


def download(page, button: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(button)
    return Path(waiting.value.path()).read_bytes()


def fetch(page, selector: str) -> Image.Image:
    """The picture that an <img> shows, as the server sent it."""
    source = page.locator(selector).first.get_attribute("src")
    return Image.open(io.BytesIO(page.request.get(source).body()))


def test_from_upload_to_slider_mask_drift_and_downloads(visit, photo, tmp_path):
    page = visit()
    choose(page, photo)
    page.wait_for_selector("#forecast:has-text('160 × 120')")
    page.click("#run")
    page.wait_for_selector("#slider img")
    expected = make_model().upscale(photo)
    sides = page.locator("#slider img")
    shown = [Image.open(io.BytesIO(page.request.get(side.get_attribute("src")).body())) for side in sides.all()]
    assert [image.format for image in shown] == ["PNG", "PNG"] and {image.size for image in shown} == {(160, 120)}
    bicubic = Image.open(photo).resize((160, 120), Image.Resampling.BICUBIC)
    for image, wanted in zip(shown, (bicubic, expected.image), strict=True):
        assert np.array_equal(image.convert("RGB"), wanted)
    assert page.is_visible("text=An upscaled picture is an estimate.")
    page.get_by_role("tab", name="What is in it").click()
    for label in expected.labels:
        page.wait_for_selector(f"#annotated >> text=/^{label['name']} · /")
    page.get_by_role("tab", name="What may be invented").click()
    page.wait_for_selector("#drift img")
    assert fetch(page, "#drift img").size == (160, 120)

    assert np.array_equal(Image.open(io.BytesIO(download(page, "#get-picture"))), expected.image)
    mask = Image.open(io.BytesIO(download(page, "#get-mask")))
    assert mask.mode == "P" and np.array_equal(mask, expected.mask)
    archive = zipfile.ZipFile(io.BytesIO(download(page, "#get-zip")))
    assert json.loads(archive.read("street_x4_report.json"))["output"] == {"width": 160, "height": 120}


def test_a_file_that_is_no_picture_gives_a_sentence(visit, tmp_path):
    (tmp_path / "letter.png").write_text("Dear Sir or Madam")
    page = visit()
    choose(page, tmp_path / "letter.png")
    page.wait_for_selector("#forecast:has-text('not a picture')")
    page.click("#run")
    page.wait_for_selector("[data-testid=toast-body]:has-text('not a picture that can be read')")
    assert not page.is_visible("#results") and page.is_visible("#welcome")


def test_too_large_a_picture_is_refused_before_the_click(visit, tmp_path):
    Image.new("RGB", (400, 300)).save(tmp_path / "large.png")
    page = visit()
    choose(page, tmp_path / "large.png")
    page.wait_for_selector("#forecast:has-text('at most 0.1 are taken here')")


def test_too_large_a_file_is_refused_when_it_is_chosen(visit, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (330, 330, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "heavy.png")
    page = visit()
    choose(page, tmp_path / "heavy.png")
    page.wait_for_selector("[data-testid=toast-body]:has-text('exceed the maximum allowed size')")


def test_two_models_and_bicubic_stand_side_by_side(visit, photo):
    page = visit()
    choose(page, photo)
    page.click("#advanced button")
    page.get_by_label("Compare with a second model").click()
    page.get_by_role("option", name="plain").click()
    page.click("#run")
    page.wait_for_selector("#slider img")
    bicubic = Image.open(photo).resize((160, 120), Image.Resampling.BICUBIC)
    ours, other = make_model().upscale(photo).image, make_model(seed=1).upscale(photo).image
    page.get_by_role("radio", name="plain").click()
    page.wait_for_function("() => document.querySelector('#slider img').src.endsWith('view2.png')")
    assert np.array_equal(fetch(page, "#slider img").convert("RGB"), other)
    page.get_by_role("tab", name="Side by side").click()
    page.wait_for_selector("#side-by-side figure >> nth=2")
    shown = [f"#side-by-side figure:nth-of-type({number}) img" for number in (1, 2, 3)]
    for selector, wanted in zip(shown, (bicubic, ours, other), strict=True):
        source = page.eval_on_selector(selector, "image => image.src")
        assert np.array_equal(Image.open(io.BytesIO(page.request.get(source).body())).convert("RGB"), wanted)
    origin = "image => getComputedStyle(image).transformOrigin"
    before = [page.eval_on_selector(selector, origin) for selector in shown]
    page.focus("#side-by-side .lens")
    page.keyboard.press("ArrowRight")
    after = [page.eval_on_selector(selector, origin) for selector in shown]
    assert len(set(after)) == 1 and after != before, "the panels do not move together"


def test_those_who_wait_see_their_place_and_one_too_many_is_told(visit, photo, monkeypatch):
    import threading

    from ssg_hub.model import SSGModel

    upscale, release = SSGModel.upscale, threading.Event()

    def slow(self, image, **options):
        release.wait(PATIENCE / 1000)
        return upscale(self, image, **options)

    pages = [visit() for _ in range(3)]
    for page in pages:
        choose(page, photo)
        page.wait_for_selector("#forecast:has-text('160 × 120')")
    monkeypatch.setattr(SSGModel, "upscale", slow)
    pages[0].click("#run")
    pages[0].wait_for_selector("#status:has-text('Upscaling')")
    pages[1].click("#run")
    pages[1].wait_for_selector("#status:has-text('you are next')")
    pages[2].click("#run")
    pages[2].wait_for_selector("[data-testid=toast-body]:has-text('Too many pictures')")
    release.set()
    for page in pages[:2]:
        page.wait_for_selector("#slider img")


def test_every_control_has_a_name_and_the_slider_obeys_the_keys(visit, photo):
    page = visit()
    page.click("#examples button >> nth=0")
    page.wait_for_selector("#forecast:has-text('960 × 640')")
    choose(page, photo)
    page.click("#run")
    page.wait_for_selector("#slider img")
    for fold in ("#advanced", "#more-examples", "#programs"):
        page.click(f"{fold} button")
    page.wait_for_timeout(500)
    assert page.evaluate(NAMELESS) == []
    handle = "#slider [data-testid=slider]"
    place = page.locator(handle).evaluate("handle => handle.style.transform")
    page.focus(handle)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"place => document.querySelector('{handle}').style.transform != place", arg=place)
    assert page.get_attribute(handle, "aria-valuenow") == "55"


def test_cancel_stops_the_run_and_leaves_the_page_usable(visit, photo, monkeypatch):
    import threading

    from ssg_hub.model import SSGModel

    upscale, began, release, ended = SSGModel.upscale, threading.Event(), threading.Event(), []

    def slow(self, image, on_progress=None, **options):
        def tile_done(done, total):
            began.set()
            release.wait(60)
            try:
                on_progress(done, total)
            except BaseException as stop:
                ended.append(type(stop).__name__)
                raise

        return upscale(self, image, on_progress=tile_done, **options)

    page = visit()
    choose(page, photo)
    page.wait_for_selector("#forecast:has-text('160 × 120')")
    monkeypatch.setattr(SSGModel, "upscale", slow)
    page.click("#run")
    assert began.wait(60)
    page.click("#cancel")
    page.wait_for_selector("#status:has-text('Cancelled')")
    release.set()
    page.wait_for_timeout(500)
    assert ended == ["Cancelled"] and not page.is_visible("#results")
    monkeypatch.undo()
    page.click("#run")
    page.wait_for_selector("#slider img")


def test_a_class_found_gets_a_slider_that_changes_the_result(visit, photo, tmp_path):
    page = visit()
    choose(page, photo)
    page.click("#run")
    page.wait_for_selector("#slider img")
    expected = make_model().upscale(photo)
    found = [label["name"] for label in expected.labels if label["id"] < 2]
    if not found:
        pytest.fail("the untrained guide finds no class in the test picture; choose another seed")
    page.click("#advanced button")
    slider = page.get_by_label(f"number input for {found[0]}")
    slider.fill("0")
    slider.press("Enter")
    page.get_by_label(f"range slider for {found[0]}").dispatch_event("pointerup")
    page.wait_for_timeout(1500)
    before = page.locator("#slider img").nth(1).get_attribute("src")
    page.click("#run")
    page.wait_for_function("src => document.querySelectorAll('#slider img')[1]?.src != src", arg=before)
    wanted = make_model().upscale(photo, strength={found[0]: 0.0})
    assert np.array_equal(fetch(page, "#slider img >> nth=1").convert("RGB"), wanted.image)


def test_on_a_phone_nothing_is_wider_than_the_screen(visit, photo):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    choose(page, photo)
    page.click("#run")
    page.wait_for_selector("#slider img")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#results").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_the_page_speaks_chinese(visit, photo):
    page = visit(locale="zh-CN")
    page.wait_for_selector("#run:has-text('放大')")
    choose(page, photo)
    page.wait_for_selector("#forecast:has-text('将变为')")
    page.click("#run")
    page.wait_for_selector("text=放大的图片只是估计。")
    assert "__i18n__" not in page.inner_text("body") and "ssg_" not in page.inner_text("body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_small_print_can_be_read_in_light_and_dark(visit, photo, scheme):
    page = visit(color_scheme=scheme)
    choose(page, photo)
    page.click("#run")
    page.wait_for_selector("#slider img")
    for selector in ("#limits p", "#run", "#cancel", "#title p", "#forecast p", "#facts p", "#honesty p", ".hint p"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, (selector, scheme)
    for tab in page.get_by_role("tab").all():
        assert tab.evaluate(CONTRAST) >= 4.5, (tab.inner_text(), scheme)


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
