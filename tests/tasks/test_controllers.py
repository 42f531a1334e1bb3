"""The reference controllers: the scores that are the ends of the scale."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from bench.config import RunConfig
from bench.errors import RequestError
from bench.evaluate import evaluate
from bench.interfaces import Batch, Spec, Task
from bench.random import Random as Source
from bench.tasks import make_task
from bench.tasks.controllers import Numbered, Oracle, Random
from bench.tasks.coop_nav import DT, CoopNav

CPU = torch.device("cpu")


def make(
    kind: type[Oracle] | type[Random],
    agents: int,
    actions: str = "continuous",
    replicas: int = 1,
    **options: Any,
) -> tuple[Task, Oracle | Random]:
    config = RunConfig(agents=agents, task_options=options)
    task = make_task(config, actions)
    sizes = task.agents, task.observation_size, task.action_size, task.discrete
    spec = Spec(config, replicas, *sizes, CPU)
    return task, kind(spec, None, Source.from_seeds([0]))


def score(task: Task, controller: Oracle | Random, episodes: int) -> dict[str, float]:
    raw = evaluate(task, controller, Source.from_seeds([1]).fold("score"), episodes)
    return {name: float(values.mean()) for name, values in raw.items()}


@pytest.mark.parametrize("agents", [2, 3, 4])
@pytest.mark.parametrize(("dynamics", "least"), [("mpe", 22.2), ("first-order", 21.2)])
def test_oracle_scores(agents: int, dynamics: str, least: float) -> None:
    """Measured on 4,000 episodes: mpe 22.42, 22.42, 22.56; first-order 21.43, 21.49, 21.76."""
    reached = score(*make(Oracle, agents, dynamics=dynamics), episodes=1_000)
    assert least < reached["successful_steps"] < least + 0.7
    assert reached["any_success"] == 1


@pytest.mark.parametrize("dynamics", ["mpe", "first-order"])
def test_numbered_agents_each_solve_the_task_of_one(dynamics: str) -> None:
    """An agent and the target of its number are a team of one, whoever else is there."""
    task, numbered = make(Numbered, 3, dynamics=dynamics)
    alone, oracle = make(Oracle, 1, dynamics=dynamics)
    assert isinstance(task, CoopNav) and isinstance(alone, CoopNav)
    state = task.reset(Source.from_seeds([0]).fold("start"), 50)
    parts = task.positions(state), task.velocities(state), task.target_positions(state)
    for _ in range(5):
        action = numbered.act(task.observe(state))
        for i in range(3):
            own = torch.cat([part[..., i, :] for part in parts], -1)
            torch.testing.assert_close(action[..., i : i + 1, :], oracle.act(alone.observe(own)))
        state = task.step(state, action)
        parts = task.positions(state), task.velocities(state), task.target_positions(state)


def test_roles_for_good_cost_a_team_some_steps() -> None:
    reached = score(*make(Numbered, 2, dynamics="first-order"), episodes=1_000)
    assert 19.2 < reached["successful_steps"] < 20.0
    with pytest.raises(RequestError, match="only the task coop-nav"):
        Numbered(
            Spec(RunConfig(task="roles"), 1, 2, 20, 2, False, CPU), None, Source.from_seeds([0])
        )


@pytest.mark.parametrize("agents", [1, 7])
def test_oracle_beyond_the_enumerated_sizes(agents: int) -> None:
    assert score(*make(Oracle, agents), episodes=40)["successful_steps"] > 20


@pytest.mark.parametrize("dynamics", ["mpe", "first-order"])
def test_oracle_stops_on_its_target_and_stays(dynamics: str) -> None:
    task, oracle = make(Oracle, 3, dynamics=dynamics)
    assert isinstance(task, CoopNav)
    state = task.reset(Source.from_seeds([0]).fold("start"), 200)
    for step in range(40):
        action = oracle.act(task.observe(state))
        assert action.shape == (1, 200, 3, 2)
        assert action.abs().max() <= 1
        state = task.step(state, action)
        if step >= 30:
            assert task.distances(state).amin(-2).max() < 1e-5
            assert task.velocities(state).abs().max() < 1e-4


def test_oracle_never_overshoots() -> None:
    """On one axis, from rest: never beyond the target, whatever the distance."""
    task, oracle = make(Oracle, 1, dynamics="mpe", horizon=60)
    assert isinstance(task, CoopNav)
    state = torch.zeros(1, 500, 6)
    state[..., 4] = torch.linspace(-6, 6, 500)
    side = state[..., 4].sign()
    for _ in range(60):
        state = task.step(state, oracle.act(task.observe(state)))
        assert ((state[..., 4] - state[..., 0]) * side >= -1e-5).all()
    torch.testing.assert_close(state[..., 0], state[..., 4], atol=1e-4, rtol=0)


def test_oracle_is_as_fast_as_full_speed_allows() -> None:
    """First-order: the bottleneck agent is at its target after ceil(distance / 0.1) steps."""
    task, oracle = make(Oracle, 2, dynamics="first-order")
    assert isinstance(task, CoopNav)
    state = task.reset(Source.from_seeds([3]).fold("start"), 300)
    gaps = task.positions(state).unsqueeze(-2) - task.target_positions(state).unsqueeze(-3)
    ways = gaps.abs().amax(-1)
    straight, crossed = ways.diagonal(dim1=-2, dim2=-1).amax(-1), ways.flip(-1)
    least = torch.minimum(straight, crossed.diagonal(dim1=-2, dim2=-1).amax(-1))
    due = (least / DT - 1e-4).ceil()
    for step in range(1, 21):
        state = task.step(state, oracle.act(task.observe(state)))
        on_target = task.distances(state).amin(-2).amax(-1) < 1e-4
        assert on_target[due <= step].all()


@pytest.mark.parametrize("agents", [2, 3])
def test_discrete_oracle_is_as_fast_as_five_moves_allow(agents: int) -> None:
    """Against a search of every number of moves along either axis, and every assignment."""
    task, oracle = make(Oracle, agents, "discrete", dynamics="first-order")
    assert isinstance(task, CoopNav)
    state = task.reset(Source.from_seeds([3]).fold("start"), 1_000)
    gap = task.target_positions(state).unsqueeze(-3) - task.positions(state).unsqueeze(-2)
    moves = torch.arange(25.0)
    x, y = (gap.abs().unsqueeze(-1) - DT * moves).unbind(-2)
    inside = x.square().unsqueeze(-1) + y.square().unsqueeze(-2) <= task.radius**2 + 1e-6
    needed = torch.where(inside, moves.unsqueeze(-1) + moves, torch.inf).flatten(-2).amin(-1)
    orders = itertools.permutations(range(agents))
    due = torch.stack([needed[..., range(agents), order].amax(-1) for order in orders]).amin(0)
    reached = torch.full_like(due, torch.inf)
    for step in range(31):
        success = task.metrics(state)["successful_steps"].bool()
        reached = torch.where(success & reached.isinf(), step, reached)
        state = task.step(state, oracle.act(task.observe(state)))
    late = (reached > due) & (due <= 30)
    assert late.float().mean() < 0.005  # the least sum of ways is not always the fewest moves
    assert (reached < due).float().mean() < 0.03  # a wall, or another agent's target on the way


def test_random_scores_near_nothing() -> None:
    for actions in ("continuous", "discrete"):
        reached = score(*make(Random, 2, actions), episodes=2_000)
        assert 0 <= reached["successful_steps"] < 0.05
        assert 0 < reached["covered"] < 0.1


def test_random_is_uniform_and_a_function_of_its_source() -> None:
    seen = torch.zeros(2, 3_000, 3, 14)
    source = Source.from_seeds([0, 1]).fold("act")
    _, controller = make(Random, 3, replicas=2)
    action = controller.act(seen, random=source)
    assert action.shape == (2, 3_000, 3, 2)
    assert action.dtype == torch.float32
    assert action.abs().max() <= 1
    assert abs(float(action.mean())) < 0.02
    assert float(action.var()) == pytest.approx(1 / 3, abs=0.01)
    assert torch.equal(controller.act(seen, random=source), action)
    assert not torch.equal(action[0], action[1])

    _, controller = make(Random, 3, "discrete", replicas=2)
    moves = controller.act(seen, random=source)
    assert moves.shape == (2, 3_000, 3, 5)
    assert torch.equal(moves.sum(-1), torch.ones(2, 3_000, 3))
    assert set(moves.unique().tolist()) == {0, 1}
    assert (moves.mean((0, 1, 2)) - 0.2).abs().max() < 0.02

    with pytest.raises(ValueError, match="random source"):
        controller.act(seen)


def test_controllers_have_nothing_to_learn() -> None:
    for kind in (Oracle, Random):
        _, controller = make(kind, 2)
        assert not controller.trains
        assert controller.policy == {}
        assert controller.state() == {}
        assert controller.parameter_counts() == (0, 0, 0)
        controller.load({})
        controller.load_policy({})
        empty = torch.empty(1, 0)
        with pytest.raises(NotImplementedError):
            controller.update(Batch(empty, empty, empty, empty, None, empty))


def test_the_oracle_refuses_what_it_cannot_solve() -> None:
    with pytest.raises(RequestError, match="actions: continuous"):
        make(Oracle, 2, "discrete", dynamics="mpe")
    config = RunConfig(task="pettingzoo:mpe2.simple_spread_v3", reward="environment")
    with pytest.raises(RequestError, match="only the tasks coop-nav and roles"):
        Oracle(Spec(config, 1, 3, 18, 5, False, CPU), None, Source.from_seeds([0]))
