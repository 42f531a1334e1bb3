"""Cooperative navigation: starts, dynamics, observations, metrics and refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from bench.config import RunConfig
from bench.errors import RequestError
from bench.random import Random
from bench.tasks import make_task
from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions
from bench.tasks.rewards import group_goal


def make(agents: int = 3, **options: Any) -> CoopNav:
    return CoopNav(agents, group_goal, CoopNavOptions(**options))


def start(task: CoopNav, episodes: int, seed: int = 0) -> torch.Tensor:
    return task.reset(Random.from_seeds([seed]).fold("reset"), episodes)


def test_a_random_step_is_a_success_as_often_as_geometry_says() -> None:
    """P(full unique cover) is about N! p^N, p the mean share of the square that a disc covers."""
    task, r, side, chunk, chunks = make(2), 0.1, 2.0, 500_000, 8
    # A disc of radius r whose centre is uniform in a square, clipped to it.
    share = (math.pi * r**2 * side**2 - 8 / 3 * r**3 * side + r**4 / 2) / side**4
    assert share == pytest.approx(0.00752, abs=1e-5)
    random, covers, successes = Random.from_seeds([0]).fold("cover"), 0.0, 0.0
    for step in range(chunks):
        state = task.reset(random.fold(step), chunk)
        covers += float(task.covers(state).float().mean()) / chunks
        successes += float(task.metrics(state)["successful_steps"].sum())
    assert covers == pytest.approx(share, rel=0.01)
    expected = chunk * chunks * 2 * share**2
    assert abs(successes - expected) < 4 * math.sqrt(expected)


def test_a_replica_starts_the_same_alone_and_in_a_fleet() -> None:
    task = make()
    fleet = task.reset(Random.from_seeds([5, 7, 9]).fold("reset"), 4)
    for replica, seed in enumerate([5, 7, 9]):
        assert torch.equal(fleet[replica], start(task, 4, seed)[0])
    assert len(fleet.flatten(0, 1).unique(dim=0)) == 12, "all starts differ"


def test_starts_are_uniform_in_the_square_and_at_rest() -> None:
    task = make()
    state = start(task, 20_000)
    assert state.shape == (1, 20_000, task.state_size)
    assert state.dtype == torch.float32
    assert task.velocities(state).abs().max() == 0
    for points in (task.positions(state), task.target_positions(state)):
        assert points.abs().max() <= 1
        assert points.mean((0, 1)).abs().max() < 5 / math.sqrt(3 * 20_000)
        torch.testing.assert_close(points.var((0, 1)), torch.full((3, 2), 1 / 3), atol=0.01, rtol=0)


def test_fixed_targets_are_the_same_in_every_episode_and_seed() -> None:
    task = make(4, targets="fixed")
    targets = task.target_positions(torch.cat([start(task, 3, 0), start(task, 3, 1)]))
    assert (targets == targets[0, 0]).all()
    torch.testing.assert_close(targets[0, 0].norm(dim=-1), torch.full((4,), 0.5))
    assert task.positions(start(task, 2)).unique().numel() > 4


def test_first_order_moves_by_a_tenth_and_stops_at_the_walls() -> None:
    task = make(1, dynamics="first-order")
    state = torch.tensor([[[0.95, 0.0, 0.0, 0.0, 0.3, 0.3]]])
    after = task.step(state, torch.tensor([[[[1.0, -0.5]]]]))
    torch.testing.assert_close(after, torch.tensor([[[1.0, -0.05, 0.0, 0.0, 0.3, 0.3]]]))


def test_success_ends_an_episode_if_asked_and_nothing_comes_after() -> None:
    """Until the first success, which is paid, all is as without; then nothing moves or pays."""
    options = {"dynamics": "first-order", "radius": 0.8}
    task, endless = make(2, **options, end="success"), make(2, **options)
    assert endless.terminated(start(endless, 1)) is None
    states, rewards = [start(task, 400)], []
    actions = torch.rand(30, 1, 400, 2, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for action in actions:
        states.append(task.step(states[-1], action))
        rewards.append(task.reward(states[-2], states[-1]))
    free = [states[0]]
    for action in actions:
        free.append(endless.step(free[-1], action))
    success = torch.stack([task.metrics(state)["successful_steps"] > 0 for state in free])[:, 0]
    first = torch.where(success.any(0), success.float().argmax(0), 31)
    assert {0, 1, 31} < set(first.tolist()), "at once, later, and never"
    assert success[30][first < 30].logical_not().any(), "agents wander off again, where they may"
    for step in range(31):
        ended = task.terminated(states[step])
        assert ended is not None and torch.equal(ended[0], first <= step)
        frozen = torch.stack(free)[first.clamp(max=step), 0, torch.arange(400)]
        assert torch.equal(states[step][0], frozen)
    paid = torch.stack(rewards)[:, 0]
    assert torch.equal(
        paid, (torch.arange(1, 31)[:, None] == first).float()[:, :, None].expand_as(paid)
    )


def test_discrete_moves_are_unit_forces() -> None:
    continuous = make(5, dynamics="first-order")
    options = CoopNavOptions(dynamics="first-order")
    discrete = CoopNav(5, group_goal, options, discrete=True)
    state = start(continuous, 1) * 0.5
    moves = torch.eye(5)[None, None]
    forces = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    assert torch.equal(discrete.step(state, moves), continuous.step(state, forces[None, None]))


def test_observation_layout_and_batching() -> None:
    task = make(3)
    state = torch.randn(2, 5, task.state_size)
    seen = task.observe(state)
    assert seen.shape == (2, 5, 3, task.observation_size)
    x, v, goals = task.positions(state), task.velocities(state), task.target_positions(state)
    for i, others in enumerate([(1, 2), (0, 2), (0, 1)]):
        own = x[..., i, :]
        parts = [v[..., i, :], own, *(goals[..., j, :] - own for j in range(3))]
        parts += [x[..., j, :] - own for j in others]
        assert torch.equal(seen[..., i, :], torch.cat(parts, -1))


def test_metrics_and_episode_metrics() -> None:
    task = make(2)
    state = torch.tensor([[[0.0, 0.0, 0.1, 0.0, 0, 0, 0, 0, 0.0, 0.05, 0.7, 0.0]]])
    counted = {name: value.item() for name, value in task.metrics(state).items()}
    assert counted == pytest.approx(
        {"successful_steps": 0, "covered": 1, "least_distance": 0.05 + 0.6, "collisions": 2}
    )
    sums = {name: torch.tensor([[value * 30]]) for name, value in counted.items()}
    reported = task.episode_metrics(sums)
    assert reported["covered"].item() == 1
    assert reported["any_success"].item() == 0
    more = task.episode_metrics({**sums, "successful_steps": torch.tensor([[3.0]])})
    assert more["any_success"].item() == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task_options": {"radiuss": 0.1}}, "did you mean 'radius'"),
        ({"task_options": {"radius": 0}}, "radius = 0"),
        ({"task_options": {"radius": float("nan")}}, "radius = nan"),
        ({"task_options": {"horizon": 0}}, "horizon = 0"),
        ({"task_options": {"dynamics": "second-order"}}, "dynamics = 'second-order'"),
        ({"reward": "group_goal"}, "did you mean 'group-goal'"),
        ({"task": "coop-naw"}, "did you mean 'coop-nav'"),
    ],
)
def test_bad_requests_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as refusal:
        make_task(RunConfig(**values), "continuous")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
