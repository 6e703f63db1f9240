"""Make the demo's screenshots in docs/images, in a real Chromium, with the embedded checkpoint and a free example.

python -m benchmarks.screenshots [--url http://127.0.0.1:7860]      # without --url it starts the demo itself
"""

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

EXAMPLE = ROOT / "ssg_hub/demo/examples/street_house.jpg"
FOLDER = ROOT / "docs/images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# A visit: how the browser is set, and the tabs that are photographed, by the name of the picture.
VISITS = [
    (
        {"viewport": {"width": 1280, "height": 900}},
        {"demo": "Before and after", "demo-side-by-side": "Side by side", "demo-classes": "What is in it"},
    ),
    ({"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}, {"demo-phone-dark": "What is in it"}),
]
PATIENCE = 300_000  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="of a demo that is running")
    url = parser.parse_args().url or start_demo()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        chromium = os.environ.get("SSG_CHROMIUM") or shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        for view, tabs in VISITS:
            shoot(browser, url, view, tabs)
        browser.close()


def start_demo() -> str:
    """Serve the page on the embedded checkpoint, when it knows how fast it is; returns its address."""
    import app
    from ssg_hub import SSGModel

    demo = app.build_demo(SSGModel.from_pretrained())
    demo.workshop.warm_up()
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    return url


def shoot(browser: Browser, url: str, view: dict, tabs: dict[str, str]) -> None:
    """Upload, upscale once, and take a picture of each tab, as long as the page is."""
    page = browser.new_page(locale="en-US", **view)
    page.set_default_timeout(PATIENCE)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#run")
    page.set_input_files("#input input[type=file]", EXAMPLE)
    page.wait_for_selector("#forecast:has-text('×')")
    page.click("#run")
    page.wait_for_selector("#slider img")
    for name, tab in tabs.items():
        choose_tab(page, tab)
        page.mouse.move(0, 0)
        page.wait_for_timeout(2000)  # pictures are there and the slider's handle is at rest; the page's stream never is
        save(page.screenshot(full_page=True), FOLDER / f"{name}.webp")
        print(f"wrote docs/images/{name}.webp")
    page.close()


def save(screenshot: bytes, path: Path) -> None:
    """A PNG as a WebP file, a fifth of the size; letters stay sharp."""
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(path, quality=90, method=6)


def choose_tab(page: Page, tab: str) -> None:
    """Open a tab; on a narrow screen most of them are behind a button."""
    wanted = page.get_by_role("tab", name=tab)
    if not wanted.is_visible():
        page.click(".overflow-menu > button")
        wanted = page.locator(".overflow-dropdown button", has_text=tab)
    wanted.click()


if __name__ == "__main__":
    main()
