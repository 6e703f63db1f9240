"""`ssg upscale` for clips: which requests mean video, what is read and written, and the loop over the files."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, VideoError
from ..processes.meeting import read_place
from ..video.names import (
    CODECS,
    COMPANIONS,
    TEMPORAL,
    exists,
    is_clip,
    is_pattern,
    is_read_as_pattern,
    name_companion,
    name_parts,
    name_result,
)
from .bar import counting
from .common import OF_ONE_FILE, describe_failure, say
from .group import Group
from .jobs import FILE_ENDING
from .request import open_model, wanted_companions


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that apply only to clips."""
    group = parser.add_argument_group(
        "clips", "a video file, or pictures as frames/%05d.png; -o clip.mp4, a pattern or a folder"
    )
    add = group.add_argument
    add("--start", type=float, metavar="S", help="begin S seconds into the clip")
    add("--duration", type=float, metavar="S", help="take S seconds")
    add("--codec", choices=CODECS, help="default h264; ffv1 loses nothing")
    add("--quality", type=int, metavar="CRF", help="lower is better (default 18 for h264, 20 hevc, 28 av1)")
    add("--preset", metavar="P", help="of the encoder, such as slow; 0 to 13 for av1")
    add("--fps", type=float, metavar="F", help="frames per second of pictures (default 25)")
    add(
        "--temporal",
        choices=TEMPORAL,
        default="auto",
        help="auto averages along the motion, so that noise does not flicker; off takes each frame by itself",
    )


def are_meant(inputs: list[Path], output: Path) -> bool:
    """Whether a request is for clips, judged by the name of an input or of the result.

    Files and folders that exist stand for themselves, whatever signs are in their names. Numbered results are made of a
    clip or a folder: that of one picture may be called 50%discount.jpg.

    Raises:
        ConfigError: clips and pictures in one request.
    """
    clips = [path for path in inputs if is_clip(path) or is_read_as_pattern(path)]
    if clips and len(clips) < len(inputs):
        other = next(path for path in inputs if path not in clips)
        raise ConfigError(f"{clips[0]} is a clip and {other} is not. Upscale pictures and clips in two commands.")
    frames = is_pattern(output) and any(map(os.path.isdir, inputs))
    return bool(clips) or ((frames or is_clip(output)) and not os.path.isdir(output))


def plan_clips(inputs: list[Path], output: Path, companions: Sequence[str] = ()) -> list[tuple[Path, Path]]:
    """(source, target) for each clip, before anything is read.

    Args:
        inputs: video files, patterns, or one folder of pictures.
        output: a folder, or for one clip a file or a pattern.
        companions: which of COMPANIONS are written beside each.

    Raises:
        VideoError: an input that does not exist, or results that would be written over each other or over an input.
        ConfigError: one name for several results, or none where one is needed.
    """
    sources = list(dict.fromkeys(inputs))
    for source in sources:
        if not is_pattern(source) and not os.path.exists(source):
            raise VideoError(f"no file or folder at {source}. Give clips.")
    if _names_one_file(output, len(sources)) and not os.path.isdir(output):
        if len(sources) > 1:
            raise ConfigError(f"-o {output} names one result, but the input is {len(sources)} clips. Give a folder.")
        jobs = [(sources[0], output)]
    else:
        if unnamed := [source for source in sources if is_read_as_pattern(source)]:
            raise ConfigError(f"{unnamed[0]} needs a name for its result: -o clip.mp4, or -o folder/%05d.png.")
        jobs = [(source, name_result(output, source)) for source in sources]
    results = [result for _, target in jobs for result in _name_results(target, companions)]
    read = {os.path.realpath(source) for source in sources}
    if replaced := next((result for result in results if os.path.realpath(result) in read), None):
        raise VideoError(f"a result would replace its source, {replaced}. Give another name or folder with -o.")
    if twice := next((result for result in results if results.count(result) > 1), None):
        raise VideoError(f"two results would both be written to {twice}. Upscale the clips into two folders.")
    return jobs


def _names_one_file(output: Path, count: int) -> bool:
    """Whether `output` is the name of a file or pattern, by its ending; a folder may be called 2026.05.12."""
    written = is_pattern(output) or is_clip(output)
    return written or count == 1 and FILE_ENDING.fullmatch(output.suffix) is not None


def refuse_options(args: argparse.Namespace) -> None:
    """Refuse, for pictures, an option that is for clips.

    Raises:
        ConfigError: which one.
    """
    unused = {"temporal": "auto"}
    for name in ("start", "duration", "codec", "quality", "preset", "fps", *unused):
        if getattr(args, name) != unused.get(name):
            raise ConfigError(f"--{name} is for clips, and the input is pictures. Leave it out.")


def run(args: argparse.Namespace, picture: dict) -> int:
    """Carry out `ssg upscale` for clips.

    Args:
        args: the request.
        picture: as `picture_options` gives them.

    Returns:
        0, or 1 when some clips failed.

    Raises:
        SSGError: the request as a whole cannot be done.
    """
    if args.format:
        raise ConfigError("--format is for pictures; the ending of -o says which container a clip gets. Leave it out.")
    if args.stream:
        raise ConfigError("--stream is for pictures; a clip is always written while it is made. Leave it out.")
    rank, world = read_place()
    todo, skipped, failed = [], 0, 0
    for source, target in plan_clips(args.inputs, args.output, wanted_companions(args))[rank::world]:
        if _is_done(target, args) and not args.overwrite:
            skipped += 1
            say(f"skipped {source}: {target} exists (--overwrite replaces it)")
        else:
            todo.append((source, target))
    with Group(rank, world) as group:
        if todo:
            model = open_model(args)
            options = _options(args, picture)
            failed = sum(not _upscale_one(model, *job, options, args, rank == 0) for job in todo)
        done, skipped, failed = group.add_up(len(todo) - failed, skipped, failed)
        if rank == 0:
            say(f"{done} upscaled, {skipped} skipped, {failed} failed; results in {args.output}")
    return 1 if failed else 0


def _is_done(target: Path, args: argparse.Namespace) -> bool:
    """Whether all requested results exist and no unfinished parts are left."""
    return not os.path.exists(name_parts(target)) and all(map(exists, _name_results(target, wanted_companions(args))))


def _name_results(target: Path, companions: Sequence[str]) -> list[Path]:
    """All that is written for a clip."""
    return [target, *(name_companion(target, kind) for kind in companions)]


def _options(args: argparse.Namespace, picture: dict) -> dict:
    own = ("start", "duration", "fps", "codec", "quality", "preset", "temporal", *COMPANIONS)
    return {**{key: value for key, value in picture.items() if key != "segment"}, **{k: getattr(args, k) for k in own}}


def _upscale_one(model, source: Path, target: Path, options: dict, args: argparse.Namespace, show: bool) -> bool:
    """Upscale one clip and print the outcome; False when it failed."""
    from tqdm import tqdm

    hidden = None if show and not args.quiet else True  # None: hidden where stderr is no terminal
    with tqdm(desc=source.name, unit="frame", disable=hidden, dynamic_ncols=True) as bar:
        count = counting(bar)

        def report(done: int, total: int) -> None:
            if bar.total is None:
                bar.initial = bar.n = done  # frames of an earlier run say nothing about the speed
            count(done, total)

        try:
            result = model.upscale_video(source, target, overwrite=args.overwrite, on_progress=report, **options)
        except ConfigError:
            raise  # an option is wrong, for this clip and for every other
        except OF_ONE_FILE as error:
            say(f"failed {source}: {describe_failure(error)}")
            return False
        except KeyboardInterrupt:
            if os.path.exists(name_parts(target)):
                say(f"what is finished of {target} is kept beside it; the same command goes on with it")
            raise
    for note in dict.fromkeys(result.report["notes"]):
        say(f"note {source}: {note}")
    return True
