"""Parameter schemes that store their weights: who shares what."""

from __future__ import annotations

import torch
from torch import Tensor

from baselines.mlp import mlp
from baselines.sharing.heads import Heads
from baselines.sharing.independent import Independent
from baselines.sharing.shared import Shared
from bench.conformance.scheme import SIZES, N, R, drawn
from bench.interfaces import ParameterScheme
from bench.random import Random

B = 6
SCHEMES: list[ParameterScheme] = [
    Independent(SIZES, N),
    Shared(SIZES, N, agent_id=True),
    Shared(SIZES, N, agent_id=False),
    Heads(SIZES, N),
]


def same_input() -> Tensor:
    """The same observation for every agent: [R, N, B, O]."""
    return Random.from_seeds(range(R)).normal(1, B, SIZES[0]).expand(R, N, B, -1)


def difference_between_agents(scheme: ParameterScheme, values: dict[str, Tensor]) -> float:
    out = mlp(scheme.weights(values), same_input())
    return float((out - out[:, :1]).abs().max())


def test_only_schemes_that_know_the_agent_act_differently_on_the_same_observation() -> None:
    for scheme in SCHEMES:
        knows = not (isinstance(scheme, Shared) and not scheme._agent_id)
        assert (difference_between_agents(scheme, drawn(scheme)) > 1e-6) == knows


def test_agent_id_equals_a_one_hot_input() -> None:
    scheme = Shared(SIZES, N, agent_id=True)
    values = drawn(scheme)
    x = torch.randn(R, N, B, SIZES[0])
    one_hot = torch.eye(N).view(1, N, 1, N).expand(R, N, B, N)
    widened = dict(values)
    rows = widened.pop("id").transpose(1, 2)
    widened["W0"] = torch.cat([values["W0"], rows], 2)
    plain = Shared([SIZES[0] + N, *SIZES[1:]], N, agent_id=False)
    a = mlp(scheme.weights(values), x)
    b = mlp(plain.weights(widened), torch.cat([x, one_hot], -1))
    assert torch.allclose(a, b, atol=1e-6)


def test_head_j_gets_no_gradient_from_agent_i() -> None:
    scheme = Heads(SIZES, N)
    values = {name: value.requires_grad_() for name, value in drawn(scheme).items()}
    out = mlp(scheme.weights(values), torch.randn(R, N, B, SIZES[0]))
    (head,) = torch.autograd.grad(out[:, 0].square().sum(), [values["W2"]])
    assert (head[:, 0].abs().sum() > 0) and (head[:, 1:] == 0).all()


def test_parameter_counts_are_what_the_formulas_say() -> None:
    O, H, K, A = SIZES  # noqa: E741

    def count(scheme: ParameterScheme) -> int:
        return sum(value[0].numel() for value in drawn(scheme).values())

    trunk, head = O * H + H + H * K + K, K * A + A
    assert count(Independent(SIZES, N)) == N * (trunk + head)
    assert count(Shared(SIZES, N, agent_id=False)) == trunk + head
    assert count(Shared(SIZES, N, agent_id=True)) == trunk + head + N * H
    assert count(Heads(SIZES, N)) == trunk + N * head
