"""The figures of an evaluation as tables show them: what each is called, which way is better, and their texts."""

from collections.abc import Mapping, Sequence

HEADINGS = {  # figure -> what it is called, with an arrow that points to where it is better
    "psnr_y": "PSNR-Y ↑",
    "ssim_y": "SSIM-Y ↑",
    "lpips": "LPIPS ↓",
    "dists": "DISTS ↓",
    "color_drift": "colour ΔE ↓",
    "flat_noise": "flat noise ↓",
    "miou": "mIoU ↑",
    "boundary_f": "boundary F ↑",
    "drift_auroc": "drift AUROC ↑",
}
DECIMALS = {"psnr_y": 2, "color_drift": 2, "flat_noise": 2}  # the others lie between 0 and 1
ABSENT = "–"


def is_better_higher(figure: str) -> bool:
    """Whether more of a figure of `HEADINGS` is better.

    >>> is_better_higher("psnr_y"), is_better_higher("lpips")
    (True, False)
    """
    return HEADINGS[figure].endswith("↑")


def format_figure(figure: str, value: float | None, of_shares: int = 4) -> str:
    """A figure's value as a text; "–" for None and NaN.

    Args:
        figure: of `HEADINGS`.
        value: as `evaluate_folder` gives it.
        of_shares: decimals of those between 0 and 1; the others have two.

    >>> format_figure("psnr_y", 23.456), format_figure("lpips", 0.2071, 3), format_figure("miou", None)
    ('23.46', '0.207', '–')
    """
    if value is None or value != value:
        return ABSENT
    return "∞" if value == float("inf") else f"{value:.{DECIMALS.get(figure, of_shares)}f}"


def format_scores(scores: Mapping[str, Mapping], figures: Sequence[str]) -> list[list[str]]:
    """A heading row and a row for each method, as texts.

    Args:
        scores: method -> figure -> value, as `Evaluation.scores`.
        figures: the columns, keys of `HEADINGS`.
    """
    rows = [["", *(HEADINGS[figure] for figure in figures)]]
    for name, values in scores.items():
        rows.append([name, *(format_figure(figure, values.get(figure)) for figure in figures)])
    return rows
