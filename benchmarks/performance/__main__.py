"""Speed and size of everything, on a quiet machine, into docs/performance.md.

    pip install ncnn
    python -m benchmarks.performance [--rounds 5] [--only engines start batch sizes page] [--quick]

Engines and peers run the same weights on the same tile, one after the other in each round; figures are medians. Eager
torch is how spandrel and most programs run these networks. `--quick` tries every part in a few minutes; its figures
mean nothing and are not written.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import find_shared
from benchmarks.peers import weights_file
from benchmarks.performance.batch import SIZE as BATCH_SIZE
from benchmarks.performance.batch import measure_batch, measure_kills
from benchmarks.performance.command import SMALL, measure_sizes, measure_start, save_shallow
from benchmarks.performance.engines import Size, count_operations, measure_ceiling, measure_engines
from benchmarks.performance.page import FIRST, measure_page
from benchmarks.performance.plots import plot_engines, plot_sizes
from ssg_hub.loading import load_networks
from ssg_hub.networks.registry import build_generator

DOCUMENT = ROOT / "docs" / "performance.md"
PARTS = ("engines", "start", "batch", "sizes", "page")
COST, MEMORY = [0.1, 0.4, 1, 4, 16, 64], [16, 64, 256]  # megapixels of the result
WAYS = {  # of upscaling, for memory: the widest result in pixels, its file, and options
    "in memory": (None, "result.jpg"),
    "streamed": (None, "result.tif", "--stream"),
    "streamed, at most 8,000 wide": (8000, "result.tif", "--stream"),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="at least 5 for figures to publish (default 5)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--model", default="embedded", help="a compact one (default: embedded)")
    parser.add_argument("--quick", action="store_true", help="try everything, write nothing")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = 1
    for part in arguments.only:
        began = time.monotonic()
        text = globals()[f"report_{part}"](arguments)
        print(f"{text}\n\n{part} took {time.monotonic() - began:.0f} s\n", flush=True)
        if not arguments.quick:
            write_section(f"performance {part}", text, DOCUMENT)


def report_engines(arguments: argparse.Namespace) -> str:
    """Tables and a plot for the light network and for the large one."""
    ceiling = measure_ceiling(5 * arguments.rounds)
    texts, plots = [], {}
    for title, (generator, size, compile) in _generators(arguments).items():
        work = count_operations(generator, size)
        found = measure_engines(generator, size, arguments.rounds, compile)
        rows = [["engine", "seconds", "times as fast as ncnn", "of the ceiling", "start, s", "furthest from eager"]]
        ncnn = found["ncnn"].get("seconds")
        for name, entry in found.items():
            if "failed" in entry:
                rows.append([name, f"did not run ({entry['failed']})", "", "", "", ""])
                continue
            share = f"{work / entry['seconds'] / ceiling:.0%}" if "int8" not in name and "bfloat16" not in name else ""
            times = f"{ncnn / entry['seconds']:.2f}" if ncnn else ""
            start, difference = f"{entry['start']:.1f}", f"{entry['difference']:.1e}"
            rows.append([name, f"{entry['seconds']:.3f}", times, share, start, difference])
        plots[f"{title}, {size[1]}x{size[0]}"] = {
            name: entry["seconds"] for name, entry in found.items() if "seconds" in entry
        }
        texts.append(f"### {title}\n\n{size[1]}x{size[0]}: {work / 1e9:.0f} GFLOP.\n\n{markdown_table(rows)}")
    picture = "" if arguments.quick else f"\n\n![Seconds by engine](images/{plot_engines(plots).name})"
    intro = (
        f"{_conditions(arguments)} The network alone on one LR tile; medians of {arguments.rounds} interleaved rounds. "
        "*Start* is what comes before the first tile (conversion and compilation; ours is kept on the disk for the "
        f"next time). The ceiling, {ceiling / 1e9:.0f} GFLOP/s, is the most that a large float32 3x3 convolution "
        "reaches here. *Furthest* is the largest difference from eager torch, of 1."
    )
    return f"## Engines and peers\n\n{intro}{picture}\n\n" + "\n\n".join(texts)


def report_start(arguments: argparse.Namespace) -> str:
    """CPU time of one small picture, process start included."""
    took = measure_start(arguments.model, arguments.rounds)
    torch_alone, network = took["import torch"], took.pop("network")
    rows = [["process", "CPU seconds", "in units of `import torch`"]]
    rows += [[name, f"{value:.2f}", f"{value / torch_alone:.2f}"] for name, value in took.items()]
    above = (took["picture"] - network) / torch_alone
    text = (
        f"{_conditions(arguments)} `ssg upscale` of one picture of {SMALL[0]}x{SMALL[1]}, medians of "
        f"{arguments.rounds} runs. The network itself takes {network:.2f} s of it (what each further picture takes): "
        f"without it, one picture costs {above:.2f} times `import torch`."
    )
    return f"## One small picture, process start included\n\n{text}\n\n{markdown_table(rows)}"


def report_batch(arguments: argparse.Namespace) -> str:
    """A hundred pictures, and a batch that is killed."""
    count = 16 if arguments.quick else 100
    rates = measure_batch(arguments.model, min(arguments.rounds, 3), count)
    rows = [["", "pictures a second"], *([name, f"{rate:.2f}"] for name, rate in rates.items())]
    one, two = rates.values()
    kills = measure_kills(arguments.model, count)
    text = (
        f"{_conditions(arguments)} {count} pictures of {BATCH_SIZE[0]}x{BATCH_SIZE[1]} by one command, start included. "
        f"Two processes reach {two / one:.2f} of the throughput of one.\n\n"
        "Two processes share a folder; one is killed (SIGKILL), the same command starts again, the other is killed, "
        f"and it starts once more: of {kills['pictures']} pictures {kills['whole']} are there and whole, "
        f"{kills['recorded']} have exactly one line in the manifest, and {kills['redone']} that were there at a kill "
        "were made again."
    )
    return f"## Many pictures\n\n{text}\n\n{markdown_table(rows)}"


def report_sizes(arguments: argparse.Namespace) -> str:
    """Memory and cost against the size of the result."""
    cost = measure_sizes(arguments.model, COST[:3] if arguments.quick else COST, None, "result.tif")
    with tempfile.TemporaryDirectory() as folder:
        model = str(save_shallow(Path(folder)))
        sizes = [1, 4] if arguments.quick else MEMORY
        memory = {way: measure_sizes(model, sizes, *how) for way, how in WAYS.items()}
    rows = [["result, megapixels", "seconds", "seconds per megapixel", "peak above torch, MB"]]
    for row in cost:
        each = row["seconds"] / row["megapixels"]
        rows.append([f"{row['megapixels']:g}", f"{row['seconds']:.1f}", f"{each:.2f}", f"{row['bytes'] / 1e6:.0f}"])
    peaks = [["result, megapixels", *(f"{way}, MB" for way in memory)]]
    for number, size in enumerate(sizes):
        peaks.append([f"{size:g}", *(f"{found[number]['bytes'] / 1e6:.0f}" for found in memory.values())])
    picture = "" if arguments.quick else f"\n\n![Memory and cost by size](images/{plot_sizes(cost, memory).name})"
    return (
        f"## Memory and cost by size\n\n{_conditions(arguments)} `ssg upscale big.tif -o bigger.tif`, start included; "
        "one run each, of square pictures where nothing else is said.\n\n"
        f"{markdown_table(rows)}\n\n"
        "Peak memory above an interpreter with torch, to a .jpg in memory and with `--stream` to a .tif; by a network "
        "as wide as SRVGGNetCompact 64x32 but with 1 hidden layer, because memory does not depend on their number and "
        "time does:\n\n"
        f"{markdown_table(peaks)}{picture}"
    )


def report_page(arguments: argparse.Namespace) -> str:
    """The page's start and its first result."""
    took = measure_page(arguments.rounds, (160, 120) if arguments.quick else FIRST)
    rows = [["", "seconds"], *([name, f"{seconds:.1f}"] for name, seconds in took.items())]
    text = (
        f"{_conditions(arguments)} x4 with mask and drift, upload included, over HTTP; medians of {arguments.rounds}."
    )
    return f"## The page\n\n{text}\n\n{markdown_table(rows)}"


def _generators(arguments: argparse.Namespace) -> dict[str, tuple[torch.nn.Module, Size, bool]]:
    """By title: the network, the size of its tile, and whether torch.compile is tried."""
    light = load_networks(arguments.model).generator
    weights = weights_file("x4plus", find_shared())
    if arguments.quick:
        large = build_generator("rrdb", {"blocks": 1}).eval()
    elif weights.is_file():
        large = load_networks(weights).generator
    else:
        torch.manual_seed(0)
        large = build_generator("rrdb", {}).eval()  # its speed does not depend on its weights
    light_size, large_size = ((48, 64), (24, 32)) if arguments.quick else ((240, 320), (120, 160))
    return {
        f"SRVGGNetCompact 64x32 ({arguments.model})": (light, light_size, not arguments.quick),
        "RRDBNet 64x23 (Real-ESRGAN x4plus)": (large, large_size, False),
    }


def _conditions(arguments: argparse.Namespace) -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_tile": "AMX", "avx512_bf16": "AVX-512 BF16"}
    has = [title for flag, title in names.items() if f" {flag}" in flags]
    features = ", ".join(has) or "neither VNNI nor AMX"
    return (
        f"On: {describe_machine()}, {torch.get_num_threads()} threads; {features}. "
        f"By: `python -m benchmarks.performance`. Model: `{arguments.model}`."
    )


if __name__ == "__main__":
    main()
