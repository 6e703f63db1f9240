"""The site of `ssg export --web` in a real Chromium: size, likeness to Python, time, memory, requests, a screenshot.

    python -m benchmarks.browser [--model FILE] [--site FOLDER] [--pictures odd.png large.jpg] [--shots FOLDER]

Ten pictures, as in `tests/test_web.py`, go through the page with the mask, by WebAssembly.
"""

import argparse
import json
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.document import describe_machine, markdown_table
from benchmarks.screenshots import EXAMPLE, open_browser, save
from benchmarks.site_visits import SiteServer, download, make_pictures, psnr, visit
from ssg_hub.loading import EMBEDDED, load_model
from ssg_hub.web.site import TILE, export_site

DONE = ".viewer[data-state=done]"
HOUR = 3_600_000  # ms; four megapixels on one core take a quarter of it


class Memory:
    """The most memory of this process's browsers while it runs, in MiB; shared pages are divided among them."""

    def __enter__(self) -> "Memory":
        self.most, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, sum(map(_held, psutil.Process().children(recursive=True))) / 2**20)
            if self._ended.wait(0.3):
                return


def _held(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss if "chrom" in process.name() else 0
    except psutil.Error:
        return 0


def upscale_on_page(page: Page, path: Path) -> float:
    """Seconds from the click to the result."""
    page.set_input_files("#files", path)
    page.wait_for_selector("#run:not([disabled])")
    began = time.perf_counter()
    page.click("#run")
    page.wait_for_selector(DONE, timeout=HOUR)
    return time.perf_counter() - began


def measure(browser: Browser, server: SiteServer, model, pictures: list[Path]) -> dict:
    """Pictures one by one on a page that is kept and isolated already, and what was asked of the server meanwhile."""
    page, errors, asked = visit(browser, f"{server.url}?engine=wasm")
    page.wait_for_selector("#offline:has-text('without a network')")
    if not page.evaluate("crossOriginIsolated"):
        raise SystemExit("The service worker does not isolate the page: it would have one core.")
    page.wait_for_timeout(3000)  # the browser asks once more for the service worker
    asked.clear()
    server.asked.clear()
    rows = {}
    for path in pictures:
        with Memory() as memory:
            seconds = upscale_on_page(page, path)
        found, mask = download(page, "picture"), download(page, "mask")
        expected = model.upscale(path, tile=TILE, engine="torch")
        rows[path.name] = {
            "size": found.size,
            "PSNR": round(float(psnr(np.asarray(found), np.asarray(expected.image))), 1),
            "mask": round(float(np.mean(np.asarray(mask) == np.asarray(expected.mask))), 4),
            "seconds": round(seconds, 1),
            "MiB": round(memory.most),
        }
        print(json.dumps({path.name: rows[path.name]}), flush=True)
    said = page.inner_text("#machine")
    page.context.close()
    elsewhere = [address for address in asked if not address.startswith((server.url, "blob:"))]
    return {"pictures": rows, "machine": said, "errors": errors, "asked of the server": server.asked.copy(),
            "asked of others": elsewhere}  # fmt: skip


def shoot(browser: Browser, url: str, path: Path) -> None:
    """Take a picture of the page with a result."""
    page, _, _ = visit(browser, url)
    page.wait_for_selector("#offline:has-text('without a network')")
    upscale_on_page(page, EXAMPLE)
    page.click(".modes [data-mode=compare]")
    page.wait_for_timeout(1000)
    save(page.screenshot(full_page=True), path)
    page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=EMBEDDED, help=f"as for ssg upscale (default {EMBEDDED})")
    parser.add_argument("--site", type=Path, help="a folder for the site; what is there is taken")
    parser.add_argument("--pictures", nargs="*", help="names of some of the ten (default all)")
    parser.add_argument(
        "--shots", type=Path, metavar="FOLDER", help="also take a picture of the page, into this folder"
    )
    args = parser.parse_args()
    if args.shots:
        args.shots.mkdir(parents=True, exist_ok=True)
    model = load_model(args.model)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        folder = args.site or Path(place, "site")
        if not folder.exists():
            export_site(model, folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"the site: {size / 1e6:.1f} MB; {describe_machine()}", flush=True)
        server = SiteServer(folder)
        browser = open_browser(driver)
        chosen = [path for path in make_pictures(Path(place)) if args.pictures is None or path.name in args.pictures]
        found = measure(browser, server, model, chosen)
        if args.shots:
            shoot(browser, server.url, args.shots / "browser.webp")
        browser.close()
        server.shutdown()
    heads = ["picture", "result", "PSNR to Python, dB", "equal mask", "seconds", "browser's memory, MiB"]
    rows = [
        [name, "{} x {}".format(*row["size"]), *(str(row[key]) for key in ("PSNR", "mask", "seconds", "MiB"))]
        for name, row in found.pop("pictures").items()
    ]
    print(markdown_table([heads, *rows]))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
