"""Statistics of a handful of runs: point estimates that resist outliers, and honest intervals.

The protocol is that of Agarwal et al., "Deep reinforcement learning at the edge of the statistical
precipice" (NeurIPS 2021), and Gorsane et al., "Towards a standardised performance evaluation
protocol for cooperative MARL" (NeurIPS 2022): interquartile mean, 95% percentile bootstrap
stratified by task, performance profiles, probability of improvement.  Ranks are by Welch's test.

Strata, and how they are resampled, are those of :mod:`bench.resampling`.  Every function is
deterministic: random numbers come from a fixed seed.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.resampling import CONFIDENCE, Array, Strata, bootstrap_iqm, drawn, iqm

Side = Literal["above", "about", "below"]

REPLICATES = 10_000
"""Bootstrap replicates of a score whose resamples are too many to list."""
CURVE_REPLICATES = 2_000
"""The same of each point of a curve; and of a profile, and of a probability."""
MIN_SEEDS = 5
"""Fewest seeds per stratum for which an interval is given; below it, show the seeds themselves."""

_SAME = 1e-9  # differences below this are rounding, not improvement


@dataclass(frozen=True)
class Estimate:
    """A point estimate with its interval, in the unit of the scores."""

    point: float
    lo: float | None
    """Lower end; none where there are fewer than MIN_SEEDS seeds."""
    hi: float | None
    """Upper end; none where `lo` is."""

    def side(self, line: float = 0.0) -> Side | None:
        """Say on which side of a line the interval lies, or that it has the line in it.

        None without an interval.
        """
        if self.lo is None or self.hi is None:
            return None
        if self.lo > line + _SAME:
            return "above"
        return "below" if self.hi < line - _SAME else "about"

    def scaled(self, zero: float, one: float) -> Estimate:
        """Map affinely so that ``zero`` becomes 0 and ``one`` becomes 1 (``one > zero``).

        The interquartile mean and the bootstrap's percentiles commute with such a map.
        """
        point, lo, hi = (
            None if value is None else (value - zero) / (one - zero)
            for value in (self.point, self.lo, self.hi)
        )
        assert point is not None
        return Estimate(point, lo, hi)


def enough(strata: Strata) -> bool:
    """Whether every stratum has the seeds that an interval needs."""
    return min((len(scores) for scores in strata), default=0) >= MIN_SEEDS


def estimate(strata: Strata) -> Estimate:
    """IQM over the runs of all strata, with its stratified bootstrap interval if there is one.

    Raises:
        ValueError: if there is no run at all.
    """
    point = float(iqm(np.concatenate(list(strata))))
    if not enough(strata):
        return Estimate(point, None, None)
    lo, hi = bootstrap_iqm(strata, REPLICATES).interval()
    return Estimate(point, float(lo), float(hi))


def curve_band(runs: Array) -> tuple[Array, Array, Array] | tuple[Array, None, None]:
    """IQM [K] and pointwise band [K], [K] of curves [n, K]; no band below MIN_SEEDS curves."""
    point = iqm(runs)
    if not enough([runs]):
        return point, None, None
    return point, *bootstrap_iqm([runs], CURVE_REPLICATES).interval()


def performance_profile(strata: Strata, thresholds: Array) -> Array:
    """Share of runs that score above each threshold [K], averaged over the strata: [K]."""
    shares = [(scores[:, None] > thresholds).mean(axis=0) for scores in strata]
    return np.asarray(np.mean(shares, axis=0))


def performance_profile_band(strata: Strata, thresholds: Array) -> tuple[Array, Array]:
    """Return the pointwise stratified bootstrap band [K], [K] of :func:`performance_profile`."""
    generator = np.random.default_rng(0)
    draws = np.zeros((CURVE_REPLICATES, len(thresholds)))
    for scores in strata:
        weights = _weights(len(scores), CURVE_REPLICATES, generator)
        draws += weights @ (scores[:, None] > thresholds) / len(strata)
    return drawn(draws).interval()


def probability_of_improvement(x: Strata, y: Strata) -> Estimate:
    """Probability that a run of x beats a run of y on a task drawn at random; a tie counts half.

    ``x[i]`` and ``y[i]`` are the scores [n_i], [m_i] of the same task.  The interval resamples x
    and y independently; none below MIN_SEEDS.
    """
    wins = [np.heaviside(a[:, None] - b, 0.5) for a, b in zip(x, y, strict=True)]
    point = float(np.mean([w.mean() for w in wins]))
    if not (enough(x) and enough(y)):
        return Estimate(point, None, None)
    draws = np.zeros(CURVE_REPLICATES)
    weights = _weights_of_pairs(tuple((len(a), len(b)) for a, b in zip(x, y, strict=True)))
    for w, (ours, theirs) in zip(wins, weights, strict=True):
        draws += ((ours @ w) * theirs).sum(axis=1) / len(wins)
    lo, hi = drawn(draws).interval()
    return Estimate(point, float(lo), float(hi))


def difference(x: Strata, y: Strata) -> Estimate:
    """IQM over the runs of x less that of y; the interval resamples both, each by itself.

    Raises:
        ValueError: if there is no run of one of them.
    """
    point = float(iqm(np.concatenate(list(x))) - iqm(np.concatenate(list(y))))
    if not (enough(x) and enough(y)):
        return Estimate(point, None, None)
    ours, theirs = (bootstrap_iqm(strata, REPLICATES) for strata in (x, y))
    return Estimate(point, *ours.difference(theirs))


def share(count: int, runs: int) -> Estimate:
    """Share of runs, with its exact interval, whatever their number (Clopper and Pearson 1934).

    Raises:
        ValueError: if there is no run at all.
    """
    from scipy.special import betaincinv

    if runs < 1:
        raise ValueError("no runs, so no share of them")
    tail = (1 - CONFIDENCE) / 2
    lo = float(betaincinv(count, runs - count + 1, tail)) if count else 0.0
    hi = float(betaincinv(count + 1, runs - count, 1 - tail)) if count < runs else 1.0
    return Estimate(count / runs, lo, hi)


def least_coverage(runs: int) -> float:
    """Chance that the interval of so many runs holds the IQM, where runs learn or do not: at worst.

    A run scores 1 with a probability p and 0 else, so that the IQM of all runs that could be made
    is (2 p - 1/2), kept within 0 and 1; it is the least over p, of the exact chance.
    """
    shares = np.linspace(0, 1, 1001)
    middle = np.clip(2 * shares - 0.5, 0, 1)
    chance = np.zeros_like(shares)
    for learned in range(runs + 1):
        scores = np.repeat([1.0, 0.0], [learned, runs - learned])
        lo, hi = bootstrap_iqm([scores], REPLICATES).interval()
        held = (lo <= middle + _SAME) & (middle <= hi + _SAME)
        ways = math.comb(runs, learned)
        chance += held * ways * shares**learned * (1 - shares) ** (runs - learned)
    return float(chance.min())


def exact_p(count: int, runs: int, other: int, others: int) -> float:
    """Two-sided p of Fisher's exact test: two counts of runs being draws of one share.

    It is ``scipy.stats.fisher_exact``, without the second that importing scipy.stats takes.
    """
    total = count + other
    ways = [math.comb(runs, k) * math.comb(others, total - k) for k in range(total + 1)]
    return sum(way for way in ways if way <= ways[count]) / sum(ways)


def rank_ranges(methods: Sequence[Strata]) -> list[tuple[int, int]]:
    """Ranks that each of K methods may hold, best 1: ``(first, last)``, equal if it is settled.

    A method beats another when Welch's interval of the difference of their means, over strata of
    equal weight, lies above zero; each method is in K - 1 such comparisons, so their intervals are
    Bonferroni-corrected to cover together with probability CONFIDENCE.  ``first`` is one more than
    the number of methods that beat it, ``last`` is K less the number that it beats.  This is the
    confidence set for a rank from pairwise differences of Mogstad et al., "Inference for ranks"
    (Review of Economic Studies 2024).  Bootstrap intervals, of whatever mean, cannot leave the
    range of the runs: with five runs and many methods they settle most ranks of equals.  Welch's
    have their level for methods that scatter alike; beside a steady one, a method that fails now
    and then, and by luck in none of its few runs, is ranked too surely.  A method with too few
    seeds for an interval beats nobody, and is beaten by nobody.
    """
    K = len(methods)
    beats = np.zeros((K, K), dtype=bool)
    tail = (1 - CONFIDENCE) / max(K - 1, 1) / 2
    for i, j in itertools.permutations(range(K), 2):
        if enough(methods[i]) and enough(methods[j]):
            beats[i, j] = _welch_low(methods[i], methods[j], tail) > _SAME
    return [(1 + int(beats[:, i].sum()), K - int(beats[i].sum())) for i in range(K)]


def _welch_low(x: Strata, y: Strata, tail: float) -> float:
    """Lower end of Welch's interval of mean(x) - mean(y), each the mean over strata."""
    from scipy.special import stdtrit  # here, since it takes longer to import than all else

    parts = [*((runs, len(x)) for runs in x), *((runs, len(y)) for runs in y)]
    variances = np.array([runs.var(ddof=1) / len(runs) / count**2 for runs, count in parts])
    total, degrees = variances.sum(), np.array([len(runs) - 1 for runs, _ in parts])
    gap = float(np.mean([runs.mean() for runs in x]) - np.mean([runs.mean() for runs in y]))
    if total == 0:
        return gap
    freedom = total**2 / (variances**2 / degrees).sum()
    return gap + float(stdtrit(freedom, tail) * np.sqrt(total))


def _weights(n: int, replicates: int, generator: np.random.Generator) -> Array:
    """How much of each replicate every one of n resampled runs makes up: [replicates, n]."""
    return generator.multinomial(n, np.full(n, 1 / n), size=replicates) / n


@functools.lru_cache(maxsize=1)
def _weights_of_pairs(sizes: tuple[tuple[int, int], ...]) -> list[tuple[Array, Array]]:
    """Draw the weights of n and of m runs for every stratum's (n, m): drawn once for all pairs.

    K methods make K (K - 1) / 2 pairs, mostly of equal sizes; drawing is what a pair costs.
    """
    generator = np.random.default_rng(0)
    return [
        (_weights(n, CURVE_REPLICATES, generator), _weights(m, CURVE_REPLICATES, generator))
        for n, m in sizes
    ]
