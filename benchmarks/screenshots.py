"""Make the screenshots of the demo that the documentation shows, in a headless Chromium.

    python -m benchmarks.screenshots [--picture FILE] [--model FOLDER] [--output docs]

Needs Debian's chromium (or SSG_CHROMIUM) and the playwright package. The default picture is one of the demo's examples.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 600_000  # ms, for a slow machine
DESKTOP = {"viewport": {"width": 1280, "height": 940}, "locale": "en-US", "color_scheme": "light"}
PHONE = {"viewport": {"width": 390, "height": 844}, "locale": "zh-CN", "color_scheme": "dark", "has_touch": True}


def main() -> None:
    """Start the demo, take the pictures, stop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=ROOT / "demo" / "examples" / "launch.jpg")
    parser.add_argument("--model", help="default: the embedded checkpoint")
    parser.add_argument("--output", type=Path, default=ROOT / "docs")
    args = parser.parse_args()
    chromium = os.environ.get("SSG_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        parser.error("no Chromium was found; install Debian's chromium, or set SSG_CHROMIUM to its path")
    os.environ["GRADIO_TEMP_DIR"] = tempfile.mkdtemp(prefix="ssg-screenshots-")
    from playwright.sync_api import sync_playwright

    import app

    demo = app.build_demo(app.load_model(args.model))
    _, url, _ = app.launch(demo, prevent_thread_lock=True, quiet=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        desktop = open_result(browser, url, args.picture, DESKTOP)
        shoot(desktop, args.output / "demo.png")
        for tab, name in ((1, "demo-mask.png"), (3, "demo-drift.png")):
            desktop.locator("#results button[role=tab]").nth(tab).click()
            shoot(desktop, args.output / name)
        shoot(open_result(browser, url, args.picture, PHONE), args.output / "demo-phone.png")
        browser.close()
    demo.close()
    shutil.rmtree(os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)


def open_result(browser, url: str, picture: Path, options: dict):
    """A page on which the picture has been upscaled."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url, wait_until="domcontentloaded")
    page.wait_for_selector("#run")
    page.set_input_files("#input input[type=file]", picture)
    page.wait_for_selector("#forecast strong")
    page.click("#run")
    page.wait_for_selector("#slider img")
    return page


def shoot(page, path: Path) -> None:
    """Save what the page shows, once pictures and transitions have settled."""
    page.wait_for_timeout(2000)
    page.mouse.move(0, 0)
    page.screenshot(path=path, full_page=True)
    print(path)


if __name__ == "__main__":
    main()
