"""The `ssg` command: finds the subcommand, and runs it."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from .processes.ending import end_plainly

# name -> (module with add_parser(subparsers), line in the help). Only the chosen module is imported: most need torch.
COMMANDS = {
    "upscale": ("ssg_hub.commands.batch", "upscale pictures, folders of pictures, and clips"),
    "info": ("ssg_hub.commands.info", "say what a model is: architecture, size, labels, licence"),
    "evaluate": ("ssg_hub.commands.evaluate", "measure SR pictures against references"),
    "degradation": ("ssg_hub.commands.degradation", "learn how a camera degrades its pictures, from these alone"),
    "adapt": ("ssg_hub.commands.adapt", "adapt a model to a camera from its pictures alone"),
    "train": ("ssg_hub.commands.train", "train a generator of your own"),
    "demo": ("ssg_hub.commands.demo", "serve the page in the browser"),
    "export": ("ssg_hub.commands.export", "write a model as ONNX, checked in ONNX Runtime"),
    "quantize": ("ssg_hub.commands.quantize", "make a model faster on CPUs, in 8-bit integers"),
    "convert": ("ssg_hub.commands.convert", "turn published weights (.pth, ncnn .param) into safetensors"),
}


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser, complete for `command`, with one line of help for each of the others."""
    parser = argparse.ArgumentParser(
        prog="ssg",
        description="Semantic segmentation guided super-resolution. An upscaled picture is an estimate, not evidence.",
    )
    parser.add_argument("--version", action="version", version=f"ssg-hub {_version()}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, line) in COMMANDS.items():
        if name == command:
            importlib.import_module(module).add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=line, add_help=False)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after `ssg`; default: the command line's.

    Returns:
        The exit code: 0 done, 1 some files failed, 2 the request cannot be done as given, 130 interrupted.
    """
    _open_closed_streams()
    _allow_any_character()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # torch adds C++ stacks to errors that we put into a sentence
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if "" in arguments:  # as a path it would be the current folder
        print(
            "ssg: one of the words after ssg is empty, perhaps a variable of the shell that is not set. "
            "Give it a value, or leave it out.",
            file=sys.stderr,
        )
        return 2
    command = next((word for word in arguments if not word.startswith("-")), None)
    args = build_parser(command).parse_args(arguments)
    return end_plainly(f"ssg {args.command}", lambda: args.func(args))


def _open_closed_streams() -> None:
    """Lead a stream that the caller closed, as `2>&-` does, to nowhere; else the next open file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, as long as the process


def _allow_any_character() -> None:
    """Show the code of a character that the console lacks, instead of ending the command: file names may hold any."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _version() -> str:
    try:
        return version("ssg-hub")
    except PackageNotFoundError:
        return "(source tree)"
