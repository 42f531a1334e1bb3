"""Networks: the one function against torch's own layers, Adam against torch's own optimiser."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from baselines import products
from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp, pull_back, pull_back_own
from baselines.networks import Learner, Parameters, initial_layers
from baselines.products import large, product
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


@pytest.mark.parametrize(
    ("groups", "bias_groups", "pooled"),
    [*((*grouping, None) for grouping in GROUPINGS), ([1, 1, 1], None, 1)],
)
def test_what_is_gone_through_part_by_part_has_the_numbers_of_the_whole(
    groups: list[int], bias_groups: list[int] | None, pooled: int | None
) -> None:
    rows, sizes = 1024, [24, 64, 64, 3]
    values = initial_layers(Random.from_seeds(range(R)), sizes, groups, last_gain=1.0)
    parts = [values[f"{kind}{n}"] for n in range(3) for kind in "Wb"]
    for n, group in enumerate(bias_groups or groups):
        parts[2 * n + 1] = torch.randn(R, group, 1, sizes[n + 1])
    x = torch.randn(R, N, rows, sizes[0])
    gradient = torch.randn(R, 1 if pooled else N, rows, sizes[-1])
    assert large(x, 64, 64, rows)

    def all_of(x: Tensor, gradient: Tensor, parts: list[Tensor]) -> list[Tensor]:
        own = [part.clone().requires_grad_() for part in (x, *parts)]
        y = mlp(pairs(own[1:]), own[0], pooled)
        with torch.no_grad():
            assert torch.equal(mlp(pairs(own[1:]), own[0], pooled), y)
        found = torch.autograd.grad(y, own, gradient)
        if not pooled:
            assert torch.equal(pull_back(pairs(parts), x, gradient), found[0])
        return [y.detach(), *found]

    together = all_of(x, gradient, parts)
    exact = all_of(x.double(), gradient.double(), [part.double() for part in parts])
    for own, other in zip(together, exact, strict=True):
        assert torch.allclose(own.double(), other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
    for r in range(R):
        alone = all_of(x[r : r + 1], gradient[r : r + 1], [part[r : r + 1] for part in parts])
        assert all(torch.equal(a, b[r : r + 1]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("groups", [1, N])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_own_parts_are_pulled_back_as_through_inputs_that_differ_in_them(
    groups: int, dtype: torch.dtype
) -> None:
    rows, A, sizes = 1024, 2, [6 + 2 * N, 64, 64, 1]
    values = initial_layers(Random.from_seeds(range(R)), sizes, [groups] * 3, last_gain=1.0)
    network = [(values[f"W{n}"].to(dtype), values[f"b{n}"].to(dtype)) for n in range(3)]
    x = torch.randn(R, groups, rows, sizes[0], dtype=dtype)
    change = torch.randn(R, N, rows, A, dtype=dtype)
    gradient = torch.randn(R, N, rows, 1, dtype=dtype)
    own = network[0][0][:, :, -N * A :].unflatten(2, (N, A))
    picked = own[:, 0] if groups == 1 else own.diagonal(dim1=1, dim2=2).movedim(-1, 1)
    found = pull_back_own(network, x, picked.contiguous(), change, gradient)
    for n in range(N):
        moved = x[:, n % groups].clone()
        columns = slice(6 + A * n, 6 + A * (n + 1))
        moved[..., columns] += change[:, n]
        moved.requires_grad_()
        h = moved.double()
        for depth, (weight, bias) in enumerate(network):
            h = h @ weight[:, n % groups].double() + bias[:, n % groups].double()
            h = torch.relu(h) if depth < 2 else h
        (slope,) = torch.autograd.grad(h, moved, gradient[:, n].double())
        # In single precision a unit at its threshold may be counted on either side.
        off = (found[:, n] - slope[..., columns]).abs() > 1e-4
        assert off.double().mean() < (1e-3 if dtype == torch.float32 else 1e-9)


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


@pytest.mark.parametrize("intel", [True, False])
@pytest.mark.parametrize("onednn", [products.ONEDNN, False])
@pytest.mark.parametrize(
    "shape",
    [(64, 64, 3072), (64, 3072, 64), (20, 3072, 64), (5, 7, 9), (1, 64, 3072), (64, 3072, 1)],
)
def test_products_are_those_of_float64_whoever_makes_them_and_how_many_at_once(
    monkeypatch: pytest.MonkeyPatch, intel: bool, onednn: bool, shape: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(products, "INTEL", intel)
    monkeypatch.setattr(products, "ONEDNN", onednn)
    torch.manual_seed(0)
    m, k, n = shape
    for left in (torch.randn(3, m, k), torch.randn(3, k, m).mT):
        for right in (torch.randn(3, k, n), torch.randn(3, n, k).mT):
            made = product(left, right)
            exact = left.double() @ right.double()
            assert (made - exact).abs().max() < 1e-5 * exact.abs().max()
            assert torch.equal(made[1:2], product(left[1:2], right[1:2]))
