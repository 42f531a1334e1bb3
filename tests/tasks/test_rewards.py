"""The rewards of cooperative navigation and what each of them makes agents do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import registry
from bench.random import Random
from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions

REWARDS = sorted(registry.TASKS["coop-nav"].rewards)


def make(reward: str, agents: int, **options: Any) -> CoopNav:
    function = registry.load(registry.TASKS["coop-nav"].rewards[reward])
    return CoopNav(agents, function, CoopNavOptions(**options), gamma=0.9)


def place(agents: Tensor, targets: Tensor) -> Tensor:
    """Return states at rest from positions [..., N, 2]."""
    x, goals = agents.flatten(-2), targets.flatten(-2)
    return torch.cat([x, torch.zeros_like(x), goals], -1)


def near_covers(agents: int, count: int, seed: int = 0) -> Tensor:
    """States [1, count, S] in which agents stand about a radius from targets drawn at random.

    Agents share targets in many of them and cover all one-to-one in many others.
    """
    random = Random.from_seeds([seed]).fold(agents)
    targets = random.fold("targets").uniform(count, agents, 2) - 0.5
    order = random.fold("order").uniform(count, agents).argsort(-1)
    strays = (random.fold("which").uniform(count, agents) * agents).long()
    chosen = torch.where(random.fold("stray").uniform(count, agents) < 0.2, strays, order)
    places = targets.gather(-2, chosen[..., None].expand(-1, -1, -1, 2))
    offset = 0.11 * (random.fold("offset").uniform(count, agents, 2) * 2 - 1)
    return place(places + offset, targets)


def brute_force_matching(covers: Tensor) -> int:
    """Try every assignment: the most targets covered one-to-one by covers [N, N]."""
    agents = range(len(covers))
    return max(
        sum(bool(covers[i, target]) for i, target in zip(agents, order, strict=True))
        for order in itertools.permutations(agents)
    )


@pytest.mark.parametrize("reward", REWARDS)
def test_rewards_lie_between_the_bounds_that_methods_are_refused_by(reward: str) -> None:
    before, after = near_covers(3, 200), near_covers(3, 200, seed=1)
    found = make(reward, 3).reward(before, after)
    bounds = registry.reward_range(reward, 3)
    assert bounds is not None
    assert bounds[0] <= float(found.min()) < float(found.max()) <= bounds[1]


@pytest.mark.parametrize("agents", [1, 2, 3, 4, 5])
def test_group_goal_and_summed_individual_equal_brute_force(agents: int) -> None:
    state = near_covers(agents, 200)
    goal, summed = make("group-goal", agents), make("summed-individual", agents)
    expected = [brute_force_matching(covers) for covers in goal.covers(state)[0]]
    assert len(set(expected)) > 1, "states of one kind would test nothing"
    assert agents in expected
    for i, size in enumerate(expected):
        assert goal.reward(state, state)[0, i].tolist() == [float(size == agents)] * agents
        assert summed.reward(state, state)[0, i].tolist() == [float(size)] * agents


def test_two_agents_on_one_target_earn_no_group_goal() -> None:
    targets = torch.tensor([[-0.5, 0.0], [0.5, 0.0]])
    both = place(targets[[0, 0]], targets)[None, None]
    apart = place(targets[[1, 0]], targets)[None, None]
    goal, summed = make("group-goal", 2), make("summed-individual", 2)
    assert goal.reward(both, both).tolist() == [[[0.0, 0.0]]]
    assert goal.reward(apart, apart).tolist() == [[[1.0, 1.0]]]
    assert summed.reward(both, both).tolist() == [[[1.0, 1.0]]]
    assert summed.reward(apart, apart).tolist() == [[[2.0, 2.0]]]


def test_one_agent_on_two_targets_earns_no_group_goal() -> None:
    targets = torch.tensor([[0.05, 0.0], [-0.05, 0.0]])
    state = place(torch.tensor([[0.0, 0.0], [0.9, 0.9]]), targets)[None, None]
    assert make("group-goal", 2).reward(state, state).tolist() == [[[0.0, 0.0]]]
    assert make("summed-individual", 2).reward(state, state).tolist() == [[[1.0, 1.0]]]


def test_the_radius_counts_to_its_edge() -> None:
    targets = torch.zeros(1, 2, dtype=torch.float64)
    task = make("group-goal", 1, radius=0.25)
    for distance, expected in [(0.25, 1.0), (0.2500001, 0.0)]:
        state = place(torch.tensor([[0.0, distance]], dtype=torch.float64), targets)[None, None]
        assert task.reward(state, state).item() == expected


@pytest.mark.parametrize("collisions", [False, True])
@pytest.mark.parametrize("reward", REWARDS)
def test_permuting_agents_and_targets(reward: str, collisions: bool) -> None:
    task = make(reward, 4, collisions=collisions)
    before, state = near_covers(4, 100, seed=1), near_covers(4, 100, seed=2)
    base = task.reward(before, state)
    order = [2, 0, 3, 1]

    def agents_moved(s: Tensor) -> Tensor:
        return place(task.positions(s)[..., order, :], task.target_positions(s))

    def targets_moved(s: Tensor) -> Tensor:
        return place(task.positions(s), task.target_positions(s)[..., order, :])

    moved = task.reward(agents_moved(before), agents_moved(state))
    torch.testing.assert_close(moved, base[..., order])
    torch.testing.assert_close(task.reward(targets_moved(before), targets_moved(state)), base)
    if not (reward == "mpe-dense" and collisions):
        assert torch.equal(base, base[..., :1].expand_as(base)), "a team reward"


@pytest.mark.parametrize("reward", REWARDS)
def test_reward_is_a_function_of_the_states_only(reward: str) -> None:
    """Whatever was computed before, beside or between: a stored transition has its reward."""
    task = make(reward, 3)
    before, state = near_covers(3, 50, seed=3), near_covers(3, 50, seed=4)
    kept = before.clone(), state.clone()
    first = task.reward(before, state)
    task.reward(state, before)
    task.step(state, torch.ones(1, 50, 3, 2))
    assert torch.equal(task.reward(before, state), first)
    assert torch.equal(before, kept[0])
    assert torch.equal(state, kept[1])
    for i in (0, 17, 49):
        alone = task.reward(before[:, i : i + 1], state[:, i : i + 1])
        torch.testing.assert_close(alone, first[:, i : i + 1])
    if reward != "assignment-shaping":
        assert torch.equal(task.reward(state, state), first), "only the state reached counts"


@pytest.mark.parametrize("agents", [3, 4])
def test_maximising_the_distance_reward_gathers_and_does_not_cover(agents: int) -> None:
    task = make("distance", agents)
    start = task.reset(Random.from_seeds([0]).fold("start"), 300).double()
    targets = task.target_positions(start)
    x = task.positions(start).clone().requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    for _ in range(500):
        optimizer.zero_grad()
        state = place(x, targets)
        (-task.reward(state, state)[..., 0].sum()).backward()
        optimizer.step()
        schedule.step()
    best = place(x.detach(), targets)
    covering = place(targets, targets)
    assert (task.reward(best, best) >= task.reward(covering, covering) - 1e-3).all()
    assert task.metrics(covering)["successful_steps"].mean() == 1
    assert task.metrics(best)["successful_steps"].mean() < 0.02
    if agents == 3:  # with an odd number of targets the geometric median is one point
        spread = (task.positions(best) - task.positions(best).mean(-2, keepdim=True)).abs()
        assert spread.max() < 0.02


def test_shaping_telescopes() -> None:
    """Sum of gamma^t F_t = gamma^T Phi_T - Phi_0: shaping cannot be farmed."""
    shaped, plain = make("assignment-shaping", 3), make("group-goal", 3)
    state = shaped.reset(Random.from_seeds([0]).fold("shaping"), 20).double()
    rng = torch.Generator().manual_seed(0)

    def potential(at: Tensor) -> Tensor:
        orders = itertools.permutations(range(3))
        d = shaped.distances(at)
        return torch.stack([-d[..., range(3), order].sum(-1) / 3 for order in orders]).amax(0)

    start, total = potential(state), torch.zeros(1, 20, dtype=torch.float64)
    for step in range(30):
        after = shaped.step(state, torch.rand(1, 20, 3, 2, generator=rng).double() * 2 - 1)
        extra = shaped.reward(state, after) - plain.reward(state, after)
        total += 0.9**step * extra[..., 0]
        state = after
    torch.testing.assert_close(total, 0.9**30 * potential(state) - start)
    assert total.abs().min() > 0.05


def test_shaping_of_an_episode_that_a_success_ends_is_minus_the_first_potential() -> None:
    """Nothing follows, so the last potential is 0, and no team is paid for where it ends."""
    shaped, plain = (
        make(reward, 2, end="success", radius=0.5, dynamics="first-order")
        for reward in ("assignment-shaping", "group-goal")
    )
    state = shaped.reset(Random.from_seeds([0]).fold("shaping"), 400).double()
    rng = torch.Generator().manual_seed(0)
    gaps = shaped.distances(state)
    start = -torch.minimum(gaps[..., 0, 0] + gaps[..., 1, 1], gaps[..., 0, 1] + gaps[..., 1, 0]) / 2
    total, alive = torch.zeros(1, 400, dtype=torch.float64), ~shaped.terminated(state)
    began = alive.clone()
    for step in range(30):
        after = shaped.step(state, torch.rand(1, 400, 2, 2, generator=rng).double() * 2 - 1)
        extra = (shaped.reward(state, after) - plain.reward(state, after))[..., 0]
        total += torch.where(alive, 0.9**step * extra, 0.0)
        alive = alive & ~shaped.terminated(after)
        state = after
    ended = began & ~alive
    assert ended.sum() > 20
    torch.testing.assert_close(total[ended], -start[ended])


def test_mpe_dense_by_hand() -> None:
    targets = torch.tensor([[0.0, 0.0], [0.6, 0.0]])
    state = place(torch.tensor([[0.0, 0.1], [0.0, -0.1]]), targets)[None, None]
    spread = 0.1 + (0.6**2 + 0.1**2) ** 0.5
    apart = make("mpe-dense", 2).reward(state, state)
    torch.testing.assert_close(apart, torch.full((1, 1, 2), -spread))
    collide = make("mpe-dense", 2, collisions=True).reward(state, state)
    torch.testing.assert_close(collide, torch.full((1, 1, 2), -spread / 2 - 0.5))
