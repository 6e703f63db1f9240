"""A training run small enough for tests: made-up pictures, a tiny configuration, and the real script in a process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[1]
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
    generator = torch.Generator().manual_seed(0)
    widths = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
    vgg = {}
    for index, (c_in, c_out) in widths.items():
        vgg[f"features.{index}.weight"] = 0.05 * torch.randn(c_out, c_in, 3, 3, generator=generator)
        vgg[f"features.{index}.bias"] = torch.zeros(c_out)
    save_file(vgg, folder / "vgg.safetensors")
    return folder


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

    config = {
        "model_type": "segformer",
        "id2label": dict(enumerate(CLASSES)),
        "num_encoder_blocks": 2,
        "depths": [1, 1],
        "sr_ratios": [4, 2],
        "hidden_sizes": [8, 16],
        "patch_sizes": [7, 3],
        "strides": [4, 2],
        "num_attention_heads": [1, 2],
        "mlp_ratios": [2, 2],
        "decoder_hidden_size": 16,
    }
    if not (folder / "guide_start").is_dir():
        with torch.random.fork_rng():
            torch.manual_seed(1)
            Guide(config).save_pretrained(folder / "guide_start")
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


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint's networks, or of a model folder."""
    files = sorted(folder.glob("*.safetensors"))
    assert files, f"no weights in {folder}"
    return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


def largest_difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[name].double() - b[name].double()).abs().max().item() for name in a)
