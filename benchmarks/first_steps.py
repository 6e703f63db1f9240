"""A newcomer's first picture, timed in a real Chromium: from the command to the page, and on to the download.

python -m benchmarks.first_steps [--photo PHOTO] [--rounds 3] "a wheel=/tmp/env/bin/ssg demo" "a clone=python app.py"

Each command is run as it stands, in the current folder, on a free port. The table of medians is for docs/demo.md.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from benchmarks.document import describe_machine, markdown_table
from benchmarks.screenshots import DESK, EXAMPLE, PATIENCE, open_browser

COLUMNS = ["to the page being served", "to its being usable", "from *Upscale* to the result", "clicks"]
SIZE = (240, 160)  # of the photograph, where none is given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("commands", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("--photo", type=Path, help="default: an example, made smaller")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    rows = [["from", *COLUMNS]]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser, photo = open_browser(driver), args.photo or make_photo(Path(folder) / "photo.jpg")
        for entry in args.commands:
            name, _, command = entry.partition("=")
            rounds = [visit(browser, shlex.split(command), photo) for _ in range(args.rounds)]
            *seconds, clicks = (median(values) for values in zip(*rounds, strict=True))
            rows.append([name, *(f"{value:.1f} s" for value in seconds), f"{clicks:.0f}"])
        browser.close()
    print(f"On: {describe_machine()}.\n\n{markdown_table(rows)}")


def make_photo(path: Path) -> Path:
    """A small photograph under a name that the page does not know."""
    with Image.open(EXAMPLE) as image:
        image.convert("RGB").resize(SIZE).save(path, quality=80)
    return path


def visit(browser: Browser, command: list[str], photo: Path) -> tuple[float, float, float, int]:
    """Start the server and be its first visitor; the values of COLUMNS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = browser.new_page(viewport=DESK, locale="en-US")
    page.set_default_timeout(PATIENCE)
    url, began = f"http://127.0.0.1:{port}/", time.perf_counter()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port)}
    environment.pop("PYTHONPATH", None)  # what is installed is meant
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not answers(url):
            if process.poll() is not None:
                sys.exit(f"{shlex.join(command)} has ended with {process.returncode}")
            time.sleep(0.05)
        served = time.perf_counter() - began
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_selector("#picker .title:has-text('Choose photographs')")
        page.wait_for_selector("#viewer .modes button")
        usable = time.perf_counter() - began
        with page.expect_file_chooser() as asked:
            page.click("#picker label")
        asked.value.set_files(photo)
        page.wait_for_selector("#run:not([disabled])")
        pressed = time.perf_counter()
        page.click("#run")
        page.wait_for_selector(".viewer[data-state=done] .downloads a")
        page.locator(".sheet .after").evaluate("image => image.decode()")
        result = time.perf_counter() - pressed
        with page.expect_download():
            page.click("[data-get=get_picture]")
        return served, usable, result, 3
    finally:
        page.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(url: str) -> bool:
    """Whether anything is served there."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
