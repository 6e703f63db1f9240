"""`ssg export`: a model's networks as ONNX, for other programs and languages."""

import argparse
from pathlib import Path

from ..loading import EMBEDDED, load_model


def add_parser(subparsers) -> None:
    """Add `ssg export` to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX, checked in ONNX Runtime",
        description="Write a model as ONNX for pictures of any size, and compare it with torch in ONNX Runtime. "
        "Needs the packages of ssg-hub[export].",
    )
    add = parser.add_argument
    add("model", nargs="?", default=EMBEDDED, help=f"folder, Hub id, or .pth/.safetensors file (default {EMBEDDED})")
    add("-o", "--output", type=Path, required=True, metavar="FILE", help="the .onnx file to write")
    add("--part", choices=["generator", "guide", "both"], default="generator", help="default: generator")
    add("--opset", type=int, default=17, metavar="N", help="version of ONNX's operators (default 17)")
    add("--overwrite", action="store_true", help="replace a file that exists")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print the file's inputs, outputs and measured difference."""
    from ..exporting import export_onnx

    done = export_onnx(load_model(args.model), args.output, args.part, args.opset, args.overwrite)
    size = done.path.stat().st_size / 1e6
    print(f"{done.path}: {size:.1f} MB, opset {args.opset}, {', '.join(done.inputs)} to {', '.join(done.outputs)}")
    print(f"in ONNX Runtime it differs from torch by {done.difference:.1e} at most")
    return 0
