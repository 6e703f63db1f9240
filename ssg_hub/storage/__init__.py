"""Where models live: the saved folder, the Hub, and the card; and the user's cache."""

import os
from pathlib import Path

from ..errors import ConfigError, check_type

EMBEDDED, LARGE = "embedded", "large"
# The checkpoints inside the package: what each is called wherever a model is named, and its folder in `pretrained`.
BUILT_IN = {EMBEDDED: "", LARGE: "large"}


def find_path(name: str | Path) -> Path | None:
    """The file or folder of a name on this machine; None also for what no file system accepts as a name.

    Raises:
        ConfigError: it is no name, but of another type.
    """
    check_place(name)
    try:
        path = Path(expand_home(str(name)))
        return path if str(name) and path.exists() else None
    except (OSError, ValueError):
        return None


def expand_home(name: str) -> str:
    """A name or a path with the user's folder in place of a `~` that it begins with."""
    return os.path.expanduser(name)


def check_place(place: object) -> None:
    """Raise ConfigError unless this is of a type that a path, or a model's name, can have."""
    check_type("a name or a path", place, (str, os.PathLike), "a text or a Path")


def as_path(place: str | os.PathLike) -> Path:
    """The path that a user gave: in a text, a `~` at its beginning is the user's folder; a `Path` is what it says.

    Raises:
        ConfigError: an empty text, which is no name, although it would be the current folder; or no path at all.
    """
    check_place(place)
    if place == "":
        raise ConfigError("a path is empty. Give the name of a file or a folder; the current folder is '.'.")
    return Path(expand_home(place) if isinstance(place, str) else place)


def settle_path(name: str | Path) -> str:
    """The one form of a name that may be written in several: the full path of what is on this machine, else itself."""
    return str(name) if (path := find_path(name)) is None else str(path.resolve())


def settle_name(name: str | Path) -> str:
    """The one form of a model's name: as `settle_path`, but for the models in the package, whose names are no paths."""
    return name if isinstance(name, str) and name in BUILT_IN else settle_path(name)


def public_name(name: str | Path) -> str:
    """What the card calls a model: the last part of a path on this machine, which is nobody else's; else its name."""
    return str(name) if (path := find_path(name)) is None else path.absolute().name


def is_folder(name: str | Path) -> bool:
    """Whether a name is that of a folder on this machine."""
    path = find_path(name)
    return path is not None and path.is_dir()
