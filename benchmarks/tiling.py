"""Measure tiling: how tiled and untiled output differ, whether seams show, and the memory that a large picture takes.

    python -m benchmarks.tiling [--model FOLDER_OR_HUB_ID]

Prints two tables and writes them into docs/results.md.

Seam figure: how much steeper the picture is across the places where tiles join than along everything else, in the
tiled output relative to the untiled; 1.000 means that nothing shows. Memory: two processes each, one that
upscales a picture of a single tile (the model's own need) and one that upscales the picture; the difference of their
peak resident sets, by the pixels of the result. It holds the input, the result, mask, drift, and all strips between
tiles. A small random generator and guide and small tiles are used for it, because their own need hides the least.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.document import describe_machine, markdown_table, write_section
from ssg_hub.images.reading import Picture, write_picture
from ssg_hub.model import SSGModel
from ssg_hub.networks.guide import Guide
from ssg_hub.networks.registry import build_generator
from ssg_hub.plain_model import PlainModel
from ssg_hub.upscaling.tiling import Span, plan_grid
from ssg_hub.upscaling.upscale import upscale

SIZES = ((160, 120), (240, 180), (320, 240))
TILE = 128
MEGAPIXELS = (1, 4, 16)
MEMORY_TILE = 64  # small, so that the model's own need does not hide what the picture takes
CLASSES = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="a saved model or Hub id for the seams; default: the embedded checkpoint")
    parser.add_argument("--child", nargs=2, type=int, metavar=("SIDE", "BITS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(peak_of(*arguments.child))
        return
    model = SSGModel.from_pretrained(arguments.model)
    name = f"`{arguments.model}`" if arguments.model else "the embedded checkpoint"
    seams = markdown_table(seam_rows(model))
    measured = measure_memory()
    memory = f"{markdown_table(memory_rows(measured))}\n\n{growth(measured)}"
    text = (
        f"On: {describe_machine()}. By: `python -m benchmarks.tiling`.\n\n"
        f"Tiled (at most {TILE} LR pixels a side) against untiled, {name}; differences in grey levels of 255, "
        f"ratio of gradients across the joins:\n\n{seams}\n\n"
        f"Peak memory above the model's own need, tiles of at most {MEMORY_TILE} LR pixels a side, a small generator "
        f"and a guide of {CLASSES} classes:\n\n{memory}"
    )
    print(text)
    write_section("tiling", f"## Tiles: seams and memory\n\n{text}")


def small_model() -> PlainModel:
    """A generator and a guide with random weights, the same at every call."""
    torch.manual_seed(0)
    generator = build_generator("rrdb", {"features": 16, "blocks": 1, "growth": 8})
    with torch.no_grad():
        generator.conv_last.bias += 0.5
    guide = Guide(
        {
            "model_type": "segformer",
            "id2label": {i: f"class {i}" for i in range(CLASSES)},
            "num_encoder_blocks": 2,
            "depths": [1, 1],
            "sr_ratios": [8, 4],
            "hidden_sizes": [16, 32],
            "patch_sizes": [7, 3],
            "strides": [4, 2],
            "num_attention_heads": [1, 2],
            "mlp_ratios": [2, 2],
            "decoder_hidden_size": 32,
        }
    )
    return PlainModel({}, generator.eval(), make_guide=lambda: guide.eval())


def seam_rows(model: SSGModel) -> list[list[str]]:
    rows = [["LR", "tiles", "max difference", "99.9 %", "mean", "seam figure"]]
    for size in SIZES:
        lr = photograph(size)
        whole, tiled = (upscale(model, lr, tile=tile, segment=False) for tile in (None, TILE))
        before, after = (np.asarray(result.image).astype(np.float32) for result in (whole, tiled))
        difference = np.abs(after - before)
        grid = plan_grid(size[1], size[0], TILE)
        scale = model.generator.scale
        figure = steepness(after, grid, scale) / steepness(before, grid, scale)
        row = [f"{size[0]}x{size[1]}", str(len(grid)), f"{difference.max():.0f}"]
        row += [f"{np.percentile(difference, 99.9):.1f}", f"{difference.mean():.4f}", f"{figure:.4f}"]
        rows.append(row)
    return rows


def photograph(size: tuple[int, int]) -> Image.Image:
    """A photograph that comes with scikit-image, as LR of this size."""
    from skimage import data

    return Image.fromarray(data.coffee()).resize(size, Image.Resampling.BICUBIC)


def steepness(image: np.ndarray, grid, scale: int) -> float:
    """Mean absolute gradient where tiles join, across the join, by the mean of the same gradient elsewhere."""
    inside, outside = [], []
    for axis, spans in ((0, grid.rows), (1, grid.columns)):
        gradient = np.abs(np.diff(image, axis=axis)).mean((1 - axis, 2))
        joins = np.zeros(len(gradient), bool)
        for start, stop in shared(spans):
            joins[start * scale : stop * scale] = True
        inside.append(gradient[joins])
        outside.append(gradient[~joins])
    return float(np.concatenate(inside).mean() / np.concatenate(outside).mean())


def shared(spans: list[Span]) -> list[Span]:
    """The stretches that two neighbouring tiles share."""
    return [(after[0], before[1]) for before, after in pairwise(spans)]


def lr_side(megapixels: int) -> int:
    """Side of the square LR picture whose result has so many megapixels."""
    return round(1000 * megapixels**0.5 / 4)


def measure_memory() -> dict[tuple[int, int], tuple[int, int]]:
    """(megapixels, bits) -> the model's own need and the peak, in bytes."""
    cases = [(megapixels, bits) for megapixels in MEGAPIXELS for bits in (8, 16)]
    return {(mp, bits): (measure(MEMORY_TILE, bits), measure(lr_side(mp), bits)) for mp, bits in cases}


def memory_rows(measured: dict[tuple[int, int], tuple[int, int]]) -> list[list[str]]:
    rows = [["result", "depth", "tiles", "model's own need", "peak", "above, bytes per output pixel"]]
    for (megapixels, bits), (need, peak) in measured.items():
        side = lr_side(megapixels)
        tiles = len(plan_grid(side, side, MEMORY_TILE))
        row = [f"{4 * side}x{4 * side}", f"{bits} bit", str(tiles), f"{need / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB"]
        rows.append([*row, f"{(peak - need) / (4 * side) ** 2:.1f}"])
    return rows


def growth(measured: dict[tuple[int, int], tuple[int, int]]) -> str:
    """By how much the peak grows from the smallest result to the largest."""
    first, last = MEGAPIXELS[0], MEGAPIXELS[-1]
    each = {bits: (measured[last, bits][1] - measured[first, bits][1]) / (last - first) / 1e6 for bits in (8, 16)}
    return (
        f"From {first} to {last} megapixels the peak grows by {each[8]:.1f} bytes per output pixel at 8 bit and by "
        f"{each[16]:.1f} at 16 bit; the rest, some megabytes, is the same for every size."
    )


def measure(side: int, bits: int) -> int:
    """Peak resident set, in bytes, of a process of its own, whose allocator returns at once what is freed."""
    command = [sys.executable, "-m", "benchmarks.tiling", "--child", str(side), str(bits)]
    frank = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "65536"}
    frank |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **frank})
    return int(done.stdout)


def peak_of(side: int, bits: int) -> int:
    """In the child: upscale a picture of `side` LR pixels and return this process' peak resident set in bytes."""
    model = small_model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lr.png"
        write_noise(path, side, bits)
        upscale(model, path, tile=MEMORY_TILE)
    return peak_resident()


def peak_resident() -> int:
    """This program's peak in bytes. On Linux not from getrusage: that counts what ran in the process before, too."""
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def write_noise(path: Path, side: int, bits: int) -> None:
    values = np.random.default_rng(0).integers(0, 2**bits, (side, side, 3), dtype=f"u{bits // 8}")
    write_picture(Picture(values), path)


if __name__ == "__main__":
    main()
