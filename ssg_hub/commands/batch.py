"""`ssg upscale`: the loop over the files of a batch, on one process or many."""

import argparse
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError
from ..images.formats import choose_format, name_endings
from ..loading import EMBEDDED
from ..processes.meeting import read_place
from ..upscaling.options import DTYPES, ENGINES, Options
from ..video.names import is_clip
from . import clips
from .bar import Bar
from .common import say, whole_number
from .group import Group
from .jobs import FORMATS, Job, Plan, make_folders, plan_jobs
from .manifest import Manifest
from .pictures import Loop, skip
from .request import open_model, picture_options, wanted_companions

ADDRESS = re.compile(r"[a-z]+://", re.IGNORECASE)


def add_parser(subparsers) -> None:
    """Add `ssg upscale` to the command line."""
    parser = subparsers.add_parser(
        "upscale",
        help="upscale pictures and folders of pictures",
        description="Upscale pictures and clips. Folders are read with everything below them, and their structure is "
        "kept. A result that exists is skipped, so an interrupted batch continues where it stopped. "
        "`accelerate launch -m ssg_hub upscale …` splits the files over several processes.",
    )
    add = parser.add_argument
    add("inputs", nargs="+", type=_input, metavar="IN", help="pictures, folders of pictures, or clips; - is a pipe")
    add("-o", "--output", type=_output, required=True, metavar="OUT", help="a folder, or a file name for one input")
    add(
        "--model",
        default=EMBEDDED,
        metavar="M",
        help=f"large, folder, Hub id, or .pth/.safetensors file (default {EMBEDDED})",
    )
    add("--outscale", type=float, metavar="X", help="how many times larger, such as 2 or 2.5 (default 4)")
    add("--tile", type=_tile, metavar="N", help="tile side in input pixels, 0 for none (default auto)")
    add(
        "--strength",
        type=parse_strength,
        metavar="S",
        help="1 is the generator, 0 is bicubic; or per class: car=0.5,sky=0 (default 1)",
    )
    add(
        "--denoise",
        type=float,
        metavar="D",
        help="1 gives clean pictures, 0 keeps the grain, where the model has both (default: the model's own)",
    )
    add(
        "--color-fix",
        action=argparse.BooleanOptionalAction,
        help="hold the broad colours of the result to those of the input (default: on)",
    )
    add("--mask", action="store_true", help="also write NAME_mask.png (.mkv for clips): class ids, with a palette")
    add(
        "--drift",
        action="store_true",
        help="also write NAME_drift.png (.mkv for clips): what may be invented, as gray; for a calibrated model, a "
        "probability",
    )
    add("--overlay", action="store_true", help="also write NAME_overlay.png: the mask over the result")
    add("--format", choices=["same", *FORMATS], help="of the results (default png); 'same' keeps each input's")
    add("--engine", choices=ENGINES, help="what computes (default auto: OpenVINO on a CPU where it is installed)")
    add("--device", metavar="D", help="cpu, cuda, cuda:1, mps, … (default: the best there is)")
    add("--dtype", choices=DTYPES, help="precision of the computation (default: what fits the device)")
    add("--stream", action="store_true", help="write each result while it is made, .tif or .png, to save memory")
    add("--max-pixels", type=whole_number(1), metavar="N", help="the largest picture that is accepted, in pixels")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("--manifest", type=Path, metavar="FILE", help="record each file there: JSON lines with status, seconds, size")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    clips.add_options(parser)
    parser.set_defaults(func=run, **vars(Options()))


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Let --max-pixels alone say what is too large: Pillow warns of half of what it refuses, whatever is allowed."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@_without_pillows_limit()
def run(args: argparse.Namespace) -> int:
    """Carry out `ssg upscale`.

    Returns:
        0, or 1 when some files failed.

    Raises:
        SSGError: the request as a whole cannot be done.
    """
    options = picture_options(args)
    if clips.are_meant(args.inputs, args.output):
        if args.manifest:
            raise ConfigError("--manifest records pictures, and the input is clips. Leave it out.")
        return clips.run(args, options)
    clips.refuse_options(args)
    rank, world = read_place()
    plan = plan_jobs(
        args.inputs, args.output, args.format, wanted_companions(args), args.outscale, overwrite=args.overwrite
    )
    jobs = plan.jobs
    _check_stream(args, jobs)
    _check_manifest(args.manifest, jobs)
    make_folders(jobs)
    if rank == 0:
        _say_left_out(plan)
    manifest = Manifest(args.manifest, rank, world)
    todo: list[Job] = []
    counts: Counter[str] = Counter()
    for job in jobs[rank::world]:
        if job.to_write(args.overwrite):
            todo.append(job)
        else:
            counts[skip(job, say, manifest)] += 1
    with Group(rank, world) as group:
        if todo:
            model = open_model(args)
            loop = Loop(model, options, args.overwrite, say, manifest, args.stream)
            with Bar(len(todo), hidden=rank > 0 or args.quiet) as bar, _telling_how_to_continue(args, jobs):
                counts += loop.run(todo, bar)
        done, skipped, failed = group.add_up(*(counts[status] for status in ("done", "skipped", "failed")))
        if rank == 0:
            manifest.join()
            say(f"{done} upscaled, {skipped} skipped, {failed} failed; results in {args.output}")
    return 1 if failed else 0


@contextmanager
def _telling_how_to_continue(args: argparse.Namespace, jobs: list[Job]) -> Iterator[None]:
    """Where an interrupted batch can go on, say so."""
    try:
        yield
    except KeyboardInterrupt:
        if len(jobs) > 1 and not args.overwrite:
            say("what is finished is kept; the same command goes on with the rest")
        raise


def _say_left_out(plan: Plan) -> None:
    """Name what the input folders hold beside the pictures."""
    others = [path for path in plan.left_out if not is_clip(path)]
    for paths, kind, advice in (
        (others, "file{s}", f"names of pictures end in {name_endings()}"),
        ([path for path in plan.left_out if is_clip(path)], "clip{s}", "give clips by their names, without pictures"),
        (plan.links, "link{s} to folders", "give the folders by their names, too"),
    ):
        if paths:
            say(f"left out {len(paths)} {kind.format(s='s' * (len(paths) > 1))}, such as {paths[0]}: {advice}")


def _check_stream(args: argparse.Namespace, jobs: list[Job]) -> None:
    """Refuse --stream for what is encoded whole."""
    if not args.stream:
        return
    if args.overlay:
        raise ConfigError("--overlay needs the whole picture in memory, and --stream avoids that. Leave one out.")
    for job in jobs:
        if choose_format(job.image) not in ("PNG", "TIFF"):
            raise ConfigError(f"--stream writes .png and .tif, and {job.image.name} is neither. Use --format tiff.")


def _check_manifest(manifest: Path | None, jobs: list[Job]) -> None:
    """Refuse a manifest under the name of a result: it would be there first, and the picture taken for made."""
    if manifest and os.path.realpath(manifest) in {os.path.realpath(path) for job in jobs for path in job.outputs()}:
        raise ConfigError(f"--manifest {manifest} is also the name of a result. Choose another, like results.jsonl.")


def _input(text: str) -> Path:
    if ADDRESS.match(text):
        raise argparse.ArgumentTypeError(f"nothing is fetched here; download it, or: curl -s {text} | ssg upscale - …")
    return Path("/dev/stdin" if text == "-" else text)


def _output(text: str) -> Path:
    if text == "-":
        raise argparse.ArgumentTypeError("results are written to files; give the name of one, or of a folder")
    return Path(text)


def parse_strength(text: str) -> float | dict[str, float]:
    """Read "0.8" as a number, and "car=0.5,traffic light=1" as one number for each class."""
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.rsplit("=", 1) for part in text.split(",") if part.strip()]
        strengths = {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        message = f"it takes a number, like 0.8, or one for each class, like car=0.5,sky=0; not {text!r}"
        raise argparse.ArgumentTypeError(message) from None
    if len(strengths) < len(pairs):
        raise argparse.ArgumentTypeError(f"each class takes one number; {text!r} names one twice")
    return strengths


def _tile(text: str) -> str | int | None:
    if text == "auto":
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"it takes a number of pixels, 0 for no tiles, or auto; not {text!r}")
    return int(text) or None
