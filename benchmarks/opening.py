"""Make the result that the demo's page opens with: the embedded checkpoint on one of the free examples, as WebP.

python -m benchmarks.opening          # writes ssg_hub/demo/opening; once for each new checkpoint
"""

import json
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from ssg_hub import SSGModel  # noqa: E402
from ssg_hub.demo import results, viewer, views  # noqa: E402
from ssg_hub.demo.texts import EXAMPLES, text  # noqa: E402

EXAMPLE = "street_house.jpg"
FOLDER = viewer.ROOM / "opening"
QUALITY = 88


def main() -> None:
    """Upscale the example and write what the viewer shows of it."""
    source = viewer.ROOM / "examples" / EXAMPLE
    result = SSGModel.from_pretrained().upscale(source)
    FOLDER.mkdir(exist_ok=True)
    with Image.open(source) as image:
        before = image.convert("RGB").resize(result.image.size, Image.Resampling.BICUBIC)
    for name, picture in (("before", before), ("after", result.image.convert("RGB"))):
        picture.save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)
    mask = views.mask_layer(result.mask, result.report["uncertain_id"])
    for name, layer in (("mask", mask), ("drift", views.drift_layer(result.drift))):
        layer.save(FOLDER / f"{name}.webp", lossless=True, method=6)
    items = {lang: make_item(result, lang) for lang in ("en", "zh")}
    (FOLDER / "items.json").write_text(json.dumps(items, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in FOLDER.iterdir())
    print(f"wrote {FOLDER.relative_to(ROOT)}: {size / 1024:.0f} KB")


def make_item(result, lang: str) -> dict:
    """The viewer's item in one language."""
    width, height = result.image.size
    url = {name: f"{viewer.STATIC}opening/{name}.webp" for name in ("before", "after", "mask", "drift")}
    return {
        "name": EXAMPLES[EXAMPLE][lang],
        "state": "done",
        "note": "",
        "input": [result.report["input"]["width"], result.report["input"]["height"]],
        "width": width,
        "height": height,
        "pictures": [
            {"title": text(key, lang), "url": url[name]} for key, name in (("bicubic", "before"), ("after", "after"))
        ],
        "mask": url["mask"],
        "drift": url["drift"],
        "facts": text("example_caption", lang),
        "notes": [],
        "downloads": [],
        **results.what_is_in_it(result, lang),
    }


if __name__ == "__main__":
    main()
