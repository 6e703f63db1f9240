"""The plots of docs/performance.md."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed

import matplotlib.pyplot as plt

from benchmarks.document import ROOT

IMAGES = ROOT / "docs" / "images"


def plot_engines(networks: dict[str, dict[str, float]]) -> Path:
    """Bars of seconds by engine, one panel a network."""
    figure, panels = plt.subplots(1, len(networks), figsize=(11, 3.2), layout="constrained")
    for panel, (title, seconds) in zip(panels, networks.items(), strict=True):
        names = list(seconds)[::-1]
        colors = ["#2563eb" if "our" in name else "#9ca3af" for name in names]
        bars = panel.barh([name.partition(" (")[0] for name in names], [seconds[name] for name in names], color=colors)
        panel.bar_label(bars, fmt="%.2f", padding=3)
        panel.set(title=title.partition(" (")[0], xlabel=f"seconds for {title.rpartition(', ')[2]}")
        panel.margins(x=0.15)
        panel.spines[["top", "right"]].set_visible(False)
    return _save(figure, "performance_engines")


def plot_sizes(rows: list[dict], ways: dict[str, list[dict]]) -> Path:
    """Memory, by way of upscaling, and cost against megapixels of the result."""
    figure, (memory, cost) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    sizes = [row["megapixels"] for row in rows]
    for (way, found), color in zip(ways.items(), ("#9ca3af", "#2563eb", "#16a34a"), strict=True):
        values = [row["bytes"] / 1e6 for row in found]
        memory.plot([row["megapixels"] for row in found], values, "o-", color=color, label=way)
    memory.legend(frameon=False)
    memory.set(title="Peak memory above torch", ylabel="MB", ylim=(0, None))
    cost.plot(sizes, [row["seconds"] / row["megapixels"] for row in rows], "o-", color="#2563eb")
    cost.set(title="Cost, start included", ylabel="seconds per megapixel", ylim=(0, None))
    for panel in (memory, cost):
        panel.set(xscale="log", xlabel="megapixels of the result")
        panel.spines[["top", "right"]].set_visible(False)
    return _save(figure, "performance_sizes")


def _save(figure, name: str) -> Path:
    path = IMAGES / f"{name}.webp"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path
