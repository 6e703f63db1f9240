"""The folder in which this package keeps, for the user, what it would otherwise make again: nothing that is needed."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """`SSG_CACHE`, or `ssg-hub` in the system's folder for caches. It may not exist, or be no place to write to."""
    if own := os.environ.get("SSG_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ssg-hub"
