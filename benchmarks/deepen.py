"""Give a compact generator more convolutions that change nothing yet, to go on training from.

    python -m benchmarks.deepen runs/embedded-22-10 --convs 44 -o runs/deep.safetensors

The new ones are identities, spread evenly among the old, each followed by a PReLU of slope 1.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

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
    deeper = SRVGGNetCompact(**{**generator.options, "convs": convs})
    weights: dict[str, Tensor] = {}
    source = 0
    for position in range(0, len(deeper.body), 2):  # a convolution and its PReLU; the last convolution has none
        trunk = 1 <= position // 2 <= convs
        is_new = trunk and position // 2 * old // convs == (position // 2 - 1) * old // convs
        layers = _identity(features) if is_new else generator.body[source : source + 2]
        source += 0 if is_new else 2
        weights |= {
            f"body.{position + offset}.{name}": value.clone()
            for offset, layer in enumerate(layers)
            for name, value in layer.state_dict().items()
        }
    deeper.load_state_dict(weights)
    return deeper


def _identity(features: int) -> list[nn.Module]:
    conv, prelu = nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features, init=1.0)
    with torch.no_grad():
        nn.init.dirac_(conv.weight)
        nn.init.zeros_(conv.bias)
    return [conv, prelu]


if __name__ == "__main__":
    main()
