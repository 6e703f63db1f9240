"""Coverage-guided fuzzing of what reads foreign bytes: pictures, and saved models.

pip install atheris                                  # Linux; Python 3.11 to 3.13
python -m benchmarks.fuzz pictures --seconds 3600
python -m benchmarks.fuzz models --seconds 3600      # config, index and weights of a folder, or a .pth file

atheris (libFuzzer) changes small files so that ever more of our code is reached. An exception other than an SSGError,
an input that takes 10 seconds, or 4 GB of memory ends it with an error, and the input is kept in `--findings`.
"""

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ssg_hub"]):
    from ssg_hub.errors import SSGError
    from ssg_hub.images.reading import read_labels, read_picture, read_size
    from ssg_hub.loading import load_networks
    from ssg_hub.model import SSGModel

import numpy as np
import torch
from PIL import Image

LIMIT = 10**6  # pixels of a picture
PARTS = (
    "config.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "x.pth",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("target", choices=["pictures", "models"])
    parser.add_argument("--seconds", type=int, default=3600)
    parser.add_argument("--findings", type=Path, default=Path("runs/fuzz"), help="default runs/fuzz")
    args = parser.parse_args()
    args.findings.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        corpus = room / "corpus"
        corpus.mkdir()
        if args.target == "pictures":
            write_pictures(corpus)
            target = read_any
        else:
            target = prepare_models(room, corpus)
        options = [f"-max_total_time={args.seconds}", "-timeout=10", "-rss_limit_mb=4096", "-max_len=65536"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={args.findings}/", str(corpus)], target)
        atheris.Fuzz()  # ends the process


def read_any(data: bytes) -> None:
    """Whatever reads a picture, on any bytes."""
    for read, options in ((read_picture, {"max_pixels": LIMIT}), (read_labels, {"max_pixels": LIMIT}), (read_size, {})):
        try:
            read(data, **options)
        except SSGError as error:
            assert "\n" not in str(error), error


def write_pictures(folder: Path) -> None:
    """Small pictures of every format that is read, of several kinds."""
    rng = np.random.default_rng(0)
    images = {
        mode: Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)).convert(mode)
        for mode in ["L", "RGB", "RGBA", "P"]
    }
    images["I;16"] = Image.fromarray(rng.integers(0, 65536, (9, 7), dtype=np.uint16))
    for format in ("PNG", "TIFF", "JPEG", "WEBP", "GIF", "BMP", "PPM", "AVIF"):
        for mode, image in images.items():
            file = io.BytesIO()
            try:
                image.save(file, format)
            except (OSError, KeyError, ValueError):
                continue  # this format has no such pictures
            (folder / f"{format}-{mode.replace(';', '')}").write_bytes(file.getvalue())


def prepare_models(room: Path, corpus: Path):
    """A saved model of some kB, its files as seeds, and the target that puts bytes in the place of one of them."""
    options = {"features": 2, "convs": 0, "scale": 1}
    light = {"model_type": "ssg_lite_segmentation", "width": 8, "id2label": {0: "sky", 1: "road"}}
    SSGModel(generator_type="compact", generator_config=options).save_pretrained(room / "model")
    SSGModel(generator_type="compact", generator_config=options, guide_config=light).save_pretrained(room / "guided")
    torch.save({"params": load_networks(room / "model").generator.state_dict()}, room / "model" / PARTS[3])
    weights = (room / "model" / PARTS[1]).read_bytes()
    index = b'{"metadata": {}, "weight_map": {"generator.body.0.weight": "diffusion_pytorch_model-1-of-1.safetensors"}}'
    seeds = [(0, (room / "model" / PARTS[0]).read_bytes()), (0, (room / "guided" / PARTS[0]).read_bytes())]
    seeds += [(1, weights), (2, index), (3, (room / "model" / PARTS[3]).read_bytes())]
    for number, (part, content) in enumerate(seeds):
        (corpus / str(number)).write_bytes(bytes([part]) + content)

    def load(data: bytes) -> None:
        part = PARTS[data[0] % len(PARTS)] if data else PARTS[0]
        tried = room / "tried"
        shutil.rmtree(tried, ignore_errors=True)
        shutil.copytree(room / "model", tried)
        (tried / part).write_bytes(data[1:])
        try:
            load_networks(tried / part if part == PARTS[3] else tried)
        except SSGError as error:
            assert "\n" not in str(error), error

    return load


if __name__ == "__main__":
    main()
