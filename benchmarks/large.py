"""Put the large checkpoint together: the mean of the generators that configs/large made, and the embedded one's guide.

    python -m benchmarks.large --generators runs/large/model runs/large-2/model --steps 3028

The notes on licence and data are those of the config. The scores on its dev set are computed (two minutes on one core),
printed, and stand in the card.
"""

import argparse
from pathlib import Path

from accelerate import Accelerator

from benchmarks.embedded import mean_weights
from ssg_hub.loading import LARGE, load_guide, load_model
from ssg_hub.model import SSGModel
from ssg_hub.storage.finding import built_in_folder
from ssg_hub.training.config import parse_config
from ssg_hub.training.validation import DevSet

CONFIG = "configs/large/large.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__.partition("\n")[0])
    parser.add_argument("--generators", nargs="+", required=True, metavar="MODEL", help="folders or weights files")
    parser.add_argument("--steps", type=int, required=True, metavar="N", help="adversarial steps in all, for the card")
    parser.add_argument("--config", default=CONFIG, metavar="YAML", help="how it was trained; names the dev set")
    parser.add_argument("-o", "--output", type=Path, default=built_in_folder(LARGE))
    options = parser.parse_args()
    config, model = parse_config(["--config", options.config]), add_guide(options.generators)
    metrics = DevSet(config).score(model.generator, Accelerator(cpu=True))
    print(metrics)
    model.describe(
        license=config.license,
        license_note=config.license_note,
        data=config.training_data,
        generator_weights=Path(config.generator_weights).stem,
        adversarial_steps=options.steps,
        metrics={name: round(score, 4) for name, score in metrics.items()},
    )
    model.half().save_pretrained(options.output)


def add_guide(generators: list[str]) -> SSGModel:
    """A model of the mean of trained generators and the embedded guide."""
    trained = [load_model(where) for where in generators]
    config = trained[0].config
    model = SSGModel.from_components(config.generator_type, load_guide(), dict(config.generator_config))
    model.generator.load_state_dict(mean_weights([each.generator for each in trained]))
    return model


if __name__ == "__main__":
    main()
