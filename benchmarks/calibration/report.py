"""Say how well a calibration holds on cameras and frames that were not used for it; writes docs/calibration.md."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed

import matplotlib.pyplot as plt
import numpy as np
import torch

from benchmarks.calibration.calibrating import calibration_error, count_levels, reliability, risk_curves
from benchmarks.calibration.frames import Labelled, for_report, open_lr
from benchmarks.document import ROOT, markdown_table, write_section
from ssg_hub.errors import SSGError
from ssg_hub.evaluation.segmentation_metrics import drift_auroc
from ssg_hub.loading import EMBEDDED, LARGE, load_model

SHOWN = (0.05, 0.1, 0.2)
MOST_ERROR, MARGIN = 0.05, 0.02  # the aims: ECE, and how far a risk may lie above its alpha
METHODS = {"calibrated": "calibrated", "drift": "plain drift", "confidence": "plain confidence"}
DOCUMENT = ROOT / "docs/calibration.md"


def add_options(parser) -> None:
    parser.add_argument("--model", default=EMBEDDED, choices=(EMBEDDED, LARGE))
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth frame, for a quick look")


def run(options) -> None:
    calibrated, plain = load_model(options.model), load_model(options.model)
    if calibrated.calibration is None:
        raise SystemExit(f"{options.model} has no calibration. Run `python -m benchmarks.calibration fit` first.")
    plain.set_calibration(None)
    found: dict[str, list[dict]] = {}
    for picture in for_report(options.every):
        found.setdefault(picture.kind, []).append(measure(calibrated, plain, picture))
    text = tables(found)
    print(text)
    if options.every == 1:
        write_section(f"report {options.model}", text, DOCUMENT)
        draw(found, ROOT / f"docs/images/calibration-{options.model}.png")


def measure(calibrated, plain, picture: Labelled) -> dict:
    """Of one picture: histograms by method, and what was trusted at each risk (share of the picture, share wrong)."""
    options = {"tile": None, "uncertain_below": 0.0, "engine": "torch"}
    result, before = calibrated.upscale(open_lr(picture), **options), plain.upscale(open_lr(picture), **options)
    wrong, valid = np.asarray(result.mask) != picture.labels, picture.valid
    maps = {"calibrated": result.drift, "drift": before.drift}
    histograms = {name: count_levels(np.asarray(image), wrong, valid) for name, image in maps.items()}
    histograms["confidence"] = count_levels(255 - np.asarray(result.confidence), wrong, valid)
    trusted = {}
    for alpha in SHOWN:
        try:
            region = result.trust(alpha) & valid
        except SSGError:  # a risk that the fit could not promise
            continue
        trusted[alpha] = (region.sum() / valid.sum(), (wrong & region).sum() / max(1, region.sum()))
    return {"histograms": histograms, "trusted": trusted}


def tables(found: dict[str, list[dict]]) -> str:
    """ECE and AUROC by camera, then the regions that are trusted."""
    missed = []
    rows = [["camera", "pictures", "wrong pixels", "ECE ↓", *(f"AUROC ↑, {title}" for title in METHODS.values())]]
    regions = [["camera", *(f"α = {alpha:g}: wrong / trusted" for alpha in SHOWN)]]
    for camera, pictures in found.items():
        sums = {name: _sum(pictures, name) for name in METHODS}
        share = sums["calibrated"][1].sum() / sums["calibrated"].sum()
        aurocs = (f"{drift_auroc(torch.from_numpy(sums[name])):.3f}" for name in METHODS)
        error = calibration_error(sums["calibrated"])
        rows.append([camera, str(len(pictures)), f"{share:.1%}", f"{error:.3f}", *aurocs])
        regions.append([camera, *(_show(_region(pictures, alpha)) for alpha in SHOWN)])
        missed += [f"ECE on {camera}, {error:.3f}"] * (error > MOST_ERROR)
        for alpha in SHOWN:
            region = _region(pictures, alpha)
            if region and region[1] > alpha + MARGIN:
                missed.append(f"the risk at {alpha:g} on {camera}, {region[1]:.3f}")
    aims = f"Aims: ECE of {MOST_ERROR:g} at most, risks of at most alpha + {MARGIN:g}. "
    aims += f"Missed: {'; '.join(missed) or 'none'}."
    return f"{markdown_table(rows)}\n\n{markdown_table(regions)}\n\n{aims}"


def draw(found: dict[str, list[dict]], path: Path) -> None:
    """Reliability diagram, and risk against coverage for the three methods, all cameras together."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    left.plot([0, 1], [0, 1], color="gray", linewidth=1)
    for camera, pictures in found.items():
        means, shares, _ = zip(*reliability(_sum(pictures, "calibrated")), strict=True)
        left.plot(means, shares, marker="o", markersize=4, label=camera)
    left.set(xlabel="probability in the map", ylabel="share of wrong pixels", title="Reliability")
    left.legend()
    everything = [picture for pictures in found.values() for picture in pictures]
    for name, title in METHODS.items():
        histograms = np.stack([picture["histograms"][name] for picture in everything])
        covered = (histograms.sum(1).cumsum(-1) / histograms.sum((1, 2))[:, None]).mean(0)
        right.plot(covered, risk_curves(histograms).mean(0), label=title)
    right.set(xlabel="share of the picture that is kept", ylabel="share of it that is wrong", title="Risk and coverage")
    right.legend()
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=100)


def _sum(pictures: list[dict], name: str) -> np.ndarray:
    return np.sum([picture["histograms"][name] for picture in pictures], axis=0)


def _region(pictures: list[dict], alpha: float) -> tuple[float, float] | None:
    """Means over the pictures: share that is trusted, and share of it that is wrong; None for an unknown risk."""
    known = [picture["trusted"][alpha] for picture in pictures if alpha in picture["trusted"]]
    return tuple(np.mean(known, axis=0)) if known else None


def _show(region: tuple[float, float] | None) -> str:
    return "–" if region is None else f"{region[1]:.3f} / {region[0]:.0%}"
