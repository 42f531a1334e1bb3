"""Algorithms: against hand-computed numbers, brute force, and single-agent references in torch."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.algorithms.actor_critic import ActorCritic
from baselines.algorithms.iql import IQL
from baselines.algorithms.losses import double_q, td_target, weighted_square_gradient
from baselines.mlp import mlp
from baselines.sharing.heads import Heads
from baselines.sharing.independent import Independent
from baselines.sharing.shared import Shared
from bench.config import RunConfig
from bench.errors import RequestError
from bench.interfaces import Batch, Spec
from bench.random import Random

O, A, B = 6, 2, 9  # noqa: E741


def spec(agents: int, replicas: int = 1, discrete: bool = False, **values: Any) -> Spec:
    config = RunConfig(agents=agents, hidden=[16, 16], **{"grad_clip": 1e9, **values})
    moves = 5 if discrete else A
    return Spec(config, replicas, agents, O, moves, discrete, torch.device("cpu"))


def batch(agents: int, replicas: int = 1, discrete: bool = False, seed: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    shape = (replicas, B, agents)
    action = torch.rand(*shape, A, generator=g) * 2 - 1
    if discrete:
        action = nn.functional.one_hot(torch.randint(5, shape, generator=g), 5).float()
    return Batch(
        observation=torch.randn(*shape, O, generator=g),
        action=action,
        reward=torch.randn(*shape, generator=g),
        next_observation=torch.randn(*shape, O, generator=g),
        terminated=torch.rand(replicas, B, generator=g) < 0.3,
        weight=torch.rand(replicas, B, generator=g) + 0.5,
    )


def root(replicas: int = 1) -> Random:
    return Random.from_seeds(range(replicas)).fold("method")


def test_losses_by_hand() -> None:
    r, q = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[10.0, 20.0]]])
    ended = torch.tensor([[False, True]])
    assert td_target(r, q, 0.9, ended).tolist() == [[[10.0, 2.0]]]
    assert td_target(r, q, 0.9, None).tolist() == [[[10.0, 20.0]]]
    online, target = torch.tensor([1.0, 5.0, 3.0]), torch.tensor([10.0, 20.0, 30.0])
    assert double_q(online, target).item() == 20.0
    td, w = torch.tensor([[[1.0, -3.0]]]), torch.tensor([[2.0, 1.0]])
    # Of (2 * 1^2 + 1 * (-3)^2) / 2 by the two errors.
    assert weighted_square_gradient(td, w).tolist() == [[[2.0, -3.0]]]


def sequential(flat: dict[str, Tensor], agent: int = 0) -> nn.Sequential:
    """A torch network with a scheme's stored weights for one agent of replica 0."""
    modules: list[nn.Module] = []
    depth = sum(name.startswith("W") for name in flat)
    for n in range(depth):
        weight, bias = flat[f"W{n}"][0], flat[f"b{n}"][0]
        linear = nn.Linear(*weight.shape[1:])
        with torch.no_grad():
            linear.weight.copy_(weight[agent % len(weight)].T)
            linear.bias.copy_(bias[agent % len(bias), 0])
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


@pytest.mark.parametrize("critic", ["local", "per-agent", "one"])
@pytest.mark.parametrize("scheme", [Independent, Heads, functools.partial(Shared, agent_id=False)])
def test_with_one_agent_every_form_is_ddpg(critic: Any, scheme: Any) -> None:
    s = spec(1)
    method = ActorCritic(s, scheme, root(), critic=critic)
    actor = sequential(method._actor.online.views)
    value = sequential(method._critics.learner.online.views)
    old_actor = sequential(method._actor.target)
    old_value = sequential(method._critics.learner.target)
    adam_a = torch.optim.Adam(actor.parameters(), lr=s.config.actor_lr)
    adam_q = torch.optim.Adam(value.parameters(), lr=s.config.critic_lr)
    for step in range(4):
        data = batch(1, seed=step)
        td, _ = method.update(data)
        x, a = data.observation[0, :, 0], data.action[0, :, 0]
        x_t, r = data.next_observation[0, :, 0], data.reward[0, :, 0]
        assert data.terminated is not None
        with torch.no_grad():
            q_t = old_value(torch.cat([x_t, torch.tanh(old_actor(x_t))], -1)).squeeze(-1)
            y = r + s.config.gamma * q_t * (~data.terminated[0])
        delta = value(torch.cat([x, a], -1)).squeeze(-1) - y
        adam_q.zero_grad()
        (data.weight[0] * delta**2).mean().backward()
        adam_q.step()
        logits = actor(x)
        q = value(torch.cat([x, torch.tanh(logits)], -1)).mean()
        adam_a.zero_grad()
        (s.config.action_penalty * logits.square().mean() - q).backward()
        adam_a.step()
        for old, new in ((old_actor, actor), (old_value, value)):
            for p, p_new in zip(old.parameters(), new.parameters(), strict=True):
                p.data.lerp_(p_new.data, s.config.tau)
        assert torch.allclose(td[0], delta.abs(), atol=1e-5)
        acted = method.act(data.observation)[0, :, 0]
        assert torch.allclose(acted, torch.tanh(actor(x)), atol=1e-5)


def test_with_one_agent_iql_is_double_dqn() -> None:
    s = spec(1, discrete=True)
    method = IQL(s, Independent, root())
    q, old = sequential(method._q.online.views), sequential(method._q.target)
    adam = torch.optim.Adam(q.parameters(), lr=s.config.actor_lr)
    for step in range(4):
        data = batch(1, discrete=True, seed=step)
        td, _ = method.update(data)
        x, x_t = data.observation[0, :, 0], data.next_observation[0, :, 0]
        assert data.terminated is not None
        with torch.no_grad():
            chosen = old(x_t).gather(1, q(x_t).argmax(1, keepdim=True)).squeeze(1)
            y = data.reward[0, :, 0] + s.config.gamma * chosen * (~data.terminated[0])
        delta = (q(x) * data.action[0, :, 0]).sum(-1) - y
        adam.zero_grad()
        (data.weight[0] * delta**2).mean().backward()
        adam.step()
        for p, p_new in zip(old.parameters(), q.parameters(), strict=True):
            p.data.lerp_(p_new.data, s.config.tau)
        assert torch.allclose(td[0], delta.abs(), atol=1e-5)


def seen(method: ActorCritic, data: Batch) -> Tensor:
    return method._critics.see(data.observation.transpose(1, 2), data.action.transpose(1, 2))


def values_of(
    method: ActorCritic, data: Batch, action: Tensor, critic: str, gradient: str
) -> Tensor:
    """Brute force: each critic at the stored joint action with one's own, or all, replaced."""
    layers, N = method._critics.layers(), action.shape[1]
    nets = 1 if critic == "one" else N
    values = []
    for i in range(N if gradient == "own" else nets):
        joint = [
            action[:, j] if gradient == "joint" or i == j else data.action[:, :, j]
            for j in range(N)
        ]
        if critic == "local":
            x = torch.cat([data.observation[:, :, i], joint[i]], -1)
        else:
            x = torch.cat([data.observation.flatten(2), *joint], -1)
        for depth, (w, b) in enumerate(layers):
            x = x @ w[:, i % nets] + b[:, i % nets]
            x = torch.relu(x) if depth < len(layers) - 1 else x
        values.append(x.squeeze(-1))
    return torch.stack(values, 1)


@pytest.mark.parametrize(
    ("critic", "gradient"),
    [("local", "own"), *itertools.product(["per-agent", "one"], ["own", "joint"])],
)
def test_the_gradient_to_the_actions_equals_brute_force(critic: Any, gradient: Any) -> None:
    """Own: agent i's value at the stored joint action with its own replaced; joint: with all."""
    N, R = 3, 2
    method = ActorCritic(spec(N, R), Independent, root(R), critic=critic, gradient=gradient)
    data = batch(N, R)
    action = (torch.rand(R, N, B, A) * 2 - 1).requires_grad_()
    value = values_of(method, data, action, critic, gradient)
    expected = torch.autograd.grad(value.sum(), action)[0]
    found = method._critics.slope(data, seen(method, data), action)
    assert expected.abs().amin((0, 2, 3)).gt(0).all()
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_independent_learners_do_not_hear_of_each_other() -> None:
    """What agent 1 sees, does and earns changes nothing that agent 0 of IDDPG or IQL learns."""
    for discrete, make in (
        (False, functools.partial(ActorCritic, critic="local")),
        (True, IQL),
    ):
        # At a clip that bites: the agents' gradients must be clipped apart.
        clipped = spec(2, discrete=discrete, grad_clip=1e-3)
        one, other = (make(clipped, Independent, root()) for _ in range(2))
        a, b = batch(2, discrete=discrete, seed=0), batch(2, discrete=discrete, seed=1)
        mixed = Batch(
            **{
                name: torch.cat([getattr(a, name)[:, :, :1], getattr(b, name)[:, :, 1:]], 2)
                for name in ("observation", "action", "reward", "next_observation")
            },
            terminated=a.terminated,
            weight=a.weight,
        )
        one.update(a)
        other.update(mixed)
        x = torch.randn(1, 4, 2, O)
        network = "_q" if discrete else "_actor"
        left, right = getattr(one, network).online, getattr(other, network).online
        for name in left.views:
            assert torch.equal(left.views[name][:, 0], right.views[name][:, 0])
            assert not torch.equal(left.views[name][:, 1], right.views[name][:, 1]) or "b" in name
        assert torch.equal(one.act(x)[:, :, 0], other.act(x)[:, :, 0])


def test_one_critic_learns_from_the_team_mean_and_is_not_told_rewards_twice() -> None:
    s = spec(3)
    data = batch(3)
    spread = data.reward + torch.tensor([-1.0, 0.0, 1.0])
    methods = [ActorCritic(s, Heads, root(), critic="one") for _ in range(2)]
    losses = [
        method.update(Batch(**{**vars(data), "reward": reward}))[0]
        for method, reward in zip(methods, (data.reward, spread), strict=True)
    ]
    assert torch.allclose(losses[0], losses[1], atol=1e-6)
    equal = data.reward[..., :1].expand(-1, -1, 3)
    td, _ = ActorCritic(s, Heads, root(), critic="one").update(
        Batch(**{**vars(data), "reward": equal, "terminated": torch.ones(1, B, dtype=torch.bool)})
    )
    method = ActorCritic(s, Heads, root(), critic="one")
    q = mlp(method._critics.layers(), seen(method, data))
    assert torch.allclose(td[0], (q[0, 0, :, 0] - equal[0, :, 0]).abs(), atol=1e-6)


def test_priorities_come_from_the_unweighted_error() -> None:
    data = batch(2)
    heavier = Batch(**{**vars(data), "weight": data.weight * 7})
    for discrete, make in ((False, ActorCritic), (True, IQL)):
        base = batch(2, discrete=discrete)
        one, other = (make(spec(2, discrete=discrete), Independent, root()) for _ in range(2))
        weight = heavier.weight
        first, _ = one.update(base)
        second, _ = other.update(Batch(**{**vars(base), "weight": weight}))
        assert torch.equal(first, second)


def test_a_replica_learns_the_same_in_a_fleet_as_alone() -> None:
    data = batch(3, replicas=2)
    for discrete, make in ((False, ActorCritic), (True, IQL)):
        data = batch(3, replicas=2, discrete=discrete)
        fleet = make(spec(3, 2, discrete), Heads, root(2))
        alone = make(spec(3, 1, discrete), Heads, Random.from_seeds([1]).fold("method"))
        part = Batch(**{name: value[1:] for name, value in vars(data).items()})
        for _ in range(3):
            fleet.update(data)
            alone.update(part)
        for name, value in alone.state().items():
            if value.dim():
                assert torch.allclose(fleet.state()[name][1:], value, rtol=1e-5, atol=1e-6), name


def test_exploration_is_as_stated() -> None:
    method = ActorCritic(spec(2), Independent, root())
    x = torch.randn(1, 4000, 2, O)
    change = method.act(x, 0.05, root().fold("noise")) - method.act(x)
    assert abs(float(change.std()) - 0.05) < 0.002
    q = IQL(spec(2, discrete=True), Independent, root())
    greedy, noisy = q.act(x[..., :O]), q.act(x[..., :O], 0.5, root().fold("noise"))
    assert torch.equal(noisy.sum(-1), torch.ones(1, 4000, 2))
    differs = (greedy != noisy).any(-1).float().mean()
    assert abs(float(differs) - 0.5 * 4 / 5) < 0.02


def test_impossible_combinations_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="discrete"):
        IQL(spec(2), Independent, root())
    with pytest.raises(RequestError, match="choose own"):
        ActorCritic(spec(2), Independent, root(), critic="local", gradient="joint")
    with pytest.raises(RequestError, match="'local', 'per-agent', 'one', 'deep-set', 'att"):
        ActorCritic(spec(2), Independent, root(), critic="two")
