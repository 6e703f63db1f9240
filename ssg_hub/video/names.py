"""What can be asked for, and what the name of a file or pattern says: known without any library of video."""

import os
import re
from pathlib import Path

CODECS = ("h264", "hevc", "av1", "ffv1")
TEMPORAL = ("auto", "off")
COMPANIONS = ("mask", "drift", "overlay")  # that can be written beside a clip
NUMBER = re.compile(r"%(0?)(\d{0,3})d")  # no name holds a number of more than 255 digits
READABLE = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".wmv"),
    *(".asf", ".flv", ".3gp", ".ogv", ".mxf", ".dv", ".nut", ".y4m"),
)
MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm", ".ts": "mpegts"}


def is_clip(path: Path) -> bool:
    """Whether a name is that of a video file."""
    return path.suffix.lower() in READABLE


def is_pattern(path: Path) -> bool:
    """Whether a name stands for numbered pictures; a clip may be called 50%discount.mp4."""
    return NUMBER.search(path.name) is not None and not is_clip(path)


def is_read_as_pattern(source: Path) -> bool:
    """Whether an input stands for numbered pictures; what exists stands for itself, such as 50%discount.jpg."""
    return is_pattern(source) and not os.path.exists(source)


def numbered(pattern: Path) -> list[tuple[int, Path]]:
    """The files that a pattern stands for and their numbers, in order."""
    number = NUMBER.search(pattern.name)
    assert number is not None  # as `is_pattern` says
    before, after = re.escape(pattern.name[: number.start()]), re.escape(pattern.name[number.end() :])
    zero, width = number[1], int(number[2] or 0)
    digits = f"\\d{{{max(1, width)},}}" if zero or not width else r" *\d+"  # %5d fills up with spaces
    wanted = re.compile(f"{before}({digits}){after}")
    files = list(pattern.parent.iterdir()) if pattern.parent.is_dir() else []
    return sorted((int(match[1]), file) for file in files if (match := wanted.fullmatch(file.name)))


def exists(target: Path) -> bool:
    """Whether a result is there: the file, or any picture of a pattern."""
    return bool(numbered(target)) if is_pattern(target) else os.path.exists(target)


def name_picture(pattern: Path, number: int) -> Path:
    """The file of one number."""
    return pattern.with_name(NUMBER.sub(lambda match: match[0] % number, pattern.name, count=1))


def name_companion(target: Path, kind: str) -> Path:
    """Where a mask, drift or overlay goes: beside the target; mask and drift are kept without loss."""
    if is_pattern(target):
        return target.with_name(f"{target.stem}_{kind}.png")
    return target.with_name(f"{target.stem}_{kind}{target.suffix if kind == 'overlay' else '.mkv'}")


def name_parts(target: Path) -> Path:
    """The folder in which an unfinished result keeps its segments; there is one, for all that a request writes."""
    return target.with_name(target.name + ".parts")


def name_result(folder: Path, source: Path) -> Path:
    """Where the result of a clip goes in a folder: in the source's container where that is written, else Matroska."""
    suffix = source.suffix if source.suffix.lower() in MUXERS else ".mkv"
    return folder / (source.stem + suffix)
