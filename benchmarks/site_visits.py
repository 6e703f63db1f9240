"""Visits to a site: a server on this machine, pictures to bring along, and a page of a real browser."""

import functools
import http.server
import threading
from pathlib import Path

import numpy as np
from PIL import Image

MINUTES = 600_000  # ms
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class SiteServer(http.server.ThreadingHTTPServer):
    """Serves a folder on the loopback, in a thread.

    Attributes:
        asked: the paths that arrived, oldest first.
        moved: path → where it is redirected to.
    """

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), functools.partial(_Files, directory=str(folder)))
        self.asked: list[str] = []
        self.moved: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Files(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, **TYPES}

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if target := self.server.moved.get(self.path):
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *args) -> None:
        pass


def make_pictures(folder: Path) -> list[Path]:
    """Ten pictures: odd sizes, alpha, gray, turned by EXIF, one pixel, four megapixels."""
    from skimage import data

    photo = Image.fromarray(data.astronaut())
    turned = Image.Exif()
    turned[0x0112] = 6
    hole = np.asarray(photo.resize((150, 110)).convert("RGBA")).copy()
    hole[..., 3] = np.clip(np.hypot(*np.mgrid[-55:55, -75:75]) * 6, 0, 255)
    pictures = {
        "odd.png": photo.resize((101, 67)),
        "tall.webp": photo.resize((37, 411)),
        "tiles.png": photo.resize((413, 402)),
        "alpha.png": Image.fromarray(hole),
        "gray.png": photo.convert("L").resize((90, 61)),
        "gray.jpg": photo.convert("L").resize((75, 82)),
        "turned.jpg": photo.resize((96, 60)),
        "one.png": photo.resize((1, 1)),
        "indexed.png": photo.resize((64, 64)).quantize(32),
        "large.jpg": photo.resize((2304, 1736)),
    }
    for name, picture in pictures.items():
        lossless = {"lossless": True} if name.endswith("webp") else {"quality": 92} if name.endswith("jpg") else {}
        picture.save(folder / name, **lossless, **({"exif": turned} if name == "turned.jpg" else {}))
    return [folder / name for name in pictures]


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    strips = (slice(start, start + 256) for start in range(0, len(found), 256))  # a whole large one is gigabytes
    error = sum(float(np.square(found[rows].astype(np.float64) - expected[rows]).sum()) for rows in strips) / found.size
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def visit(browser, url: str, **options):
    """A page of the site, with what went wrong on it and every address that it asked for."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-US", **options})
    page, errors, asked = context.new_page(), [], []
    page.set_default_timeout(MINUTES)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    context.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    return page, errors, asked


def download(page, key: str) -> Image.Image:
    with page.expect_download() as waiting:
        page.click(f".downloads [data-get={key}]")
    image = Image.open(waiting.value.path())
    image.load()
    return image
