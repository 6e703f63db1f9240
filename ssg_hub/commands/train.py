"""`ssg train`: `train_accelerate.py`, for users who have only the package."""

import argparse

from ..training.script import check_installed, load_script

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
    check_installed()
    if not args.arguments or {"-h", "--help"} & {*args.arguments}:
        print(USAGE + describe_keys())
        return 0
    load_script().main(args.arguments)
    return 0


def describe_keys() -> str:
    """A line for each key of the configuration: name, default, meaning."""
    from ..training.config import TrainConfig

    lines = []
    for name, field in TrainConfig.model_fields.items():
        default = "required" if field.is_required() else field.get_default(call_default_factory=True)
        lines.append(f"  {name} ({default})" + (f": {field.description}" if field.description else ""))
    return "\n".join(lines)
