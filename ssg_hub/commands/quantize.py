"""`ssg quantize`: a model's generator in 8-bit integers, kept only where it passes what is asked of it."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, ConfigError
from ..loading import EMBEDDED
from ..storage import expand_home
from ..storage.config_file import CONFIG
from ..storage.finding import built_in_folder
from ..storage.replacing import check_replaceable
from ..storage.weights_files import INT8
from ..storage.whole_file import whole_file
from .common import check_folder

if TYPE_CHECKING:
    from ..networks.int8 import Int8

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
    from ..quantization.pictures import gather, read_crops, read_pictures
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
    crops = read_crops(fitted)
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


def _keep(int8, folder: Path, model) -> None:
    from ..networks.int8 import pack

    if not (folder / CONFIG).is_file():
        model.save_pretrained(folder)
    try:
        with whole_file(folder / INT8) as file:
            file.write(pack(int8))
    except OSError as error:
        raise CheckpointError(f"{folder / INT8} cannot be written ({error.strerror}). Choose another place.") from error
    print(f"kept: {folder / INT8}, {(folder / INT8).stat().st_size / 1e6:.1f} MB")
