"""What an evaluation compares: ways to get an SR picture for an LR file (bicubic, a model, a folder).

A method takes the case, its LR pixels and the wanted size, and returns `Result`. All give 8-bit values, as files hold.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import ConfigError
from ..images.formats import composed, list_pictures, name_endings
from ..images.levels import to_8_bit
from ..images.reading import Picture, read_picture
from ..images.resampling import fill_transparent
from ..storage import as_path

if TYPE_CHECKING:
    from ..model import SSGModel


@dataclass(frozen=True)
class Case:
    """One picture of an evaluation: its LR file and what is known about it."""

    stem: str
    lr: Path
    hr: Path | None = None
    labels: Path | None = None


@dataclass
class Result:
    """What a method makes of a case.

    Attributes:
        pixels: SR (H, W, 3) float32, RGB in [0, 1], in steps of 1/255.
        classes: (H, W) ids that the method's own guide names, or None.
        drift: (H, W) semantic drift in [0, 1], or None.
    """

    pixels: np.ndarray
    classes: np.ndarray | None = None
    drift: np.ndarray | None = None


Method = Callable[[Case, np.ndarray, tuple[int, int]], Result]  # case, LR pixels (h, w, 3), wanted (width, height)


def bicubic(case: Case, lr: np.ndarray, size: tuple[int, int]) -> Result:
    """PIL's bicubic, the zero line of every table."""
    resized = Image.fromarray(to_8_bit(lr)).resize(size, Image.Resampling.BICUBIC)
    return Result(np.asarray(resized, np.float32) / 255)


class FromFolder:
    """SR pictures that are files already, by the stems of the LR files.

    Raises:
        ConfigError: no folder, no picture in it, or one stem twice.
    """

    def __init__(self, folder: str | Path):
        self.folder = as_path(folder)
        self.files = index_pictures(self.folder)

    def check(self, stems: Iterable[str]) -> None:
        """Raise a ConfigError that counts and names the stems without a file."""
        check_stems(stems, self.files, self.folder, "SR")

    def __call__(self, case: Case, lr: np.ndarray, size: tuple[int, int]) -> Result:
        self.check([case.stem])
        return Result(round_to_bytes(to_pixels(read_picture(self.files[case.stem]))))


class FromModel:
    """SR by `model.upscale`, the way of the command line, with semantic drift where the model has a guide.

    Args:
        model: an SSGModel.
        save_to: folder that takes the SR pictures as PNG; None keeps none.
        overwrite: replace pictures that are there.
        segment: measure the semantic drift too, if the model has a guide.
        options: passed on to `upscale`.
    """

    def __init__(
        self,
        model: "SSGModel",
        save_to: str | Path | None = None,
        overwrite: bool = False,
        segment: bool = True,
        **options: Any,
    ):
        self.model, self.options = model, options
        self.segment = segment and model.guide is not None
        self.save_to = None if save_to is None else as_path(save_to)
        self.overwrite = overwrite

    def __call__(self, case: Case, lr: np.ndarray, size: tuple[int, int]) -> Result:
        options = {"outscale": size[0] / lr.shape[1], "segment": self.segment, "uncertain_below": 0.0, **self.options}
        result = self.model.upscale(case.lr, **options)
        if self.save_to is not None:
            self.save_to.mkdir(parents=True, exist_ok=True)
            result.save(self.save_to / f"{case.stem}.png", overwrite=self.overwrite)
        pixels = round_to_bytes(to_pixels(result.picture))
        if not self.segment:
            return Result(pixels)
        return Result(pixels, np.asarray(result.mask), np.asarray(result.drift, np.float32) / 255)


def index_pictures(folder: Path) -> dict[str, Path]:
    """The picture files directly in a folder, by stem in composed characters, in the order of their names.

    Raises:
        ConfigError: no folder, no picture in it, or one stem twice.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder. Give a folder of pictures.")
    files: dict[str, Path] = {}
    for path in list_pictures(folder, recursive=False):
        stem = composed(path.stem)
        if stem in files:
            raise ConfigError(f"{folder} has both {files[stem].name} and {path.name}. Keep one of each stem.")
        files[stem] = path
    if not files:
        raise ConfigError(f"{folder} has no pictures ({name_endings()}). Give another folder.")
    return files


def check_stems(stems: Iterable[str], files: dict[str, Path], folder: Path, kind: str) -> None:
    """Raise a ConfigError that counts and names the stems that have no file."""
    stems = list(stems)
    missing = [stem for stem in stems if stem not in files]
    if missing:
        named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise ConfigError(
            f"{len(missing)} of {len(stems)} LR pictures have no {kind} file in {folder}: {named}. "
            "Files belong together by their names without the ending; "
            f"the first there is {next(iter(files.values())).name}."
        )


def to_pixels(picture: Picture) -> np.ndarray:
    """A picture as (H, W, 3) float32 RGB in [0, 1], whatever its depth; gray and alpha as `read_rgb` has them."""
    pixels = fill_transparent(picture).astype(np.float32) / picture.peak
    return np.repeat(pixels[..., None], 3, -1) if picture.is_gray else pixels


def round_to_bytes(pixels: np.ndarray) -> np.ndarray:
    """[0, 1] floats on the 256 values that an 8-bit file can hold."""
    return to_8_bit(pixels).astype(np.float32) / 255
