"""Put the embedded checkpoint together from what the parts of configs/embedded made.

    python -m benchmarks.embedded --base runs/embedded-5/model --steps 5500 \\
        --clean runs/embedded-4/model runs/embedded-5/model --grain runs/embedded-6/model

The clean set of weights is the mean of the given generators (one is enough); the notes on licence, data and origin are
those of --base, as is the guide unless others are given. The scores on the dev set of --config are printed, and stand
in the card.
"""

import argparse
from pathlib import Path

from accelerate import Accelerator
from torch import Tensor, nn

from ssg_hub.loading import EMBEDDED, load_guide, load_model
from ssg_hub.model import SSGModel
from ssg_hub.training.config import parse_config
from ssg_hub.training.validation import DevSet

PRETRAINED = Path(__file__).parents[1] / "ssg_hub/pretrained"
CONFIG = "configs/embedded/7-flats.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__.partition("\n")[0])
    parser.add_argument("--clean", nargs="+", required=True, metavar="MODEL", help="generators that are averaged")
    parser.add_argument(
        "--grain", metavar="MODEL", help="the generator that keeps the grain (default: that of --base, if any)"
    )
    parser.add_argument("--base", default=EMBEDDED, metavar="MODEL", help="its guide and notes are taken")
    parser.add_argument("--guide", nargs="+", metavar="MODEL", help="other guides of its architecture, averaged")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="adversarial steps in all, for the card")
    parser.add_argument("--config", default=CONFIG, metavar="YAML", help="names the dev set")
    parser.add_argument("-o", "--output", type=Path, default=PRETRAINED)
    options = parser.parse_args()
    model = join_generators(options.base, options.clean, options.grain)
    if options.guide:
        model.guide.float().load_state_dict(mean_weights([load_guide(where) for where in options.guide]))
    scores = DevSet(parse_config(["--config", options.config])).score(model.generator.eval(), Accelerator(cpu=True))
    metrics = {name: round(score, 4) for name, score in scores.items()}
    print(metrics)
    model.describe(adversarial_steps=options.steps, metrics=metrics)
    model.half().save_pretrained(options.output)


def join_generators(base: str, clean: list[str], grain: str | None) -> SSGModel:
    """The base model with another generator: the mean of `clean`, and `grain`, if any, as the second set of weights."""
    model = load_model(base)
    model.generator.float().load_state_dict(mean_weights([load_model(where).generator for where in clean]))
    if grain is not None:
        model.set_denoise_weights(load_model(grain).generator.float().state_dict())
    return model.set_calibration(None)  # it was the other generator's: run `python -m benchmarks.calibration fit`


def mean_weights(networks: list[nn.Module], shares: list[float] | None = None) -> dict[str, Tensor]:
    """The mean of the weights of networks of one architecture, in float32; in equal shares unless they are given."""
    states = [network.float().state_dict() for network in networks]
    shares = shares or [1.0] * len(states)
    total = sum(shares)
    return {
        name: sum(share / total * state[name] for share, state in zip(shares, states, strict=True))
        for name in states[0]
    }


if __name__ == "__main__":
    main()
