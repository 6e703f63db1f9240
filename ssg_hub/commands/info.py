"""`ssg info`: what a model is, in a few lines or as JSON."""

import argparse
import json
from pathlib import Path

from ..loading import EMBEDDED, load_model
from ..storage import expand_home
from ..storage.finding import built_in_folder

ABSENT = {"denoise": "no choice: one set of weights", "guide": "none", "calibration": "none"}  # others: not stated


def add_parser(subparsers) -> None:
    """Add `ssg info` to the command line."""
    parser = subparsers.add_parser("info", help="say what a model is: architecture, size, labels, licence")
    parser.add_argument(
        "model",
        nargs="?",
        default=EMBEDDED,
        help=f"large, folder, Hub id, or .pth/.safetensors file (default {EMBEDDED})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Load the model and print what it is."""
    facts = describe(args.model)
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        print(f"{name.replace('_', ' '):{width}}{_plain(value, ABSENT.get(name, 'not stated'))}")
    return 0


def describe(name: str) -> dict:
    """Facts about a model: JSON values under short names.

    Raises:
        SSGError: the model cannot be loaded.
    """
    model = load_model(name)
    config = model.config
    guide = config.guide_config or {}
    return {
        "model": name,
        "generator": f"{config.generator_type} " + " ".join(f"{k}={v}" for k, v in config.generator_config.items()),
        "generator_parameters": _count(model.generator),
        "scale": model.scale,
        "denoise": f"0 to 1, default {config.denoise_default:g}" if config.denoise_set else None,
        "guide": guide.get("model_type"),
        "guide_parameters": _count(model.guide) if model.guide is not None else 0,
        "labels": model.labels,
        "calibration": None if model.calibration is None else model.calibration.verified,
        "license": config.license,
        "trained_on": dict(config.trained_on or {}),
        "dtype": str(model.dtype).removeprefix("torch."),
        "bytes_on_disk": _bytes_on_disk(name),
    }


def _count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _bytes_on_disk(name: str) -> int | None:
    """Size of the weights; None for what is on the Hub."""
    path = built_in_folder(name) or Path(expand_home(name))
    if path.is_file():
        return path.stat().st_size
    if path.is_dir():
        return sum(file.stat().st_size for file in path.glob("*.safetensors"))
    return None


def _plain(value, absent: str = "not stated") -> str:
    if value is None:
        return absent
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_plain(entry)}" for key, entry in value.items()) or "not stated"
    return f"{value:,}" if isinstance(value, int) else str(value)
