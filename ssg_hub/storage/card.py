"""The model card: fills `model_card.md` from what a model's config says, and says so where it says nothing."""

import json
import math
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DISK_ERRORS, ConfigError
from . import BUILT_IN, EMBEDDED, LARGE
from .finding import built_in_folder

if TYPE_CHECKING:
    from PIL.Image import Image

Pictures = Mapping[str, "str | Path | Image"]  # caption -> picture
CARD = "README.md"
NAME = "ssg-hub"
PACKAGE = Path(__file__).parents[1]
PLACEHOLDER = re.compile(r"\{\{ ?(\w+) ?\}\}")  # a formatter takes the spaces out where the place is code
LICENSE_ID = re.compile(r"[a-z0-9.-]+")
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# Keys of trained_on that have a place of their own in the card, and what they hold.
FACTS: dict[str, tuple[type, ...]] = {
    "data": (str, list, tuple),
    "metrics": (Mapping,),
    "license_note": (str,),
    "notes": (str, list, tuple),
    "base_model": (str,),
    "title": (str,),
}
METRICS = {  # the first word of a metric's name -> what it is
    "psnr": "PSNR of the luma in dB, higher is better",
    "ssim": "SSIM of the luma, higher is better",
    "lpips": "LPIPS with AlexNet, lower is better",
}


SOMEWHERE = "path/to/"  # before the end of the path of a model that is not on the Hub
BUILT_IN_TITLES = {EMBEDDED: "The checkpoint inside ssg-hub", LARGE: "The large checkpoint inside ssg-hub"}
PLAIN_NAMES = {"model", "models", "checkpoint", "final", "output"}  # folders whose parent says more


def build_card(config: Mapping, place: str | None = None, pictures: Mapping[str, str] | None = None) -> str:
    """Write the card of a model.

    Args:
        config: the model's config. Its `trained_on` may hold `title`, `data` (a text, or a list of texts), `metrics`
            ({row: {metric: number}}, or one row's {metric: number}), `license_note` (the terms in words), `notes` (a
            text, or a list), `base_model` (a Hub id), and anything else, which goes into the table of the
            configuration.
        place: where the model will be, for the lines that load it: a Hub id, the name of one inside the package, or
            what `name_folder` says of its folder.
        pictures: {caption: path relative to the card}.

    Returns:
        Markdown with YAML front matter.

    Raises:
        ConfigError: a licence that is not written as the Hub writes them.

    >>> card = build_card({"scale": 4, "generator_type": "rrdb"}, "ann/street")
    >>> print(*(line for line in card.splitlines() if "street" in line), sep="\\n")
    # street
    model = SSGModel.from_pretrained("ann/street")
    `ssg upscale photo.jpg -o out --model ann/street` does the same on the command line.
    """
    config = _in_order(config)
    facts = config.get("trained_on") or {}
    guided = config.get("guide_config") is not None
    check_license(config.get("license"))
    license_id = config.get("license") or "other"
    base_model = facts.get("base_model", "")
    fields = {
        "license": license_id,
        "license_name": "license_name: see-model-card" if license_id == "other" else "",
        "base_model": f"base_model: {base_model}" if HUB_ID.fullmatch(base_model) else "",
        "title": facts.get("title") or _title(place, config["scale"]),
        "scale": str(config["scale"]),
        "guided": ", guided by semantic segmentation" if guided else "",
        "extras": ", the semantic mask of what is in it, and a map of what may have been invented" if guided else "",
        "load": "" if place == EMBEDDED else f'"{place or SOMEWHERE + "this/folder"}"',
        "model_option": "" if place == EMBEDDED else f" --model {place or SOMEWHERE + 'this/folder'}",
        "install": _install_line(),
        "pictures": "\n\n".join(f"![{caption}]({path})\n\n*{caption}*" for caption, path in (pictures or {}).items()),
        "classes": _list_classes(config["guide_config"]) if guided else "",
        "data": _as_text(facts.get("data")) or "The data that this checkpoint was trained on were not recorded.",
        "metrics": _metrics_table(facts.get("metrics")),
        "configuration": _configuration_table(config, facts),
        "notes": _as_text(facts.get("notes")),
        "guide_limit": _guide_limit(config.get("calibration") is not None) if guided else "",
        "license_text": _license_text(config.get("license"), facts.get("license_note")),
    }
    return _fill(_read_template(), fields)


def write_card(folder: Path, config: Mapping, place: str, pictures: Mapping[str, str]) -> None:
    """Write a model's card into its folder; the arguments are those of `build_card`."""
    (folder / CARD).write_text(build_card(config, place, pictures), encoding="utf-8")


def name_folder(folder: Path) -> str:
    """What the card calls a model in a folder: its name if it is inside the package, else the end of its path."""
    folder = folder.resolve()
    for name in BUILT_IN:
        if folder == built_in_folder(name).resolve():
            return name
    end = folder.name if folder.name not in PLAIN_NAMES or not folder.parent.name else "/".join(folder.parts[-2:])
    return SOMEWHERE + end


def check_license(identifier: str | None) -> None:
    """Raise a ConfigError for a licence that is not written as the Hub writes them; None is none at all."""
    if identifier and not LICENSE_ID.fullmatch(identifier):
        raise ConfigError(f"the licence {identifier!r} is no Hub identifier. Use one such as apache-2.0, or other.")


def check_facts(license: object, facts: object) -> None:
    """Check what a config says for the card.

    Raises:
        ConfigError: `license` is no text, or `facts` (the config's `trained_on`) no dict, or an entry of another kind
            than `build_card` takes.
    """
    if license is not None and not isinstance(license, str):
        raise ConfigError(f"license is {license!r:.60}; a Hub identifier such as apache-2.0 is needed.")
    if facts is not None and not isinstance(facts, Mapping):
        raise ConfigError(f"trained_on is {facts!r:.60}; a dict is needed.")
    for key, kinds in FACTS.items():
        value = (facts or {}).get(key)
        if value is not None and not isinstance(value, kinds):
            words: dict[type, str] = {str: "a text", list: "a list", tuple: "a list", Mapping: "a dict"}
            names = " or ".join(words[kind] for kind in kinds[:2])
            raise ConfigError(f"trained_on has {key} {value!r:.60}; {names} is needed.")
    metrics = (facts or {}).get("metrics") or {}
    if len({isinstance(row, Mapping) for row in metrics.values()}) > 1:
        raise ConfigError(f"trained_on has metrics {metrics!r:.60}; either all of them are rows (dicts), or none is.")


def save_pictures(pictures: Pictures, folder: Path) -> dict[str, str]:
    """Put the card's pictures beside it; returns {caption: relative path}.

    Raises:
        ConfigError: one that cannot be read, or has no PNG; or no captions.
    """
    if not isinstance(pictures, Mapping):
        raise ConfigError(f"pictures is a {type(pictures).__name__}; give a dict, caption to file or Pillow image.")
    places = {}
    for index, (caption, picture) in enumerate(pictures.items(), start=1):
        (folder / "pictures").mkdir(exist_ok=True)
        try:
            if isinstance(picture, (str, Path)):
                places[caption] = f"pictures/{index}{Path(picture).suffix}"
                shutil.copyfile(picture, folder / places[caption])
            else:
                places[caption] = f"pictures/{index}.png"
                picture.save(folder / places[caption])
        except (OSError, AttributeError, TypeError) as error:  # what is no Pillow image cannot be saved as one
            if getattr(error, "errno", None) in DISK_ERRORS:  # of the folder, not of the picture
                raise
            raise ConfigError(f"the card's picture {caption!r:.60} cannot be used ({error}). Give another.") from error
    return places


def plain_facts(value: object) -> object:
    """What JSON can hold of a card's facts: arrays and tensors become lists or numbers, paths their names, NaN None.

    Raises:
        ConfigError: a value of another kind.
    """
    if isinstance(value, Mapping):
        return {str(key): plain_facts(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_facts(item) for item in value]
    if isinstance(value, Path):
        return value.name
    if hasattr(value, "tolist"):  # a single number where it is one
        return plain_facts(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ConfigError(
        f"the card cannot tell a {type(value).__name__}; give texts, numbers, or lists or dicts of these."
    )


def _in_order(value: Any) -> Any:
    """Mappings sorted by key, as they come back from config.json: the card of a model is the same before and after."""
    if isinstance(value, Mapping):
        return {key: _in_order(value[key]) for key in sorted(value)}
    return [_in_order(item) for item in value] if isinstance(value, (list, tuple)) else value


def _install_line() -> str:
    """How to install this package from where this installation of it came: an index, a repository, or its source."""
    try:
        package = metadata.distribution(NAME)
        origin = json.loads(package.read_text("direct_url.json") or "null")
    except (metadata.PackageNotFoundError, ValueError):
        package = origin = None
    version = f"{NAME}=={package.version}" if package else NAME
    if package and origin is None:
        return f"`pip install {version}`"
    vcs = (origin or {}).get("vcs_info")
    if vcs and "@" not in origin["url"]:  # a name or a password may be before it
        return f'`pip install "{NAME} @ {vcs["vcs"]}+{origin["url"]}@{vcs["commit_id"]}"`'
    return f"`pip install .` in the folder of its source code ({version})"  # a place on this machine is nobody's else


def _title(place: str | None, scale: int) -> str:
    if place in BUILT_IN_TITLES:
        return f"{BUILT_IN_TITLES[place]}, ×{scale}"
    names = [name for name in (place or "").removeprefix(SOMEWHERE).split("/") if name not in PLAIN_NAMES]
    return names[-1] if names and names[-1] else "SSG super-resolution model"


def _read_template() -> str:
    """The wheel puts the template inside the package; in a checkout it is at the root of the repository."""
    inside = PACKAGE / "model_card.md"
    return (inside if inside.exists() else PACKAGE.parent / "model_card.md").read_text(encoding="utf-8")


def _fill(template: str, fields: Mapping[str, str]) -> str:
    """Put the fields in; a line whose only content is an empty field goes, and so do the blank lines that it leaves."""
    lines = []
    for line in template.splitlines():
        filled = PLACEHOLDER.sub(lambda match: fields[match[1]], line)
        if filled or not line:
            lines.append(filled)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _as_text(value: str | list | None) -> str:
    if isinstance(value, (list, tuple)):
        return "\n".join(f"- {item}" for item in value)
    return str(value) if value else ""


def _list_classes(guide_config: Mapping) -> str:
    named = guide_config.get("id2label") or {}
    if not named:  # transformers leaves out names that are its own: LABEL_0, LABEL_1
        return ""
    labels = [str(label) for _, label in sorted(named.items(), key=lambda item: int(item[0]))]
    shown = ", ".join(labels[:30]) + (f" and {len(labels) - 30} more" if len(labels) > 30 else "")
    return f"## Classes\n\nThe mask has {len(labels)} classes: {shown}."


def _guide_limit(calibrated: bool) -> str:
    drift = (
        "where the drift, the probability that the class there is wrong, is high"
        if calibrated
        else "where the masks of the input and of the result disagree (semantic drift)"
    )
    return (
        "- The mask knows only the classes above. Pixels that the guide is unsure of are marked *uncertain*;\n"
        f"  {drift}, trust the result least."
    )


def _metrics_table(metrics: Mapping | None) -> str:
    if not metrics:
        return "No metrics were recorded for this checkpoint."
    legend = ""
    if not any(isinstance(row, Mapping) for row in metrics.values()):
        metrics, legend = {"validation": metrics}, _metrics_legend(metrics)
    columns = list(dict.fromkeys(name for row in metrics.values() for name in row))
    rows = [[name, *(_number(row.get(column)) for column in columns)] for name, row in metrics.items()]
    return legend + _table(["", *columns], rows)


def _metrics_legend(metrics: Mapping) -> str:
    measured = [text for name, text in METRICS.items() if any(key.split("_")[0] == name for key in metrics)]
    return f"{'; '.join(measured)}. Checkpoints may have been chosen by these pictures.\n\n" if measured else ""


def _number(value: object) -> str:
    if value is None:
        return "not measured"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
    return str(value)


def _configuration_table(config: Mapping, facts: Mapping) -> str:
    rows = [["scale", f"×{config['scale']}"], ["generator", config["generator_type"]]]
    options = config.get("generator_config") or {}
    rows += [[f"generator: {key}", value] for key, value in options.items() if key != "scale"]
    if config.get("denoise_set"):
        default = config.get("denoise_default", 1)
        rows.append(["denoise strength", f"0 (keeps the grain) to 1 (clean); default {default:g}"])
    rows.append(["guide", config["guide_config"]["model_type"] if config.get("guide_config") else "none"])
    rows += [[key.replace("_", " "), _one_line(value)] for key, value in facts.items() if key not in FACTS]
    return _table(["setting", "value"], rows)


def _one_line(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_one_line(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _table(head: list[str], rows: list[list]) -> str:
    def line(cells: list) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def _license_text(license_id: str | None, note: str | None) -> str:
    if note:
        return note
    if license_id is None:
        return "No licence was stated for these weights. Ask their author before you use them."
    if license_id == "other":
        return "The weights carry the terms of the data that they were trained on; see *Training data*."
    return f"The weights are under `{license_id}`."
