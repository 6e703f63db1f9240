"""Choose between generators: LPIPS, PSNR-Y and mesh on dev frames, and on photographs that part 10 did not see.

    python -m benchmarks.candidates embedded runs/embedded-10/model embedded+runs/embedded-10/model@2

Mesh is the median of `ssg_hub.training.losses.unevenness`, in percent: how unevenly detail lies on the grid of 4x4
pixels that one LR pixel becomes. HR's stands in the first row.

A candidate is whatever `load_model` takes, or the mean of several joined by +, each with its share after @. The frames
are every second pair of CamVid's dev set; the photographs the last 20 of BSDS500 and the last 4 of Sun & Hays by name,
their middle 480 pixels, degraded by the generic prior, by bicubic and JPEG of 30 to 70, and by bicubic. Plain torch,
the picture as the generator makes it; half a minute a candidate on one core, eight for the large model: --every 3 takes
every third of these pictures.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.embedded import mean_weights
from benchmarks.evaluation_data import CAMERAS, SCALE, camvid_sets, find_shared, reduce_bicubic, reduce_generic
from ssg_hub.evaluation.methods import index_pictures, to_pixels
from ssg_hub.evaluation.metrics import LPIPS, psnr_y
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import load_model
from ssg_hub.training.losses import unevenness

HELD_OUT = {"bsds": 20, "sunhays": 4}
SIDE = 480
QUALITIES = (30, 40, 55, 70)
Pair = tuple[Tensor, Tensor]  # LR and HR, (1, 3, H, W) in [0, 1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.candidates", description=__doc__.partition("\n")[0])
    parser.add_argument("candidates", nargs="+", metavar="MODEL[@SHARE][+…]")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth picture, for a quick look")
    options, shared = parser.parse_args(), find_shared()
    lpips = LPIPS.from_files(shared / "weights/alexnet_features.safetensors").eval()
    sets = {name: list(pairs)[:: options.every] for name, pairs in all_sets(shared).items()}
    print("| LPIPS, PSNR-Y, mesh |", " | ".join(sets), "|\n|" + "---|" * (1 + len(sets)))
    print("| HR |", " | ".join(f"{np.mean([mesh(hr) for _, hr in pairs]):.1f}" for pairs in sets.values()), "|")
    for candidate in options.candidates:
        generator = load_mean(candidate)
        scores = (score(generator, pairs, lpips) for pairs in sets.values())
        cells = (f"{distance:.4f}, {psnr:.2f}, {uneven:.1f}" for distance, psnr, uneven in scores)
        print(f"| {candidate} |", " | ".join(cells), "|", flush=True)


def all_sets(shared: Path) -> dict[str, Iterator[Pair]]:
    sets: dict[str, Iterator[Pair]] = dict(zip(CAMERAS, map(frames, camvid_sets(shared, "dev")), strict=True))
    makers = {"generic prior": reduce_generic, "JPEG": reduce_jpeg, "bicubic": lambda hr, number: reduce_bicubic(hr)}
    return sets | {name: photographs(shared / "data/photos", make) for name, make in makers.items()}


def frames(pictures) -> Iterator[Pair]:
    hr = index_pictures(pictures.hr)
    for stem, path in list(index_pictures(pictures.lr).items())[::2]:
        yield to_tensor(to_pixels(read_picture(path))), to_tensor(to_pixels(read_picture(hr[stem])))


def photographs(folder: Path, make) -> Iterator[Pair]:
    paths = [path for name, count in HELD_OUT.items() for path in sorted((folder / name).iterdir())[-count:]]
    for number, path in enumerate(paths):
        hr = to_pixels(read_picture(path))
        height, width = (min(side, SIDE) // SCALE * SCALE for side in hr.shape[:2])
        top, left = (hr.shape[0] - height) // 2, (hr.shape[1] - width) // 2
        hr = np.ascontiguousarray(hr[top : top + height, left : left + width])
        yield to_tensor(np.asarray(make(hr, number), np.float32) / 255), to_tensor(hr)


def reduce_jpeg(hr: np.ndarray, number: int) -> Image.Image:
    buffer = io.BytesIO()
    reduce_bicubic(hr).save(buffer, "JPEG", quality=QUALITIES[number % len(QUALITIES)])
    return Image.open(buffer).convert("RGB")


def to_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None]


def load_mean(candidate: str) -> nn.Module:
    """The generator of a model, or the weighted mean of several."""
    parts = [part.partition("@") for part in candidate.split("+")]
    networks = [load_model(name).generator for name, _, _ in parts]
    networks[0].load_state_dict(mean_weights(networks, [float(share or 1) for _, _, share in parts]))
    return networks[0].eval()


@torch.inference_mode()
def score(generator: nn.Module, pairs: list[Pair], lpips: LPIPS) -> list[float]:
    """Mean LPIPS, PSNR-Y and mesh over the pairs, of 8-bit pictures."""
    found = []
    for lr, hr in pairs:
        sr = (generator(lr).clamp(0, 1) * 255).round() / 255
        found.append((lpips(sr, hr).item(), psnr_y(sr, hr).item(), mesh(sr)))
    return np.mean(found, 0).tolist()


def mesh(picture: Tensor) -> float:
    return 100 * unevenness(picture, SCALE).median().item()


if __name__ == "__main__":
    main()
