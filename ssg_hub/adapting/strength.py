"""How far to go from the start to what was trained: the weights in between are scored too, and the best are taken."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..networks.blending import blend_weights
from ..networks.registry import Generator
from .exam import Exam, count_points, is_better

SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way, beside 0, the start itself


@dataclass(frozen=True)
class Candidate:
    """Weights that were scored.

    Attributes:
        share: of the way from the start to what was trained, above 0, up to 1.
        generator: with these weights.
        figures: by the names of `exam.FIGURES`.
        points: what each figure adds to the sum, against the start.
    """

    share: float
    generator: Generator
    figures: Mapping[str, float]
    points: Mapping[str, float]

    @property
    def total(self) -> float:
        return sum(self.points.values())

    @property
    def better(self) -> bool:
        """Whether it may be handed over."""
        return is_better(self.points)


def try_strengths(exam: Exam, start: Generator, trained: Generator, before: Mapping[str, float]) -> list[Candidate]:
    """Score the weights at each of `SHARES` of the way from the start to what was trained.

    A short training with few pictures goes too far in some respects and in others not far enough; between weights that
    were fine-tuned from one another pictures change smoothly (Wang et al., "Deep Network Interpolation", CVPR 2019).

    Args:
        before: the start's figures.
    """
    found = []
    for share in SHARES:
        generator = blend_weights(start, trained, share)
        figures = exam.sit(generator)
        found.append(Candidate(share, generator, figures, count_points(before, figures)))
    return found


def choose(candidates: list[Candidate]) -> Candidate:
    """The one with the most points among those that may be handed over; if none may, the best of all."""
    return max([one for one in candidates if one.better] or candidates, key=lambda one: one.total)
