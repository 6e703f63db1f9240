"""What users build on stays as it is: names, signatures, options, keys, as tests/public_api.txt has them.

A change there is a change for users: say so in CHANGELOG.md, and write the file again:

    SSG_WRITE_API=1 python -m pytest tests/test_public_api.py
"""

import argparse
import inspect
import os
import re
from pathlib import Path

import pytest

import ssg_hub
from ssg_hub import cli, errors, loading
from ssg_hub.degradation import load_degradation
from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.model import SSGModel, SSGOutput
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.registry import Generator, generators
from ssg_hub.plain_model import PlainModel
from ssg_hub.training.config import TrainConfig
from ssg_hub.upscaling.options import Options
from ssg_hub.upscaling.result import UpscaleResult
from ssg_hub.upscaling.upscale import upscale
from ssg_hub.video.upscale_video import upscale_video

RECORD = Path(__file__).with_name("public_api.txt")
CLASSES = [SSGModel, SSGOutput, PlainModel, Guide, Options, UpscaleResult, DegradationBank, Generator]
FUNCTIONS = [loading.load_model, loading.load_networks, loading.load_guide, load_degradation, upscale, upscale_video]


def test_the_public_api_is_what_it_was():
    found = "\n".join(describe()) + "\n"
    if os.environ.get("SSG_WRITE_API"):
        RECORD.write_text(found)
    assert found == RECORD.read_text(), "see the head of this file"


def test_all_names_can_be_imported_where_training_is_not_installed(monkeypatch):
    monkeypatch.setattr("ssg_hub.training.script.NEEDED", ("a_package_that_is_not_installed",))
    names: dict = {}
    exec("from ssg_hub import *", names)
    assert names["SSGModel"] is SSGModel and "SSGModel" in dir(ssg_hub)
    with pytest.raises(errors.ConfigError, match="pip install"):
        _ = ssg_hub.adapt


def describe() -> list[str]:
    lines = [f"ssg_hub.{name}" for name in sorted([*ssg_hub.__all__, "adapt"])]
    lines += [f"{name}({', '.join(base.__name__ for base in kind.__bases__)})" for name, kind in own_errors()]
    lines += [f"{function.__name__}{signature(function)}" for function in FUNCTIONS]
    for kind in CLASSES:
        lines += [f"{kind.__name__}{signature(kind)}", *(f"  {member}" for member in describe_members(kind))]
    for name, kind in generators().items():
        lines.append(f"generator {name}: {', '.join(sorted(kind.OPTIONS))}")
    for command in cli.COMMANDS:
        lines += [f"ssg {command}", *(f"  {option}" for option in describe_options(command))]
    lines += ["training", *(f"  {name}" for name in TrainConfig.model_fields)]
    return lines


def own_errors() -> list[tuple[str, type]]:
    classes = ((name, kind) for name, kind in vars(errors).items() if inspect.isclass(kind))
    return sorted((name, kind) for name, kind in classes if kind.__module__ == errors.__name__)


def signature(function) -> str:
    """Names, kinds and defaults; annotations may become more exact without breaking anyone."""
    parameters = inspect.signature(function).parameters.values()
    written = ", ".join(str(parameter.replace(annotation=parameter.empty)) for parameter in parameters)
    return f"({re.sub(r' at 0x[0-9a-f]+', '', written)})"  # a default that is a function has an address


def describe_members(kind: type) -> list[str]:
    """The public methods and properties that are ours, not those of torch or diffusers."""
    found = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("ssg_hub"):
            found |= {name: value for name, value in vars(base).items() if not name.startswith("_")}
            found |= {name: None for name in vars(base).get("__annotations__", {}) if not name.startswith("_")}
    lines = []
    for name, value in sorted(found.items()):
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        lines.append(name + (signature(function) if inspect.isfunction(function) else ""))
    return lines


def describe_options(command: str) -> list[str]:
    parser = cli.build_parser(command)
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return [" ".join(action.option_strings) or action.dest for action in every_action(subparsers.choices[command])]


def every_action(parser: argparse.ArgumentParser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield argparse.Action([f"{name}:"], name)
                yield from every_action(inner)
        else:
            yield action
