"""Actors on discrete moves, twin critics, and whose gradient reaches whom."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from test_algorithms import A, B, O, batch, root, seen, spec
from torch import Tensor

from baselines.algorithms.actions import TEMPERATURE, Moves
from baselines.algorithms.actor_critic import ActorCritic
from baselines.mlp import mlp
from baselines.sharing.heads import Heads
from baselines.sharing.independent import Independent
from bench.random import Random


def test_draws_are_samples_of_the_softmax_and_none_is_drawn_twice() -> None:
    """The Gumbel-max trick: frequencies within 4 standard errors."""
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, 1.0]).expand(2, 1, 20_000, 5).clone()
    moves = Moves(root(2))
    first, soft = moves.draw(logits)
    second, _ = moves.draw(logits)
    assert torch.equal(first.sum(-1), torch.ones(2, 1, 20_000))
    assert torch.equal(first.argmax(-1), soft.argmax(-1))
    expected = torch.softmax(logits[0, 0, 0], -1)
    error = (expected * (1 - expected) / 20_000).sqrt()
    for drawn, replica in itertools.product((first, second), range(2)):
        assert ((drawn[replica, 0].mean(0) - expected).abs() < 4 * error).all()
    assert 0.3 < (first != second).any(-1).float().mean() < 0.9
    assert 0.3 < (first[0] != first[1]).any(-1).float().mean() < 0.9
    assert torch.equal(moves.best(logits).argmax(-1), logits.argmax(-1))


def test_a_draws_derivative_is_that_of_the_gumbel_softmax() -> None:
    """By autograd, and by finite differences with the same noise."""
    logits, slope = (torch.randn(1, 2, B, 5).double() for _ in range(2))
    _, soft = Moves(root()).draw(logits)
    uniform = root().uniform(2, B, 5)
    gumbel = -(-uniform.log()).log()

    def relaxed(z: Tensor) -> Tensor:
        return torch.softmax((z + gumbel) / TEMPERATURE, -1)

    assert torch.allclose(soft, relaxed(logits))
    found = Moves(root()).pull_back(slope, soft)
    z = logits.clone().requires_grad_()
    (expected,) = torch.autograd.grad((relaxed(z) * slope).sum(), z)
    assert torch.allclose(found, expected)
    step = 1e-6 * torch.randn_like(logits)
    change = ((relaxed(logits + step) - relaxed(logits - step)) * slope).sum()
    assert float(change) == pytest.approx(float(2 * (found * step).sum()), rel=1e-6)


def test_discrete_actors_explore_as_q_learning_does() -> None:
    method = ActorCritic(spec(2, discrete=True), Independent, root())
    x = torch.randn(1, 4000, 2, O)
    greedy, noisy = method.act(x), method.act(x, 0.5, root().fold("noise"))
    assert torch.equal(noisy.sum(-1), torch.ones(1, 4000, 2))
    assert abs(float((greedy != noisy).any(-1).float().mean()) - 0.5 * 4 / 5) < 0.02


def test_what_is_drawn_goes_on_from_a_saved_state() -> None:
    one, other = (ActorCritic(spec(2, discrete=True), Heads, r) for r in (root(), root().fold(1)))
    one.update(batch(2, discrete=True))
    other.load({name: value.clone() for name, value in one.state().items()})
    for each in (one, other):
        each.update(batch(2, discrete=True, seed=1))
    assert torch.equal(one.policy["actor"], other.policy["actor"])
    assert torch.equal(one.state()["draws"], other.state()["draws"])


def loss_of(method: ActorCritic, agent: int, gradient: str, discrete: bool = False) -> Tensor:
    """Agent i's value of its own, or of everyone's, current action, through the graph."""
    data = batch(3, discrete=discrete)
    action = torch.tanh(mlp(method.layers(), data.observation.transpose(1, 2)))
    stored = data.action.transpose(1, 2)
    own = torch.arange(3).view(1, 3, 1, 1) == agent
    joint = action if gradient == "joint" else torch.where(own, action, stored)
    x = method._critics.see(data.observation.transpose(1, 2), joint)
    values = mlp([(w.detach(), b.detach()) for w, b in method._critics.layers()], x)
    return values[:, agent if values.shape[1] > 1 else 0].mean()


def test_an_agents_own_action_loss_reaches_no_other_head_and_a_joint_one_does() -> None:
    for agent, gradient in itertools.product(range(3), ("own", "joint")):
        method = ActorCritic(spec(3), Heads, root(), critic="per-agent", gradient=gradient)
        heads = [method._actor.online.views[name] for name in ("W2", "b2")]
        for found in torch.autograd.grad(loss_of(method, agent, gradient), heads):
            reached = found.abs().flatten(2).sum((0, 2)) > 0
            assert reached.tolist() == [gradient == "joint" or j == agent for j in range(3)]


@pytest.mark.parametrize(
    ("critic", "gradient"),
    [("per-agent", "own"), ("per-agent", "joint"), ("one", "own"), ("local", "own")],
)
def test_the_actors_step_is_down_the_sum_of_the_agents_losses(critic: Any, gradient: Any) -> None:
    values: dict[str, Any] = {"action_penalty": 0.0, "critic_lr": 1e-9}
    method = ActorCritic(spec(3, **values), Heads, root(), critic=critic, gradient=gradient)
    views = list(method._actor.online.views.values())
    loss = -sum(loss_of(method, agent, gradient) for agent in range(3))
    assert isinstance(loss, Tensor)
    wanted = method._actor.online._join(torch.autograd.grad(loss, views))
    method.update(batch(3))
    assert torch.allclose(method._actor._mean * 10, wanted, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("critic", ["per-agent", "one", "local"])
def test_an_update_by_one_agents_slope_reaches_no_other_head(
    critic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to the optimiser's moments, whose trunk alone is shared."""
    for agent in range(3):
        method = ActorCritic(spec(3, action_penalty=0.0), Heads, root(), critic=critic)
        whole = method._critics.slope
        own = torch.arange(3).view(1, 3, 1, 1) == agent
        monkeypatch.setattr(method._critics, "slope", lambda *a, f=whole, o=own: f(*a) * o)
        before = {name: value.clone() for name, value in method._actor.online.views.items()}
        method.update(batch(3))
        for name in ("W2", "b2"):
            moved = method._actor.online.views[name] != before[name]
            reached = moved.flatten(2).any(2).any(0)
            assert reached.tolist() == [j == agent for j in range(3)], name


@pytest.mark.parametrize("critic", ["local", "per-agent", "one"])
def test_the_target_of_twins_is_the_smaller_ones_and_each_twin_learns_it(critic: Any) -> None:
    N = 2
    s = spec(N, gamma=0.9)
    method = ActorCritic(s, Independent, root(), critic=critic, twin=True)
    count = 1 if critic == "one" else N
    data = batch(N)
    assert data.terminated is not None
    with torch.no_grad():
        following = data.next_observation.transpose(1, 2)
        action = torch.tanh(mlp(method.scheme.weights(method._actor.target), following))
        x = method._critics.see(following, action)
        target = method._critics._scheme.weights(method._critics.learner.target)
        halves = [
            mlp([(w[:, p], b[:, p]) for w, b in target], x).squeeze(-1)
            for p in (slice(count), slice(count, None))
        ]
        reward = data.reward.transpose(1, 2)
        if critic == "one":
            reward = reward.mean(1, keepdim=True)
        y = reward + 0.9 * torch.minimum(*halves) * ~data.terminated.unsqueeze(1)
        now = [
            mlp([(w[:, p], b[:, p]) for w, b in method._critics.layers()], seen(method, data))
            for p in (slice(count), slice(count, None))
        ]
        errors = torch.cat([q.squeeze(-1) - y for q in now], 1).abs().mean(1)
    assert (halves[0] < halves[1]).any() and (halves[0] > halves[1]).any()
    td, _ = method.update(data)
    assert torch.allclose(td, errors, atol=1e-5)


def test_actors_follow_the_first_twin_alone() -> None:
    for critic, gradient in (("local", "own"), ("one", "own"), ("one", "joint")):
        options: dict[str, Any] = {"critic": critic, "gradient": gradient}
        single = ActorCritic(spec(2), Independent, root(), **options)
        twin = ActorCritic(spec(2), Independent, root(), **options, twin=True)
        count = 1 if critic == "one" else 2
        with torch.no_grad():
            pairs = zip(single._critics.layers(), twin._critics.layers(), strict=True)
            for alone, both in pairs:
                for part, twice in zip(alone, both, strict=True):
                    twice[:, :count] = part
                    twice[:, count:].normal_()
        data, action = batch(2), torch.rand(1, 2, B, A)
        slopes = [m._critics.slope(data, seen(m, data), action) for m in (single, twin)]
        assert torch.equal(*slopes)


def test_twins_start_apart_and_the_first_as_it_would_alone() -> None:
    single = ActorCritic(spec(2), Independent, root(), critic="one")
    twin = ActorCritic(spec(2), Independent, root(), critic="one", twin=True)
    (weight, _), *_ = twin._critics.layers()
    assert not torch.allclose(weight[:, 0], weight[:, 1])
    assert torch.equal(single.policy["actor"], twin.policy["actor"])


def test_a_replicas_draws_are_those_of_the_replica_alone() -> None:
    logits = torch.randn(3, 2, 7, 5)
    fleet, alone = Moves(Random.from_seeds([4, 5, 6])), Moves(Random.from_seeds([5]))
    for _ in range(3):
        whole, single = fleet.draw(logits), alone.draw(logits[1:2])
        assert torch.equal(whole[0][1:2], single[0]) and torch.equal(whole[1][1:2], single[1])
