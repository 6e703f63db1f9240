"""How fast this machine was: seconds per megapixel of LR by engine and networks, learned from every run and kept."""

import contextlib
import json
import threading

from ..storage.user_cache import user_cache
from ..storage.whole_file import whole_file

FILE = "pace.json"
KEPT = 100  # ways of computing; those learned longest ago are dropped first
WEIGHT = 0.5  # of the newest run
SAME = 0.05  # a change of less is not worth a file
SMALLEST = 1e-3  # megapixels: of less, the time says nothing about the pace
_lock = threading.Lock()


def known_pace(key: str) -> float | None:
    """Seconds per megapixel, as runs of this kind took here; None before the first."""
    value = _read().get(key)
    return float(value) if isinstance(value, (int, float)) and 0 < value < 1e6 else None


def learn_pace(key: str, megapixels: float, seconds: float) -> None:
    """Remember a run. Where nothing can be written it is forgotten."""
    if megapixels < SMALLEST or seconds <= 0:
        return
    with _lock, contextlib.suppress(OSError):
        before, pace = known_pace(key), seconds / megapixels
        if before is not None and abs(pace - before) <= SAME * before:
            return
        known = _read()
        known.pop(key, None)  # to the end, as the newest
        known[key] = round(pace if before is None else before + WEIGHT * (pace - before), 4)
        folder = user_cache()
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / FILE, shared=True) as file:
            file.write(json.dumps(dict(list(known.items())[-KEPT:]), indent=1).encode())


def _read() -> dict:
    try:
        content = json.loads((user_cache() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
