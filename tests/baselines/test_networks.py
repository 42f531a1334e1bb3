"""Networks: the one function against torch's own layers, Adam against torch's own optimiser."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from baselines.networks import Learner, Parameters, initial_layers
from bench.random import Random

R, N, B = 2, 3, 7
SIZES = [5, 9, 8, 4]


def layers(groups: Sequence[int], bias_groups: Sequence[int] | None = None) -> list[Tensor]:
    """Weights and random biases in float64, flat: W0, b0, W1, b1, ..."""
    values = initial_layers(Random.from_seeds(range(R)), SIZES, groups, last_gain=1.0)
    parts = []
    for n, group in enumerate(bias_groups or groups):
        bias = torch.randn(R, group, 1, SIZES[n + 1], dtype=torch.float64)
        parts += [values[f"W{n}"].double().requires_grad_(), bias.requires_grad_()]
    return parts


def pairs(parts: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


GROUPINGS = [
    ([1, 1, 1], None),
    ([N, N, N], None),
    ([1, 1, N], None),
    ([N, 1, N], None),
    ([1, 1, 1], [N, 1, 1]),
    ([N, 1, N], [1, N, 1]),
]


@pytest.mark.parametrize(("groups", "bias_groups"), GROUPINGS)
def test_equals_torch_layers_agent_by_agent(
    groups: list[int], bias_groups: list[int] | None
) -> None:
    parts = layers(groups, bias_groups)
    x = torch.randn(R, B, N, SIZES[0], dtype=torch.float64).transpose(1, 2)
    y = mlp(pairs(parts), x)
    for r in range(R):
        for n in range(N):
            h = x[r, n]
            for depth, (weight, bias) in enumerate(pairs(parts)):
                w, b = weight[r, n % weight.shape[1]], bias[r, n % bias.shape[1], 0]
                h = nn.functional.linear(h, w.T, b)
                h = torch.relu(h) if depth < 2 else h
            assert torch.allclose(y[r, n], h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("groups", "bias_groups"), GROUPINGS)
def test_gradients_against_finite_differences(
    groups: list[int], bias_groups: list[int] | None
) -> None:
    parts = layers(groups, bias_groups)
    x = torch.randn(R, N, B, SIZES[0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, *parts: mlp(pairs(list(parts)), x), (x, *parts), atol=1e-7
    )


@pytest.mark.parametrize("pooled", [1, 2])
def test_a_pooled_layer_sees_the_mean_over_the_agents(pooled: int) -> None:
    parts = layers([1, 1, 1])
    x = torch.randn(R, N, B, SIZES[0], dtype=torch.float64, requires_grad=True)

    def by_torch(x: Tensor, *parts: Tensor) -> Tensor:
        h = x
        for depth, (weight, bias) in enumerate(pairs(list(parts))):
            h = h.mean(1, keepdim=True) if depth == pooled else h
            h = h @ weight + bias
            h = torch.relu(h) if depth < 2 else h
        return h

    y = mlp(pairs(parts), x, pooled)
    assert torch.allclose(y, by_torch(x, *parts), rtol=1e-12, atol=1e-12)
    gradient = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, *parts), gradient)
    expected = torch.autograd.grad(by_torch(x, *parts), (x, *parts), gradient)
    for own, other in zip(found, expected, strict=True):
        assert torch.allclose(own, other, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        assert torch.equal(mlp(pairs(parts), x, pooled), y)


def test_no_gradient_is_computed_that_nobody_asked_for() -> None:
    parts = [part.detach() for part in layers([1, 1, N])]
    x = torch.randn(R, N, B, SIZES[0], dtype=torch.float64, requires_grad=True)
    mlp(pairs(parts), x).sum().backward()
    assert x.grad is not None
    assert all(part.grad is None for part in parts)


def test_a_wide_batch_of_narrow_outputs_takes_the_transposed_path_to_the_same_numbers() -> None:
    x = torch.randn(1, 1, 50, 20, dtype=torch.float64)
    for width in (1, 2, 15, 16, 17):
        weight, bias = torch.randn(1, 1, 20, width).double(), torch.randn(1, 1, 1, width).double()
        assert torch.allclose(mlp([(weight, bias)], x), x @ weight + bias, atol=1e-12)


def test_adam_follows_torchs_adam_replica_by_replica() -> None:
    start = {"w": torch.randn(R, 6), "v": torch.randn(R, 2, 2)}
    goal = torch.randn(R, 10)
    learner = Learner(start, lr=0.03, clip=0.7, tau=0.1)
    modules = [nn.Parameter(torch.cat([start["w"][r], start["v"][r].flatten()])) for r in range(R)]
    adams = [torch.optim.Adam([module], lr=0.03) for module in modules]
    for _ in range(60):
        row = torch.cat([value.flatten(1) for value in learner.online.views.values()], 1)
        assert learner.online.flat.shape == (R, 1, 10)  # 6 and 2 x 2: not a part per agent each
        learner.descend((row - goal).pow(4).sum())
        for r, (module, adam) in enumerate(zip(modules, adams, strict=True)):
            adam.zero_grad()
            (module - goal[r]).pow(4).sum().backward()
            nn.utils.clip_grad_norm_([module], 0.7)
            adam.step()
            assert torch.allclose(learner.online.flat[r, 0], module, atol=1e-6)


def test_a_hypernetwork_whose_sizes_coincide_is_still_one_network() -> None:
    """Its parameters have 8 rows each by chance, not one for each of 8 agents."""
    scheme = Hypernet(SIZES, 8, target="all", embedding=8, hidden=8, rho=1.0)
    values = scheme.init(Random.from_seeds(range(R)))
    assert all(value.shape[1] == 8 for value in values.values())
    assert Parameters(values).flat.shape[1] == 1


def test_one_replicas_outlier_leaves_the_others_bit_identical() -> None:
    start = {"w": torch.randn(R, 6)}
    calm, wild = (Learner(copy.deepcopy(start), 0.01, 0.5, 0.1) for _ in range(2))
    scale = torch.tensor([[1.0], [1e20]])
    for _ in range(3):
        calm.descend((calm.online.views["w"] ** 2).sum())
        wild.descend((scale * wild.online.views["w"] ** 2).sum())
    assert torch.equal(calm.online.flat[0], wild.online.flat[0])


def test_targets_average_the_parameters() -> None:
    learner = Learner({"w": torch.zeros(R, 3)}, 0.1, 1.0, tau=0.25)
    learner.online.flat += 1
    learner.track()
    assert torch.allclose(learner.target["w"], torch.full((R, 3), 0.25))
    learner.track()
    assert torch.allclose(learner.target_flat, torch.full((R, 3, 1), 0.4375))


def test_initial_layers_keep_the_scale_of_what_flows_through() -> None:
    sizes = [200, 400, 400, 400]
    values = initial_layers(Random.from_seeds([0]), sizes, [1, 1, 1], last_gain=1.0)
    x = Random.from_seeds([1]).normal(1, 500, 200).unsqueeze(0).squeeze(0).unsqueeze(1)
    x = x.reshape(1, 1, 500, 200)
    y = mlp([(values[f"W{n}"], values[f"b{n}"]) for n in range(3)], x)
    assert 0.8 < float(y.var()) < 1.2


def test_a_falling_rate_falls_linearly_to_its_share() -> None:
    learner = Learner({"w": torch.zeros(1, 1, 1)}, 0.1, 1.0, 0.25, fall=(0.2, 4))
    at, steps = 0.0, []
    for _ in range(4):  # under a constant gradient each step of Adam is the rate
        learner.descend(learner.online.views["w"].sum())
        now = float(learner.online.flat)
        steps.append(at - now)
        at = now
    assert steps == pytest.approx([0.08, 0.06, 0.04, 0.02], rel=1e-4)
