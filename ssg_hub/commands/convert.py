"""`ssg convert`: published weights (`.pth`, ncnn's `.param` + `.bin`) to safetensors; pruned where asked."""

import os
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from ..networks.ncnn import read_ncnn
from ..networks.published import read_generator
from ..networks.rrdb import RRDBNet, keep_blocks
from ..storage.whole_file import whole_file


def add_parser(subparsers) -> None:
    """Add `ssg convert` to the command line."""
    parser = subparsers.add_parser("convert", help="turn published weights (.pth, ncnn .param) into safetensors")
    parser.add_argument("weights", type=Path, help="a .pth, .safetensors or ncnn .param file (its .bin beside it)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--keep-blocks", metavar="I,J,…", help="keep only these RRDBs, for instance 0,4,8,13,18,22")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    parser.set_defaults(func=_run)


def _run(args) -> int:
    if args.output.suffix != ".safetensors":
        raise ConfigError(f"the output must be a .safetensors file; {args.output.name} is not.")
    if args.output.exists() and not args.overwrite:
        raise ConfigError(f"{args.output} exists. Choose another name, or --overwrite.")
    if os.path.realpath(args.output) == os.path.realpath(args.weights):
        raise ConfigError(
            f"the result would replace the weights that it is made from, {args.weights}. Give another -o."
        )
    kept = args.keep_blocks and _parse_indices(args.keep_blocks)
    read = read_ncnn if args.weights.suffix.lower() == ".param" else read_generator
    generator_type, config, state = read(args.weights)
    if kept:
        if generator_type != RRDBNet.name:
            raise ConfigError(f"--keep-blocks prunes an RRDBNet; {args.weights.name} is of type {generator_type!r}.")
        config, state = keep_blocks(config, state, kept)
    _write(state, args.output)
    print(f"{args.output}: {generator_type} {config}, {sum(t.numel() for t in state.values()) / 1e6:.2f} M parameters")
    return 0


def _write(state: dict[str, Tensor], path: Path) -> None:
    """Write all of it or nothing, with the permissions that the user's umask allows."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(save({name: tensor.contiguous() for name, tensor in state.items()}))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written ({error.strerror}). Choose another place.") from error


def _parse_indices(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--keep-blocks takes whole numbers with commas, like 0,4,8; it got {text!r}.") from None
