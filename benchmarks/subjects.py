"""One command for a folder of benchmarks: each file in it is a subject, with `run`, and `add_options` if it has any."""

import argparse
from importlib import import_module


def parse_subject(package: str, document: str, subjects: tuple[str, ...]) -> argparse.Namespace:
    """Parse the command line of `python -m PACKAGE SUBJECT …`.

    Args:
        package: name of the folder as a module; each subject is a module in it, whose first line is its help.
        document: the command's own documentation.
        subjects: names of the modules.

    Returns:
        The options; `run` is the chosen subject's function of them.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=document.partition("\n")[0])
    subparsers = parser.add_subparsers(metavar="SUBJECT", required=True)
    for name in subjects:
        module = import_module(f"{package}.{name}")
        line = module.__doc__.partition("\n")[0].rstrip(".:")
        subparser = subparsers.add_parser(name, help=line[0].lower() + line[1:], description=line)
        if hasattr(module, "add_options"):
            module.add_options(subparser)
        subparser.set_defaults(run=module.run)
    return parser.parse_args()
