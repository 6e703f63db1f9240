"""`ssg upscale`: the loop over the files of a batch, on one process or many."""

import argparse
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from ..errors import ConfigError, SSGError
from ..images.formats import name_endings
from ..loading import EMBEDDED, load_model
from ..upscaling.options import DTYPES, ENGINES, check_options
from . import clips
from .jobs import FORMATS, Job, check_job, list_left_out, make_folders, plan_jobs


def add_parser(subparsers) -> None:
    """Add `ssg upscale` to the command line."""
    parser = subparsers.add_parser(
        "upscale",
        help="upscale pictures and folders of pictures",
        description="Upscale pictures and clips. Folders are read with all below them and their structure is kept. "
        "A result that exists is skipped, so a batch that was interrupted goes on where it stopped. "
        "`accelerate launch -m ssg_hub upscale …` splits the files over several processes.",
    )
    add = parser.add_argument
    add("inputs", nargs="+", type=Path, metavar="IN", help="pictures, folders of pictures, or clips")
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="a folder, or a file name for one input")
    add(
        "--model", default=EMBEDDED, metavar="M", help=f"folder, Hub id, or .pth/.safetensors file (default {EMBEDDED})"
    )
    add("--outscale", type=float, default=4.0, metavar="X", help="how many times larger, such as 2 or 2.5 (default 4)")
    add("--tile", type=_tile, default="auto", metavar="N", help="tile side in input pixels, 0 for none (default auto)")
    add(
        "--strength",
        type=parse_strength,
        default=1.0,
        metavar="S",
        help="1 is the generator, 0 is bicubic; or per class: car=0.5,sky=0 (default 1)",
    )
    add(
        "--denoise",
        type=float,
        metavar="D",
        help="1 gives clean pictures, 0 keeps the grain, where the model has both (default: the model's own)",
    )
    add("--color-fix", action="store_true", help="hold the colours of the result to those of the input")
    add("--mask", action="store_true", help="also write NAME_mask.png (.mkv for clips): class ids, with a palette")
    add("--overlay", action="store_true", help="also write NAME_overlay.png: the mask over the result")
    add("--format", choices=["same", *FORMATS], help="of the results (default png); 'same' keeps each input's")
    add("--engine", choices=ENGINES, help="what computes (default auto: OpenVINO on a CPU where it is installed)")
    add("--device", metavar="D", help="cpu, cuda, cuda:1, mps, … (default: the best there is)")
    add("--dtype", choices=DTYPES, help="precision of the computation (default: what fits the device)")
    add("--max-pixels", type=int, metavar="N", help="the largest picture that is accepted, in pixels")
    add("--overwrite", action="store_true", help="replace results that exist")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    clips.add_options(parser)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Do what `ssg upscale` was asked for.

    Returns:
        0, or 1 when some files failed.

    Raises:
        SSGError: the request as a whole cannot be done.
    """
    check_options(args.outscale, args.tile, args.strength, engine=args.engine)
    if clips.are_meant(args.inputs, args.output):
        return clips.run(args, load_model, _options, say, _Group)
    clips.refuse_options(args)
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    jobs = plan_jobs(
        args.inputs, args.output, args.format, args.mask, args.overlay, args.outscale, overwrite=args.overwrite
    )
    make_folders(jobs)
    if rank == 0 and (left_out := list_left_out(args.inputs)):
        count = f"{len(left_out)} file{'s' if len(left_out) > 1 else ''}"
        say(f"left out {count}, such as {left_out[0].name}: names of pictures end in {name_endings()}")
    todo, skipped, failed = [], 0, 0
    for job in jobs[rank::world]:
        if not args.overwrite and not job.missing():
            skipped += 1
            say(f"skipped {job.source}: {job.image} exists (--overwrite replaces it)")
        else:
            todo.append(job)
    with _Group(world) as group:
        if todo:
            model = load_model(args.model)
            options = _options(args, model.labels)
            failed = _upscale_all(model, todo, options, args.overwrite, show=rank == 0 and not args.quiet)
        done, skipped, failed = group.add_up(len(todo) - failed, skipped, failed)
    if rank == 0:
        say(f"{done} upscaled, {skipped} skipped, {failed} failed; results in {args.output}")
    return 1 if failed else 0


def parse_strength(text: str) -> float | dict[str, float]:
    """Read "0.8" as a number, and "car=0.5,traffic light=1" as one number for each class."""
    try:
        if "=" not in text:
            return float(text)
        pairs = [part.rsplit("=", 1) for part in text.split(",") if part.strip()]
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        message = f"it takes a number, like 0.8, or one for each class, like car=0.5,sky=0; not {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def say(text: str) -> None:
    """Write a line to stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def _tile(text: str) -> str | int | None:
    if text == "auto":
        return text
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"it takes a number of pixels, 0 for no tiles, or auto; not {text!r}")
    return int(text) or None


def _options(args: argparse.Namespace, labels: list[str]) -> dict:
    """The arguments of `upscale` that hold for every picture of the batch."""
    import torch

    if (args.mask or args.overlay or args.drift) and not labels:
        raise ConfigError("this model has no guide, so there is no mask to write. Leave out --mask and --overlay.")
    device = args.device
    if device in (None, "cuda") and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        device = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    options = {
        "outscale": args.outscale,
        "tile": args.tile,
        "segment": args.mask or args.overlay,
        "strength": args.strength,
        "color_fix": args.color_fix,
        "engine": args.engine,
        "device": device,
        "dtype": args.dtype and getattr(torch, args.dtype),
    }
    given = {"max_pixels": args.max_pixels or None, "denoise": args.denoise}
    return options | {name: value for name, value in given.items() if value is not None}


def _upscale_all(model, jobs: list[Job], options: dict, overwrite: bool, show: bool) -> int:
    """Upscale one after the other; returns how many failed."""
    from tqdm import tqdm

    hidden = None if show else True  # None: hidden where stderr is no terminal
    alone = len(jobs) == 1
    failed = 0
    for job in tqdm(jobs, unit="file", disable=True if alone else hidden, dynamic_ncols=True):
        with tqdm(desc=job.source.name, unit="tile", disable=hidden, leave=alone, dynamic_ncols=True) as bar:
            try:
                _upscale_one(model, job, options, overwrite, _reporter(bar))
            except ConfigError:
                raise  # an option is wrong, for this file and for every other
            except SSGError as error:
                failed += 1
                say(f"failed {job.source}: {error}")
            except (OSError, RuntimeError, MemoryError, ValueError) as error:
                failed += 1
                say(f"failed {job.source}: {type(error).__name__}: {error}")
    return failed


def _upscale_one(model, job: Job, options: dict, overwrite: bool, on_progress: Callable[[int, int], None]) -> None:
    """Upscale one picture and write what is wanted of it; what cannot be written is refused before the network runs."""
    from ..images.formats import check_size, choose_format
    from ..images.reading import MAX_PIXELS, read_picture
    from ..images.writing import write_picture
    from ..upscaling.options import output_size

    check_job(job, overwrite)
    picture = read_picture(job.source, options.get("max_pixels", MAX_PIXELS))
    check_size(output_size(picture.size, options["outscale"]), choose_format(job.image))
    result = model.upscale(picture, on_progress=on_progress, **options)
    notes = list(result.report.get("notes", []))
    for path, make in ((job.mask, lambda: result.mask), (job.overlay, result.overlay)):
        if path is not None and (overwrite or not path.exists()):
            notes += write_picture(make(), path, overwrite=overwrite)
    if overwrite or not job.image.exists():  # last, so that a picture that exists has its companions
        notes += result.save(job.image, overwrite=overwrite)
    for note in dict.fromkeys(notes):
        say(f"note {job.source}: {note}")


def _reporter(bar) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return report


class _Group:
    """The processes that share a batch. None leaves before all are done: a launcher ends the others when one fails."""

    def __init__(self, world: int):
        self.world = world

    def __enter__(self) -> "_Group":
        if self.world > 1:
            import torch.distributed as dist

            dist.init_process_group("gloo", timeout=timedelta(days=7))
        return self

    def __exit__(self, *exception) -> None:
        if self.world > 1:
            import torch.distributed as dist

            dist.destroy_process_group()

    def add_up(self, *counts: int) -> list[int]:
        """Sum each count over the processes; waits for all of them."""
        if self.world == 1:
            return list(counts)
        import torch
        import torch.distributed as dist

        total = torch.tensor(counts)
        dist.all_reduce(total)
        return total.tolist()
