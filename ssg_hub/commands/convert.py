"""`ssg convert`: published weights (`.pth`, ncnn's `.param` + `.bin`) to safetensors; pruned where asked."""

from pathlib import Path

from safetensors.torch import save_file

from ..errors import ConfigError
from ..networks.ncnn import keep_blocks, read_ncnn
from ..networks.published import read_generator


def add_parser(subparsers) -> None:
    """Add `ssg convert` to the command line."""
    parser = subparsers.add_parser("convert", help="turn published weights (.pth, ncnn .param) into safetensors")
    parser.add_argument("weights", type=Path, help="a .pth, .safetensors or ncnn .param file (its .bin beside it)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--keep-blocks", metavar="I,J,…", help="keep only these RRDBs, for instance 0,4,8,13,18,22")
    parser.set_defaults(func=_run)


def _run(args) -> int:
    read = read_ncnn if args.weights.suffix == ".param" else read_generator
    generator_type, config, state = read(args.weights)
    if args.keep_blocks:
        if generator_type != "rrdb":
            raise ConfigError(f"--keep-blocks prunes an RRDBNet; {args.weights.name} is of type {generator_type!r}.")
        config, state = keep_blocks(config, state, _parse_indices(args.keep_blocks))
    if args.output.suffix != ".safetensors":
        raise ConfigError(f"the output must be a .safetensors file; {args.output.name} is not.")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, args.output)
    print(f"{args.output}: {generator_type} {config}, {sum(t.numel() for t in state.values()) / 1e6:.2f} M parameters")
    return 0


def _parse_indices(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--keep-blocks takes whole numbers with commas, like 0,4,8; it got {text!r}.") from None
