"""Calibrated drift: the probability that the class which the guide reads in SR is wrong, and what can be trusted.

A logistic regression on what the pipeline knows of each cell anyway: the drift, how sure the guide is of SR, and
what it takes the cell for. A threshold for each risk comes with it, by conformal risk control (Angelopoulos, Bates,
Fisch, Lei & Schuster, ICLR 2024). `python -m benchmarks.calibration` fits both; they stand in the model's config.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, SSGError

FEATURES = ("drift", "entropy", "log_odds")
MOST_LOG_ODDS = 8.0  # of the likeliest class; beyond it a float16 network says nothing more
LEVELS = 256  # of the map, which is kept in bytes
KEYS = {"weights", "classes", "thresholds", "verified"}


def measure_features(labels: Tensor, drift: Tensor) -> Tensor:
    """What the probability is made from, cell by cell.

    Args:
        labels: soft labels (K, h, w) of SR.
        drift: semantic drift (1, h, w) in [0, 1].

    Returns:
        (3, h, w): drift; entropy of the labels, 1 where all classes are alike; log odds of the likeliest class.
    """
    entropy = torch.special.entr(labels).sum(0, keepdim=True) / math.log(max(2, len(labels)))
    largest = labels.amax(0, keepdim=True)
    log_odds = (largest / (1 - largest).clamp_min(1e-6)).clamp_min(1e-6).log().clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS)
    return torch.cat((drift, entropy, log_odds))


@dataclass(frozen=True)
class Calibration:
    """What turns drift into a probability.

    Args:
        weights: of the features, in the order of `FEATURES`.
        classes: a term for each of the guide's K classes, weighted by the soft labels; their mean is the intercept.
        thresholds: risk → the largest probability that belongs to the trusted region.
        verified: a sentence on which pictures this was fitted and verified.
    """

    weights: tuple[float, ...]
    classes: tuple[float, ...]
    thresholds: Mapping[float, float]
    verified: str = ""

    def probability(self, labels: Tensor, drift: Tensor) -> Tensor:
        """That the likeliest class is wrong: (1, h, w) in [0, 1].

        Args:
            labels, drift: as for `measure_features`.
        """
        inputs = torch.cat((measure_features(labels, drift), labels))
        terms = torch.tensor([*self.weights, *self.classes], dtype=inputs.dtype, device=inputs.device)
        return torch.sigmoid(torch.einsum("f,fhw->hw", terms, inputs))[None]

    def level(self, alpha: float) -> int:
        """The largest byte of the drift map, 255 for a probability of 1, that is trusted at this risk.

        Raises:
            SSGError: no threshold is known for it.
        """
        for risk, threshold in self.thresholds.items():
            if isinstance(alpha, Real) and math.isclose(risk, alpha, abs_tol=1e-6):  # wide enough for a float32
                return round(threshold * (LEVELS - 1))
        known = ", ".join(f"{risk:g}" for risk in sorted(self.thresholds)) or "none"
        raise SSGError(f"alpha is {alpha!r:.40}; this model's calibration knows the risks {known}. Use one of them.")

    def to_config(self) -> dict[str, Any]:
        """As the model's config holds it."""
        return {
            "weights": dict(zip(FEATURES, self.weights, strict=True)),
            "classes": list(self.classes),
            "thresholds": {f"{risk:g}": threshold for risk, threshold in sorted(self.thresholds.items())},
            "verified": self.verified,
        }

    @classmethod
    def from_config(cls, config: object, classes: int) -> "Calibration | None":
        """Read a config's `calibration`; None stays None: the drift map is then the drift itself.

        Args:
            config: what `to_config` made.
            classes: how many the guide has.

        Raises:
            ConfigError: it is damaged, or belongs to another guide.
        """
        if config is None:
            return None
        if not isinstance(config, Mapping) or set(config) != KEYS:
            raise ConfigError(f"calibration is {config!r:.60}; a dict of {', '.join(sorted(KEYS))} is needed.")
        weights, terms, thresholds = config["weights"], config["classes"], config["thresholds"]
        if not isinstance(weights, Mapping) or set(weights) != set(FEATURES) or not _all_finite(weights.values()):
            raise ConfigError(f"calibration has weights {weights!r:.60}; numbers for {', '.join(FEATURES)} are needed.")
        if not isinstance(terms, (list, tuple)) or len(terms) != classes or not _all_finite(terms):
            raise ConfigError(f"calibration has classes {terms!r:.60}; the guide has {classes}. Calibrate this model.")
        if not isinstance(config["verified"], str):
            raise ConfigError(f"calibration has verified {config['verified']!r:.60}; a text is needed.")
        ordered = tuple(float(weights[name]) for name in FEATURES)
        return cls(ordered, tuple(map(float, terms)), _read_thresholds(thresholds), config["verified"])


def _read_thresholds(thresholds: Any) -> dict[float, float]:
    try:
        found = {float(risk): threshold for risk, threshold in thresholds.items()}
        if _all_finite(found.values()) and all(0 < risk < 1 and 0 <= found[risk] <= 1 for risk in found):
            return {risk: float(threshold) for risk, threshold in found.items()}
    except (AttributeError, TypeError, ValueError):
        pass
    raise ConfigError(
        f"calibration has thresholds {thresholds!r:.60}; risks between 0 and 1 with numbers from 0 to 1 are needed."
    )


def _all_finite(values: Any) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)
