"""Give a compact generator more convolutions that change nothing yet, to go on training from.

    python -m benchmarks.deepen runs/embedded-22-10 --convs 44 -o runs/deep.safetensors

The new ones are identities, spread evenly among the old, each followed by a PReLU of slope 1.
"""

import argparse
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from ssg_hub.loading import load_model
from ssg_hub.networks.compact import SRVGGNetCompact


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deepen", description=__doc__.partition("\n")[0])
    parser.add_argument("model", metavar="MODEL", help="whose generator is deepened; its second set is left out")
    parser.add_argument("--convs", type=int, required=True, metavar="N", help="of the trunk, as many as now or more")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a new safetensors file")
    options = parser.parse_args()
    generator = load_model(options.model).generator.float()
    if not isinstance(generator, SRVGGNetCompact) or options.convs < generator.options["convs"]:
        parser.error(f"{options.model} has no compact generator of at most {options.convs} convolutions.")
    save_file(deepen(generator, options.convs).state_dict(), options.output)


def deepen(generator: SRVGGNetCompact, convs: int) -> SRVGGNetCompact:
    """The same function with `convs` convolutions in its trunk, the new ones spread evenly among the old."""
    features, old = generator.options["features"], generator.options["convs"]
    kept = iter(generator.body)  # convolutions and PReLUs in turn
    layers = [next(kept), next(kept)]
    for number in range(1, convs + 1):
        is_new = number * old // convs == (number - 1) * old // convs
        layers += _identity(features) if is_new else [next(kept), next(kept)]
    deeper = SRVGGNetCompact(**{**generator.options, "convs": convs})
    deeper.body.load_state_dict(nn.Sequential(*layers, *kept).state_dict())
    return deeper


def _identity(features: int) -> list[nn.Module]:
    conv, prelu = nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features, init=1.0)
    nn.init.dirac_(conv.weight)
    nn.init.zeros_(conv.bias)
    return [conv, prelu]


if __name__ == "__main__":
    main()
