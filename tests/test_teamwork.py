"""Who does the work and how targets are chosen, on episodes whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bench import teamwork as module
from bench.config import resolve
from bench.fleet import Fleet
from bench.random import Random
from bench.tasks.controllers import geometric_median
from bench.tasks.coop_nav import CoopNav
from bench.tasks.options import CoopNavOptions
from bench.tasks.rewards import group_goal
from bench.teamwork import aims, teamwork

HORIZON = 25


def make_task(agents: int = 2, **options: object) -> CoopNav:
    chosen = CoopNavOptions(dynamics="first-order", horizon=HORIZON, **options)  # type: ignore[arg-type]
    return CoopNav(agents, group_goal, chosen)


class Scripted:
    """Acts by a function of what is observed; agent 0 may be told apart."""

    def __init__(self, heads_for: Tensor) -> None:
        self.heads_for = heads_for

    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        N = len(self.heads_for)
        gaps = observation[..., 4 : 4 + 2 * N].unflatten(-1, (N, 2))
        chosen = self.heads_for.clamp(min=0).view(1, 1, N, 1, 1).expand(*gaps.shape[:3], 1, 2)
        move = (gaps.gather(-2, chosen).squeeze(-2) / 0.1).clamp(-1, 1)
        return move * (self.heads_for >= 0).view(1, 1, N, 1)


def test_an_agent_that_does_nothing_is_idle_and_replaceable_and_the_other_is_not() -> None:
    task, random = make_task(), Random.from_seeds([0])
    one = teamwork(task, Scripted(torch.tensor([0, -1])), random)[0]  # type: ignore[arg-type]
    assert one is not None
    assert one.replaceable[1] == 1.0
    assert one.lost[1] == 0.0
    assert one.idle[1] > 0.9  # it may start on a target
    # Agent 0 reaches its target from everywhere, and nobody else does but where 1 started there.
    assert one.replaceable[0] < 0.2
    assert one.lost[0] > 0.2
    assert one.idle[0] == 0.0


def test_agents_blind_to_each_other_are_never_redirected() -> None:
    task = make_task(3)
    found = teamwork(task, Scripted(torch.tensor([0, 1, 2])), Random.from_seeds([0, 1]))  # type: ignore[arg-type]
    for one in found:
        assert one is not None
        assert one.redirected == [0.0, 0.0, 0.0]
        assert one.switches == one.switches_frozen


class Avoider:
    """Agent 0 heads for target 0, agent 1 too, unless agent 0 is nearer to it than itself."""

    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        gaps = observation[..., 4:8].unflatten(-1, (2, 2))
        taken = (observation[..., 8:10] - gaps[..., 0, :]).norm(dim=-1) < gaps[..., 0, :].norm(
            dim=-1
        )
        taken[..., 0] = False
        target = torch.where(taken[..., None], gaps[..., 1, :], gaps[..., 0, :])
        return (target / 0.1).clamp(-1, 1)


def test_an_agent_that_gives_way_is_redirected(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task()
    # Agent 1 is nearer at first; agent 0, on a diagonal, is the faster and overtakes it.
    start = torch.tensor([[-0.4, -0.4, 0.5, 0.0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.9]])
    monkeypatch.setattr(task, "reset", lambda random, episodes: start.expand(1, episodes, -1))
    one = teamwork(task, Avoider(), Random.from_seeds([0]))[0]  # type: ignore[arg-type]
    assert one is not None
    assert one.redirected == [0.0, 1.0]
    assert sum(one.switches) == 0.5  # one switch of one of two agents
    assert sum(one.switches_frozen) == 0.0
    # After k steps agent 0 is the nearer from 0.57 - 0.14 k < 0.5 - 0.1 k on: k = 2.  Agent 1 then
    # walks up a diagonal, which passes target 0 the nearer, and after 3 steps straight to target 1.
    assert one.example.switches == [(5, 1)]
    assert one.switches == [0.5 if step == 5 else 0.0 for step in range(HORIZON)]


class Passer(Avoider):
    """Agent 0 goes on along the diagonal for ever; agent 1 is an avoider."""

    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        moves = super().act(observation)
        moves[..., 0, :] = 1.0
        return moves


def test_an_agent_that_gives_way_and_comes_back_is_not_redirected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counts where an agent ends up, and not where it went."""
    task = make_task()
    start = torch.tensor([[-0.5, -0.5, 0.6, 0.0, 0, 0, 0, 0, 0.0, 0.0, 0.9, 0.9]])
    monkeypatch.setattr(task, "reset", lambda random, episodes: start.expand(1, episodes, -1))
    one = teamwork(task, Passer(), Random.from_seeds([0]))[0]  # type: ignore[arg-type]
    assert one is not None
    assert [agent for _, agent in one.example.switches].count(1) == 2, "away and back"
    assert one.redirected == [0.0, 0.0]


def path(points: list[tuple[float, float]], targets: list[tuple[float, float]]) -> Tensor:
    """Return states [1, T + 1, S] of agent 0 on a path; agent 1 stays far away."""
    states = torch.zeros(1, len(points), 12)
    states[0, :, 0:2] = torch.tensor(points)
    states[0, :, 2:4] = -0.95
    states[0, :, 8:12] = torch.tensor(targets).flatten()
    return states


def test_aims_by_hand() -> None:
    task, targets = make_task(), [(0.9, 0.0), (0.0, 0.9)]
    right = [(0.1 * i - 0.3, 0.0) for i in range(5)]
    turned = [*right, *((0.1, 0.1 * i) for i in range(1, 6))]
    held = aims(task, path(turned, targets))[0, :, 0].tolist()
    assert held == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    # One step aside is no change of mind; no step at all is none either.
    aside = [*right, (0.1, 0.1), (0.2, 0.1), (0.2, 0.1), (0.3, 0.1)]
    assert set(aims(task, path(aside, targets))[0, :, 0].tolist()) == {0}
    # Agent 1 never moves and covers nothing.
    assert set(aims(task, path(turned, targets))[0, :, 1].tolist()) == {-1}


def test_an_agent_on_a_target_aims_at_it_whatever_its_motion() -> None:
    task, targets = make_task(), [(0.0, 0.0), (0.0, 0.9)]
    hover = [(0.05 * (-1) ** i, 0.05 * (-1) ** (i // 2)) for i in range(9)]
    assert set(aims(task, path(hover, targets))[0, :, 0].tolist()) == {0}


def test_a_replica_measures_the_same_alone_and_in_a_fleet() -> None:
    def measure(seeds: list[int]) -> list[object]:
        configs = [resolve({"agents": 2, "seed": seed}) for seed in seeds]
        fleet = Fleet(configs, torch.device("cpu"))
        assert isinstance(fleet.task, CoopNav)
        return list(teamwork(fleet.task, fleet.algorithm, fleet.random.fold("teamwork")))

    assert measure([3, 4, 5]) == [measure([seed])[0] for seed in (3, 4, 5)]


def test_the_example_has_the_median_number_of_switches() -> None:
    task = make_task()
    one = teamwork(task, Scripted(torch.tensor([0, 1])), Random.from_seeds([0]))[0]  # type: ignore[arg-type]
    assert one is not None
    start = task.reset(Random.from_seeds([0]).fold("reset"), module.EPISODES)
    assert len(one.example.positions) == HORIZON + 1
    target = torch.tensor(one.example.targets)
    assert any(
        torch.allclose(task.target_positions(episode), target, atol=1e-4) for episode in start[0]
    )


def test_the_geometric_median_is_where_the_total_distance_is_least() -> None:
    points = torch.rand(20, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    centre = geometric_median(points, 300)

    def total(at: Tensor) -> Tensor:
        return torch.linalg.vector_norm(points - at.unsqueeze(1), dim=-1).sum(1)

    for angle in range(8):
        way = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
        assert (total(centre) <= total(centre + 0.02 * way) + 1e-6).all()


def test_agents_that_start_in_the_centre_do_and_are_otherwise_as_before() -> None:
    random = Random.from_seeds([0])
    everywhere = make_task().reset(random, 50)
    centre = make_task(start="centre").reset(random, 50)
    assert (make_task().positions(centre).abs() <= 0.1).all()
    assert torch.equal(centre[..., 8:], everywhere[..., 8:])


def test_an_option_added_later_changes_no_configuration_that_does_not_use_it() -> None:
    assert "start" not in resolve({}).task_options
    assert resolve({"task_options": {"start": "uniform"}}).digest == resolve({}).digest
    moved = resolve({"task_options": {"start": "centre"}})
    assert moved.task_options["start"] == "centre"
    assert moved.digest != resolve({}).digest
