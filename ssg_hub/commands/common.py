"""What several commands need: messages, numbers and folders that are checked before the work, model and options."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SSGError
from ..loading import load_networks, seek_model
from ..upscaling.options import Options
from ..video.names import COMPANIONS

OF_ONE_FILE = (SSGError, OSError, RuntimeError, MemoryError, ValueError)  # errors after which the other files go on


def say(text: str) -> None:
    """Write a line to stderr, above a progress bar where there is one."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)


def describe_failure(error: BaseException) -> str:
    """What a command says of a file that failed: the sentence of an SSGError; of another, its kind too."""
    return str(error) if isinstance(error, SSGError) else f"{type(error).__name__}: {error}"


def whole_number(least: int) -> Callable[[str], int]:
    """For argparse: the reader of an option that takes a whole number of at least `least`."""

    def read(text: str) -> int:
        if not text.strip().removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"it takes a whole number of at least {least}, not {text!r}")
        return int(text)

    return read


def check_folder(folder: Path, option: str = "-o") -> None:
    """Refuse a folder for results that could be neither made nor written to, before there are any.

    Args:
        folder: need not exist.
        option: that named it, for the message.

    Raises:
        ConfigError: it or one above it is a file, or may not be written to.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise ConfigError(f"{nearest} is a file; {option} takes a folder. Choose another name.")
    if not os.access(nearest, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {nearest} is read-only. Choose another folder with {option}.")


def load_model(args: argparse.Namespace) -> Any:
    """The model of a request, on the device that computes it: the best one available unless one is named.

    Raises:
        ConfigError: this machine lacks the device, or the model a guide for what is asked for.
    """
    seek_model(args.model)
    import torch

    from ..devices import best_device, choose_device

    device = best_device() if args.device is None else args.device
    if device == "cuda" and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        device = f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    place = choose_device(torch.device("cpu"), device)  # before the model is read
    model = load_networks(args.model).to(place)
    check_guide(args, model.labels)
    _share_cores()
    return model


def wanted_companions(args: argparse.Namespace) -> list[str]:
    """Which of COMPANIONS a request wants beside each result."""
    return [kind for kind in COMPANIONS if getattr(args, kind)]


def picture_options(args: argparse.Namespace) -> dict:
    """The arguments of `upscale` that hold for every picture or clip of a request; the device is that of its model.

    Raises:
        ConfigError: an impossible one.
    """
    fixed = {"segment": bool(wanted_companions(args)), "device": None}
    options = Options.gather("ssg upscale", vars(args), also=vars(args), **fixed)
    return vars(options) | ({} if args.max_pixels is None else {"max_pixels": args.max_pixels})


def check_guide(args: argparse.Namespace, labels: list[str]) -> None:
    """Refuse companions that need a guide, of a model that has none.

    Raises:
        ConfigError: which were asked for.
    """
    companions = wanted_companions(args)
    if companions and not labels:
        guided = " and ".join(f"--{kind}" for kind in companions)
        raise ConfigError(f"this model has no guide for {guided}. Leave out what needs one.")


def _share_cores() -> None:
    """Take a part of the cores where several processes were launched together."""
    import torch

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
