"""A training run small enough for tests: made-up pictures, a tiny configuration, and the real script in a process."""

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from process_group import ROOT, Script, find_places
from safetensors.torch import load_file, save_file
from standins import TINY_SEGFORMER

CLASSES = ["sky", "road", "car"]
VOID = 11


def make_data(folder: Path, pictures: int = 5) -> Path:
    """HR pictures (96x128) with label maps, their LR (24x32), and random VGG16 features."""
    rng = np.random.default_rng(0)
    for name in ("hr/images", "hr/labels", "lr"):
        (folder / name).mkdir(parents=True)
    for index in range(pictures):
        labels = np.kron(rng.integers(0, len(CLASSES), (3, 4)), np.ones((32, 32), int)).astype(np.uint8)
        labels[:4] = VOID
        shade = np.array([[90, 140, 220], [90, 90, 90], [200, 40, 40]] + [[0, 0, 0]] * 9, np.uint8)[labels]
        picture = Image.fromarray((shade + rng.integers(0, 30, shade.shape)).astype(np.uint8))
        picture.save(folder / f"hr/images/{index}.png")
        Image.fromarray(labels).save(folder / f"hr/labels/{index}.png")
        picture.resize((32, 24), Image.BICUBIC).save(folder / f"lr/{index}.png")
    save_file(random_vgg16(blocks=3), folder / "vgg.safetensors")
    return folder


def random_vgg16(blocks: int = 5) -> dict[str, torch.Tensor]:
    """VGG16's convolutions with random weights of the size that keeps activations alive, in torchvision's names."""
    generator, state, index, c_in = torch.Generator().manual_seed(0), {}, 0, 3
    for widths in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3)[:blocks]:
        for width in widths:
            weight = torch.randn(width, c_in, 3, 3, generator=generator) * (2 / (9 * c_in)) ** 0.5
            state[f"features.{index}.weight"], state[f"features.{index}.bias"] = weight, torch.zeros(width)
            index, c_in = index + 2, width
        index += 1  # the pooling
    return state


def random_heads(folder: Path) -> dict[str, str]:
    """All of VGG16, and heads for LPIPS and DISTS, random; the configuration's keys that name them."""
    generator = torch.Generator().manual_seed(2)
    lpips = {
        f"vgg.lin{index}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator)
        for index, width in enumerate((64, 128, 256, 512, 512))
    }
    dists = {name: torch.rand(1, 1475, 1, 1, generator=generator) for name in ("alpha", "beta")}
    files = {"perceptual_weights": random_vgg16(), "lpips_heads": lpips, "dists_heads": dists}
    for name, tensors in files.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return {name: str(folder / f"{name}.safetensors") for name in files}


def write_config(folder: Path, data: Path, **changes) -> Path:
    """A configuration of a few adversarial steps with everything switched on; `changes` override its keys."""
    config = {
        "output_dir": str(folder / "run"),
        "data_root": str(data),
        "generator_type": "rrdb",
        "generator_config": {"features": 8, "blocks": 1, "growth": 4},
        "class_names": CLASSES,
        "void_id": VOID,
        "source": ["hr"],
        "guide_data": ["hr"],
        "target": ["lr"],
        "target_labels": "hr/labels",
        "guide_model": str(make_guide(folder)),
        "hr_crop": 32,
        "guide_crop": 64,
        "target_crop": 64,
        "workers": 0,
        "guide_batch": 2,
        "batch": 2,
        "target_batch": 2,
        "adversarial_steps": 6,
        "perceptual_weights": str(data / "vgg.safetensors"),
        "discriminator_features": 8,
        "checkpoint_every": 2,
        "validate_every": 100,
        "lr": 1e-3,
        "tracker": "none",
        "save_dtype": "fp32",
        **changes,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def make_guide(folder: Path) -> Path:
    """An untrained Segformer of a few thousand parameters, saved."""
    from ssg_hub.networks.guide import Guide

    if not (folder / "guide_start").is_dir():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            Guide({**TINY_SEGFORMER, "id2label": dict(enumerate(CLASSES))}).save_pretrained(folder / "guide_start")
    return folder / "guide_start"


def command(config: Path, *options: str, processes: int = 1) -> list[str]:
    """The launch line of the README, for one process or several."""
    script = [str(ROOT / "train_accelerate.py"), "--config", str(config), *options]
    if processes == 1:
        return [sys.executable, *script]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    return [*launcher, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", *script]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def train(
    config: Path, *options: str, processes: int = 1, check: bool = True, **variables: str
) -> subprocess.CompletedProcess:
    """Run the real script to its end; `variables` are for its environment."""
    line = command(config, *options, processes=processes)
    done = subprocess.run(line, env=environment() | variables, capture_output=True, text=True, timeout=900)
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def start(config: Path, *options: str, processes: int = 1) -> list[Script]:
    """Start the real script, to be signalled; several processes without a launcher.

    Each leads a group of its own, as a launcher gives it, which would print tracebacks of its own.
    """
    words = [str(ROOT / "train_accelerate.py"), "--config", str(config), *options]
    script = f"import runpy, sys; sys.argv = {words}; runpy.run_path(sys.argv[0], run_name='__main__')"
    places = [{**place, "ACCELERATE_USE_CPU": "true"} for place in find_places(processes)] if processes > 1 else [{}]
    in_group = f"import os; os.setpgid(0, 0); {script}"
    return [Script(in_group, place, config.with_name(f"said_{rank}.txt")) for rank, place in enumerate(places)]


def train_here(config: Path, *options: str) -> None:
    """Run the script's `main` in this process, where its errors can be caught: quicker than `train`.

    With one thread, as there: the sums are the same to the bit.
    """
    import train_accelerate

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_accelerate.main(["--config", str(config), *options])
    finally:
        torch.set_num_threads(threads)


@contextmanager
def signalled_at(path: Path, number: int):
    """Send this process a signal once a folder is there."""
    over = threading.Event()

    def watch() -> None:
        while not path.is_dir():
            if over.wait(0.01):
                return
        os.kill(os.getpid(), number)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def wait_for_path(path: Path, script: Script) -> None:
    """Wait until a checkpoint is there, or its process has ended without it."""
    deadline = time.monotonic() + 240
    while not path.is_dir() and script.process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint's networks, or of a model folder."""
    files = sorted(folder.glob("*.safetensors"))
    assert files, f"no weights in {folder}"
    return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)
