"""The training script as a module, for the commands that train: there is one way to train, and it is in one file."""

import importlib.util
from pathlib import Path
from types import ModuleType

from ..errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPT = "train_accelerate.py"
NEEDED = ("datasets", "pydantic", "yaml")


def check_installed() -> None:
    """Raise a ConfigError that names the extra where a package is missing that training needs."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"training needs {missing[0]}, which is not installed: pip install 'ssg-hub[train]'.")


def load_script() -> ModuleType:
    """Import `train_accelerate.py`: its `main` takes the words of a command line, its `train` a `TrainConfig`."""
    spec = importlib.util.spec_from_file_location("train_accelerate", find_script())
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def find_script() -> Path:
    """The script inside the installed package, or at the top of a checkout."""
    inside = PACKAGE / SCRIPT
    return inside if inside.is_file() else PACKAGE.parent / SCRIPT
