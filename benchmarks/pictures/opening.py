"""Make what the demo's page shows before anything is uploaded: the embedded checkpoint on the free examples, as WebP.

It goes into ssg_hub/demo/opening: the result that the page opens with, and one for each card. Once for each new
checkpoint.
"""

import argparse
import json

from PIL import Image, ImageOps

from benchmarks.document import ROOT
from ssg_hub.demo import results, viewer
from ssg_hub.demo.texts import CARDS, MORE_EXAMPLES, text
from ssg_hub.demo.views import for_browser
from ssg_hub.loading import EMBEDDED, load_model
from ssg_hub.upscaling import layers
from ssg_hub.upscaling.result import UpscaleResult

EXAMPLE = "street_house.jpg"
FOLDER = viewer.ROOM / "opening"
QUALITY = 88
CARD_SIZE, CARD_QUALITY = (600, 400), 80
LAYERS = ("mask", "drift", "readings")
TITLES = (("bicubic", "before"), ("after", "after"))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default=EMBEDDED, metavar="M")


def run(options: argparse.Namespace) -> None:
    """Upscale the example and write what the viewer shows of it."""
    source = viewer.ROOM / "examples" / EXAMPLE
    model = load_model(options.model)
    result = model.upscale(source)
    FOLDER.mkdir(exist_ok=True)
    with Image.open(source) as image:
        before = image.convert("RGB").resize(result.image.size, Image.Resampling.BICUBIC)
    for name, picture in (("before", before), ("after", result.image.convert("RGB"))):
        picture.save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)
    mask = layers.mask_layer(result.mask, result.report["uncertain_id"])
    mask.save(FOLDER / "mask.webp", lossless=True, method=6)  # its colours name the classes
    layers.drift_layer(result.drift).save(FOLDER / "drift.webp", quality=QUALITY, alpha_quality=50, method=6)
    layers.readings_layer(result).save(FOLDER / "readings.webp", lossless=True, method=6)
    items = {lang: make_item(result, model.labels, lang) for lang in ("en", "zh")}
    (FOLDER / "items.json").write_text(json.dumps(items, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name in CARDS:
        card = for_browser(model.upscale(viewer.ROOM / "examples" / name, segment=False).image)
        path = viewer.ROOM / viewer.card_file(name)
        path.parent.mkdir(exist_ok=True)
        ImageOps.fit(card, CARD_SIZE, Image.Resampling.LANCZOS).save(path, quality=CARD_QUALITY, method=6)
    size = sum(path.stat().st_size for path in FOLDER.rglob("*.*"))
    print(f"wrote {FOLDER.relative_to(ROOT)}: {size / 1024:.0f} KB")


def make_item(result: UpscaleResult, classes: list[str], lang: str) -> dict:
    """The viewer's item in one language."""
    width, height = result.image.size
    url = {name: f"{viewer.STATIC}opening/{name}.webp" for name in ("before", "after", *LAYERS)}
    return {
        "name": MORE_EXAMPLES[EXAMPLE][lang],
        "state": "done",
        "note": "",
        "input": [result.report["input"]["width"], result.report["input"]["height"]],
        "width": width,
        "height": height,
        "pictures": [{"title": text(key, lang), "url": url[name]} for key, name in TITLES],
        **{name: url[name] for name in LAYERS},
        "facts": text("example_caption", lang),
        "notes": [],
        "downloads": [],
        **results.what_is_in_it(result, classes, lang),
    }
