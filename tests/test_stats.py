"""Statistics against rliable, against brute force, and by their properties."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from counting import calls
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import binomtest, fisher_exact, trim_mean, ttest_ind

from bench import resampling, stats
from bench.resampling import CONFIDENCE, Array, bootstrap_iqm, iqm


def fixed(shift: int, modulus: int) -> Array:
    """Ten runs of three tasks, [10, 3], by arithmetic alone so that any machine has the same."""
    i, j = np.meshgrid(np.arange(10), np.arange(3), indexing="ij")
    return ((7 * i + 3 * j * j + shift * i * j + 5) % modulus) / 10 + 0.1 * j


X = fixed(1, 11)
Y = fixed(2, 13) * 0.9
THRESHOLDS = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])

# From rliable 1.2.0 (arch 7.2.0, pandas 2.3.3, numpy 2.4.6) on X and Y as [runs, tasks]:
# metrics.aggregate_iqm, metrics.probability_of_improvement, library.create_performance_profile,
# and library.get_interval_estimates with 50,000 (IQM) and 20,000 (the others) replicates.
RLIABLE_IQM = {"X": 0.58125, "Y": 0.556875, "X[:7, 0]": 0.4}
RLIABLE_IQM_INTERVAL = {"X": (0.44375, 0.725), "Y": (0.405, 0.725625)}
RLIABLE_IMPROVEMENT = 0.5166666666666667
RLIABLE_IMPROVEMENT_INTERVAL = (0.36333333, 0.66666667)
RLIABLE_PROFILE = [29 / 30, 25 / 30, 16 / 30, 10 / 30, 3 / 30, 0.0]
RLIABLE_PROFILE_BAND = (
    [0.9, 0.7, 11 / 30, 5 / 30, 0.0, 0.0],
    [1.0, 29 / 30, 0.7, 0.5, 0.2, 0.0],
)

# Two bootstraps agree to some standard errors of a 2.5% quantile: of 10,000 replicates (IQM) and
# of 2,000 (the others), whose statistics move in steps of about 1/300 and 1/30.
MONTE_CARLO = 0.012
COARSE_MONTE_CARLO = 0.02
BAND_MONTE_CARLO = 0.034


def strata(scores: Array) -> list[Array]:
    return list(scores.T)


def scores() -> st.SearchStrategy[Array]:
    values = st.floats(-100, 100, allow_subnormal=False)
    return npst.arrays(np.float64, st.integers(5, 9), elements=values)


@pytest.mark.parametrize(
    ("name", "runs"), [("X", strata(X)), ("Y", strata(Y)), ("X[:7, 0]", [X[:7, 0]])]
)
def test_iqm_is_rliables(name, runs):
    assert stats.estimate(runs).point == pytest.approx(RLIABLE_IQM[name], abs=1e-12)


@pytest.mark.parametrize(("name", "runs"), [("X", strata(X)), ("Y", strata(Y))])
def test_iqm_interval_is_rliables(name, runs):
    found = stats.estimate(runs)
    assert (found.lo, found.hi) == pytest.approx(RLIABLE_IQM_INTERVAL[name], abs=MONTE_CARLO)


def test_probability_of_improvement_is_rliables():
    found = stats.probability_of_improvement(strata(X), strata(Y))
    assert found.point == pytest.approx(RLIABLE_IMPROVEMENT, abs=1e-12)
    assert (found.lo, found.hi) == pytest.approx(
        RLIABLE_IMPROVEMENT_INTERVAL, abs=COARSE_MONTE_CARLO
    )


def test_performance_profile_is_rliables():
    found = stats.performance_profile(strata(X), THRESHOLDS)
    np.testing.assert_allclose(found, RLIABLE_PROFILE, atol=1e-12)
    band = stats.performance_profile_band(strata(X), THRESHOLDS)
    np.testing.assert_allclose(band, RLIABLE_PROFILE_BAND, atol=BAND_MONTE_CARLO)


@given(scores(), scores())
@settings(max_examples=30, deadline=None)
def test_improvement_is_the_double_loop_and_complements(x, y):
    brute = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y])
    found = stats.probability_of_improvement([x], [y])
    back = stats.probability_of_improvement([y], [x])
    assert found.point == pytest.approx(brute, abs=1e-12)
    assert found.point + back.point == pytest.approx(1)
    assert found.lo is not None
    assert found.hi is not None
    assert 0 <= found.lo <= found.hi <= 1 + 1e-12


@given(scores())
@settings(max_examples=30, deadline=None)
def test_profile_falls_from_one_to_nothing(x):
    thresholds = np.linspace(-101, 101, 40)
    profile = stats.performance_profile([x], thresholds)
    assert profile[0] == 1
    assert profile[-1] == 0
    assert (np.diff(profile) <= 0).all()
    lo, hi = stats.performance_profile_band([x], thresholds)
    assert (lo <= profile + 1e-12).all()
    assert (profile <= hi + 1e-12).all()


@given(scores(), st.floats(-10, 10), st.floats(0.1, 10))
@settings(max_examples=20, deadline=None)
def test_scaling_commutes_with_estimating(x, zero, width):
    scaled = stats.estimate([x]).scaled(zero, zero + width)
    direct = stats.estimate([(x - zero) / width])
    assert scaled.point == pytest.approx(direct.point, abs=1e-6)
    assert scaled.lo == pytest.approx(direct.lo, abs=1e-6)
    assert scaled.hi == pytest.approx(direct.hi, abs=1e-6)


@given(
    npst.arrays(np.float64, st.tuples(st.integers(1, 13), st.just(3)), elements=st.floats(-9, 9))
)
def test_iqm_is_scipys_trimmed_mean(values):
    np.testing.assert_allclose(iqm(values), trim_mean(values, 0.25), atol=1e-12)


def test_iqm_drops_the_outer_quarters():
    assert float(iqm(np.array([1e9, 2, 4, -1e9]))) == 3
    np.testing.assert_array_equal(iqm(np.array([[0, 5, 5, 90], [1, 1, 1, 1]]), axis=1), [5, 1])


@pytest.mark.parametrize("n", [1, 3, 5, 7])
def test_the_distribution_of_a_few_runs_is_that_of_all_resamples(n):
    x = np.random.default_rng(n).normal(size=n).cumsum()
    every = iqm(np.array(list(itertools.product(x, repeat=n))), axis=1)
    found = bootstrap_iqm([x], 0)
    assert found.chances.sum() == pytest.approx(1)
    assert found.values @ found.chances == pytest.approx(every.mean())
    for line in every[:: max(1, len(every) // 50)]:
        below = found.chances[found.values <= line + 1e-9].sum()
        assert below == pytest.approx(np.mean(every <= line + 1e-9))


def test_resamples_that_are_listed_are_those_that_are_drawn():
    x = np.random.default_rng(4).normal(size=10)
    drawn = iqm(np.random.default_rng(5).choice(x, (40_000, 10)), axis=1)
    lo, hi = bootstrap_iqm([x], 0).interval()
    assert [lo, hi] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.02)
    more = np.append(x, x.mean())
    assert len(bootstrap_iqm([x], 17).values) != 17 == len(bootstrap_iqm([more], 17).values)


def test_an_interval_leaves_out_the_same_share_at_either_end():
    x = np.array([3.0, 1.0, 4.0, 1.5, 9.0])
    lo, hi = bootstrap_iqm([x], 0).interval()
    low, high = bootstrap_iqm([-x], 0).interval()
    assert (low, high) == (-hi, -lo)
    found = bootstrap_iqm([x], 0)
    assert found.chances[found.values < lo].sum() < 0.025 <= found.chances[found.values <= lo].sum()
    assert found.chances[found.values > hi].sum() < 0.025 <= found.chances[found.values >= hi].sum()


def test_bootstrap_resamples_within_strata_only():
    """Strata that are constant each leave nothing to vary, however far apart they lie."""
    draws = bootstrap_iqm([np.zeros(5), np.full(5, 9.0)], 50).values
    assert np.ptp(draws) == 0


def test_blocks_do_not_change_the_shape(monkeypatch):
    monkeypatch.setattr(resampling, "_BLOCK", 64)
    draws = bootstrap_iqm([np.ones((5, 3))] * 2, 101).values
    assert draws.shape == (101, 3)


@pytest.mark.parametrize("value", [0.0, 0.7, 30.0])
def test_constant_scores_have_no_width(value):
    found = stats.estimate([np.full(10, value)])
    assert (found.lo, found.hi) == pytest.approx((value, value), abs=1e-12)


def test_coverage_is_about_what_it_says():
    """On normal scores, 10 runs: a percentile bootstrap covers somewhat less than it says."""
    generator = np.random.default_rng(0)
    samples = generator.normal(size=(300, 10))
    estimates = [stats.estimate([sample]) for sample in samples]
    covered = np.mean([e.lo <= 0 <= e.hi for e in estimates if e.lo is not None and e.hi])
    assert 0.86 <= covered <= 0.98


def test_no_interval_below_five_seeds():
    assert stats.estimate([np.arange(4.0)]).lo is None
    assert stats.estimate([np.arange(4.0), np.arange(10.0)]).lo is None
    assert stats.estimate([np.arange(5.0)]).lo is not None
    assert stats.probability_of_improvement([np.arange(4.0)], [np.arange(9.0)]).lo is None
    assert stats.curve_band(np.ones((4, 3)))[1:] == (None, None)
    assert stats.curve_band(np.ones((5, 3)))[1] is not None


def test_curve_band_brackets_each_point():
    runs = np.random.default_rng(1).normal(size=(10, 7))
    point, lo, hi = stats.curve_band(runs)
    assert lo is not None
    assert hi is not None
    np.testing.assert_allclose(point, iqm(runs))
    assert (lo < point).all()
    assert (point < hi).all()


def test_pairs_of_equal_sizes_share_their_draws_and_each_has_those_it_had():
    x, y, z = strata(X), strata(Y), [row[:7] for row in strata(Y)]
    pairs = [(x, y), (y, x), (x, z), (z, x), (x, y)]
    found = [stats.probability_of_improvement(a, b) for a, b in pairs]
    for (a, b), shared in zip(pairs, found, strict=True):
        stats._weights_of_pairs.cache_clear()
        assert stats.probability_of_improvement(a, b) == shared
    assert found[0] == found[-1] != found[2]


def test_a_bootstrap_is_some_calls_of_numpy_and_not_one_a_replicate():
    x, y = strata(X), strata(Y)
    for work in (
        lambda: stats.estimate(x),
        lambda: stats.curve_band(X),
        lambda: stats.performance_profile_band(x, THRESHOLDS),
        lambda: stats.probability_of_improvement(x, y),
        lambda: stats.rank_ranges([x, y]),
    ):
        assert calls(work) < stats.CURVE_REPLICATES / 2


def test_ranks_are_settled_when_far_apart_and_open_when_equal():
    spread = np.linspace(0, 1, 10)
    low, middle, high = [spread], [spread + 5], [spread + 10]
    assert stats.rank_ranges([middle, high, low]) == [(2, 2), (1, 1), (3, 3)]
    assert stats.rank_ranges([low, [spread + 0.01], high]) == [(2, 3), (2, 3), (1, 1)]
    assert stats.rank_ranges([[np.zeros(10)], [np.zeros(9)]]) == [(1, 2), (1, 2)]
    assert stats.rank_ranges([low]) == [(1, 1)]
    assert stats.rank_ranges([]) == []


def test_the_side_of_a_line_that_an_interval_lies_on() -> None:
    found = stats.Estimate(2.0, 1.0, 3.0)
    assert [found.side(line) for line in (0.5, 1.0, 2.0, 3.0, 3.5)] == [
        *("above", "about", "about", "about", "below")
    ]
    assert stats.Estimate(2.0, None, None).side() is None
    assert stats.Estimate(1e-12, 1e-12, 1e-12).side() == "about", "a sum's last bits"


def test_too_few_seeds_settle_no_rank():
    assert stats.rank_ranges([[np.zeros(4)], [np.full(10, 9.0)]]) == [(1, 2), (1, 2)]


@pytest.mark.parametrize(("K", "n"), [(2, 5), (5, 10), (17, 5)])
@pytest.mark.parametrize("kind", ["normal", "learns or not"])
def test_of_equal_methods_at_most_one_rank_in_twenty_is_settled(K: int, n: int, kind: str) -> None:
    generator = np.random.default_rng(5)

    def scores():
        noise = generator.normal(size=n)
        return noise if kind == "normal" else 18 * (generator.random(n) < 0.7) + noise / 2

    boards = [stats.rank_ranges([[scores()] for _ in range(K)]) for _ in range(1000 // K)]
    assert np.mean([rank != (1, K) for board in boards for rank in board]) <= 0.07


def test_a_method_that_failed_in_no_run_by_luck_is_ranked_too_surely() -> None:
    """What the docstring warns of: a steady method beside one of the same mean that may fail."""
    generator = np.random.default_rng(7)

    def settled(n: int) -> float:
        steady = [[12.6 + generator.normal(size=n) / 2] for _ in range(500)]
        risky = [[18.0 * (generator.random(n) < 0.7)] for _ in range(500)]
        ranks = [stats.rank_ranges([x, y]) for x, y in zip(steady, risky, strict=True)]
        return float(np.mean([rank != [(1, 2), (1, 2)] for rank in ranks]))

    assert 0.1 < settled(5) < 0.3 and settled(10) < 0.1


def test_ranks_of_two_are_settled_by_welchs_interval() -> None:
    generator = np.random.default_rng(6)
    settled = 0
    for _ in range(50):
        x, y = generator.normal(0, 1, 7), generator.normal(1.3, 2, 5)
        low = ttest_ind(y, x, equal_var=False).confidence_interval(0.95).low
        assert stats.rank_ranges([[x], [y]])[1] == ((1, 1) if low > 0 else (1, 2))
        settled += low > 0
    assert 5 < settled < 45


def test_a_rank_weighs_strata_alike_whatever_their_runs() -> None:
    easy, hard = np.linspace(0.9, 1, 10), np.linspace(0.05, 0.15, 10)
    alike = stats.rank_ranges([[easy, hard], [easy, hard[:5] + 0.025]])
    assert alike == [(1, 2), (1, 2)]


@pytest.mark.parametrize("runs", [1, 5, 10])
def test_the_interval_of_a_share_is_the_exact_binomial_one(runs: int) -> None:
    for count in range(runs + 1):
        found = stats.share(count, runs)
        exact = binomtest(count, runs).proportion_ci(CONFIDENCE, method="exact")
        assert (found.point, found.lo, found.hi) == pytest.approx(
            (count / runs, exact.low, exact.high)
        )


def test_no_runs_have_no_share() -> None:
    with pytest.raises(ValueError, match="no runs"):
        stats.share(0, 0)


@pytest.mark.parametrize(("n", "m"), [(6, 4), (10, 10), (1, 5)])
def test_the_exact_p_is_scipys(n: int, m: int) -> None:
    for a, b in itertools.product(range(n + 1), range(m + 1)):
        expected = fisher_exact([[a, n - a], [b, m - b]]).pvalue
        assert stats.exact_p(a, n, b, m) == pytest.approx(expected)


@pytest.mark.parametrize("runs", [5, 7])
def test_the_least_coverage_is_that_of_made_up_runs(runs: int) -> None:
    """Every share of learners covers at least that, and one of them, tried at random, no more."""
    found = stats.least_coverage(runs)
    generator = np.random.default_rng(5)
    of_all = functools.cache(lambda p: trim_mean(generator.random(400_000) < p, 0.25))
    intervals = [
        stats.estimate([np.repeat([0.0, 1.0], [runs - learned, learned])])
        for learned in range(runs + 1)
    ]
    covers = {}
    for p in (0.02, 0.251, 0.3, 0.4, 0.5):
        seen = [intervals[k] for k in generator.binomial(runs, p, 4000)]
        covers[p] = np.mean([each.lo <= of_all(p) <= each.hi for each in seen])
    assert min(covers.values()) == pytest.approx(found, abs=0.03)
    assert min(covers, key=covers.get) == 0.251, "where some learn, but no run of these"
    assert found < CONFIDENCE


def test_a_difference_is_that_of_the_iqms_and_its_interval_is_the_bootstraps() -> None:
    generator = np.random.default_rng(3)
    x, y = generator.normal(5, 1, 10), generator.normal(3, 2, 8)
    found = stats.difference([x], [y])
    assert found.point == pytest.approx(stats.estimate([x]).point - stats.estimate([y]).point)
    draws = [
        trim_mean(generator.choice(x, 10), 0.25) - trim_mean(generator.choice(y, 8), 0.25)
        for _ in range(4000)
    ]
    assert [found.lo, found.hi] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.15)
    mirrored = stats.difference([y], [x])
    assert (mirrored.lo, mirrored.hi) == (-found.hi, -found.lo)
    assert stats.difference([x], [y[:4]]).lo is None


def test_an_end_of_an_interval_is_a_difference_that_occurs() -> None:
    """So that one of zero is zero, and not what a bisection comes to within 1e-30 of it."""
    found = stats.difference([np.array([0.0, 0, 0, 0, 0])], [np.array([0.0, 0, 0, 0, 1])])
    assert (found.point, found.hi) == (0.0, 0.0)
    assert found.lo is not None and found.lo < 0


@pytest.mark.parametrize("strata", [1, 2])
def test_the_interval_of_a_difference_is_that_of_all_pairs_of_resamples(strata: int) -> None:
    generator = np.random.default_rng(8)
    x, y = ([generator.normal(size=6).round(1) for _ in range(strata)] for _ in range(2))
    ours, theirs = (bootstrap_iqm(each, 700) for each in (x, y))
    pairs = np.subtract.outer(ours.values, theirs.values).ravel()
    chances = np.outer(ours.chances, theirs.chances).ravel()
    lo, hi = ours.difference(theirs)
    assert chances[pairs < lo - 1e-9].sum() < 0.025 <= chances[pairs <= lo + 1e-9].sum()
    assert chances[pairs > hi + 1e-9].sum() < 0.025 <= chances[pairs >= hi - 1e-9].sum()
