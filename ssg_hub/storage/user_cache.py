"""The user's cache folder for what this package would otherwise compute again; nothing in it is essential."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """`SSG_CACHE`, or `ssg-hub` in the system's folder for caches. It may not exist, or not be writable."""
    try:
        return _find_folder()
    except RuntimeError:  # a user without a home, as in some containers and services
        return Path(os.devnull) / "ssg-hub"  # where nothing can be kept


def _find_folder() -> Path:
    if own := os.environ.get("SSG_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ssg-hub"
