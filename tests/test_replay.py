"""Storage holds exactly what was put in; samplers draw with exactly the stated probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from bench.config import RunConfig
from bench.random import Random
from bench.replay.prioritized import PRIORITY_FLOOR, Prioritized, SumTree
from bench.replay.storage import Replay
from bench.replay.uniform import Uniform

R, E, T = 2, 3, 4


def make(slots: int, terminates: bool = False) -> Replay:
    return Replay(R, slots * T, E, T, 1, (1, 1), torch.device("cpu"), terminates)


def label(group: int, step: int) -> Tensor:
    """A state that says where it comes from: replica, group, episode, step."""
    replica = torch.arange(R)[:, None] * 10_000
    return (replica + group * 1_000 + torch.arange(E) * 100 + step).float().unsqueeze(-1)


def fill(replay: Replay, group: int, steps: int = T) -> list[slice]:
    replay.begin(label(group, 0))
    return [
        replay.add(-label(group, step).unsqueeze(-1), label(group, step + 1))
        for step in range(steps)
    ]


def test_a_transition_is_two_neighbouring_states_of_one_episode() -> None:
    replay = make(slots=6)
    seen: set[float] = set()
    for group in range(5):  # wraps twice
        steps = T if group < 4 else 2
        spans = fill(replay, group, steps)
        every = torch.arange(replay.capacity)
        indices = torch.cat([every[span] for span in spans]).expand(R, -1)
        state, action, following = replay.transitions(indices)
        assert torch.equal(following, state + 1)
        assert torch.equal(action.squeeze(-1), -state)
        seen = set(state.flatten().tolist())
    assert len(seen) == R * E * 2
    assert len(replay) == 3 * T + 3 * 2


@pytest.mark.parametrize(("groups", "steps"), [(1, 2), (2, 4), (3, 1), (5, 3)])
def test_uniform_draws_every_stored_transition_equally_and_no_other(
    groups: int, steps: int
) -> None:
    replay = make(slots=9)
    for group in range(groups):
        fill(replay, group, T if group < groups - 1 else steps)
    state, _, following = replay.transitions(replay.uniform(Random.from_seeds(range(R)), 20_000))
    assert torch.equal(following, state + 1)
    for replica in range(R):
        values, counts = np.unique(state[replica].numpy(), return_counts=True)
        assert len(values) == len(replay)
        assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_uniform_never_draws_what_follows_an_early_ending() -> None:
    replay = make(slots=6, terminates=True)
    lengths = torch.tensor([[4, 1, 2], [3, 4, 0]])
    replay.begin(label(0, 0))
    for step in range(T):
        alive = step < lengths
        replay.add(-label(0, step).unsqueeze(-1), label(0, step + 1), alive)
    state, _, _ = replay.transitions(replay.uniform(Random.from_seeds([0, 1]), 20_000))
    for replica in range(R):
        values, counts = np.unique(state[replica].numpy() % 10_000, return_counts=True)
        expected = [e * 100 + s for e in range(E) for s in range(int(lengths[replica, e]))]
        assert values.tolist() == expected
        assert scipy.stats.chisquare(counts).pvalue > 1e-4


def test_misuse_is_refused() -> None:
    replay = make(slots=3)
    replay.begin(label(0, 0))
    with pytest.raises(ValueError, match="not ended"):
        replay.begin(label(1, 0))


def test_state_restores_a_half_filled_ring() -> None:
    replay, copy = make(slots=9), make(slots=9)
    for group in range(2):
        fill(replay, group)
    copy.load({name: tensor.clone() for name, tensor in replay.state().items()})
    fill(replay, 2)
    fill(copy, 2)
    draws = replay.uniform(Random.from_seeds([5, 6]), 50)
    for a, b in zip(replay.transitions(draws), copy.transitions(draws), strict=True):
        assert torch.equal(a, b)


def test_sum_tree_draws_in_proportion_and_never_an_empty_leaf() -> None:
    tree = SumTree(R, 100, torch.device("cpu"))
    values = torch.rand(R, 100, generator=torch.Generator().manual_seed(0)) ** 3
    values[:, 30:70] = 0
    tree.set(torch.arange(100).expand(R, -1), values)
    indices, drawn = tree.sample(Random.from_seeds([0, 1]).uniform(100_000))
    assert torch.equal(drawn, values.gather(1, indices))
    for replica in range(R):
        live = values[replica] > 0
        counts = torch.bincount(indices[replica], minlength=100)
        assert counts[~live].sum() == 0
        expected = values[replica][live].double()
        expected *= 100_000 / expected.sum()
        assert scipy.stats.chisquare(counts[live], expected).pvalue > 1e-4


def test_sum_tree_at_its_edges_draws_only_live_leaves() -> None:
    tree = SumTree(1, 1000, torch.device("cpu"))
    live = torch.tensor([[0, 31, 32, 500, 999]])
    tree.set(live, torch.tensor([[1e-9, 3.0, 1e-3, 1.0, 7.0]]))
    edge = torch.tensor([[0.0, 1 - 2.0**-53, 0.5, 3e-10, 0.2727, 0.3636363636, 0.99999]])
    indices, values = tree.sample(edge.double())
    assert set(indices.flatten().tolist()) <= set(live.flatten().tolist())
    assert (values > 0).all()
    tree.fill(slice(900, 1000), 0.0)
    assert int(tree.sample(torch.tensor([[0.9999999]], dtype=torch.float64))[0]) == 500


def prioritized(
    alpha: float = 0.6, beta: float = 0.4, batch: int = 12
) -> tuple[Replay, Prioritized]:
    replay = make(slots=6)
    config = RunConfig(per_alpha=alpha, per_beta=beta, batch=batch)
    sampler = Prioritized(replay, config, slice(0, R))
    for group in range(2):
        for new in fill(replay, group):
            sampler.extend(new, None)
    return replay, sampler


def test_prioritized_draws_with_the_probabilities_of_the_paper() -> None:
    replay, sampler = prioritized(batch=50_000)
    every = torch.arange(24).expand(R, -1)
    td = torch.linspace(-2, 3, 24).expand(R, -1) * torch.tensor([[1.0], [5.0]])
    sampler.update(every, td)
    indices, weights = sampler.sample(Random.from_seeds([0, 1]), progress=0.5)
    assert PRIORITY_FLOOR == 1e-6
    p = (td.abs().double() + PRIORITY_FLOOR) ** 0.6
    P = p / p.sum(1, keepdim=True)
    beta = 0.4 + 0.6 * 0.5
    expected = (len(replay) * P) ** -beta
    for replica in range(R):
        counts = torch.bincount(indices[replica], minlength=24)
        assert scipy.stats.chisquare(counts, P[replica] * 50_000).pvalue > 1e-4
        drawn = expected[replica][indices[replica]]
        assert torch.allclose(weights[replica].double(), drawn / drawn.max(), rtol=1e-4)


def test_at_beta_1_the_expected_weighted_gradient_is_the_uniform_one() -> None:
    """sum_i P_i (M P_i)^-1 g_i = mean g, so weights times their largest must give it back."""
    replay, sampler = prioritized(beta=1.0, batch=400_000)
    every = torch.arange(24).expand(R, -1)
    sampler.update(every, torch.rand(R, 24, generator=torch.Generator().manual_seed(3)) + 0.2)
    indices, weights = sampler.sample(Random.from_seeds([0, 1]), progress=0.0)
    g = torch.sin(torch.arange(24.0))
    values = sampler.state()["leaves"][:, :24].double()
    P = values / values.sum(1, keepdim=True)
    largest = (1 / (len(replay) * P)).gather(1, indices).amax(1)
    estimate = (weights.double() * g[indices]).mean(1) * largest
    assert torch.allclose(estimate, g.double().mean().expand(R), atol=5e-3)


def test_new_transitions_come_at_the_largest_priority_and_old_ones_go() -> None:
    replay, sampler = prioritized()
    sampler.update(torch.zeros(R, 1, dtype=torch.long), torch.tensor([[9.0], [2.0]]))
    replay.begin(label(2, 0))
    sampler.evict(replay.running)
    leaves = sampler.state()["leaves"]
    assert (leaves[:, :12] == 0).all()
    sampler.extend(replay.add(-label(2, 0).unsqueeze(-1), label(2, 1)), None)
    fresh = sampler.state()["leaves"][:, [0, 4, 8]]
    assert torch.allclose(fresh, (torch.tensor([[9.0], [2.0]]) + PRIORITY_FLOOR) ** 0.6)


def test_a_diverged_replica_leaves_the_others_priorities_alone() -> None:
    _, sound = prioritized()
    _, broken = prioritized()
    indices = torch.arange(5).expand(R, -1)
    td = torch.rand(R, 5)
    sound.update(indices, td)
    td = td.clone()
    td[0, 2] = torch.nan
    broken.update(indices, td)
    assert torch.equal(sound.state()["leaves"][1], broken.state()["leaves"][1])
    assert broken.state()["leaves"].isfinite().all()
    broken.sample(Random.from_seeds([0, 1]), 0.5)


def test_a_transition_drawn_twice_in_two_orders_gets_the_larger_of_its_errors() -> None:
    replay, _ = prioritized()
    config = RunConfig(batch=5, augmentation="permutation", sampler="prioritized")
    sampler = Prioritized(replay, config, slice(0, R))
    sampler.update(torch.tensor([[3, 1, 3]] * R), torch.tensor([[0.1, 0.2, -0.7]] * R))
    leaves = sampler.state()["leaves"]
    assert leaves[:, 3].tolist() == pytest.approx([0.7**config.per_alpha] * R, rel=1e-4)


def test_uniform_weights_are_one() -> None:
    replay = make(slots=3)
    fill(replay, 0)
    _, weights = Uniform(replay, RunConfig(batch=7), slice(0, R)).sample(
        Random.from_seeds([0, 1]), 0.3
    )
    assert torch.equal(weights, torch.ones(R, 7))


def test_a_replica_has_the_same_priorities_and_weights_to_the_bit_alone_and_in_a_fleet() -> None:
    """Batches of odd sizes: some functions of torch round by the place in the tensor."""
    for batch in (7, 13, 40):
        td = torch.rand(3, batch, generator=torch.Generator().manual_seed(batch)) + 0.01
        found = []
        for replicas in (slice(0, 3), slice(1, 2)):
            seeds = list(range(3))[replicas]
            count = len(seeds)
            replay = Replay(count, 60, 3, 4, 1, (1, 1), torch.device("cpu"), terminates=False)
            sampler = Prioritized(replay, RunConfig(batch=batch), slice(0, count))
            sampler.update(torch.arange(batch).expand(count, -1), td[replicas])
            sampler.extend(slice(0, 12), None)
            _, weights = sampler.sample(Random.from_seeds(seeds), 0.3)
            found.append((sampler.state()["leaves"], weights))
        for fleet, alone in zip(*found, strict=True):
            assert torch.equal(fleet[1:2], alone)
