"""What is checked before the first step, instead of failing hours after it: files, data entries, label maps."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, is_initialized
from accelerate.tracking import get_available_trackers

from ..data.crops import check_label, check_pair
from ..data.streams import load_stream
from ..data.tables import (
    cell_size,
    fingerprint,
    load_pairs,
    load_pictures,
    open_cell,
    open_label,
    picture_names,
    picture_stem,
    read_list,
)
from ..degradation import Degradation, load_degradation
from ..errors import ConfigError, ImageError
from ..networks.guide import Guide
from ..networks.tensor_files import read_tensors
from ..storage.replacing import check_replaceable
from .config import TrainConfig

FOLDERS = ("output_dir", "data_root")
CHECKED = 200  # label maps, pairs or sizes of each table; the others are checked when they are read
log = logging.getLogger("train")


def check_request(config: TrainConfig) -> None:
    """Refuse a run that would train nothing, that this process cannot make, or whose logs or model would go nowhere.

    Raises:
        ConfigError: every stage has 0 steps, the tracker is not installed, or this process is bound to another
            precision.
        CheckpointError: the model's folder holds a README or a config that is not a model's.
    """
    check_replaceable(config.output_dir / "model")
    if not (config.guide_steps or config.teacher_steps or config.warmup_steps or config.adversarial_steps):
        raise ConfigError(
            "nothing would be trained: guide_steps, teacher_steps, warmup_steps and adversarial_steps are all 0. "
            "Set one of them."
        )
    if config.tracker not in {"none", *(tracker.value for tracker in get_available_trackers())}:
        raise ConfigError(
            f"tracker is {config.tracker}, which is not installed: pip install {config.tracker}, or set tracker: none."
        )
    if is_initialized() and (bound := AcceleratorState().mixed_precision) != config.mixed_precision:
        raise ConfigError(
            f"mixed_precision is {config.mixed_precision}, but Accelerate keeps one precision for each process, and "
            f"here it is {bound}, of an earlier run. Start this run in a new process, or with mixed_precision: {bound}."
        )


def check_inputs(config: TrainConfig) -> dict[str, dict]:
    """Look at every file and data entry that the run will need, and return the entries' fingerprints.

    Raises:
        ConfigError: one that is missing or incomplete, before the first step instead of hours after it.
        CheckpointError: weights of a discriminator that are damaged.
    """
    places = {name: value for name, value in config if isinstance(value, Path) and name not in FOLDERS}
    if config.unjudged:
        places["unjudged"] = config.data_root / config.unjudged
    for name, place in places.items():
        if not place.is_file():
            raise ConfigError(f"{name}: there is no file {place}. Correct the path, or leave the key out.")
    if config.discriminator_weights:
        read_tensors(config.discriminator_weights, "discriminator weights")
    degradation = load_degradation(config.degradation)
    if not config.source_lr:
        _check_reduction(degradation, config)
    entries = [*config.guide_data, *config.target, *config.dev_lr, *filter(None, (config.dev_hr, config.dev_labeled))]
    for entry in {*config.guide_data, *filter(None, [config.dev_labeled])}:
        load_pictures([entry], config.data_root, labels=True)
    if config.target and config.target_labels:
        load_pictures(config.target, config.data_root, labels=config.target_labels)
    if config.source_lr:
        pairs = load_pairs(config.source, config.source_lr, config.data_root)
        _check_pairs(pairs, config)
        if config.unjudged:
            _check_list(read_list(config.data_root / config.unjudged), pairs, config)
        entries.append(config.source_lr)
    if config.streaming:
        load_stream(config.source, config.data_root)
    else:
        entries += config.source
        if not config.source_lr:
            _note_small(load_pictures(config.source, config.data_root), config.hr_crop)
    return {entry: fingerprint(entry, config.data_root) for entry in entries}


def _check_reduction(degradation: Degradation, config: TrainConfig) -> None:
    """Let every degradation reduce a crop, so that a bank of another scale is not found out hours later."""
    crop = torch.zeros(1, 3, config.hr_crop, config.hr_crop)
    for part in getattr(degradation, "parts", [degradation]):
        part.degrade(crop, config.scale, torch.Generator().manual_seed(0))


def _check_pairs(table: Any, config: TrainConfig) -> None:
    """Refuse an HR and an LR picture that are no pair by their headers."""
    for row in _spread(table):
        try:
            sizes = cell_size(row["image"]), cell_size(row["lr"])
        except ImageError:
            continue  # another takes its place
        check_pair(*sizes, config.scale, config.hr_crop // config.scale, picture_stem(row["image"]))


def _check_list(listed: set[str], pairs: Any, config: TrainConfig) -> None:
    """Refuse a list of pairs without an adversarial term that names none of them."""
    if all(listed.isdisjoint(picture_names(cell)) for cell in pairs["image"]):
        raise ConfigError(
            f"unjudged: {config.unjudged} names none of the {len(pairs)} pictures of source. Write a name without "
            "folders a line, or leave the key out."
        )


def _note_small(table: Any, crop: int) -> None:
    """Say how many pictures of source are smaller than a crop: enlarged ones teach the generator to blur."""
    sizes = []
    for row in _spread(table):
        try:
            sizes.append(cell_size(row["image"]))
        except ImageError:
            continue  # another takes its place
    if small := sum(min(size) < crop for size in sizes):
        log.warning(
            "source: %d of the %d pictures that were looked at have sides below hr_crop (%d) and are enlarged, which "
            "teaches blur. Are they HR? Else leave them out, or set hr_crop lower.",
            small,
            len(sizes),
            crop,
        )


def _spread(table: Any) -> Iterator[dict]:
    """Up to `CHECKED` rows, spread over a table."""
    for index in np.unique(np.linspace(0, len(table) - 1, CHECKED).astype(int)).tolist():
        yield table[index]


def check_labels(config: TrainConfig, guide: Guide | None) -> None:
    """Look at the label maps that the run will read: one known class id per pixel, and the picture's size.

    Raises:
        ConfigError: a map that holds something else, named.
    """
    if guide is None:
        return
    known = {*range(len(guide.labels)), config.void_id}
    if config.guide_steps or config.teacher_steps or config.guide == "joint":
        _check_table(load_pictures(config.guide_data, config.data_root, labels=True), known)
    if config.dev_labeled:
        _check_table(load_pictures([config.dev_labeled], config.data_root, labels=True), known, replaceable=False)
    if config.guided and config.target_labels:
        table = load_pictures(config.target, config.data_root, labels=config.target_labels)
        _check_table(table, known, config.scale)


def _check_table(table, known: set[int], scale: int = 1, replaceable: bool = True) -> None:
    """Look at label maps spread over a table; pictures must be readable where no other can replace them."""
    for row in _spread(table):
        name = picture_stem(row["image"])
        try:
            label = open_label(row["label"])
        except ImageError as error:
            raise ConfigError(f"the label map of {name} cannot be used: {error}") from None
        try:
            size = open_cell(row["image"]).size
        except ImageError as error:
            if replaceable:
                continue
            raise ConfigError(f"the picture {name} of dev_labeled cannot be read: {error}") from None
        check_label(label, size, known, name, scale)
