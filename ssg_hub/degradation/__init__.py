"""Making LR from HR as a real camera would: the degradation bank (estimated) and the generic prior (assumed)."""

from .prior import GenericPrior

__all__ = ["GenericPrior"]
