"""Blur kernels from the spectra of LR pictures alone: a Gaussian with a motion segment, seen against natural scenes.

The power spectrum of a picture is that of its scene, times the kernel's transfer function squared, folded at the LR
sampling rate, plus that of the noise. Natural scenes have spectra that vary little and smoothly (`NaturalPrior`), so
both are fitted at once by the Whittle likelihood with Gaussian priors, for all pictures in parallel by Fisher scoring.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from .spectrum import TERMS, NaturalPrior, Spectra, scene_terms

LOG_AREA = (math.log(4.0), 1.2)  # prior mean and deviation, in HR pixels squared at x4
STRETCH = 0.45  # prior deviation of the log axis ratio's two components
NOISE_GAIN = 0.25  # prior deviation of the log of the noise power against the one measured in smooth regions
# A periodogram's ordinates scatter around a smooth spectrum more than noise would make them: scenes have edges.
EVIDENCE = 0.08
POOLED = 32  # frequencies per cycle per pixel at which spectra are compared
ROUNDS = 24
# starts for motion: variance along the axis against that of the Gaussian fit, of each picture and of their median
LENGTHENED, LENGTHENED_MEDIAN = (0.4, 0.8, 1.5), (2.5, 4.0)


@dataclass
class ParametricFit:
    """Kernels of N pictures by their parameters.

    Attributes:
        log_area, stretch, motion: see `kernels.render_kernels`; motion is 0 (a Gaussian) or 1.
        error: (N, 3) posterior standard deviations of log_area and stretch.
        signal: (N,) share of the frequencies at which the scene stands above the noise.
    """

    log_area: Tensor
    stretch: Tensor
    motion: Tensor
    error: Tensor
    signal: Tensor


def fit_parametric(
    spectra: Spectra,
    noise_power: Tensor,
    scale: int,
    prior: NaturalPrior | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    reliability: Tensor | None = None,
) -> ParametricFit:
    """Fit every picture's kernel.

    Args:
        spectra: of N LR pictures.
        noise_power: (N, F) power spectrum of each picture's noise.
        scale: from HR to LR; widths come out in HR pixels.
        prior: of natural scenes; the built-in one by default.
        on_progress: called with (done, total) rounds.
        reliability: (N, F) from 0 to 1, how reliable each ordinate of the spectra is; fully by default.
    """
    problem = _Problem(spectra, noise_power, scale, prior or NaturalPrior.built_in(), reliability)
    gaussian, motion = (torch.tensor(share).double() for share in (0.0, 1.0))

    runs = 3 + len(LENGTHENED) + len(LENGTHENED_MEDIAN)

    def report(run: int) -> Callable[[int], None] | None:
        return (lambda done: on_progress(run * ROUNDS + done, runs * ROUNDS)) if on_progress else None

    still, still_error = problem.solve(gaussian, problem.start(), ROUNDS, report(0))
    # a segment's spectrum has zeros, and the likelihood a maximum on either side of each: several starts, one agreement
    starts = [_lengthen(still, factor) for factor in LENGTHENED]
    starts += [_lengthen(_share_shape(still, still), factor) for factor in LENGTHENED_MEDIAN]
    tried = [problem.solve(motion, p, ROUNDS // 2, report(run))[0] for run, p in enumerate(starts, 1)]
    losses = torch.stack([problem.loss(p, motion) for p in tried])
    moved = torch.stack(tried)[losses.argmin(0), torch.arange(len(still))]
    agreed = _share_shape(moved, tried[int(losses.sum(1).argmin())])
    agreed, _ = problem.solve(motion, agreed, ROUNDS, report(runs - 2))
    better = problem.loss(agreed, motion) < problem.loss(moved, motion)
    best = torch.where(better.view(-1, 1), agreed, moved)
    moved, moved_error = problem.solve(motion, best, ROUNDS, report(runs - 1))
    is_motion = _choose_kind(problem.loss(still, gaussian) - problem.loss(moved, motion))
    parameters, error, signal = (
        torch.where(is_motion.view(-1, *[1] * (one.dim() - 1)), one, other)
        for one, other in (
            (moved, still),
            (moved_error, still_error),
            (problem.signal_share(moved, motion), problem.signal_share(still, gaussian)),
        )
    )
    return ParametricFit(parameters[:, 0], parameters[:, 1:3], is_motion.double(), error[:, :3], signal)


def _choose_kind(gain: Tensor) -> Tensor:
    """Which pictures (N,) are blurred by motion, from the gain in log-likelihood over defocus.

    The share of motion in the camera's pictures is estimated too (empirical Bayes), so that undecided pictures follow
    the others.
    """
    share = torch.tensor(0.5, dtype=gain.dtype)
    for _ in range(50):
        share = torch.sigmoid(gain + torch.logit(share, eps=1e-3)).mean()
    return gain + torch.logit(share, eps=1e-3) > 0


def _share_shape(p: Tensor, pattern: Tensor) -> Tensor:
    """Give all pictures the median shape of those in `pattern`."""
    return torch.cat((pattern[:, :3].median(0).values.expand(len(p), 3), p[:, 3:]), dim=1)


def _lengthen(p: Tensor, factor: float) -> Tensor:
    """Multiply the variance along the major axis by a factor, but not to below that across."""
    strength = torch.linalg.vector_norm(p[:, 1:3], dim=1, keepdim=True)
    change = torch.maximum(torch.full_like(strength, 0.5 * math.log(factor)), -strength)
    changed = p.clone()
    changed[:, :1] += change
    changed[:, 1:3] *= 1 + change / strength.clamp(min=1e-6)
    return changed


def _pool(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Means of (…, F) over groups of frequencies."""
    sums = torch.zeros(*values.shape[:-1], count, dtype=values.dtype).index_add_(-1, index, values)
    return sums / torch.bincount(index, minlength=count)


def _fold(values: Tensor, factors: Tensor) -> Tensor:
    """Sums over the folds of (N, folds, F) by each of (T, folds, F): (N, T, F)."""
    return reduce(add, (values[:, k].unsqueeze(1) * factors[:, k] for k in range(values.shape[1])))


def _covariance(shape: Tensor) -> Tensor:
    """(N, 4): a kernel's covariance xx, xy, yy, and its smaller eigenvalue, of (N, 3) log_area and stretch."""
    area, stretch = shape[:, 0].exp(), shape[:, 1:]
    strength = torch.linalg.vector_norm(stretch, dim=1).clamp(min=1e-6)
    lean, mean = torch.sinh(strength) / strength, torch.cosh(strength)
    xx, xy, yy = mean + lean * stretch[:, 0], lean * stretch[:, 1], mean - lean * stretch[:, 0]
    return area.unsqueeze(1) * torch.stack((xx, xy, yy, (-strength).exp()), dim=1)


def _covariance_slopes(shape: Tensor) -> Tensor:
    """Derivatives (N, 4, 3) of `_covariance`, by differences."""
    step = 1e-4
    sides = [[_covariance(shape + sign * step * unit) for sign in (1, -1)] for unit in torch.eye(3).double()]
    return torch.stack([(above - below) / (2 * step) for above, below in sides], dim=2)


class _Problem:
    """The posterior of (log_area, stretch x, stretch diagonal, log noise gain, scene weights) for each picture."""

    def __init__(
        self,
        spectra: Spectra,
        noise_power: Tensor,
        scale: int,
        prior: NaturalPrior,
        reliability: Tensor | None = None,
    ):
        self.scale = scale
        cells = torch.stack(((spectra.fy * POOLED).round(), (spectra.fx * POOLED).round()))
        _, index, members = cells.unique(dim=1, return_inverse=True, return_counts=True)
        count = len(members)
        self.power, self.noise = _pool(spectra.power, index, count), _pool(noise_power, index, count)
        self.weight = EVIDENCE * spectra.tiles.view(-1, 1) * members
        if reliability is not None:
            self.weight = self.weight * _pool(reliability, index, count)
        folds = [(i, j) for i in (0, 1) for j in (0, 1)]
        # frequencies, and those that fold onto them at the LR rate: the nearest alias along each axis
        fy, fx = _pool(spectra.fy, index, count), _pool(spectra.fx, index, count)
        fy = torch.stack([fy - i * torch.sign(fy + 1e-9) for i, _ in folds])
        fx = torch.stack([fx - j * torch.sign(fx + 1e-9) for _, j in folds])
        self.terms = scene_terms(fy.flatten(), fx.flatten()).view(TERMS, *fy.shape)
        # by which a covariance (xx, xy, yy) and an isotropic variance give the variance along each frequency
        self.quadratic = torch.stack((fx**2, 2 * fx * fy, fy**2, fx**2 + fy**2)) / scale**2
        area = LOG_AREA[0] + 2 * math.log(scale / 4)
        self.mean = torch.cat((torch.tensor([area, 0, 0, 0]).double(), prior.mean))
        self.precision = torch.zeros(4 + TERMS, 4 + TERMS).double()
        self.precision[range(4), range(4)] = torch.tensor([LOG_AREA[1], STRETCH, STRETCH, NOISE_GAIN]).double() ** -2
        self.precision[4:, 4:] = torch.linalg.inv(prior.covariance)
        # the scene's level says nothing about its kernel: exposure and contrast are free
        self.precision[4, :] = self.precision[:, 4] = 0
        self.precision[4, 4] = 1e-4

    def start(self) -> Tensor:
        start = self.mean.repeat(len(self.power), 1)
        excess = (self.power.mean(1) - self.noise.mean(1)).clamp(min=1e-9)
        start[:, 4] += (excess / self._signal(start, torch.tensor(0.0).double()).mean(1)).log()
        return start

    def _transfer(self, p: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Power (N, folds, F) of the scene behind the Gaussian, and the variance of the motion along each frequency."""
        form = _covariance(p[:, :3])
        spread = torch.einsum("nr,rkf->nkf", form[:, :3], self.quadratic[:3])
        moved = motion * (spread - form[:, 3].view(-1, 1, 1) * self.quadratic[3]).clamp(min=0)
        log_power = torch.einsum("nt,tkf->nkf", p[:, 4:], self.terms) - 4 * math.pi**2 * (spread - moved)
        return log_power.clamp(max=40).exp(), moved

    def _signal(self, p: Tensor, motion: Tensor) -> Tensor:
        """Power of the blurred, folded scene (N, F)."""
        power, moved = self._transfer(p, motion)
        if motion > 0:
            power = power * torch.sinc((12 * moved).sqrt()) ** 2
        return power.sum(1)

    def _log_model(self, p: Tensor, motion: Tensor) -> Tensor:
        return (self._signal(p, motion) + p[:, 3:4].exp() * self.noise + 1e-9).log()

    def loss(self, p: Tensor, motion: Tensor) -> Tensor:
        """Negative log posterior (N,)."""
        log_model = self._log_model(p, motion)
        misfit = (self.weight * (log_model + self.power * torch.exp(-log_model))).sum(1)
        off = p - self.mean
        return misfit + 0.5 * ((off @ self.precision) * off).sum(1)

    def solve(
        self, motion: Tensor, p: Tensor, rounds: int, on_round: Callable[[int], None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Fisher scoring with Levenberg damping; returns the maximum and its standard deviations (N, parameters)."""
        damping = torch.full((len(p),), 1e-2).double()
        loss = self.loss(p, motion)
        for done in range(1, rounds + 1):
            gradient, information = self._derivatives(p, motion)
            diagonal = torch.diag_embed(damping.view(-1, 1) * information.diagonal(dim1=1, dim2=2))
            trial = p - torch.linalg.solve(information + diagonal, gradient).clamp(-0.5, 0.5)
            trial_loss = self.loss(trial, motion)
            gain = loss - trial_loss
            better = gain > 0
            p, loss = torch.where(better.view(-1, 1), trial, p), torch.where(better, trial_loss, loss)
            damping = torch.where(better, damping / 3, damping * 5).clamp(1e-6, 1e6)
            if on_round:
                on_round(done)
            if done > 8 and gain.max() < 1e-3:
                break
        _, information = self._derivatives(p, motion)
        return p, torch.linalg.inv(information).diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()

    def _derivatives(self, p: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (N, P) and expected curvature (N, P, P) of the loss."""
        model, jacobian = self._differentiate(p, motion)
        residual = self.weight * (1 - self.power / model)
        gradient = (jacobian @ residual.unsqueeze(-1)).squeeze(-1) + (p - self.mean) @ self.precision
        information = (jacobian * self.weight.unsqueeze(1)) @ jacobian.transpose(1, 2) + self.precision
        return gradient, information

    def _differentiate(self, p: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
        """The model spectrum (N, F), and the derivatives (N, P, F) of its logarithm."""
        power, moved = self._transfer(p, motion)
        by_spread, by_minor = -4 * math.pi**2 * power, torch.zeros_like(power)
        if motion > 0:
            length = (12 * moved).sqrt()
            sinc = torch.sinc(length)
            # of sinc(length)^2 by the motion's variance; -4 pi^2 is its limit at no motion
            slope = 12 * sinc * (torch.cos(math.pi * length) - sinc) / (length**2).clamp(min=1e-6)
            slope = torch.where(length > 1e-3, slope, -4 * math.pi**2)
            by_moved = torch.where(moved > 0, motion * power * (4 * math.pi**2 * sinc**2 + slope), 0.0)
            power, by_spread, by_minor = power * sinc**2, by_spread * sinc**2 + by_moved, -by_moved
        noise = p[:, 3:4].exp() * self.noise
        model = power.sum(1) + noise + 1e-9
        by_form = torch.cat((_fold(by_spread, self.quadratic[:3]), _fold(by_minor, self.quadratic[3:])), dim=1)
        by_shape = _covariance_slopes(p[:, :3]).transpose(1, 2) @ by_form
        jacobian = torch.cat((by_shape, noise.unsqueeze(1), _fold(power, self.terms)), dim=1)
        return model, jacobian / model.unsqueeze(1)

    def signal_share(self, p: Tensor, motion: Tensor) -> Tensor:
        return (self._signal(p, motion) > p[:, 3:4].exp() * self.noise).double().mean(1)
