"""`ssg demo`: the page in the browser, on this machine alone unless told otherwise."""

import argparse
import importlib.util
import os

from ..errors import ConfigError
from ..loading import EMBEDDED, seek_model


def add_parser(subparsers) -> None:
    """Add `ssg demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="serve the page with the slider, the mask and the map of what may be invented",
        description="Serve the page in the browser. Limits and further models are set by environment variables; "
        "docs/deploy.md lists them.",
    )
    add = parser.add_argument
    add(
        "--model",
        metavar="M",
        help="large, folder, Hub id, or .pth/.safetensors file (default: SSG_MODEL, or embedded)",
    )
    add("--host", metavar="H", help="where it listens (default 127.0.0.1: this machine alone; 0.0.0.0: everyone)")
    add("--port", type=_port, metavar="N", help="default 7860, or the next one that is free")
    add("--open", action="store_true", help="open the page in the browser")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Serve the page until it is interrupted.

    Raises:
        ConfigError: gradio is not installed, a setting is impossible, or the address is not free.
        HubError: the model is on the Hub, which refused or is out of reach.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ConfigError('the page needs gradio, which is not installed. Run: pip install "ssg-hub[demo]"')
    if args.model:
        os.environ["SSG_MODEL"] = args.model
    seek_model(os.environ.get("SSG_MODEL") or EMBEDDED)  # before gradio is imported
    print("* Starting; the first time takes a little longer", flush=True)
    from ..demo.serve import main

    main(server_name=args.host, server_port=args.port, inbrowser=args.open)
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"it takes a number from 0 to 65535, not {text!r}")
    return int(text)
