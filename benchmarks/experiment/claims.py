"""The paper's claims, a control, our advice, and when each is supported: the rules of docs/experiment.md as code."""

from collections.abc import Callable
from dataclasses import dataclass

SUPPORTED, NOT_SUPPORTED, UNDECIDED = "supported", "not supported", "undecided"
VARIANTS = ("plain", "shifted", "jpeg")
TWINS = (("ssg", "bank"), ("generic-guide", "generic"), ("bicubic-guide", "bicubic"))
LPIPS_MARGIN = MIOU_MARGIN = 0.01


@dataclass(frozen=True)
class Comparison:
    """A difference between two rows: its value and the ends of its interval."""

    value: float
    low: float
    high: float
    higher_is_better: bool = True

    @property
    def better(self) -> bool:
        return self.low > 0 if self.higher_is_better else self.high < 0

    @property
    def worse(self) -> bool:
        return self.high < 0 if self.higher_is_better else self.low > 0

    @property
    def reading(self) -> str:
        return "better" if self.better else "worse" if self.worse else "open"

    def format(self, value: float) -> str:
        return f"{value:+.3f}"


Difference = Callable[..., Comparison]  # row, other row, figure, variant="plain" -> the first minus the second


@dataclass(frozen=True)
class Verdict:
    """An outcome, and the comparisons that it rests on with their names."""

    outcome: str
    comparisons: list[tuple[str, Comparison]]

    @property
    def against(self) -> list[str]:
        """What keeps the claim from being supported, or would: the comparisons that are not better."""
        return [text for text, comparison in self.comparisons if not comparison.better]


@dataclass(frozen=True)
class Claim:
    """A claim: its words, the rows that its test needs, and the test."""

    title: str
    rows: tuple[str, ...]
    weigh: Callable[[Difference], Verdict]


def weigh_guide(difference: Difference) -> Verdict:
    """(a): does the guide help, judged by another network, also where the pixels have moved or were compressed?"""
    gains = {twins: [difference(*twins, "miou", variant) for variant in VARIANTS] for twins in TWINS}
    lpips = difference("ssg", "bank", "lpips")
    helped = [twins for twins, found in gains.items() if all(comparison.better for comparison in found)]
    small = [twins for twins, found in gains.items() if found[0].high < MIOU_MARGIN]
    if TWINS[0] in helped and len(helped) > 1 and lpips.low <= LPIPS_MARGIN:
        outcome = SUPPORTED
    else:
        outcome = NOT_SUPPORTED if not helped and len(small) > 1 else UNDECIDED
    shown = [
        (f"{a} − {b}, mIoU, {variant}", comparison)
        for (a, b), found in gains.items()
        for variant, comparison in zip(VARIANTS, found, strict=True)
    ]
    return Verdict(outcome, [*shown, ("ssg − bank, LPIPS", lpips)])


def weigh_together(difference: Difference) -> Verdict:
    """(b): are both together better than either?"""
    halves = ("bank", "bicubic-guide")
    miou = [difference("ssg", half, "miou") for half in halves]
    lpips = [difference("ssg", half, "lpips") for half in halves]
    if all(c.better for c in miou) and not any(c.worse for c in lpips):
        outcome = SUPPORTED
    elif any(m.worse or (x.worse and not m.better) for m, x in zip(miou, lpips, strict=True)):
        outcome = NOT_SUPPORTED
    else:
        outcome = UNDECIDED
    shown = [(f"ssg − {half}, mIoU", c) for half, c in zip(halves, miou, strict=True)]
    return Verdict(outcome, shown + [(f"ssg − {half}, LPIPS", c) for half, c in zip(halves, lpips, strict=True)])


def weigh_cleanness(difference: Difference) -> Verdict:
    """(c): less noise, better boundaries, more accurate colours than without the guide?"""
    figures = {"flat_noise": "flat noise", "boundary_f": "boundary F", "color_drift": "colour ΔE"}
    shown = [
        (f"ssg − {other}, {title}", difference("ssg", other, figure))
        for other in ("bicubic", "bank")
        for figure, title in figures.items()
    ]
    if all(comparison.better for _, comparison in shown):
        return Verdict(SUPPORTED, shown)
    worse = sum(comparison.worse for _, comparison in shown)
    return Verdict(NOT_SUPPORTED if worse > 1 else UNDECIDED, shown)


def weigh_control(difference: Difference) -> Verdict:
    """Does the guide do more than the consistency with real LR, which comes with it?"""
    gains = [difference("ssg", "bank-consistency", "miou", variant) for variant in VARIANTS]
    if all(comparison.better for comparison in gains):
        outcome = SUPPORTED
    else:
        outcome = NOT_SUPPORTED if gains[0].high < MIOU_MARGIN else UNDECIDED
    shown = [(f"ssg − bank-consistency, mIoU, {variant}", c) for variant, c in zip(VARIANTS, gains, strict=True)]
    others = {"lpips": "LPIPS", "flat_noise": "flat noise", "boundary_f": "boundary F"}
    shown += [(f"ssg − bank-consistency, {t}", difference("ssg", "bank-consistency", f)) for f, t in others.items()]
    return Verdict(outcome, shown)


def weigh_advice(difference: Difference) -> Verdict:
    """Is a mix of bank and prior the best source beside a guide?"""
    rivals = ("ssg", "generic-guide")
    found = {rival: [difference("mixed-guide", rival, figure) for figure in ("miou", "lpips")] for rival in rivals}
    behind = [any(c.worse for c in pair) and not any(c.better for c in pair) for pair in found.values()]
    ahead = [any(c.better for c in pair) and not any(c.worse for c in pair) for pair in found.values()]
    outcome = NOT_SUPPORTED if any(behind) else SUPPORTED if all(ahead) else UNDECIDED
    shown = [
        (f"mixed-guide − {rival}, {title}", comparison)
        for rival, pair in found.items()
        for title, comparison in zip(("mIoU", "LPIPS"), pair, strict=True)
    ]
    return Verdict(outcome, shown)


CLAIMS = {
    "a": Claim(
        "the guide loss makes training on real LR pictures work",
        tuple(row for twins in TWINS for row in twins),
        weigh_guide,
    ),
    "b": Claim(
        "guide loss and domain adaptation complement each other", ("ssg", "bank", "bicubic-guide"), weigh_together
    ),
    "c": Claim("clean, with accurate boundaries and colours", ("ssg", "bank", "bicubic"), weigh_cleanness),
    "control": Claim(
        "the guide helps beyond the consistency with the target's LR", ("ssg", "bank-consistency"), weigh_control
    ),
    "advice": Claim(
        "beside a guide, bank + generic is the best source", ("mixed-guide", "ssg", "generic-guide"), weigh_advice
    ),
}
