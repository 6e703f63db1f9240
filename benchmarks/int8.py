"""int8 for the embedded model: fitted, kept beside its weights where it passes, and checked on pictures it never saw.

    python -m benchmarks.int8 [--model FOLDER] [--sets dev val kodak]

Fitted to LR frames of both cameras and to photographs, with their references; `ssg quantize` decides what is kept. Then
the gates are measured on other pictures, for int8 and, where the CPU computes in it, for bfloat16, and the table goes
into docs/performance.md. Read the set "val" once for a table that is published.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import (
    SCALE,
    PictureSet,
    camvid_sets,
    find_shared,
    kodak_sets,
    reduce_bicubic,
    reduce_generic,
)
from ssg_hub.cli import main as ssg
from ssg_hub.evaluation.distances import find_distances
from ssg_hub.evaluation.methods import index_pictures, to_pixels
from ssg_hub.images.levels import to_8_bit
from ssg_hub.images.reading import read_picture
from ssg_hub.loading import EMBEDDED, load_networks
from ssg_hub.networks.int8 import Int8Compact
from ssg_hub.quantization.gates import compare
from ssg_hub.quantization.pictures import read_pictures
from ssg_hub.storage.finding import built_in_folder
from ssg_hub.upscaling.engines import compiled
from ssg_hub.upscaling.engines.openvino import EXAMPLES

PHOTOGRAPHS, MOST = 40, 8  # to fit to; of a set, to check on


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.int8", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default=EMBEDDED, metavar="FOLDER", help="default: the embedded one")
    parser.add_argument("--sets", nargs="+", choices=["dev", "val", "kodak"], default=["dev", "kodak"])
    options = parser.parse_args()
    shared = find_shared()
    with tempfile.TemporaryDirectory() as folder:
        kept = quantize(options.model, shared, Path(folder)) == 0
    generator = load_networks(options.model).generator
    sets = [
        one for part in options.sets for one in (kodak_sets(shared) if part == "kodak" else camvid_sets(shared, part))
    ]
    rows = [["pictures", "computed in", "dB from float32", "LPIPS moved by", "colour", "constants", "times as fast"]]
    lpips = find_distances(str(shared / "weights"))["lpips"]
    torch.set_grad_enabled(False)
    exact = compiled.compile_network(generator, torch.float32, EXAMPLES["generator"])
    for name, run in ways(generator):
        for one in sets:
            gates = compare(exact, run, generator.context, pick(one), lpips)
            rows.append([one.title, name, *(f"{gate.value:.2f}" for gate in gates)])
            rows[-1][3] = f"{gates[1].value:.4f}"
    answer = "is kept beside the weights" if kept else "passes for no choice of layers, and none is kept"
    text = (
        f"int8 {answer}. {MOST} pictures a set, with their references; constants in grey levels of 255; the speed is "
        f"against float32 in OpenVINO. On: {describe_machine()}. By: `python -m benchmarks.int8`."
    )
    section = f"{text}\n\n{markdown_table(rows)}"
    print(section)
    write_section("int8", section, ROOT / "docs" / "performance.md")


def quantize(model: str, shared: Path, folder: Path) -> int:
    """Run the command on frames of both cameras and on photographs, in two kinds of LR."""
    camvid, hr = shared / "data/camvid", folder / "hr"
    photographs = list(index_pictures(shared / "data/photos/bsds").values())
    for place in ("hr", "lr"):
        (folder / place).mkdir()
    for number, path in enumerate(photographs[:: len(photographs) // PHOTOGRAPHS]):
        pixels = to_pixels(read_picture(path))
        height, width = (side - side % SCALE for side in pixels.shape[:2])
        pixels = pixels[:height, :width]
        Image.fromarray(to_8_bit(pixels)).save(hr / f"{number}.png")
        (reduce_bicubic(pixels) if number % 2 else reduce_generic(pixels, number)).save(folder / "lr" / f"{number}.png")
    frames = [camvid / "target_lr" / camera for camera in ("noisy", "phone")]
    references = ["--references", camvid / "train/images", hr]
    command = ["quantize", model, "--calibrate", *frames, folder / "lr", *references, "--lpips", shared / "weights"]
    command += ["-o", built_in_folder(model) or model]
    return ssg([str(word) for word in command])


def ways(generator: nn.Module) -> Iterator[tuple[str, Callable]]:
    """What is compared with float32, by name."""
    int8 = getattr(generator, "int8", None)
    if int8 is not None and int8.fits(generator):
        layers = f"int8, {int8.facts['layers']} of {len(int8.layers)} layers"
        yield layers, compiled.compile_network(Int8Compact(generator, int8), torch.float32, EXAMPLES["generator"])
    if compiled.has_bfloat16():
        yield "bfloat16", compiled.compile_network(generator, torch.bfloat16, EXAMPLES["generator"])


def pick(one: PictureSet):
    """Some pictures of a set, with their references."""
    paths = list(index_pictures(one.lr).values())
    return read_pictures(paths[:: -(-len(paths) // MOST)], [one.hr], SCALE)


if __name__ == "__main__":
    main()
