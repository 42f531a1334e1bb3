"""Symmetry: what the order of agents and targets must not change does not change."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from small import tiny
from torch import Tensor

from baselines.algorithms.actor_critic import ActorCritic
from baselines.algorithms.losses import bound_returns
from baselines.algorithms.set_critics import SetCritics
from baselines.sharing.shared import Shared
from baselines.symmetry.deep_set import DeepSet
from baselines.symmetry.nearest import nearest_first
from bench.config import RunConfig
from bench.errors import RequestError
from bench.interfaces import Batch
from bench.random import Random
from bench.tasks import make_task
from bench.tasks.coop_nav import CoopNav
from bench.team import make_spec
from bench.train import train

CPU = torch.device("cpu")
N, B = 3, 40


def task(agents: int = N) -> CoopNav:
    made = make_task(RunConfig(agents=agents), "continuous")
    assert isinstance(made, CoopNav)
    return made


def build(agents: int = N, replicas: int = 1, **options: Any) -> ActorCritic:
    config = RunConfig(agents=agents, hidden=[16, 12], grad_clip=1e9)
    random = Random.from_seeds(range(replicas))
    spec = make_spec(config, task(agents), replicas, CPU)
    return ActorCritic(spec, lambda s, n: Shared(s, n, agent_id=False), random, **options)


SETS = ["deep-set", "attention", "exchangeable"]
SORTED = {"actors_see": "nearest-first", "critics_see": "nearest-first"}
SET: dict[str, Any] = {"critic": "deep-set", "gradient": "joint", **SORTED}


def ordered(state: Tensor, agents: list[int], targets: list[int]) -> Tensor:
    parts = (part.unflatten(-1, (N, 2)) for part in state.split(2 * N, -1))
    orders = (agents, agents, targets)
    return torch.cat(
        [part[..., order, :].flatten(-2) for part, order in zip(parts, orders, strict=True)], -1
    )


def states(count: int = B) -> Tensor:
    """States with velocities, of one replica."""
    state = task().reset(Random.from_seeds([3]), count)
    action = Random.from_seeds([4]).normal(count, N, 2)
    return task().step(state, action)


ORDERS = list(itertools.product(itertools.permutations(range(N)), repeat=2))


def batch(state: Tensor, action: Tensor) -> Batch:
    following = task().step(state, action)
    seen, then = task().observe(state), task().observe(following)
    reward = torch.rand(1, state.shape[1], 1, generator=torch.Generator().manual_seed(0))
    return Batch(seen, action, reward.expand(-1, -1, N), then, None, torch.ones(state.shape[:2]))


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_nearest_first_sorts_each_kind_and_changes_nothing_else(count: int) -> None:
    entities, own = ((count, 2), (2, 3)), 3
    observation = torch.randn(2, 5, own + count * 2 + 2 * 3)
    observation[0, 0, own:] = 1.0  # equally far: left as they are
    found = nearest_first(observation, entities)
    for old, new in zip(observation.flatten(0, 1), found.flatten(0, 1), strict=True):
        assert torch.equal(old[:own], new[:own])
        for at, (number, width) in zip((own, own + 2 * count), entities, strict=True):
            listed = old[at : at + number * width].view(number, width).tolist()
            by_hand = sorted(listed, key=lambda e: e[0] ** 2 + e[1] ** 2)
            assert new[at : at + number * width].view(number, width).tolist() == by_hand


def test_nearest_first_sees_no_order() -> None:
    seen = nearest_first(task().observe(states()), task().entities)
    for agents, targets in ORDERS:
        other = task().observe(ordered(states(), list(agents), list(targets)))
        assert torch.equal(nearest_first(other, task().entities), seen[..., list(agents), :])


@pytest.mark.parametrize("view", ["nearest-first", "attention", "exchangeable"])
@pytest.mark.parametrize("critic", SETS)
def test_reordered_teams_act_and_are_valued_alike(critic: str, view: str) -> None:
    listed = "as-listed" if critic == "exchangeable" else "nearest-first"
    options = {"critic": critic, "gradient": "joint", "actors_see": view, "critics_see": listed}
    algorithm, state = build(**options), states()
    action = algorithm.act(task().observe(state))
    errors = {}
    for agents, targets in ORDERS:
        other = ordered(state, list(agents), list(targets))
        chosen = algorithm.act(task().observe(other))
        assert torch.allclose(chosen, action[:, :, list(agents)], atol=1e-6)
        fresh = build(**options)
        errors[agents, targets], _ = fresh.update(batch(other, chosen))
        assert torch.allclose(errors[agents, targets], errors[ORDERS[0]], atol=1e-6)


def test_a_plain_critic_does_see_the_order() -> None:
    state = states()
    action = build().act(task().observe(state))
    plain = {"critic": "one", "gradient": "joint"}
    first, _ = build(**plain).update(batch(state, action))
    other = ordered(state, [1, 0, 2], [0, 1, 2])
    second, _ = build(**plain).update(batch(other, action[:, :, [1, 0, 2]]))
    assert not torch.allclose(first, second, atol=1e-3)


def test_deep_set_by_hand() -> None:
    critic = DeepSet(5, [7, 6])
    values = critic.init(Random.from_seeds([0, 1]))
    x = torch.randn(2, N, 4, 5)
    found = critic.value(values, x)
    assert found.shape == (2, 1, 4, 1)
    for r, b in itertools.product(range(2), range(4)):
        h = x[r, :, b]
        for layer in range(2):
            h = torch.relu(h @ values[f"phi.W{layer}"][r, 0] + values[f"phi.b{layer}"][r, 0])
        h = h.mean(0, keepdim=True)
        h = torch.relu(h @ values["rho.W0"][r, 0] + values["rho.b0"][r, 0])
        q = h @ values["rho.W1"][r, 0] + values["rho.b1"][r, 0]
        assert torch.allclose(found[r, 0, b], q[0], atol=1e-5)


@pytest.mark.parametrize("critic", SETS)
def test_the_actors_follow_the_gradient_of_the_sets_value(critic: str) -> None:
    algorithm, state = build(critic=critic, gradient="joint"), states(6)
    action = torch.rand(1, N, 6, 2) - 0.5
    data = batch(state, action.transpose(1, 2))
    critics = algorithm._critics
    assert isinstance(critics, SetCritics)
    slope = critics.slope(data, torch.empty(0), action)
    values = {k: v.detach().double() for k, v in critics.learner.online.views.items()}
    seen = data.observation.transpose(1, 2).double()
    joint = critics.see(seen, action.double()).requires_grad_()
    value = critics._values(values, joint)
    assert value.shape == (1, 1, 6, 1)
    (exact,) = torch.autograd.grad(value.sum(), joint)
    assert torch.allclose(slope.double(), exact[..., -2:], atol=1e-5)
    assert slope.abs().amin((1, 3)).gt(0).all()


def test_targets_stay_within_the_returns_that_are_possible() -> None:
    target = torch.tensor([[[-1.0, 0.5, 9.0, 30.0]]])
    assert bound_returns(target, (0, 1), 0.9).tolist() == [[pytest.approx([0.0, 0.5, 9.0, 10.0])]]
    data = batch(states(), torch.zeros(1, B, N, 2))
    data = replace(data, reward=data.reward - 100)
    free, _ = build(**SET).update(data)
    kept, _ = build(**SET, reward_range=[0, 1]).update(data)
    assert free.min() > 90
    assert kept.max() < 20


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(RequestError, match="critic = deep-set needs gradient = joint"):
        build(critic="deep-set")
    with pytest.raises(RequestError, match="'nearest-first'"):
        build(actors_see="sorted")
    with pytest.raises(RequestError, match="needs targets as listed"):
        build(critic="exchangeable", gradient="joint", critics_see="nearest-first")
    spec = replace(make_spec(RunConfig(), task(), 1, CPU), entities=None)
    for options in ({"actors_see": "nearest-first"}, {"actors_see": "attention"}):
        with pytest.raises(RequestError, match="'coop-nav' does not say what its observations"):
            ActorCritic(spec, Shared, Random.from_seeds([0]), **options)


@pytest.mark.parametrize("view", ["attention", "exchangeable"])
def test_a_view_runs_with_any_number_of_agents(view: str) -> None:
    policy = build(3, actors_see=view).policy
    for agents in (1, 2, 5):
        other = build(agents, actors_see=view)
        other.load_policy(policy)
        state = task(agents).reset(Random.from_seeds([0]), 4)
        assert other.act(task(agents).observe(state)).shape == (1, 4, agents, 2)


@pytest.mark.parametrize("critic", SETS)
@pytest.mark.parametrize("view", ["nearest-first", "attention", "exchangeable"])
@pytest.mark.parametrize("twin", [False, True])
def test_all_that_is_learned_moves(critic: str, view: str, twin: bool) -> None:
    algorithm = build(critic=critic, gradient="joint", actors_see=view, twin=twin)
    data = batch(states(), torch.rand(1, B, N, 2) - 0.5)
    before = {k: v.clone() for k, v in algorithm.state().items()}
    for _ in range(2):
        algorithm.update(data)
    for learner in algorithm._learners().values():
        assert learner.online.flat.isfinite().all()
    for name, value in algorithm.state().items():
        if name.endswith(".mean"):
            moved = (value != 0).float().mean()
            assert float(moved) > 0.6, f"{name}: {float(moved)} has a gradient"
            online = name.replace(".mean", ".online")
            assert not torch.equal(before[online], algorithm.state()[online])


@pytest.mark.parametrize("view", ["attention", "exchangeable"])
def test_what_acting_needs_is_counted_with_the_view(view: str) -> None:
    """One actor for all, so all that is trained of it acts."""
    algorithm = build(actors_see=view)
    trained = algorithm.policy["actor"].numel()
    assert algorithm.parameter_counts()[1] == trained


@pytest.mark.parametrize("critic", SETS)
def test_twins_of_sets_are_two_networks_with_a_row_each(critic: str) -> None:
    one, two = (build(critic=critic, gradient="joint", twin=twin) for twin in (False, True))
    flat = two._critics.learner.online.flat
    assert flat.shape == (1, 2, one._critics.learner.online.flat.shape[2])
    assert torch.equal(flat[:, :1], one._critics.learner.online.flat), "the first is as alone"
    assert not torch.equal(flat[:, :1], flat[:, 1:])


@pytest.mark.parametrize("method", ["deep-set-maddpg", "attention-maddpg", "exchangeable-maddpg"])
def test_a_fleet_of_sets_gives_the_numbers_of_the_runs_alone(method: str) -> None:
    configs = [tiny(method=method, agents=3, seed=seed) for seed in range(3)]
    together = train(configs, CPU)
    for config, outcome in zip(configs, together, strict=True):
        alone = train([config], CPU)[0]
        assert outcome.record.evaluation == alone.record.evaluation
        for name, tensor in alone.policy.items():
            assert torch.equal(tensor, outcome.policy[name])
