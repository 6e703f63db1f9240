"""`ssg train`: `train_accelerate.py`, for users who have only the package."""

import argparse
import importlib.util
from pathlib import Path

from ..errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPT = "train_accelerate.py"
NEEDED = ("datasets", "pydantic", "yaml")
USAGE = """usage: ssg train --config FILE.yaml [--key value ...]

Train a generator as train_accelerate.py does; on several processes: accelerate launch -m ssg_hub train ...
Every key of the YAML file, with its default:
"""


def add_parser(subparsers) -> None:
    """Add `ssg train` to the command line. Its options are the keys of the configuration: all words are passed on."""
    parser = subparsers.add_parser("train", help="train a generator of your own", prefix_chars="\0", add_help=False)
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Run the script's `main`, or list the keys of its configuration."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"training needs {missing[0]}, which is not installed: pip install 'ssg-hub[train]'.")
    if not args.arguments or {"-h", "--help"} & {*args.arguments}:
        print(USAGE + describe_keys())
        return 0
    from ..training.run import plain_exits

    spec = importlib.util.spec_from_file_location("train_accelerate", find_script())
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    with plain_exits():
        script.main(args.arguments)
    return 0


def describe_keys() -> str:
    """A line for each key of the configuration: name, default, meaning."""
    from ..training.config import TrainConfig

    lines = []
    for name, field in TrainConfig.model_fields.items():
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        lines.append(f"  {name} ({default})" + (f": {field.description}" if field.description else ""))
    return "\n".join(lines)


def find_script() -> Path:
    """The script inside the installed package, or at the top of a checkout."""
    inside = PACKAGE / SCRIPT
    return inside if inside.is_file() else PACKAGE.parent / SCRIPT
