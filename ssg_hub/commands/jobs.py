"""What a batch reads and writes: finds the pictures, names the results, and refuses a batch that would harm itself."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError

READABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".pnm")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
FORMATS = {"png": ".png", "jpeg": ".jpg", "jpg": ".jpg", "webp": ".webp", "tiff": ".tif", "tif": ".tif"}


@dataclass(frozen=True)
class Job:
    """One input picture and what is written for it; `mask` and `overlay` are None when not asked for."""

    source: Path
    image: Path
    mask: Path | None = None
    overlay: Path | None = None

    def outputs(self) -> list[Path]:
        """Every file that this job writes."""
        return [path for path in (self.image, self.mask, self.overlay) if path is not None]


def plan_jobs(
    inputs: list[Path], output: Path, format: str | None = None, mask: bool = False, overlay: bool = False
) -> list[Job]:
    """Decide what is read and what is written, before anything is.

    Args:
        inputs: pictures and folders; a folder stands for every picture below it.
        output: a folder, or for one single picture the file to write.
        format: a key of FORMATS, "same" (as each input), or None: what the name of `output` says, else PNG.
        mask, overlay: whether NAME_mask.png and NAME_overlay.png are written beside NAME.

    Returns:
        The jobs, in an order that depends on the inputs alone.

    Raises:
        ImageError: an input that does not exist, a folder without pictures, or results that would be written over an
            input or over each other.
    """
    found = list(dict.fromkeys(pair for entry in inputs for pair in _find(entry, output)))
    one_file = output.suffix.lower() in WRITABLE and not output.is_dir()
    if output.suffix.lower() in READABLE and not output.is_dir():
        _check_one_file(inputs, output, format, len(found))
    jobs = []
    for source, place in found:
        image = output if one_file else _rename(output / place, source, format)
        beside = {"mask": mask, "overlay": overlay}
        extra = {key: image.with_name(f"{image.stem}_{key}.png") for key, wanted in beside.items() if wanted}
        jobs.append(Job(source, image, **extra))
    _check_collisions(jobs)
    return jobs


def make_folders(jobs: list[Job]) -> None:
    """Make the folders of all results.

    Raises:
        ImageError: one cannot be made or written to.
    """
    for folder in {path.parent for job in jobs for path in job.outputs()}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"the folder {folder} cannot be made ({error.strerror}). Give another -o.") from error
        if not os.access(folder, os.W_OK):
            raise ImageError(f"the folder {folder} cannot be written to. Give another -o, or change its permissions.")


def _find(entry: Path, output: Path) -> Iterable[tuple[Path, Path]]:
    """(picture, its place below the output folder) for a file, or for every picture below a folder."""
    if entry.is_file():
        return [(entry, Path(entry.name))]
    if not entry.exists():
        raise ImageError(f"no file or folder at {entry}. Give pictures, or folders of pictures.")
    pictures = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(entry)
        for name in names
        if name.lower().endswith(READABLE) and not name.startswith(".")
    )
    earlier = output.resolve()
    if entry.resolve() in earlier.parents:  # the results of an earlier run are no inputs
        pictures = [path for path in pictures if earlier not in path.resolve().parents]
    if not pictures:
        raise ImageError(f"no pictures in {entry}. Names that count end in {', '.join(READABLE)}.")
    return [(path, path.relative_to(entry)) for path in pictures]


def _rename(path: Path, source: Path, format: str | None) -> Path:
    """Give a result the suffix of its format; what follows a dot in a name is only a suffix when it names a format."""
    known = source.suffix.lower() in READABLE
    if format == "same" and source.suffix.lower() in WRITABLE:
        return path
    return path.with_name((path.stem if known else path.name) + FORMATS.get(format, ".png"))


def _check_one_file(inputs: list[Path], output: Path, format: str | None, count: int) -> None:
    if count > 1 or inputs[0].is_dir():
        raise ImageError(
            f"-o {output} names one file, but the input is {count} pictures or a folder. Give the name of a folder."
        )
    if output.suffix.lower() not in WRITABLE:
        raise ImageError(f"-o {output} asks for a format that is not written here. Use one of {', '.join(WRITABLE)}.")
    same = {".jpeg": ".jpg", ".tiff": ".tif"}
    suffix = output.suffix.lower()
    if format not in (None, "same") and FORMATS[format] != same.get(suffix, suffix):
        raise ImageError(f"-o {output} and --format {format} disagree. Leave one of them out.")


def _check_collisions(jobs: list[Job]) -> None:
    sources = {job.source.resolve(): job.source for job in jobs}
    writers: dict[Path, Path] = {}
    for job in jobs:
        for path in job.outputs():
            place = path.resolve()
            if place in sources:
                raise ImageError(
                    f"the result of {job.source} would replace the input {sources[place]}. Give another folder with -o."
                )
            if place in writers:
                raise ImageError(
                    f"{writers[place]} and {job.source} would both be written to {path}. "
                    "Use --format same, or upscale them into two folders."
                )
            writers[place] = job.source
