"""Assignments against brute force and scipy, on both sides of the enumeration limit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from bench.tasks.assignment import (
    ENUMERATED,
    _augment,
    _matched,
    all_matched,
    bottleneck,
    least_total,
    matching_size,
)

SIZES = [1, 2, 4, ENUMERATED, ENUMERATED + 1, 9]


@pytest.mark.parametrize("agents", SIZES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_matching_size_equals_scipy(agents: int, density: float) -> None:
    rng = np.random.default_rng(agents)
    covers = rng.random((60, agents, agents)) < density
    expected = [int((maximum_bipartite_matching(csr_matrix(graph)) >= 0).sum()) for graph in covers]
    given = torch.from_numpy(covers)
    assert matching_size(given.view(5, 12, agents, agents)).flatten().tolist() == expected
    for way in (_augment, _matched):  # on an accelerator, and on a CPU, of any number of agents
        assert way(given).tolist() == expected
        assert way(given[:0]).tolist() == []


@pytest.mark.parametrize("agents", SIZES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5])
def test_all_are_matched_where_the_matching_is_full(agents: int, density: float) -> None:
    """Half of the graphs hold a permutation, so that some are full at every density."""
    rng = np.random.default_rng(agents)
    covers = rng.random((60, agents, agents)) < density
    covers[::2] |= rng.permuted(np.tile(np.eye(agents, dtype=bool), (30, 1, 1)), axis=1)
    for graph in covers[::2][:15]:  # a permutation of rows, not of each column
        graph |= np.eye(agents, dtype=bool)[rng.permutation(agents)]
    given = torch.from_numpy(covers).view(5, 12, agents, agents)
    found = all_matched(given)
    assert torch.equal(found, matching_size(given) == agents)
    assert found.any()


def test_matching_needs_augmenting_paths() -> None:
    """Each agent's first choice is taken by the one before: a greedy matching finds half."""
    agents = ENUMERATED + 2
    covers = torch.zeros(1, agents, agents, dtype=torch.bool)
    for i in range(agents):
        covers[0, i, max(i - 1, 0)] = covers[0, i, 0] = True
    covers[0, 0, agents - 1] = True
    assert matching_size(covers).item() == agents


@pytest.mark.parametrize("agents", SIZES)
def test_least_total_equals_scipy(agents: int) -> None:
    distance = np.random.default_rng(agents).random((40, agents, agents))
    expected = [d[linear_sum_assignment(d)].sum() for d in distance]
    found = least_total(torch.from_numpy(distance).view(8, 5, agents, agents))
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(("agents", "slack"), [(2, 0.0), (4, 0.0), (7, 0.05)])
def test_bottleneck_has_the_least_longest_distance(agents: int, slack: float) -> None:
    distance = torch.from_numpy(np.random.default_rng(agents).random((30, agents, agents)))
    chosen = bottleneck(distance)
    assert (chosen.sort(-1).values == torch.arange(agents)).all(), "one-to-one"
    longest = distance.gather(-1, chosen[..., None])[..., 0].amax(-1)
    orders = np.array(list(itertools.permutations(range(agents))))
    best = distance.numpy()[:, np.arange(agents), orders].max(-1).min(-1)
    assert (longest.numpy() <= best * (1 + slack) + 2e-4).all()


def test_bottleneck_breaks_ties_by_the_least_total() -> None:
    distance = torch.tensor([[1.0, 1.0, 9.0], [0.1, 0.9, 9.0], [9.0, 9.0, 0.5]])
    assert bottleneck(distance).tolist() == [1, 0, 2]
