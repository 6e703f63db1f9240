"""The site's page without its networks: what a visitor sees where a browser, a file or the network fails."""

import os
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.site_visits import SiteServer, download, visit
from ssg_hub.model import SSGModel
from ssg_hub.web import runtime, site

# In the place of worker.js: the result is the file that was given. A graphics card fails at files named so, and nothing
# starts while the server has a file named "broken"; a.png is computed as long as it has "hold-a.png",
# and fails as long as it has "fail-a.png".
WORKER = """
let engine;
const has = async name => (await fetch(name, { cache: "no-store" })).ok;
const pause = () => new Promise(done => setTimeout(done, 10));
self.onmessage = async ({ data: { type, prefer, id, file } }) => {
  if (type === "open") {
    if (await has("broken")) return self.postMessage({ type: "failed", reason: "no_model" });
    engine = prefer === "wasm" ? "wasm" : "webgpu";
    return self.postMessage({ type: "ready", engine, threads: 1, pace: 0.01 });
  }
  while (!engine) await pause();
  self.postMessage({ type: "progress", id, stage: "upscaling", done: 0, total: 1, pixels: 48 });
  while (await has(`hold-${file.name}`)) await pause();
  if (await has(`fail-${file.name}`)) return self.postMessage({ type: "failed", id, reason: "failed" });
  if (file.name.startsWith("gpu") && engine === "webgpu") {
    return self.postMessage({ type: "failed", id, reason: "lost" });
  }
  const size = file.name.startsWith("large") ? [9000, 2000] : [32, 24];
  self.postMessage({ type: "done", id, input: [8, 6], size, notes: [], picture: file, seconds: 0.01 });
};
"""
NO_STORAGE = """for (const kind of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, kind, { get() { throw new DOMException("refused", "SecurityError"); } });"""
SLOW_VIEW = """window.createImageBitmap = () => new Promise((_, fail) => {
  window.giveUp = () => fail(new Error("too large"));
  document.documentElement.dataset.decoding = "";
});"""
# The first picture is measured at once, the second by `measure()`.
SLOW_MEASURE = """const { decode } = HTMLImageElement.prototype, pictures = [];
HTMLImageElement.prototype.decode = async function () {
  if (pictures.push(this) === 2) await new Promise(done => (window.measure = done));
  return decode.call(this);
};"""
DECODING = "html[data-decoding]"  # no `wait_for_function`: the page's policy forbids the eval of its second look
WAITING = """new Promise(async done => {
  const registration = await navigator.serviceWorker.ready;
  setTimeout(done, 60_000);
  const look = () => (registration.waiting ? done(true) : setTimeout(look, 50));
  look();
})"""
FIRST_CLICK = """const { prototype } = ServiceWorkerContainer, { register } = prototype;
const clicked = new Promise(done => addEventListener("click", done, { once: true, capture: true }));
prototype.register = async function (...all) {
  await clicked;
  return register.apply(this, all);
};"""  # from which on the page asks for a service worker, or a new version of it
DONE = ".viewer[data-state=done]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("page") / "site"
    shutil.copytree(site.STATIC, place)
    model = SSGModel.from_components("compact", generator_config={"features": 4, "convs": 1})
    model.set_denoise_weights(model.generator.state_dict())
    site.write_page(model, {"generator": {}}, place, "ssg-hub")
    (place / "worker.js").write_text(WORKER)
    return place


@pytest.fixture(scope="module")
def server(folder):
    running = SiteServer(folder)
    yield running
    running.shutdown()


@pytest.fixture
def open_page(browser, server):
    """A function (script that runs first) -> the page, and a list of what goes wrong on it."""
    opened = []

    def start(script: str = ""):
        page, errors, _ = visit(browser, "about:blank", service_workers="block")
        opened.append(page)
        page.set_default_timeout(60_000)
        page.add_init_script(script)
        page.goto(server.url)
        return page, errors

    yield start
    for page in opened:
        page.context.close()


@pytest.fixture
def pictures(tmp_path):
    def make(*names: str) -> list[Path]:
        for name in names:
            Image.new("RGB", (8, 6), (200, 30, 30)).save(tmp_path / name)
        return [tmp_path / name for name in names]

    return make


@pytest.fixture
def hold(folder):
    """A function that keeps the worker at a picture of this name, or lets it go on."""

    def change(name: str, holds: bool = True) -> None:
        (folder / f"hold-{name}").touch() if holds else (folder / f"hold-{name}").unlink()

    yield change
    for path in folder.glob("hold-*"):
        path.unlink()


def upscale(page, files: list[Path]) -> None:
    page.set_input_files("#files", files)
    page.wait_for_selector("#run:not([disabled])")
    page.click("#run")


def test_what_the_graphics_card_fails_at_is_computed_without_it(open_page, pictures):
    page, errors = open_page()
    upscale(page, pictures("gpu.png", "b.png"))
    page.wait_for_selector("#status:has-text('2 of 2 done')")
    assert "WebAssembly" in page.inner_text("#machine") and errors == []


def reload_and_hold_model(page):
    """Load the page again as far as it comes without its model; returns a function that lets it have that."""
    held = []
    page.route("**/model.json", lambda route: held.append(route))
    with page.expect_request("**/model.json"):
        page.reload(wait_until="commit")
    return lambda: held.pop().continue_()  # later: the route is told after the request


def test_pictures_that_are_chosen_before_the_page_knows_its_model_are_taken(open_page, pictures):
    page, errors = open_page()
    give_model = reload_and_hold_model(page)
    page.set_input_files("#files", pictures("a.png"))
    give_model()
    page.wait_for_selector("#run:not([disabled])")
    assert "a.png" in page.inner_text(".headline") and errors == []


def test_networks_that_did_not_start_are_started_again_with_the_next_click(open_page, pictures, folder):
    (folder / "broken").touch()
    page, _ = open_page()
    upscale(page, pictures("a.png"))
    page.wait_for_selector("#status:has-text('could not be loaded')")
    (folder / "broken").unlink()
    page.click("#run")
    page.wait_for_selector(DONE)


def test_a_browser_that_keeps_nothing_upscales_all_the_same(open_page, pictures):
    page, errors = open_page(NO_STORAGE)
    upscale(page, pictures("a.png"))
    page.wait_for_selector(DONE)
    assert errors == []


def test_a_result_that_cannot_be_shown_can_be_downloaded(open_page, pictures):
    page, errors = open_page(SLOW_VIEW)
    upscale(page, pictures("large.png"))
    page.wait_for_selector(DECODING)
    page.evaluate("giveUp()")
    page.wait_for_selector(DONE)
    assert download(page, "picture").size == (8, 6) and errors == []


def test_no_run_starts_without_the_pictures_that_are_still_measured(open_page, pictures):
    page, errors = open_page(SLOW_MEASURE)
    page.set_input_files("#files", pictures("a.png", "b.png"))
    page.wait_for_selector(".headline:has-text('8 × 6')")
    assert page.is_disabled("#run")
    page.evaluate("measure()")
    page.click("#run")
    page.wait_for_selector("#status:has-text('2 of 2 done')")
    assert errors == []


def test_a_result_counts_as_made_with_the_settings_of_its_run(open_page, pictures, hold):
    page, errors = open_page()
    hold("a.png"), hold("b.png")
    upscale(page, pictures("a.png", "b.png"))
    page.wait_for_selector("#status:has-text('Picture 1 of 2')")
    page.fill("#denoise", "0")
    hold("a.png", False)
    page.wait_for_selector("#status:has-text('Picture 2 of 2')")
    page.click("#cancel")
    hold("b.png", False)
    page.click("#run")
    page.wait_for_selector("#status:has-text('2 of 2 done')")
    assert errors == []


@pytest.mark.parametrize("end", ["cancel", "failure"])
def test_a_second_run_that_gives_nothing_leaves_the_result_of_the_first(end, open_page, pictures, hold, folder):
    page, errors = open_page()
    upscale(page, pictures("a.png"))
    page.wait_for_selector(DONE)
    facts, shown = page.inner_text(".facts"), page.get_attribute(".after", "src")
    hold("a.png")
    page.click("#run")
    page.wait_for_selector(".viewer[data-state=working]")
    assert page.locator(".downloads a").count() == 0 and page.inner_text(".facts") == ""
    if end == "cancel":
        page.click("#cancel")
        page.wait_for_selector("#status:has-text('Cancelled')")
        assert page.inner_text(".facts") == facts
    else:
        (folder / "fail-a.png").touch()
        hold("a.png", False)
        page.wait_for_selector("#status.alarm:has-text('Something went wrong')")
        (folder / "fail-a.png").unlink()
        assert page.inner_text(".facts").startswith(f"{facts} · Something went wrong")
    page.wait_for_selector(DONE)
    assert page.get_attribute(".after", "src") == shown and errors == []
    assert download(page, "picture").size == (8, 6)


@pytest.mark.slow
def test_a_thumbnail_keeps_the_focus_when_it_is_pressed(open_page, pictures):
    page, errors = open_page()
    page.set_input_files("#files", pictures("a.png", "b.png"))
    page.wait_for_selector("#run:not([disabled])")
    page.focus(".strip button[title='b.png']")
    page.keyboard.press("Enter")
    page.wait_for_selector(".strip button[title='b.png'][aria-pressed=true]")
    assert page.evaluate("document.activeElement.title") == "b.png" and errors == []


@pytest.mark.slow
def test_the_bar_moves_in_place_and_outside_what_screen_readers_announce(open_page, pictures, hold):
    page, errors = open_page()
    hold("a.png")
    upscale(page, pictures("a.png"))
    page.wait_for_selector("#status:has-text('tile 1 of 1')")
    page.evaluate("document.querySelector('progress').dataset.same = ''")
    page.wait_for_timeout(500)
    bar = page.locator("progress[data-same]")
    assert bar.is_visible() and bar.get_attribute("aria-label") == "Progress" and bar.evaluate("bar => bar.value") > 0.5
    assert page.locator("[aria-live] progress").count() == 0
    hold("a.png", False)
    page.wait_for_selector(DONE)
    assert bar.is_hidden() and page.get_attribute("#status span", "aria-hidden") is None and errors == []


@pytest.mark.parametrize("way", ["other pictures", "cancel"])
def test_a_run_that_is_given_up_while_its_result_is_prepared_ends(way, open_page, pictures):
    page, errors = open_page(SLOW_VIEW)
    upscale(page, pictures("large.png", "b.png"))
    page.wait_for_selector(DECODING)
    if way == "cancel":
        page.click("#cancel")
        page.wait_for_selector("#status:has-text('Cancelled')")
    else:
        page.set_input_files("#files", pictures("c.png", "d.png"))
        page.wait_for_selector(".strip button[title='c.png']")
    page.evaluate("giveUp()")
    page.wait_for_selector("#run:not([disabled])")
    page.wait_for_timeout(300)
    states = page.eval_on_selector_all(".strip li", "all => all.map(each => each.dataset.state)")
    assert "done" not in states and "working" not in states and errors == []


@pytest.fixture
def place(folder, tmp_path) -> Path:
    """A copy of the site with all files that its service worker asks for."""
    shutil.copytree(folder, tmp_path / "site", ignore=shutil.ignore_patterns("hold-*"))
    (tmp_path / "site" / "runtime").mkdir()
    for name in runtime.WASM + runtime.WEBGPU:
        (tmp_path / "site" / "runtime" / name).touch()
    site._list_files(tmp_path / "site")
    return tmp_path / "site"


def test_the_hosts_redirects_work_with_the_service_worker_too(browser, place):
    server = SiteServer(place)
    server.moved = {"/": "/index.html", "/start": "/"}
    page, errors, _ = visit(browser, server.url)
    page.set_default_timeout(60_000)
    page.wait_for_selector("#offline:has-text('without a network')")
    page.goto(f"{server.url}start")
    assert page.url == server.url and page.is_visible("#run") and "/start" in server.asked
    server.moved["/"] = "/gone"  # the page itself is kept
    page.goto(f"{server.url}start")
    assert page.is_visible("#run") and errors == []
    page.context.close()
    server.shutdown()


UNKEPT = f"runtime/{runtime.WEBGPU[0]}"  # of the site, but no page here has a graphics card that asks for it


def publish(place: Path, version: str, when: int) -> None:
    """Write a version of the site; `when` in seconds: a browser takes an answer that was old already for fresh."""
    page_file = place / "index.html"
    page_file.write_text(re.sub("<footer[^>]*>", f"<footer data-version={version}>", page_file.read_text()))
    (place / UNKEPT).write_text(version)
    site._list_files(place)
    for path in place.rglob("*"):
        os.utime(path, (when, when))


@pytest.fixture
def published(browser, place):
    """The server of a site in version "one", a page on which it is kept, and what went wrong there."""
    publish(place, "one", 1_600_000_000)
    server = SiteServer(place)
    page, errors, _ = visit(browser, server.url)
    page.set_default_timeout(60_000)
    page.wait_for_selector("#offline:has-text('without a network')")
    yield server, page, errors
    page.context.close()
    server.shutdown()


def test_a_new_version_comes_at_the_next_visit_whatever_the_http_cache_holds(published, place):
    server, page, errors = published
    read = f"fetch('{UNKEPT}').then(answer => answer.text())"
    assert page.evaluate(read) == "one"
    publish(place, "two", 1_600_100_000)
    page.goto("about:blank")
    page.goto(server.url)
    page.wait_for_selector("footer[data-version=two]")
    assert page.evaluate(read) == "two" and errors == []


def test_a_new_version_waits_while_pictures_or_other_pages_are_open(published, place, pictures):
    server, page, errors = published
    publish(place, "two", 1_600_100_000)
    page.add_init_script(FIRST_CLICK)
    page.reload()
    upscale(page, pictures("a.png"))
    page.wait_for_selector(DONE)
    assert page.evaluate(WAITING)
    assert page.get_attribute("footer", "data-version") == "one"
    other = page.context.new_page()
    other.goto(server.url)
    other.evaluate("navigator.serviceWorker.ready.then(({ waiting }) => waiting.postMessage({ type: 'activate' }))")
    other.wait_for_timeout(1000)  # for what must not happen
    assert other.get_attribute("footer", "data-version") == "one" and page.is_visible(DONE)
    page.close()
    other.reload()
    other.wait_for_selector("footer[data-version=two]")
    assert errors == []


def test_pages_of_others_below_the_site_stay_as_their_host_sends_them(published, place):
    server, page, errors = published
    (place / "blog").mkdir()
    (place / "blog/index.html").write_text(
        "<link rel=icon href=data:,><body><script>document.body.dataset.ran = 1</script>"
    )
    page.goto(f"{server.url}blog/")
    assert page.get_attribute("body", "data-ran") == "1" and errors == []


def test_the_page_is_not_loaded_again_under_an_open_file_dialog(browser, place, pictures):
    server = SiteServer(place)  # without the headers that give threads
    page, errors, _ = visit(browser, "about:blank")
    page.set_default_timeout(60_000)
    page.add_init_script(FIRST_CLICK)
    page.goto(f"{server.url}?engine=wasm")
    with page.expect_file_chooser() as chooser:
        page.click("#files")
    page.wait_for_selector("#offline:has-text('without a network')")
    chooser.value.set_files(pictures("a.png"))
    page.wait_for_selector("#machine:has-text('load the page again to use all')")
    assert "a.png" in page.inner_text(".headline") and errors == []
    page.context.close()
    server.shutdown()


DROP = """name => {
  const data = new DataTransfer();
  data.items.add(new File(["?"], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_a_photograph_that_is_dropped_before_the_page_knows_its_model_is_taken(open_page):
    page, errors = open_page()
    give_model = reload_and_hold_model(page)
    page.evaluate(DROP, "a.png")
    give_model()
    page.wait_for_selector(".headline:has-text('a.png')")
    assert errors == []


def test_a_picture_that_is_too_large_is_not_offered_for_upscaling(open_page, tmp_path):
    page, errors = open_page()
    Image.new("1", (5000, 4000)).save(tmp_path / "large.png")
    page.set_input_files("#files", tmp_path / "large.png")
    page.wait_for_selector(".message:has-text('too large')")
    assert page.is_disabled("#run") and errors == []


def test_a_magnified_result_can_be_scrolled_by_fingers(open_page, pictures):
    page, errors = open_page()
    upscale(page, pictures("a.png", "b.png"))
    page.wait_for_selector("#status:has-text('2 of 2 done')")
    touch = "sheet => getComputedStyle(sheet).touchAction"
    assert page.eval_on_selector(".sheet", touch) == "pan-y"
    page.click(".full")
    assert page.eval_on_selector(".sheet", touch) == "auto"
    split = page.eval_on_selector(".sheet", "sheet => sheet.style.getPropertyValue('--split')")
    page.dispatch_event(".sheet", "pointerdown", {"pointerType": "touch", "button": 0, "clientX": 1})
    assert page.eval_on_selector(".sheet", "sheet => sheet.style.getPropertyValue('--split')") == split
    assert errors == []


def test_the_pages_own_pictures_cannot_be_dropped_on_it_as_files(open_page, pictures):
    page, errors = open_page()
    page.set_input_files("#files", pictures("a.png", "b.png"))
    page.wait_for_selector(".strip button[title='b.png']")
    assert not page.eval_on_selector_all("img", "all => all.some(each => each.draggable)") and errors == []
