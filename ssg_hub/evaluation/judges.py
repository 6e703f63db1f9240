"""Load what makes and what judges pictures: a model, and a guide, which names what it sees in them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, ConfigError
from ..networks.published import read_generator

if TYPE_CHECKING:
    from ..model import SSGModel
    from ..networks.guide import Guide

EMBEDDED = "embedded"
WEIGHTS_SUFFIXES = (".safetensors", ".pth", ".pt")


def load_model(name: str) -> "SSGModel":
    """A model in evaluation mode.

    Args:
        name: "embedded", a folder, a Hub id, or a generator's file of weights: a model without a guide then.

    Raises:
        CheckpointError, HubError: as `SSGModel.from_pretrained`, or for a file as `read_generator`.
    """
    from ..model import SSGModel

    if Path(name).suffix not in WEIGHTS_SUFFIXES:
        return SSGModel.from_pretrained(None if name == EMBEDDED else name).eval()
    generator_type, generator_config, state = read_generator(name)
    model = SSGModel(generator_type=generator_type, generator_config=generator_config)
    model.generator.load_state_dict(state)
    return model.eval()


def load_guide(name: str) -> "Guide":
    """The guide of an SSGModel, or a transformers segmentation model; from a folder or the Hub.

    Args:
        name: "embedded", a folder, or a Hub id.

    Raises:
        ConfigError: it is neither, or an SSGModel without a guide.
        HubError, CheckpointError: it cannot be had, or is damaged.
    """
    from ..networks.guide import Guide

    if name == EMBEDDED or _is_ssg_model(name):
        guide = load_model(name).guide
        if guide is None:
            raise ConfigError(f"{name} is an SSGModel without a guide. Give one with a guide.")
        return guide.eval()
    try:
        return Guide.from_pretrained(name).eval()
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"no segmentation model at {name} ({reason}). Give a folder or a Hub id.") from error


def _is_ssg_model(name: str) -> bool:
    from huggingface_hub.errors import EntryNotFoundError

    from ..storage.hub import fetch_file

    try:
        path = Path(name, "config.json") if Path(name).is_dir() else fetch_file(name, "config.json")
        return json.loads(path.read_text()).get("_class_name") == "SSGModel"
    except (EntryNotFoundError, OSError, ValueError):
        return False  # whatever it is, transformers says it better
