"""`ssg degradation`: learn a camera from its pictures (`estimate`), and look at what was learnt (`show`)."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError
from .bar import counting
from .common import check_folder


def add_parser(subparsers) -> None:
    """Add `ssg degradation` to the command line."""
    parser = subparsers.add_parser(
        "degradation",
        help="learn how a camera degrades its pictures, from these alone",
        description="A degradation bank makes LR for training as a camera would: its blur, noise and compression.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_estimate(actions)
    _add_show(actions)


def _add_estimate(actions) -> None:
    parser = actions.add_parser(
        "estimate",
        help="learn a camera from a folder of its pictures",
        description="Learn blur, noise and compression from LR pictures of one camera; no clean pictures are needed. "
        "Train on the result with `degradation: BANK`.",
    )
    add = parser.add_argument
    add("input", type=Path, metavar="IN", help="folder of LR pictures by one camera, or one picture")
    add("-o", "--output", type=Path, required=True, metavar="BANK", help="folder for the bank")
    add("--scale", type=int, choices=(1, 2, 4), default=4, help="from HR to LR (default 4)")
    add("--method", choices=("parametric", "kernelgan"), default="parametric", help="kernel estimator")
    add("--generic-share", type=_share, default=0.0, metavar="S", help="share of LR by the generic prior, 0 to 1")
    add("--clean", type=Path, metavar="DIR", help="sharp HR pictures of similar scenes, in place of the built-in prior")
    add("--seed", type=int, default=0)
    add("--push-to-hub", metavar="REPO", help="also add the bank to this repository (private if it is new)")
    add("--overwrite", action="store_true", help="replace a bank that exists")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(func=estimate)


def _add_show(actions) -> None:
    parser = actions.add_parser(
        "show",
        help="print what a bank holds and write its contact sheet",
        description="Print what a bank holds, and write a PNG: kernels, noise, made LR beside real LR.",
    )
    add = parser.add_argument
    add("bank", metavar="BANK", help="folder of a bank, or Hub id")
    add("-o", "--output", type=Path, metavar="PNG", help="default: BANK/contact_sheet.png")
    add("--lr", type=Path, metavar="DIR", help="the camera's pictures (default: the pieces that the bank has kept)")
    add("--hr", type=Path, metavar="DIR", help="clean pictures to make LR from (default: one that comes along)")
    add("--seed", type=int, default=0)
    add("--overwrite", action="store_true", help="replace a picture that exists (the sheet in BANK always is)")
    parser.set_defaults(func=show)


def estimate(args: argparse.Namespace) -> int:
    """Learn a bank, save it, and say what it holds.

    Raises:
        SSGError: the pictures or the output cannot be used.
    """
    from ..degradation.bank_files import CONFIG
    from ..degradation.learning.estimate import learn_bank
    from ..storage.hub import check_id

    check_folder(args.output)
    if args.push_to_hub is not None:
        check_id(args.push_to_hub)
    if (args.output / CONFIG).exists() and not args.overwrite:
        raise ConfigError(f"{args.output} holds a bank. Choose another folder, or --overwrite.")
    with _progress(args.quiet) as on_progress:
        bank = learn_bank(args.input, args.scale, args.method, args.generic_share, args.clean, args.seed, on_progress)
    bank.save(args.output)
    print(f"{bank.describe()}\nwrote {args.output}")
    if args.push_to_hub:
        print(f"pushed {bank.push_to_hub(args.push_to_hub, private=True)}")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print what a bank holds and draw it.

    Raises:
        SSGError: there is no such bank, or the sheet cannot be written.
    """
    from ..degradation.bank import DegradationBank
    from ..degradation.contact_sheet import draw_contact_sheet
    from ..images.formats import check_target, choose_format
    from ..images.writing import write_picture

    in_bank = args.output is None and Path(args.bank).is_dir()
    output = args.output or Path(args.bank if in_bank else "", "contact_sheet.png")
    overwrite = args.overwrite or in_bank
    bank = DegradationBank.load(args.bank)
    choose_format(output)
    check_target(output, overwrite)
    sheet = draw_contact_sheet(bank, args.lr, args.hr, args.seed)
    write_picture(sheet, output, overwrite=overwrite)
    print(f"{bank.describe()}\nwrote {output}")
    return 0


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"it takes a number from 0 to 1, not {text!r}")
    return value


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, in percent."""
    from tqdm import tqdm

    with tqdm(unit="%", disable=True if quiet else None, leave=False, dynamic_ncols=True) as bar:
        yield counting(bar)
