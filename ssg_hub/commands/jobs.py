"""What a batch reads and writes: finds the pictures, names the results, refuses a batch that overwrites itself."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..errors import ImageError
from ..images.formats import READ, WRITTEN, check_target, is_picture, list_folder, name_endings
from ..images.reading import read_size
from ..upscaling.options import output_size
from ..video.names import COMPANIONS, is_clip
from .common import check_folder

FORMATS = {  # the words that --format takes
    word: ending
    for word, ending in {
        "png": ".png",
        "jpeg": ".jpg",
        "jpg": ".jpg",
        "webp": ".webp",
        "avif": ".avif",
        "tiff": ".tif",
        "tif": ".tif",
    }.items()
    if ending in WRITTEN
}
FILE_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")  # so end files; of folders, few


@dataclass(frozen=True)
class Job:
    """One input picture and what is written for it; its companions are None when not asked for."""

    source: Path
    image: Path
    mask: Path | None = None
    drift: Path | None = None
    overlay: Path | None = None

    def outputs(self) -> list[Path]:
        """Every file that this job writes."""
        return [path for path in (self.image, self.mask, self.drift, self.overlay) if path is not None]

    def to_write(self, overwrite: bool) -> list[Path]:
        """Those that are to be written: what does not exist, or everything; empty where nothing is left to do."""
        return [path for path in self.outputs() if overwrite or not os.path.exists(path)]


@dataclass(frozen=True)
class Plan:
    """What a request means.

    Attributes:
        jobs: what is to be done, in an order that depends on the inputs alone.
        left_out: files in the input folders whose ending is not that of a picture, but for hidden and system files.
        links: links to folders in the input folders: they are not followed.
    """

    jobs: list[Job]
    left_out: list[Path]
    links: list[Path]


def plan_jobs(
    inputs: list[Path],
    output: Path,
    format: str | None = None,
    companions: Collection[str] = (),
    outscale: float = 4.0,
    overwrite: bool = False,
) -> Plan:
    """Decide what to read and what to write, before doing either.

    Args:
        inputs: pictures, pipes that bring one, and folders; a folder stands for every picture below it.
        output: a folder, or for one single picture the file to write.
        format: a key of FORMATS, "same" (as each input), or None: what the name of `output` says, else PNG.
        companions: which of COMPANIONS are written beside NAME, as NAME_mask.png.
        outscale: distinguishes results of an earlier run, written into the folder of the inputs, from inputs.
        overwrite: results may be replaced; such pictures are then refused, so that no input is replaced.

    Raises:
        ImageError: an input that does not exist, a folder without pictures, an output of a format that is not written,
            or results that would be written over an input or over each other.
    """
    found = zip(*(_find(entry, output) for entry in inputs), strict=True)
    pictures, left_out, links = (list(dict.fromkeys(chain.from_iterable(lists))) for lists in found)
    one_file = _names_one_file(inputs, output, format, len(pictures))
    if not (one_file or overwrite):
        pictures = _without_results(pictures, output, format, outscale)

    def name_results(format: str | None) -> list[Job]:
        images = [output if one_file else _rename(output / place, source, format) for source, place in pictures]
        return [
            Job(source, image, **{kind: _beside(image, kind) for kind in companions})
            for (source, _), image in zip(pictures, images, strict=True)
        ]

    jobs = name_results(format)
    if not _are_apart(jobs):
        same_helps = format != "same" and _are_apart(name_results("same"))
        _refuse_collision(jobs, "Use --format same" if same_helps else "Rename one")
    return Plan(jobs, left_out, links)


def make_folders(jobs: list[Job]) -> None:
    """Make the folders of all results.

    Raises:
        ConfigError: it or one above it is a file, or may not be written to.
        ImageError: it cannot be made for another reason.
    """
    for folder in {path.parent for job in jobs for path in job.outputs()}:
        check_folder(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"the folder {folder} cannot be made ({error.strerror}). Give another -o.") from error


def check_job(job: Job, overwrite: bool) -> None:
    """Refuse a job whose results cannot be written, before the work.

    Raises:
        ImageError: as `check_target`.
    """
    for path in job.to_write(overwrite):
        check_target(path, overwrite)


def _find(entry: Path, output: Path) -> tuple[list[tuple[Path, Path]], list[Path], list[Path]]:
    """(picture, its place below the output folder) for a file or a pipe, or for every picture below a folder; and what
    else is in the folder, as `Plan` has it."""
    if not os.path.exists(entry):  # unlike Path.exists, no error for a name that is too long
        raise ImageError(f"no file or folder at {entry}. Give pictures, or folders of pictures.")
    if not os.path.isdir(entry):
        return [(entry, Path(entry.name))], [], []
    files, links = list_folder(entry)
    pictures = [path for path in files if is_picture(path)]
    left_out = [path for path in files if not is_picture(path)]
    earlier = _real(output)
    if _real(entry) in earlier.parents:  # the results of an earlier run are no inputs
        pictures = [path for path in pictures if earlier not in _real(path).parents]
    if not pictures:
        clip = next(filter(is_clip, left_out), None)
        hint = f" There are clips, such as {clip.name}: give them by their names." if clip else ""
        if links:
            hint += f" Links to folders, such as {links[0].name}, are not followed: give them by their names."
        raise ImageError(f"no pictures in {entry}. Names that count end in {name_endings()}.{hint}")
    return [(path, path.relative_to(entry)) for path in pictures], left_out, links


def _real(path: Path) -> Path:
    """The place that a path leads to; unlike Path.resolve, no error for links that lead in a circle."""
    return Path(os.path.realpath(path))


def _without_results(
    found: list[tuple[Path, Path]], output: Path, format: str | None, outscale: float
) -> list[tuple[Path, Path]]:
    """The inputs without what an earlier run made from the others, recognised by name and size."""
    makers: dict[str, list[Path]] = {}
    for source, place in found:
        image = _rename(output / place, source, format)
        for path in (image, *(_beside(image, kind) for kind in COMPANIONS)):
            makers.setdefault(os.path.realpath(path), []).append(source)

    def is_result(path: Path) -> bool:
        others = [maker for maker in makers.get(os.path.realpath(path), []) if maker != path]
        return any(_is_enlarged(path, maker, outscale) for maker in others)

    return [pair for pair in found if not is_result(pair[0])]


def _is_enlarged(result: Path, source: Path, outscale: float) -> bool:
    try:
        return read_size(result) == output_size(read_size(source), outscale)
    except ImageError:
        return False


def _rename(path: Path, source: Path, format: str | None) -> Path:
    """Give a result the suffix of its format; what follows a dot in a name is only a suffix when it names a format."""
    known = source.suffix.lower() in READ
    if format == "same" and source.suffix.lower() in WRITTEN:
        return path
    return path.with_name((path.stem if known else path.name) + FORMATS.get(format, ".png"))


def _beside(image: Path, kind: str) -> Path:
    return image.with_name(f"{image.stem}_{kind}.png")


def _names_one_file(inputs: list[Path], output: Path, format: str | None, count: int) -> bool:
    """Whether `output` is a single file to write, judged by its ending; refuses what makes no sense."""
    suffix = output.suffix.lower()
    if os.path.isdir(output):
        return False
    alone = count == 1 and not os.path.isdir(inputs[0])
    if suffix not in WRITTEN:
        if suffix in READ or (alone and FILE_ENDING.fullmatch(suffix)):
            raise ImageError(
                f"-o {output} asks for a format that is not written here. Use one of {name_endings(WRITTEN)}; for a "
                "folder of this name, make it first."
            )
        return False
    if not alone:
        raise ImageError(
            f"-o {output} names one file, but the input is {count} pictures or a folder. Give the name of a folder."
        )
    if format not in (None, "same") and WRITTEN[FORMATS[format]] != WRITTEN[suffix]:
        raise ImageError(f"-o {output} and --format {format} disagree. Leave one of them out.")
    return True


def _are_apart(jobs: list[Job]) -> bool:
    """Whether no two results have one name, nor a result that of an input."""
    results = [os.path.realpath(path) for job in jobs for path in job.outputs()]
    inputs = {os.path.realpath(job.source) for job in jobs}
    return len(set(results)) == len(results) and inputs.isdisjoint(results)


def _refuse_collision(jobs: list[Job], advice: str) -> None:
    """Raise ImageError for the first result that would replace an input, or another result."""
    sources = {os.path.realpath(job.source): job.source for job in jobs}
    writers: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs():
            place = os.path.realpath(path)
            if place in sources:
                raise ImageError(
                    f"the result of {job.source} would replace the input {sources[place]}. Give another folder with -o."
                )
            if place in writers:
                raise ImageError(
                    f"{writers[place]} and {job.source} would both be written to {path}. "
                    f"{advice}, or upscale them into two folders."
                )
            writers[place] = job.source
