"""Make the demo's screenshots in docs/images, in a real Chromium, with the embedded checkpoint and a free example.

python -m benchmarks.screenshots [--url http://127.0.0.1:7860] [--to FOLDER]     # without --url it starts the demo
"""

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

EXAMPLE = ROOT / "ssg_hub/demo/examples/street_house.jpg"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# A visit: how the browser is set, and the views that are photographed, by the name of the picture.
VISITS = [
    ({"viewport": DESK}, {"demo": "compare", "demo-classes": "mask"}),
    ({"viewport": PHONE, "color_scheme": "dark"}, {"demo-phone-dark": "drift"}),
]
PATIENCE = 300_000  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="of a demo that is running")
    parser.add_argument("--to", type=Path, default=ROOT / "docs/images", metavar="FOLDER")
    args = parser.parse_args()
    url = args.url or start_demo()
    args.to.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = open_browser(driver)
        shoot_opening(browser, url, args.to)
        for view, modes in VISITS:
            shoot(browser, url, view, modes, args.to)
        browser.close()


def open_browser(driver: Playwright) -> Browser:
    """The Chromium that the tests use."""
    chromium = os.environ.get("SSG_CHROMIUM") or shutil.which("chromium")
    return driver.chromium.launch(executable_path=chromium, args=FLAGS)


def start_demo() -> str:
    """Serve the page on the embedded checkpoint, when it knows how fast it is; returns its address."""
    import app
    from ssg_hub import SSGModel

    demo = app.build_demo(SSGModel.from_pretrained())
    demo.workshop.warm_up()
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    return url


def visit(browser: Browser, url: str, view: dict) -> Page:
    """Open the page; it is there when the viewer has its buttons."""
    page = browser.new_page(locale="en-US", **view)
    page.set_default_timeout(PATIENCE)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#viewer .modes button")
    return page


def shoot_opening(browser: Browser, url: str, folder: Path) -> None:
    """Take a picture of the whole page as it opens."""
    page = visit(browser, url, {"viewport": DESK})
    for card in page.locator(".cards button").all():
        card.scroll_into_view_if_needed()  # its pictures load only then
    page.wait_for_function("[...document.querySelectorAll('.cards img')].every(image => image.naturalWidth)")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)
    save(page.screenshot(full_page=True), folder / "demo-opening.webp")
    print(f"wrote {folder / 'demo-opening.webp'}")
    page.close()


def shoot(browser: Browser, url: str, view: dict, modes: dict[str, str], folder: Path) -> None:
    """Upload, upscale once, and take a picture of what is seen without scrolling, in each mode."""
    page = visit(browser, url, view)
    page.set_input_files("#picker label input", EXAMPLE)
    page.wait_for_selector("#forecast .status")
    page.click("#run")
    page.wait_for_selector(".viewer[data-state=done] .downloads a")
    for name, mode in modes.items():
        page.click(f"#viewer .modes [data-mode={mode}]")
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_timeout(2000)  # pictures are there and nothing moves; the page's stream never rests
        path = folder / f"{name}.webp"
        save(page.screenshot(), path)
        print(f"wrote {path}")
    page.close()


def save(screenshot: bytes, path: Path) -> None:
    """A PNG as a WebP file, a fifth of the size; letters stay sharp."""
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(path, quality=90, method=6)


if __name__ == "__main__":
    main()
