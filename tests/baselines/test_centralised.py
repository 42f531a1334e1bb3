"""The team as one agent, and values that are decomposed: against references and brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_algorithms import A, B, O, batch, root, spec
from torch import Tensor

from baselines.algorithms.actor_critic import ActorCritic
from baselines.algorithms.decomposition import QMIX, VDN
from baselines.algorithms.iql import IQL
from baselines.algorithms.meta import MetaDDPG, MetaDQN
from baselines.algorithms.mixer import UNITS, Mixer
from baselines.mlp import mlp
from baselines.sharing.heads import Heads
from baselines.sharing.independent import Independent
from baselines.sharing.shared import Shared
from bench.errors import RequestError
from bench.interfaces import Algorithm, Batch
from bench.random import Random


def same(one: Algorithm, other: Algorithm, discrete: bool, agents: int = 1) -> None:
    """Both learn the same, to the bit, from three batches."""
    for step in range(3):
        data = batch(agents, discrete=discrete, seed=step)
        td, _ = one.update(data)
        assert torch.equal(td, other.update(data)[0])
    assert torch.equal(*(next(iter(each.policy.values())) for each in (one, other)))
    assert torch.equal(one.act(data.observation), other.act(data.observation))


def test_with_one_agent_the_meta_agent_and_the_sum_are_what_they_centralise() -> None:
    s, moves = spec(1), spec(1, discrete=True)
    ddpg = ActorCritic(s, Independent, root(), critic="local")
    same(MetaDDPG(s, Independent, root()), ddpg, discrete=False)
    for gradient, critic in itertools.product(("own", "joint"), ("per-agent", "one")):
        ddpg = ActorCritic(s, Independent, root(), critic="local")
        maddpg = ActorCritic(s, Independent, root(), critic=critic, gradient=gradient)
        for step in range(3):
            data = batch(1, seed=step)
            assert torch.allclose(ddpg.update(data)[0], maddpg.update(data)[0], atol=1e-5)
        assert torch.allclose(ddpg.policy["actor"], maddpg.policy["actor"], atol=1e-5)
    for method in (MetaDQN, VDN):
        same(method(moves, Independent, root()), IQL(moves, Independent, root()), discrete=True)


def pooled(data: Batch) -> Batch:
    """What an agent would store who is the whole team."""
    number = (data.action.argmax(-1) * torch.tensor([1, 5])).sum(-1)
    return replace(
        data,
        observation=data.observation.flatten(2).unsqueeze(2),
        next_observation=data.next_observation.flatten(2).unsqueeze(2),
        reward=data.reward.mean(-1, keepdim=True),
        action=torch.nn.functional.one_hot(number, 25).float().unsqueeze(2),
    )


def test_the_meta_agent_is_a_single_agent_of_the_joint_world() -> None:
    world = spec(2, discrete=True)
    one = replace(world, agents=1, observation_size=2 * O, action_size=25)
    meta, plain = MetaDQN(world, Independent, root()), IQL(one, Independent, root())
    for step in range(3):
        data = batch(2, discrete=True, seed=step)
        td, _ = meta.update(data)
        assert torch.equal(td, plain.update(pooled(data))[0])
    chosen = plain.act(pooled(data).observation).argmax(-1)[..., 0]
    moves = meta.act(data.observation).argmax(-1)
    assert torch.equal(moves[..., 0] + 5 * moves[..., 1], chosen)
    assert len(moves.unique()) > 1


def test_the_meta_agent_of_vectors_is_a_single_agent_of_the_joint_world() -> None:
    world = spec(2)
    one = replace(world, agents=1, observation_size=2 * O, action_size=2 * A)
    meta, plain = (
        MetaDDPG(world, Independent, root()),
        ActorCritic(one, Independent, root(), critic="local"),
    )
    for step in range(3):
        data = batch(2, seed=step)
        whole = replace(
            data,
            observation=data.observation.flatten(2).unsqueeze(2),
            next_observation=data.next_observation.flatten(2).unsqueeze(2),
            reward=data.reward.mean(-1, keepdim=True),
            action=data.action.flatten(2).unsqueeze(2),
        )
        assert torch.equal(meta.update(data)[0], plain.update(whole)[0])
    assert torch.equal(meta.policy["actor"], plain.policy["actor"])
    chosen = plain.act(whole.observation)
    assert torch.equal(meta.act(data.observation), chosen.view(1, B, 2, A))


@pytest.mark.parametrize(("agents", "moves"), [(6, 5), (12, 2), (3, 15)])
def test_too_many_joint_moves_are_refused_in_one_line(agents: int, moves: int) -> None:
    world = replace(spec(agents, discrete=True), action_size=moves)
    with pytest.raises(RequestError, match=r"3,125; choose fewer agents.* vdn") as refusal:
        MetaDQN(world, Independent, root())
    assert f"{moves}^{agents} joint moves" in str(refusal.value)
    assert "\n" not in str(refusal.value)


# -- decomposed values -----------------------------------------------------------------------------


def plain_mix(p: dict[str, Tensor], q: Tensor, state: Tensor) -> Tensor:
    """One row by the formula of Rashid et al. (2018): q [N], state [S]."""
    generated = state @ p["W"][0, 0] + p["b"][0, 0, 0]
    N = len(q)
    first = generated[: N * UNITS].view(N, UNITS).abs()
    bias = generated[N * UNITS : (N + 1) * UNITS]
    last = generated[(N + 1) * UNITS :].abs()
    hidden = torch.nn.functional.elu(q @ first + bias)
    v = torch.relu(state @ p["v.W0"][0, 0] + p["v.b0"][0, 0, 0]) @ p["v.W1"][0, 0]
    return hidden @ last + v[0] + p["v.b1"][0, 0, 0, 0]


def test_mixing_equals_the_formula() -> None:
    N, mixer = 3, Mixer(3 * O, 3)
    p = {name: value.double() for name, value in mixer.init(root()).items()}
    seen, q = torch.randn(1, B, N, O).double(), 3 * torch.randn(1, N, B).double()
    found = mixer.mix(p, q, seen)
    for row in range(B):
        expected = plain_mix(p, q[0, :, row], seen[0, row].flatten())
        assert torch.allclose(found[0, 0, row], expected, atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([0.0, 0.3, 3.0, 100.0]))
def test_the_teams_value_never_falls_as_an_agents_rises(seed: int, scale: float) -> None:
    """Whatever the parameters and the state, zero among them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return scale * torch.randn(*shape, generator=generator)

    mixer = Mixer(2 * O, 2)
    p = {name: draw(*value.shape) for name, value in mixer.init(root()).items()}
    q = draw(1, 2, B).requires_grad_()
    (slope,) = torch.autograd.grad(mixer.mix(p, q, draw(1, B, 2, O)).sum(), q)
    assert (slope >= 0).all()


def test_mixing_starts_near_a_sum_even_where_the_state_is_zero() -> None:
    for state in (torch.zeros(1, 500, 2, O), torch.randn(1, 500, 2, O)):
        slopes = []
        for seed in range(20):
            mixer, q = Mixer(2 * O, 2), torch.zeros(1, 2, 500, requires_grad=True)
            p = mixer.init(Random.from_seeds([seed]))
            slopes.append(torch.autograd.grad(mixer.mix(p, q, state).sum(), q)[0].mean())
        expected = 0.5 if not state.any() else 1.0
        assert float(torch.stack(slopes).mean()) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("method", [VDN, QMIX])
@pytest.mark.parametrize("scheme", [Shared, Heads, Independent])
def test_a_step_is_the_textbooks(method: type[VDN], scheme: Any) -> None:
    """TD error and loss by autograd through the whole of Q_tot, on the double-Q target."""
    learner = method(spec(3, discrete=True, gamma=0.9), scheme, root())
    for step in range(2):  # so that targets differ from what is learned
        learner.update(batch(3, discrete=True, seed=step))
    data = batch(3, discrete=True, seed=9)

    def total(part: str, moves: Tensor, seen: Tensor) -> Tensor:
        views = {
            name: getattr(each, "target" if part == "target" else "online")
            for name, each in learner._learners().items()
        }
        views = {n: v if part == "target" else v.views for n, v in views.items()}
        values = mlp(learner.scheme.weights(views["q"]), seen.transpose(1, 2))
        q = (values * moves.transpose(1, 2)).sum(-1)
        if method is VDN:
            return q.sum(1)
        mixed: Tensor = learner._mixer.mix(views["mixer"], q, seen)[:, 0]  # type: ignore[attr-defined]
        return mixed

    assert data.terminated is not None
    with torch.no_grad():
        follows = learner.act(data.next_observation)
        future = total("target", follows, data.next_observation)
        y = data.reward.mean(-1) + 0.9 * future * ~data.terminated
    delta = total("online", data.action, data.observation) - y
    loss = (data.weight * delta**2).mean(1).sum()
    wanted = {
        name: torch.autograd.grad(loss, list(each.online.views.values()), retain_graph=True)
        for name, each in learner._learners().items()
    }
    for each in learner._learners().values():
        each._mean.zero_()  # so that Adam's mean is then a tenth of the gradient
    td, _ = learner.update(data)
    assert torch.allclose(td, delta.abs(), atol=1e-5)
    for name, parts in wanted.items():
        flat = learner._learners()[name].online._join(parts)
        assert torch.allclose(learner._learners()[name]._mean * 10, flat, rtol=1e-3, atol=1e-5), (
            name
        )


def fitted(method: type[IQL], table: list[list[float]], steps: int = 400) -> Tensor:
    """Learn a table of payoffs from all of its joint moves, equally often; return Q_tot."""
    size = len(table)
    pairs = list(itertools.product(range(size), repeat=2))
    action = torch.nn.functional.one_hot(torch.tensor(pairs), size).float()[None]
    reward = torch.tensor([table[i][j] for i, j in pairs])[None, :, None].expand(-1, -1, 2)
    rows = len(pairs)
    ones = torch.ones(1, rows, 2, O)
    ended = torch.ones(1, rows, dtype=torch.bool)
    data = Batch(ones, action, reward, ones, ended, torch.ones(1, rows))
    world = replace(spec(2, discrete=True, actor_lr=1e-2, critic_lr=1e-2), action_size=size)
    learner = method(world, Heads, root())
    for _ in range(steps):
        learner.update(data)
    values = mlp(learner.layers(), ones.transpose(1, 2)).detach()
    chosen = (values * action.transpose(1, 2)).sum(-1)
    if isinstance(learner, QMIX):
        chosen = learner._mixer.mix(learner._mixing.online.views, chosen, ones)
    return chosen.sum(1).detach().view(size, size)


MONOTONE, ADDITIVE = [[0.0, 1.0], [1.0, 8.0]], [[0.0, 1.0], [2.0, 3.0]]


def test_what_a_sum_and_what_a_monotone_mixture_can_represent() -> None:
    """The two tables of Rashid et al. (2018, table 1), learned by each."""
    for method in (VDN, QMIX):
        assert torch.allclose(fitted(method, ADDITIVE), torch.tensor(ADDITIVE), atol=0.1)
    assert torch.allclose(fitted(QMIX, MONOTONE), torch.tensor(MONOTONE), atol=0.25)
    least_squares = torch.tensor([[-1.5, 2.5], [2.5, 6.5]])
    assert torch.allclose(fitted(VDN, MONOTONE), least_squares, atol=0.1)
    # Not monotone: no mixture comes close, and what is best for each is not best for the team.
    climbing = torch.tensor([[11.0, -30, 0], [-30, 7, 0], [0, 6, 5]])
    found = fitted(QMIX, climbing.tolist())
    assert (found - climbing).abs().max() > 5
    assert climbing.flatten()[found.argmax()] < 11
