"""The page: from its start to its first result, and what a small picture takes after that."""

import tempfile
import time
from pathlib import Path
from statistics import median

from PIL import Image

from benchmarks.demo_load import EXAMPLES, Tally, Visitor, server

MEMORY = 16  # GB of address space
FIRST, SMALL = (640, 480), (240, 160)


def measure_page(rounds: int, first: tuple[int, int] = FIRST) -> dict[str, float]:
    """Seconds, by what was waited for: the page, its first result, and (median) a small picture, with mask and drift.

    Every request is a new visitor's and another crop, so that nothing is answered from what was kept.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        began = time.perf_counter()
        with server(folder, MEMORY) as (url, _):
            took = {"from `python app.py` to the page": time.perf_counter() - began}

            def ask(size: tuple[int, int], number: int) -> float:
                photo, tally = folder / "photo.png", Tally()
                with Image.open(EXAMPLES / "street_house.jpg") as image:
                    image.convert("RGB").resize(first).crop((number, 0, number + size[0], size[1])).save(photo)
                asked = time.perf_counter()
                Visitor(url, folder, None, tally).upscale(photo, {}, "picture", comparable=False)
                seconds = time.perf_counter() - asked
                if tally.faults or not tally.outcomes["picture"]["answered"]:
                    raise SystemExit(f"the page gave no result: {tally.faults or dict(tally.outcomes['picture'])}")
                return seconds

            made = f"{4 * first[0]}x{4 * first[1]}"
            took[f"from the page to its first result, {first[0]}x{first[1]} to {made}"] = ask(first, 0)
            took[f"then a picture of {SMALL[0]}x{SMALL[1]}"] = median(ask(SMALL, 1 + n) for n in range(rounds))
    return took
