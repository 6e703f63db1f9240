"""Speed and size of everything, on a quiet machine, into docs/performance.md.

    pip install ncnn
    python -m benchmarks.performance [--rounds 7] [--only engines start batch sizes] [--quick]

Engines and peers run the same weights on the same tile, one after the other in each round; figures are medians. Eager
torch is how spandrel and most programs run these networks. `--quick` tries every part in a minute or two; its figures
mean nothing and are not written.
"""

import argparse
from pathlib import Path

import torch

from benchmarks.document import ROOT, describe_machine, markdown_table, write_section
from benchmarks.evaluation_data import find_shared
from benchmarks.performance.command import measure_batch, measure_sizes, measure_start
from benchmarks.performance.engines import SIZE, count_operations, measure_ceiling, measure_engines
from benchmarks.performance.plots import plot_engines, plot_sizes
from ssg_hub.loading import load_networks
from ssg_hub.networks.registry import build_generator

DOCUMENT = ROOT / "docs" / "performance.md"
PARTS = ("engines", "start", "batch", "sizes")
MEGAPIXELS = [0.1, 0.4, 1, 4, 16, 64, 256]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="at least 5 for figures to publish (default 7)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--model", default="embedded", help="for the command's parts (default: embedded)")
    parser.add_argument("--quick", action="store_true", help="try everything, write nothing")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rounds = 1
    write = print if arguments.quick else _write
    for part in arguments.only:
        write(part, globals()[f"report_{part}"](arguments))


def report_engines(arguments: argparse.Namespace) -> str:
    """Tables and a plot for the light network and for the large one."""
    ceiling = measure_ceiling(5 * arguments.rounds)
    texts, plots = [], {}
    for title, generator in _generators(arguments.quick).items():
        work = count_operations(generator)
        found = measure_engines(generator, arguments.rounds, everything=not arguments.quick)
        rows = [["engine", "seconds", "start, s", "of the ceiling", "largest difference from eager"]]
        for name, entry in found.items():
            if "failed" in entry:
                rows.append([name, f"did not run ({entry['failed']})", "", "", ""])
                continue
            share = "" if "bfloat16" in name else f"{work / entry['seconds'] / ceiling:.0%}"
            row = [name, f"{entry['seconds']:.3f}", f"{entry['start']:.1f}", share, f"{entry['difference']:.1e}"]
            rows.append(row)
        plots[title] = {name: entry["seconds"] for name, entry in found.items() if "seconds" in entry}
        texts.append(f"### {title}\n\n{work / 1e9:.0f} GFLOP for {SIZE[1]}x{SIZE[0]}.\n\n{markdown_table(rows)}")
    picture = "" if arguments.quick else f"\n\n![Seconds by engine](images/{plot_engines(plots).name})"
    intro = (
        f"{_conditions(arguments)} The network alone on one LR tile of {SIZE[1]}x{SIZE[0]}; medians of "
        f"{arguments.rounds} interleaved rounds. *Start* is what comes before the first tile (conversion and "
        f"compilation; ours is kept on the disk for the next time). The ceiling, {ceiling / 1e9:.0f} GFLOP/s, is the "
        "most that a large float32 3x3 convolution reaches here."
    )
    return f"## Engines and peers\n\n{intro}{picture}\n\n" + "\n\n".join(texts)


def report_start(arguments: argparse.Namespace) -> str:
    """CPU time of one small picture, process start included."""
    took = measure_start(arguments.model, arguments.rounds)
    rows = [["process", "CPU seconds", "in units of `import torch`"]]
    rows += [[name, f"{value:.2f}", f"{value / took['import torch']:.2f}"] for name, value in took.items()]
    text = f"{_conditions(arguments)} `ssg upscale` of one picture of 120x90, medians of {arguments.rounds} runs."
    return f"## One small picture, process start included\n\n{text}\n\n{markdown_table(rows)}"


def report_batch(arguments: argparse.Namespace) -> str:
    """A hundred pictures."""
    count = 8 if arguments.quick else 100
    rates = measure_batch(arguments.model, min(arguments.rounds, 5), count)
    rows = [["", "pictures a second"], *([name, f"{rate:.2f}"] for name, rate in rates.items())]
    text = f"{_conditions(arguments)} {count} pictures of 160x120 by one command, start included."
    return f"## Many pictures\n\n{text}\n\n{markdown_table(rows)}"


def report_sizes(arguments: argparse.Namespace) -> str:
    """Memory and cost against the size of the result."""
    sizes = MEGAPIXELS[:3] if arguments.quick else MEGAPIXELS
    found = measure_sizes(arguments.model, sizes)
    rows = [["result, megapixels", "seconds", "seconds per megapixel", "peak above torch, MB"]]
    for row in found:
        cost = row["seconds"] / row["megapixels"]
        rows.append([f"{row['megapixels']:g}", f"{row['seconds']:.1f}", f"{cost:.2f}", f"{row['bytes'] / 1e6:.0f}"])
    picture = "" if arguments.quick else f"\n\n![Memory and cost by size](images/{plot_sizes(found).name})"
    text = f"{_conditions(arguments)} `ssg upscale big.tif -o bigger.tif`, start included; one run each."
    return f"## Memory and cost by size\n\n{text}\n\n{markdown_table(rows)}{picture}"


def _generators(quick: bool) -> dict[str, torch.nn.Module]:
    weights = find_shared() / "weights/realesr_general_wdn_x4v3_fp16.safetensors"
    light = load_networks(weights).generator
    torch.manual_seed(0)
    large = build_generator("rrdb", {"blocks": 1 if quick else 23}).eval()  # its speed does not depend on its weights
    return {"SRVGGNetCompact 64x32 (realesr-general-x4v3)": light, "RRDBNet 64x23 (Real-ESRGAN x4plus)": large}


def _conditions(arguments: argparse.Namespace) -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX-VNNI", "amx_tile": "AMX", "avx512_bf16": "AVX-512 BF16"}
    has = [title for flag, title in names.items() if f" {flag}" in flags]
    features = ", ".join(has) or "neither VNNI nor AMX"
    return (
        f"On: {describe_machine()}, {torch.get_num_threads()} threads; {features}. "
        f"By: `python -m benchmarks.performance`. Model: `{arguments.model}`."
    )


def _write(part: str, text: str) -> None:
    print(text)
    if not DOCUMENT.exists():
        DOCUMENT.write_text("# Performance\n", encoding="utf-8")
    write_section(f"performance {part}", text, DOCUMENT)


if __name__ == "__main__":
    main()
