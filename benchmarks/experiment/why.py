"""What explains the experiment's outcome: the mixtures of bank and prior, the gradient of each loss, the guides."""

import json

import numpy as np

from benchmarks.curves import Curve
from benchmarks.document import markdown_table
from benchmarks.experiment.protocol import ROWS, TITLES, UNTRAINED, guides_file
from benchmarks.experiment.rows import GRADIENT, Scored, with_interval
from ssg_hub.evaluation.figures import HEADINGS

MIXTURES = {  # share of the bank in the source pairs -> the row without guide, with guide
    "0": ("generic", "generic-guide"),
    "¼": ("mixed25", "mixed25-guide"),
    "½": ("mixed", "mixed-guide"),
    "¾": ("mixed75", "mixed75-guide"),
    "1": ("bank", "ssg"),
}
SEED = "0"  # of the mixtures and of the gradients, of which some rows have no other
LOSSES = {
    "l1": "L1",
    "lpips": "LPIPS",
    "adversarial": "adversarial",
    "guide": "guide",
    "consistency": "consistency",
}
PARTS = 3  # of the training, in which the shares are averaged
ENLARGED = {
    "target LR": "the target's LR, enlarged bicubically (148 frames)",
    "interpolation": "dev's LR, enlarged bicubically (21 frames)",
}


def build_why(rows: dict[str, Scored], camera: str, steps: int) -> str:
    """The section, of what has been measured; empty where nothing has."""
    parts = [mixture_text(rows, camera), gradient_text(rows), guides_text(camera, steps)]
    parts = [part for part in parts if part]
    return "\n\n".join(["### Why", *parts]) if parts else ""


def mixture_text(rows: dict[str, Scored], camera: str) -> str:
    """mIoU and LPIPS by the bank's share, without and with the guide; empty with fewer than two rows of a kind."""
    table = [
        [
            "share of the bank",
            *(f"{HEADINGS[figure]}, {kind} guide" for kind in ("no", "with") for figure in ("miou", "lpips")),
        ]
    ]
    found = {name: seed for name, row in rows.items() if (seed := row.seed(SEED))}
    for share, pair in MIXTURES.items():
        cells = [mixture_cell(found.get(name), figure, camera) for name in pair for figure in ("miou", "lpips")]
        table.append([share, *cells])
    if max(sum(pair[kind] in found for pair in MIXTURES.values()) for kind in (0, 1)) < 2:
        return ""
    return f"By the share of the bank in generic (seed {SEED}):\n\n{markdown_table(table)}"


def mixture_cell(row: Scored | None, figure: str, camera: str) -> str:
    if row is None:
        return "missing"
    return with_interval(row, figure) + (" **diverged**" if row.diverged(camera) else "")


def gradient_shares(curves: dict[str, Curve]) -> dict[str, Curve]:
    """The share of each loss in the gradient at the last layer, in per cent, at each step that has all of them.

    Norms are added up, whatever the directions.
    """
    norms = {tag.removeprefix(GRADIENT): dict(curve) for tag, curve in curves.items() if tag.startswith(GRADIENT)}
    if not norms:
        return {}
    steps = sorted(set.intersection(*(set(curve) for curve in norms.values())))
    sums = {step: sum(curve[step] for curve in norms.values()) for step in steps}
    return {
        name: [(step, 100 * curve[step] / sums[step]) for step in steps if sums[step]] for name, curve in norms.items()
    }


def gradient_text(rows: dict[str, Scored]) -> str:
    """A line per trained row: each loss's share in the parts of the training, one after the other."""
    table = [["row", *LOSSES.values()]]
    for name, row in rows.items():
        shares = gradient_shares(row.curves.get(SEED, {})) if name in ROWS else {}
        if shares:
            table.append([TITLES[name], *(describe_share(shares.get(loss, [])) for loss in LOSSES)])
    if len(table) == 1:
        return ""
    return (
        "Share of each loss in the gradient at the generator's last layer, in per cent of the sum of the norms "
        f"(seed {SEED}); in the first, second and last third of the training:\n\n{markdown_table(table)}"
    )


def describe_share(curve: Curve) -> str:
    parts = np.array_split([value for _, value in curve], PARTS)
    return " · ".join(f"{part.mean():.0f}" for part in parts if len(part)) or "–"


def guides_text(camera: str, steps: int) -> str:
    """mIoU of both guides on enlarged LR and on each row's SR of dev, from the file that `guides` has written."""
    file = guides_file(camera, steps)
    if not file.exists():
        return ""
    record = json.loads(file.read_text())
    table = [["the guides read", "the experiment's guide", "the one that knows the target drive"]]
    for name in [*ENLARGED, *ROWS, *(row for row in UNTRAINED if row not in ENLARGED)]:
        if name in record:
            cells = (f"{record[name][guide]:.3f}" for guide in ("guide", "embedded"))
            table.append([ENLARGED.get(name) or TITLES[name], *cells])
    return (
        "mIoU of both guides, on enlarged LR and on SR of dev's 21 frames (seed 0). By: "
        f"`python -m benchmarks.experiment guides`.\n\n{markdown_table(table)}"
    )
