"""`ssg export`: a model's networks as ONNX for other programs, or as a web site that runs them in the browser."""

import argparse
from pathlib import Path

from ..errors import ConfigError
from ..loading import EMBEDDED, load_model


def add_parser(subparsers) -> None:
    """Add `ssg export` to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="write a model as ONNX, or as a web site",
        description="Write a model as ONNX for pictures of any size, and compare it with torch in ONNX Runtime; or, "
        "with --web, as a static site that upscales in the visitor's browser. Needs the packages of ssg-hub[export].",
    )
    add = parser.add_argument
    add(
        "model",
        nargs="?",
        default=EMBEDDED,
        help=f"large, folder, Hub id, or .pth/.safetensors file (default {EMBEDDED})",
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output", type=Path, metavar="FILE", help="the .onnx file to write")
    target.add_argument("--web", type=Path, metavar="FOLDER", help="the folder of the site to write")
    add(
        "--part",
        choices=["generator", "guide", "both"],
        default="generator",
        help="of an ONNX file; default: generator",
    )
    add("--opset", type=int, default=17, metavar="N", help="version of ONNX's operators (default 17)")
    add(
        "--denoise", type=float, default=1, metavar="D", help="of an ONNX file: 0 keeps the grain, 1 is clean (default)"
    )
    add(
        "--runtime",
        type=Path,
        metavar="TGZ",
        help="of a site: onnxruntime-web as npm packs it (default: npm fetches it)",
    )
    add("--title", default="ssg-hub", help="of a site (default ssg-hub)")
    add("--overwrite", action="store_true", help="replace a file, or a site, that exists")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written and measured."""
    return _export_site(args) if args.web else _export_onnx(args)


def _export_onnx(args: argparse.Namespace) -> int:
    from ..networks.exporting import export_onnx

    if args.runtime:
        raise ConfigError("--runtime is for a site, and -o names an ONNX file. Leave it out.")
    model = load_model(args.model)
    done = export_onnx(model, args.output, args.part, args.opset, args.overwrite, args.denoise)
    size = done.path.stat().st_size / 1e6
    print(f"{done.path}: {size:.1f} MB, opset {args.opset}, {', '.join(done.inputs)} to {', '.join(done.outputs)}")
    print(f"in ONNX Runtime it differs from torch by {done.difference:.1e} at most")
    return 0


def _export_site(args: argparse.Namespace) -> int:
    from ..web.site import export_site

    if args.part != "generator" or args.denoise != 1:
        raise ConfigError(
            "--part and --denoise are for ONNX files; a site has all parts and strengths. Leave them out."
        )
    site = export_site(load_model(args.model), args.web, args.runtime, args.title, args.overwrite)
    size, loaded = sum(site.files.values()) / 1e6, site.loaded / 1e6
    print(f"{site.folder}: {size:.1f} MB; a visitor without WebGPU loads {loaded:.1f} MB")
    for name, difference in site.difference.items():
        print(f"in half precision the {name} differs by {difference:.1e} of its range at most")
    print(f"look at it: python -m http.server -d {site.folder} 8000")
    return 0
