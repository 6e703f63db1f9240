"""Make the demo's screenshots in docs/images, in a real Chromium, with the embedded checkpoint and a free example.

python -m benchmarks.screenshots [--url http://127.0.0.1:7860]      # without --url it starts the demo itself
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

EXAMPLE = ROOT / "ssg_hub/demo/examples/launch.jpg"
FOLDER = ROOT / "docs/images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
VIEWS = {
    "demo": {"viewport": {"width": 1280, "height": 1250}},
    "demo-phone-dark": {"viewport": {"width": 390, "height": 1700}, "color_scheme": "dark"},
}
PATIENCE = 180_000  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", help="of a demo that is running")
    url = parser.parse_args().url or start_demo()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        chromium = os.environ.get("SSG_CHROMIUM") or shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        for name, view in VIEWS.items():
            shoot(browser, url, FOLDER / f"{name}.png", view)
            print(f"wrote docs/images/{name}.png")
        browser.close()


def start_demo() -> str:
    """Serve the page on the embedded checkpoint; returns its address."""
    import app
    from ssg_hub import SSGModel

    _, url, _ = app.launch(app.build_demo(SSGModel.from_pretrained()), prevent_thread_lock=True, quiet=True)
    return url


def shoot(browser: Browser, url: str, path: Path, view: dict) -> None:
    """Upload, upscale, wait for slider and mask, and take the picture."""
    page = browser.new_page(locale="en-US", **view)
    page.set_default_timeout(PATIENCE)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#run")
    page.set_input_files("#input input[type=file]", EXAMPLE)
    page.wait_for_selector("#forecast:has-text('×')")
    page.click("#run")
    page.wait_for_selector("#slider img")
    page.wait_for_timeout(3000)  # the pictures of the mask follow the slider's
    page.screenshot(path=path)
    page.close()


if __name__ == "__main__":
    main()
