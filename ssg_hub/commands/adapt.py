"""`ssg adapt`: one folder of a camera's bad pictures in, a model for that camera out."""

import argparse
import shlex
from pathlib import Path

from ..storage import EMBEDDED
from ..training.script import check_installed
from .common import say


def add_parser(subparsers) -> None:
    """Add `ssg adapt` to the command line."""
    parser = subparsers.add_parser(
        "adapt",
        help="adapt a model to a camera from its pictures alone",
        description="Learn how a camera degrades its pictures, and train a model for it: no sharp versions, no labels. "
        "The result is handed over only if it is better on pictures that were held back. Ctrl-C ends the training with "
        "what was reached; the same command continues from there. Several processes: accelerate launch --multi_gpu "
        "--num_processes N -m ssg_hub adapt … (the same on CPUs).",
    )
    add = parser.add_argument
    add("input", type=Path, metavar="IN", help="folder of pictures by one camera, as it made them")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for model, bank and report.html")
    add(
        "--model",
        default=EMBEDDED,
        help=f"what to start with (default '{EMBEDDED}'); large, a folder, Hub id or weights file",
    )
    add("--hr", metavar="DIR", help="sharp pictures of similar scenes, folder or Hub data set (default: the package's)")
    add("--guide", help="another guide than the model's: folder or Hub id")
    add("--minutes", type=float, help="the budget (default: 5 on a GPU, 10 or 20 on a CPU)")
    add("--seed", type=int, default=0)
    add("--anyway", action="store_true", help="continue although the pictures are few, mixed, sharp or enlarged")
    add("--perceptual-weights", metavar="FILE", help="VGG16's weights (default: the Hub's)")
    add("--lpips", metavar="WHERE", help="folder or Hub id with AlexNet for LPIPS, see docs/results.md")
    add("--push-to-hub", "--push_to_hub", metavar="REPO", help="also put a better model there (private if it is new)")
    add("-q", "--quiet", action="store_true", help="print nothing but the verdict's exit code and errors")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Adapt; 0 when the adapted model was handed over, 1 when it was not better, 130 when interrupted."""
    check_installed()
    from ..adapting.adapt import adapt

    try:
        found = adapt(
            args.input,
            args.output,
            model=args.model,
            hr=args.hr,
            guide=args.guide,
            minutes=args.minutes,
            seed=args.seed,
            anyway=args.anyway,
            perceptual_weights=args.perceptual_weights,
            lpips=args.lpips,
            push_to_hub=args.push_to_hub,
            tell=(lambda line: None) if args.quiet else say,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same line goes on.") from None
    if not args.quiet:
        say(f"wrote {found.folder / 'report.html'}")
        use = f"use it: ssg upscale PICTURES -o RESULTS --model {shlex.quote(str(found.folder))}"
        say(use if found.better else "the same line with more --minutes trains further")
    return 130 if found.interrupted else 0 if found.better else 1
