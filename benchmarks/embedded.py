"""Put the embedded checkpoint together from what the parts of configs/embedded made.

    python -m benchmarks.embedded --clean runs/embedded-4/model runs/embedded-5/model --grain runs/embedded-6/model

The clean set of weights is the mean of the given generators (one is enough); the guide, and the notes on licence, data
and origin, are those of --base. --facts is what else the card says: JSON, such as steps and dev scores.
"""

import argparse
import json
from pathlib import Path

import torch

from ssg_hub.loading import EMBEDDED, load_model
from ssg_hub.model import SSGModel

PRETRAINED = Path(__file__).parents[1] / "ssg_hub/pretrained"
STALE = ("adversarial_steps", "metrics")  # what the base's card says of its own generator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.embedded", description=__doc__.partition("\n")[0])
    parser.add_argument("--clean", nargs="+", required=True, metavar="MODEL", help="generators that are averaged")
    parser.add_argument("--grain", required=True, metavar="MODEL", help="the generator that keeps the grain")
    parser.add_argument("--base", default=EMBEDDED, metavar="MODEL", help="its guide and notes are taken")
    parser.add_argument("--facts", type=json.loads, default={}, metavar="JSON", help="for the card")
    parser.add_argument("-o", "--output", type=Path, default=PRETRAINED)
    options = parser.parse_args()
    model = join_generators(options.base, options.clean, options.grain)
    model.describe(**{**dict.fromkeys(STALE), **options.facts})
    model.half().save_pretrained(options.output)


def join_generators(base: str, clean: list[str], grain: str) -> SSGModel:
    """The base model with another generator: the mean of `clean`, and `grain` as the second set of weights."""
    model, sources = load_model(base), [load_model(where) for where in clean]
    states = [source.generator.float().state_dict() for source in sources]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    model.generator.float().load_state_dict(mean)
    model.set_denoise_weights(load_model(grain).generator.float().state_dict())
    return model


if __name__ == "__main__":
    main()
