"""Parameter schemes: who shares what, and the universal tests of hypernetworks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from baselines.networks import Learner
from baselines.sharing.heads import Heads
from baselines.sharing.independent import Independent
from baselines.sharing.shared import Shared
from bench.errors import RequestError
from bench.interfaces import ParameterScheme
from bench.random import Random

R, N, B = 2, 3, 6
SIZES = [5, 16, 12, 2]
HYPERNETS: list[dict[str, Any]] = [
    {"generate": generate, "conditioning": conditioning, "rho": rho, "hidden": hidden}
    for generate in ("head", "all")
    for conditioning in ("learned", "one-hot")
    for rho in (0.5, 1.0)
    for hidden in (24, 0)
]
SCHEMES: list[ParameterScheme] = [
    Independent(SIZES, N),
    Shared(SIZES, N, agent_id=True),
    Shared(SIZES, N, agent_id=False),
    Heads(SIZES, N),
    *(Hypernet(SIZES, N, **options) for options in HYPERNETS),
]


def draw(scheme: ParameterScheme, seeds: range = range(R)) -> dict[str, Tensor]:
    return scheme.init(Random.from_seeds(seeds).fold("init"))


def same_input() -> Tensor:
    """The same observation for every agent: [R, N, B, O]."""
    return Random.from_seeds(range(R)).normal(1, B, SIZES[0]).expand(R, N, B, -1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_layers_have_the_shapes_of_the_manifest(scheme: ParameterScheme) -> None:
    layers = scheme.weights(draw(scheme))
    assert len(layers) == len(SIZES) - 1
    for (weight, bias), fan_in, fan_out in zip(layers, SIZES, SIZES[1:], strict=False):
        assert weight.shape[0] == bias.shape[0] == R
        assert weight.shape[1] in (1, N)
        assert bias.shape[1] in (1, N)
        assert weight.shape[2:] == (fan_in, fan_out)
        assert bias.shape[2:] == (1, fan_out)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_parameter_gets_a_finite_nonzero_gradient(scheme: ParameterScheme) -> None:
    learner = Learner(draw(scheme), 1e-2, 1.0, 0.01)
    for _ in range(2):  # the second step sees biases that have left zero
        out = mlp(scheme.weights(learner.online.views), torch.randn(R, N, B, SIZES[0]))
        learner.descend((out - 1).square().sum())
    out = mlp(scheme.weights(learner.online.views), torch.randn(R, N, B, SIZES[0]))
    views = learner.online.views
    gradients = torch.autograd.grad((out - 1).square().sum(), list(views.values()))
    for name, gradient in zip(views, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert (gradient.flatten(1).abs().sum(1) > 0).all(), name


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_against_finite_differences(scheme: ParameterScheme) -> None:
    values = {name: value.double() + 0.01 for name, value in draw(scheme).items()}
    x = torch.randn(R, N, B, SIZES[0], dtype=torch.float64)
    loss = mlp(scheme.weights({n: v.requires_grad_() for n, v in values.items()}), x).sin().sum()
    gradients = torch.autograd.grad(loss, list(values.values()))
    direction = {name: torch.randn_like(value) for name, value in values.items()}
    step = 1e-7  # small enough to cross no kink of a ReLU

    def at(sign: int) -> float:
        moved = {n: (v + sign * step * direction[n]).detach() for n, v in values.items()}
        return float(mlp(scheme.weights(moved), x).sin().sum())

    numeric = (at(1) - at(-1)) / (2 * step)
    analytic = float(sum((g * direction[n]).sum() for g, n in zip(gradients, values, strict=True)))
    assert abs(numeric - analytic) < 1e-4 * max(1.0, abs(analytic))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_forward_equals_a_plain_network_with_copied_weights(scheme: ParameterScheme) -> None:
    layers = scheme.weights(draw(scheme))
    x = torch.randn(R, N, B, SIZES[0])
    y = mlp(layers, x)
    for r in range(R):
        for n in range(N):
            h = x[r, n]
            for depth, (weight, bias) in enumerate(layers):
                linear = torch.nn.Linear(*weight.shape[2:])
                with torch.no_grad():
                    linear.weight.copy_(weight[r, n % weight.shape[1]].T)
                    linear.bias.copy_(bias[r, n % bias.shape[1], 0])
                h = linear(h) if depth == len(layers) - 1 else torch.relu(linear(h))
            assert torch.allclose(y[r, n], h, atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_replicas_draw_what_they_would_draw_alone(scheme: ParameterScheme) -> None:
    together, alone = draw(scheme), draw(scheme, range(1, 2))
    for name, value in together.items():
        assert torch.equal(value[1:], alone[name]), name
        if not name.startswith(("b", "B")):
            assert not torch.equal(value[0], value[1]), name


def difference_between_agents(scheme: ParameterScheme, values: dict[str, Tensor]) -> float:
    out = mlp(scheme.weights(values), same_input())
    return float((out - out[:, :1]).abs().max())


def test_only_schemes_that_know_the_agent_act_differently_on_the_same_observation() -> None:
    for scheme in SCHEMES:
        knows = not (isinstance(scheme, Shared) and not scheme._agent_id)
        assert (difference_between_agents(scheme, draw(scheme)) > 1e-6) == knows


def test_tied_embeddings_give_exactly_the_same_policy() -> None:
    for options in HYPERNETS:
        if options["conditioning"] == "learned":
            scheme = Hypernet(SIZES, N, **options)
            values = draw(scheme)
            values["e"] = values["e"][:, :1].expand(-1, N, -1)
            assert difference_between_agents(scheme, values) == 0.0


def test_agent_id_equals_a_one_hot_input() -> None:
    scheme = Shared(SIZES, N, agent_id=True)
    values = draw(scheme)
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
    values = {name: value.requires_grad_() for name, value in draw(scheme).items()}
    out = mlp(scheme.weights(values), torch.randn(R, N, B, SIZES[0]))
    (head,) = torch.autograd.grad(out[:, 0].square().sum(), [values["W2"]])
    assert (head[:, 0].abs().sum() > 0) and (head[:, 1:] == 0).all()


def test_a_linear_one_hot_hypernetwork_is_unshared_networks_under_the_same_sgd_steps() -> None:
    """Feature i of the code is agent i's alone, so its generator column is agent i's network."""
    hyper = Hypernet(SIZES, N, generate="all", conditioning="one-hot", hidden=0, rho=1.0)
    plain = Independent(SIZES, N)
    generated = {name: value.double().requires_grad_() for name, value in draw(hyper).items()}
    stored: dict[str, Tensor] = {}
    for n, (weight, bias) in enumerate(hyper.weights(generated)):
        stored |= {f"W{n}": weight.detach().clone(), f"b{n}": bias.detach().clone()}
    stored = {name: value.requires_grad_() for name, value in stored.items()}
    for step in range(5):
        x = torch.randn(R, N, B, SIZES[0], dtype=torch.float64) + step
        outputs = []
        for scheme, values in ((hyper, generated), (plain, stored)):
            out = mlp(scheme.weights(values), x)
            gradients = torch.autograd.grad((out - 1).square().mean(), list(values.values()))
            with torch.no_grad():
                for value, gradient in zip(values.values(), gradients, strict=True):
                    value -= 0.1 * gradient
            outputs.append(out)
        assert torch.allclose(outputs[0], outputs[1], atol=1e-10)


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("conditioning", ["learned", "one-hot"])
@pytest.mark.parametrize("hidden", [64, 0])
def test_generated_layers_start_at_the_scale_of_plain_ones(
    rho: float, conditioning: Any, hidden: int
) -> None:
    sizes, agents = [40, 50, 30], 8
    scheme = Hypernet(
        sizes, agents, generate="all", conditioning=conditioning, hidden=hidden, rho=rho
    )
    values = scheme.init(Random.from_seeds(range(20)))
    weight = scheme.weights(values)[0][0]
    assert math.isclose(float(weight.std()), math.sqrt(2 / 40), rel_tol=0.08)
    across = float((weight - weight.mean(1, keepdim=True)).abs().max())
    assert (across > 1e-6) == (rho > 0)


def test_parameter_counts_are_what_the_formulas_say() -> None:
    O, H, K, A = SIZES  # noqa: E741

    def count(scheme: ParameterScheme) -> int:
        return sum(value[0].numel() for value in draw(scheme).values())

    trunk, head = O * H + H + H * K + K, K * A + A
    assert count(Independent(SIZES, N)) == N * (trunk + head)
    assert count(Shared(SIZES, N, agent_id=False)) == trunk + head
    assert count(Shared(SIZES, N, agent_id=True)) == trunk + head + N * H
    assert count(Heads(SIZES, N)) == trunk + N * head
    hybrid = Hypernet(SIZES, N, embedding=8, hidden=64)
    assert count(hybrid) == trunk + N * 8 + 8 * 64 + 64 * K * A + K * A + 64 * A


def test_unknown_options_are_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match="choose head or all"):
        Hypernet(SIZES, N, generate="trunk")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=r"\[0, 1\]"):
        Hypernet(SIZES, N, rho=2.0)
