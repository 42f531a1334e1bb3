"""Random numbers: their distributions, their independence, and that they never change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from bench.random import Random, Stream

DRAWS = 200_000


def draw(seed: int = 0) -> Random:
    return Random.from_seeds([seed]).fold("test")


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_uniform_is_uniform(seed: int) -> None:
    u = draw(seed).uniform(DRAWS)[0].numpy()
    assert u.dtype == np.float64
    assert u.min() >= 0
    assert u.max() < 1
    for power in (1, 2, 3, 4):
        error = 5 / np.sqrt(DRAWS * (2 * power + 1))  # 5 standard errors, from above
        assert np.mean(u**power) == pytest.approx(1 / (power + 1), abs=error)
    assert scipy.stats.kstest(u, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_normal_is_normal(seed: int) -> None:
    z = draw(seed).normal(DRAWS)[0]
    assert z.dtype == torch.float32
    assert z.isfinite().all()
    moments = {1: 0.0, 2: 1.0, 3: 0.0, 4: 3.0}
    variances = {1: 1.0, 2: 2.0, 3: 15.0, 4: 96.0}
    for power, moment in moments.items():
        error = 5 * np.sqrt(variances[power] / DRAWS)
        assert float((z.double() ** power).mean()) == pytest.approx(moment, abs=error)
    assert scipy.stats.kstest(z.numpy(), "norm").pvalue > 1e-3


def integers(u: Tensor) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """The 53 random bits of uniform draws."""
    return (u.flatten().numpy() * 2.0**53).astype(np.uint64)


def test_every_bit_is_fair_and_bytes_are_uniform() -> None:
    bits = integers(draw().uniform(DRAWS))
    ones = np.array([int(((bits >> np.uint64(b)) & np.uint64(1)).sum()) for b in range(53)])
    # 53 independent z-scores, squared and summed: chi-square with 53 degrees of freedom.
    chi = float((((ones - DRAWS / 2) ** 2) / (DRAWS / 4)).sum())
    assert 1e-3 < scipy.stats.chi2.sf(chi, 53) < 1 - 1e-3
    for byte in bits.view(np.uint8).reshape(-1, 8).T[:6]:
        assert scipy.stats.chisquare(np.bincount(byte, minlength=256)).pvalue > 1e-4


def test_neighbouring_draws_streams_and_seeds_are_uncorrelated() -> None:
    u = draw(3).uniform(DRAWS)[0].numpy()
    pairs = [
        (u[:-1], u[1:]),
        (u, draw(4).uniform(DRAWS)[0].numpy()),
        (u, Random.from_seeds([3]).fold("tesu").uniform(DRAWS)[0].numpy()),
        (draw(3).fold(0).uniform(DRAWS)[0].numpy(), draw(3).fold(1).uniform(DRAWS)[0].numpy()),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(DRAWS)


def test_streams_do_not_collide() -> None:
    """Roots, purposes, steps and steps of purposes all have keys of their own."""
    seeds = range(2_000)
    roots = Random.from_seeds(seeds)
    sources = [roots]
    sources += [roots.fold(step) for step in range(100)]
    purposes = ["reset", "act", "noise", "sample", "init", "actor", "critic"]
    sources += [roots.fold(purpose) for purpose in purposes]
    sources += [roots.fold(purpose).fold(step) for purpose in purposes for step in range(20)]
    first = integers(torch.cat([source.uniform(1) for source in sources]))
    assert len(np.unique(first)) == len(first)


def test_seed_zero_is_no_parent_of_the_others() -> None:
    """Equal first draws would be equal keys, and so all draws equal."""
    roots = Random.from_seeds(range(1_001))
    children = torch.cat([Random.from_seeds([0]).fold(step).uniform(1) for step in range(1_000)])
    assert not set(integers(roots.uniform(1)).tolist()) & set(integers(children).tolist())


def test_draws_within_and_across_streams_do_not_repeat() -> None:
    source = Random.from_seeds(range(50)).fold("draws")
    drawn = torch.cat([source.fold(step).uniform(1_000).flatten() for step in range(10)])
    assert len(drawn.unique()) == len(drawn)


def test_a_replica_draws_the_same_alone_and_in_a_fleet() -> None:
    seeds = [7, 0, 2**31 - 1, 42]
    fleet = Random.from_seeds(seeds).fold("reset").fold(17)
    for replica, seed in enumerate(seeds):
        alone = Random.from_seeds([seed]).fold("reset").fold(17)
        assert torch.equal(fleet.uniform(3, 5)[replica], alone.uniform(3, 5)[0])
        assert torch.equal(fleet.normal(3, 5)[replica], alone.normal(3, 5)[0])


def test_a_source_is_a_pure_function() -> None:
    source = draw()
    first = source.uniform(4)
    source.fold("other").normal(100)
    assert torch.equal(source.uniform(4), first)
    # A longer draw begins with the shorter one.
    assert torch.equal(source.uniform(9)[:, :4], first)


def test_golden_numbers() -> None:
    """The first draws, to the bit: a change of these numbers changes every run."""
    source = Random.from_seeds([0, 1]).fold("golden").fold(3)
    assert source.uniform(2).tolist() == GOLDEN_UNIFORM
    torch.testing.assert_close(source.normal(2), torch.tensor(GOLDEN_NORMAL), atol=1e-6, rtol=0)


GOLDEN_UNIFORM = [
    [0.18016059120263994, 0.46561485378651757],
    [0.6636697606497018, 0.2043054130480847],
]
GOLDEN_NORMAL = [[-0.914753, -0.086298], [0.422499, -0.826341]]


def test_steps_that_draw_together_draw_what_each_draws_alone() -> None:
    root = Random.from_seeds([3, 4])
    for step, source in enumerate(root.folds(5, 4), start=5):
        alone = root.fold(step)
        assert (source.keys == alone.keys).all()
        assert torch.equal(source.normal(3, 2), alone.normal(3, 2))
        assert torch.equal(source.fold("move").uniform(7), alone.fold("move").uniform(7))
        assert torch.equal(
            source.fold("move").fold(1).normal(2), alone.fold("move").fold(1).normal(2)
        )
        part = slice(1, 2)
        assert torch.equal(source.part(part).uniform(5), alone.part(part).uniform(5))
        some, folded = source.fold("move").part(part), source.part(part).fold("move")
        assert torch.equal(some.normal(2), alone.fold("move").part(part).normal(2))
        assert torch.equal(folded.part(slice(0, 1)).normal(2), some.normal(2))


def test_a_stream_draws_what_sources_folded_one_after_the_other_draw() -> None:
    stream, source = Stream(Random.from_seeds([3, 4])), Random.from_seeds([3, 4])
    for _ in range(4):
        assert torch.equal(stream.uniform(5, 2), source.uniform(5, 2))
        source = source.fold("next")
    assert torch.equal(stream.keys, torch.from_numpy(source.keys.view("int64")))
