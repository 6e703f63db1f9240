"""`ssg quantize`: a model's generator in 8-bit integers, kept only where it passes what is asked of it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, ConfigError, ImageError
from ..loading import EMBEDDED
from .common import check_folder

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..networks.int8 import Int8
    from ..quantization.gates import Pictures

HELD_OUT = 5  # every fifth picture is not fitted to, but measured
MOST_PICTURES, MOST_HELD_OUT = 28, 24  # of all folders together
CROP = 64  # LR pixels a side that a picture gives for the fit
MEASURED = 256  # and those that one held out is measured on
CONSTANT = 48  # the side of pictures of one colour that join them, so that black and white are reached, and stay
STEP = 2  # layers that are moved to float32 together


def add_parser(subparsers) -> None:
    """Add `ssg quantize` to the command line."""
    parser = subparsers.add_parser(
        "quantize",
        help="make a model's generator faster on CPUs, in 8-bit integers",
        description="Fit 8-bit integers to a generator, measure them on pictures that were held out, and keep them "
        "beside the model's weights only if they pass: at least 42 dB from float32, LPIPS moved by at most .002, "
        "colours by .3 (CIELAB), constant colours kept, and 1.2 times as fast. As many layers before the last "
        "are in int8 as pass. Needs OpenVINO, and AlexNet for LPIPS.",
    )
    add = parser.add_argument
    add("model", nargs="?", default=EMBEDDED, help=f"large, folder, Hub id, or weights file (default {EMBEDDED})")
    add("--calibrate", type=Path, nargs="+", required=True, metavar="FOLDER", help="LR pictures such as it will get")
    add("--references", type=Path, nargs="*", default=[], metavar="FOLDER", help="HR of these, with the same names")
    add("-o", "--output", type=Path, metavar="OUT", help="folder of the model; it is saved there where there is none")
    add("--lpips", metavar="PLACE", help="folder or Hub id with alexnet_features.safetensors")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Quantise, print what was measured, and keep it if all gates are passed; 1 if they are not.

    Raises:
        SSGError: the request cannot be done as given.
    """
    from ..evaluation import distances
    from ..loading import load_model
    from ..networks.compact import SRVGGNetCompact
    from ..quantization.fit import fit_int8
    from ..quantization.gates import measure_gates
    from ..upscaling.engines import compiled

    if not compiled.is_installed():
        raise ConfigError("int8 is for OpenVINO, which is not installed. Use pip install 'ssg-hub[cpu]'.")
    lpips = distances.find_distances(args.lpips).get("lpips")
    if lpips is None:
        raise ConfigError(distances.explain_missing("lpips"))
    model = load_model(args.model)
    generator = model.generator
    if not isinstance(generator, SRVGGNetCompact):
        raise ConfigError(f"int8 is for SRVGGNetCompact so far; this generator is an {type(generator).__name__}.")
    folder = _find_target(args, model)
    fitted, held_out = gather(args.calibrate)
    crops = _read_crops(fitted)
    pictures = read_pictures(held_out, args.references, generator.scale)
    print(
        f"{len(crops)} pictures to fit to, {len(held_out)} held out, "
        f"{sum(hr is not None for hr in pictures.hr)} of them with references",
        flush=True,
    )
    count = len([name for name in generator.state_dict() if name.endswith("bias")])

    def try_layers(number: int) -> "Int8 | None":
        """The last `number` layers before the last one in int8, where that passes."""
        int8 = fit_int8(generator, crops, {*range(count - 1 - number), count - 1})
        gates = measure_gates(generator, int8, pictures, lpips)
        print(f"{number} of {count} layers in int8:", *gates, sep="\n  ", flush=True)
        int8.facts.update({gate.name: round(gate.value, 4) for gate in gates}, layers=number)
        return int8 if all(gate.passed for gate in gates) else None

    int8 = find_most(try_layers, count - 2)
    if int8 is None:
        print("nothing was kept: no choice of layers passed")
        return 1
    _keep(int8, folder, model)
    return 0


def gather(folders: list[Path]) -> tuple[list[Path], list[Path]]:
    """The pictures of folders as `split` gives them.

    Raises:
        ConfigError: a folder without pictures.
        ImageError: none is left to fit to.
    """
    fitted, held_out = split([_find_pictures(folder) for folder in folders])
    if not fitted:
        places = ", ".join(map(str, folders))
        raise ImageError(
            f"the {len(held_out)} pictures of {places} are measured on, and leave none to fit to. Give a folder of "
            f"{HELD_OUT} or more."
        )
    return fitted, held_out


def split(folders: list[list[Path]]) -> tuple[list[Path], list[Path]]:
    """The pictures to fit to, and those to measure on: of each folder every fifth, so that each has its share.

    Nothing is there to fit to where all folders together have fewer than five pictures, or each has but one.
    """
    if sum(map(len, folders)) < HELD_OUT:
        return [], [path for paths in folders for path in paths]
    held_out = [path for paths in folders for path in _thin(paths[::HELD_OUT], MOST_HELD_OUT // len(folders) or 1)]
    fitted = [path for paths in folders for number, path in enumerate(paths) if number % HELD_OUT]
    return _thin(fitted, MOST_PICTURES), held_out


def find_most(attempt: "Callable[[int], Int8 | None]", most: int) -> "Int8 | None":
    """What `attempt` returns for the largest number that passes, from `most` in steps down, by bisection."""
    if (found := attempt(most)) is not None:
        return found
    low, high = 0, -(-most // STEP)  # in steps: passes (nothing is rounded), does not
    while high - low > 1:
        middle = (low + high) // 2
        if (int8 := attempt(middle * STEP)) is None:
            high = middle
        else:
            low, found = middle, int8
    return found


def _find_target(args: argparse.Namespace, model) -> Path:
    """The folder beside whose weights the integers go; where it holds a model, it must be this one."""
    from ..networks.int8 import hash_weights
    from ..plain_model import read_model
    from ..storage import expand_home
    from ..storage.config_file import CONFIG
    from ..storage.finding import built_in_folder
    from ..storage.replacing import check_replaceable

    folder = args.output or Path(expand_home(args.model))
    if args.output is None and (built_in_folder(args.model) or not folder.is_dir()):
        raise ConfigError(f"{args.model} is no folder of yours: say with -o where model and int8 are to be saved.")
    check_folder(folder)
    check_replaceable(folder)
    if (folder / CONFIG).is_file():
        there = read_model(folder).generator
        if hash_weights(there) != hash_weights(model.generator):
            raise CheckpointError(f"{folder} holds another model; int8 belongs to one set of weights. Give another -o.")
    return folder


def _find_pictures(folder: Path) -> list[Path]:
    from ..images.formats import list_pictures, name_endings

    if not (found := list_pictures(folder)):
        raise ConfigError(f"--calibrate {folder} has no pictures ({name_endings()}). Give folders of LR pictures.")
    return found


def _thin(paths: list[Path], most: int) -> list[Path]:
    return paths[:: max(1, -(-len(paths) // most))]


def _cut_middle(pixels: "np.ndarray", side: int, unit: int = 1) -> "Tensor":
    """The middle of a picture, at most `side` times `unit` pixels wide and high.

    Args:
        pixels: (H, W, 3).
        side: in units.
        unit: pixels, in whole ones of which it is cut.

    Returns:
        (1, 3, h, w) in [0, 1], of 8 bits.
    """
    from ..images.levels import to_8_bit
    from ..images.resampling import to_floats

    top, left = (max(0, length // unit - side) // 2 * unit for length in pixels.shape[:2])
    return to_floats(to_8_bit(pixels[top : top + side * unit, left : left + side * unit])).unsqueeze(0)


def _read_crops(paths: list[Path]) -> list:
    import torch

    from ..images.reading import read_rgb
    from ..quantization.gates import CONSTANTS

    flat = [torch.tensor(color, dtype=torch.float32).view(1, 3, 1, 1) for color in CONSTANTS]
    return [_cut_middle(read_rgb(path), CROP) for path in paths] + [
        color.repeat(1, 1, CONSTANT, CONSTANT) for color in flat
    ]


def read_pictures(paths: list[Path], references: list[Path], scale: int) -> "Pictures":
    """The middle of LR pictures, at most `MEASURED` pixels a side, with their references, as far as there are any.

    Args:
        paths: the LR pictures.
        references: folders of HR pictures with the same names.
        scale: HR pixels per LR pixel, per side.

    Raises:
        ConfigError: a folder without pictures, or two references of one name.
        ImageError: a picture that cannot be read or is too small for LPIPS, or a reference of another size.
    """
    from ..evaluation.methods import index_pictures
    from ..evaluation.metrics import ALEXNET_SMALLEST
    from ..images.formats import composed
    from ..images.reading import read_rgb
    from ..quantization.gates import Pictures

    known: dict[str, Path] = {}
    for folder in references:
        found = index_pictures(folder)
        if twice := sorted(known.keys() & found):
            raise ConfigError(
                f"--references have {known[twice[0]]} and {found[twice[0]]}, and pictures belong together by their "
                "names. Quantize with one of these folders, or rename their pictures."
            )
        known |= found
    lr, hr = [], []
    for path in paths:
        reference = known.get(composed(path.stem))
        small, large = read_rgb(path), None if reference is None else read_rgb(reference)
        if scale * min(small.shape[:2]) < ALEXNET_SMALLEST:
            raise ImageError(
                f"{path} has {small.shape[1]}x{small.shape[0]} pixels; to be measured on by LPIPS it needs "
                f"{-(-ALEXNET_SMALLEST // scale)} a side. Leave it out."
            )
        if large is not None and tuple(side // scale for side in large.shape[:2]) != small.shape[:2]:
            raise ImageError(f"{reference} is not {scale} times as large as {path}. Give other references.")
        height, width = (scale * side for side in small.shape[:2])  # what LR does not show is left out
        lr.append(_cut_middle(small, MEASURED))
        hr.append(None if large is None else _cut_middle(large[:height, :width], MEASURED, scale))
    return Pictures(lr, hr, [str(path.parent) for path in paths])


def _keep(int8, folder: Path, model) -> None:
    from ..networks.int8 import pack
    from ..storage.config_file import CONFIG
    from ..storage.weights_files import INT8
    from ..storage.whole_file import whole_file

    if not (folder / CONFIG).is_file():
        model.save_pretrained(folder)
    try:
        with whole_file(folder / INT8) as file:
            file.write(pack(int8))
    except OSError as error:
        raise CheckpointError(f"{folder / INT8} cannot be written ({error.strerror}). Choose another place.") from error
    print(f"kept: {folder / INT8}, {(folder / INT8).stat().st_size / 1e6:.1f} MB")
