"""Hypernetworks: what each conditioning, generator, target and initialisation is said to do."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from compositions import GENERATORS
from small import tiny
from torch import Tensor, nn

from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from baselines.networks import Acting, Parameters
from baselines.sharing.independent import Independent
from baselines.sharing.shared import Shared
from bench.conformance.scheme import SIZES, N, R, drawn, observations, stepped
from bench.errors import RequestError
from bench.methods import MethodEntry
from bench.random import Random
from bench.tasks import make_task
from bench.team import make_spec, scheme_factory


def same_input() -> Tensor:
    return observations()[:, :1].expand(-1, N, -1, -1)


# -- conditionings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("generator", GENERATORS)
def test_agents_with_the_same_embedding_have_the_same_policy(generator: str) -> None:
    """But for those of two groups, which differ in their generators."""
    scheme = Hypernet(SIZES, N, target="all", **GENERATORS[generator])
    values = stepped(scheme)
    apart = mlp(scheme.weights(values), same_input())
    assert (apart[:, 1:] - apart[:, :1]).abs().amax((2, 3)).gt(1e-6).all()
    for name in values:
        if name.endswith(".e"):
            values[name] = values[name][:, :1].expand(-1, N, -1)
    out = mlp(scheme.weights(values), same_input())
    if generator == "grouped":
        assert (out[:, 1] - out[:, 0]).abs().amax((1, 2)).gt(1e-3).all()
        out = out[:, [0, 2]]
    # Exactly, but for BLAS, which may round narrow products differently row by row.
    assert torch.allclose(out, out[:, :1].expand_as(out), rtol=1e-6, atol=1e-6)
    assert generator != "dense" or torch.equal(out, out[:, :1].expand_as(out))


@pytest.mark.parametrize("conditioning", ["learned", "orthogonal", "one-hot"])
def test_agents_with_other_embeddings_have_other_policies(conditioning: str) -> None:
    scheme = Hypernet(SIZES, N, target="all", conditioning=conditioning)
    out = mlp(scheme.weights(stepped(scheme)), same_input())
    for one, other in itertools.combinations(range(N), 2):
        assert (out[:, one] - out[:, other]).abs().amax((1, 2)).gt(1e-6).all()


@pytest.mark.parametrize(("agents", "width"), [(3, 8), (8, 8), (10, 4)])
def test_orthogonal_embeddings_are_as_different_as_they_can_be(agents: int, width: int) -> None:
    e = drawn(Hypernet(SIZES, agents, conditioning="orthogonal", embedding=width))["hyper.e"]
    gram = e @ e.mT if agents <= width else e.mT @ e
    size = max(agents, width)
    assert torch.allclose(gram, size * torch.eye(min(agents, width)).expand_as(gram), atol=1e-4)
    assert math.isclose(float(e.square().sum(2).mean()), width, rel_tol=1e-5)


def test_agents_of_one_role_act_alike_and_roles_apart() -> None:
    roles = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    scheme = Hypernet(SIZES, N, roles, conditioning="features")
    out = mlp(scheme.weights(stepped(scheme)), same_input())
    assert torch.equal(out[:, 0], out[:, 2])
    assert (out[:, 0] - out[:, 1]).abs().amax((1, 2)).gt(1e-4).all()


def test_a_tasks_features_reach_the_scheme() -> None:
    config = tiny(agents=3, method="hyper-maddpg")
    task = make_task(config, "continuous")
    assert make_spec(config, task, R, torch.device("cpu")).features is None
    task.features = roles = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])  # type: ignore[attr-defined]
    spec = make_spec(config, task, R, torch.device("cpu"))
    entry = MethodEntry(
        summary="",
        algorithm="",
        scheme="baselines.hypernet.scheme:Hypernet",
        scheme_options={"conditioning": "features", "hidden": 0, "rho": 1.0},
    )
    scheme = scheme_factory(entry, spec)(SIZES, N)
    values = drawn(scheme)
    weight = scheme.weights(values)[-1][0]
    assert torch.allclose(weight.flatten(2), roles @ values["hyper.G2"], atol=1e-6)


# -- branches and targets --------------------------------------------------------------------------


@pytest.mark.parametrize("frozen", ["trunk", "head"])
def test_freezing_a_branch_changes_its_module_only(frozen: str) -> None:
    free = Hypernet(SIZES, N, target="all", branches="modules")
    scheme = Hypernet(SIZES, N, target="all", branches="modules", frozen=frozen)
    start = scheme.weights(drawn(scheme))
    pairs = zip(start, scheme.weights(stepped(scheme, 3)), strict=True)
    moved = [not torch.equal(before[0], after[0]) for before, after in pairs]
    assert moved == ([False, False, True] if frozen == "trunk" else [True, True, False])
    gradients = []
    for either in (free, scheme):
        values = {name: value.requires_grad_() for name, value in drawn(either).items()}
        out = mlp(either.weights(values), observations()).square().sum()
        names = [name for name in values if not name.startswith(frozen)]
        gradients.append(torch.autograd.grad(out, [values[name] for name in names]))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_every_module_has_a_branch_of_its_own() -> None:
    scheme = Hypernet(SIZES, N, target="all", branches="modules")
    values = stepped(scheme)
    start = scheme.weights(values)
    for name, module in (("trunk", [True, True, False]), ("head", [False, False, True])):
        changed = {n: v + 0.1 if n.startswith(name) else v for n, v in values.items()}
        pairs = zip(start, scheme.weights(changed), strict=True)
        assert [not torch.equal(a[0], b[0]) for a, b in pairs] == module


def test_a_bias_alone_makes_a_difference_that_does_not_depend_on_what_is_seen() -> None:
    scheme = Hypernet(SIZES, N, target="bias")
    values = stepped(scheme, 3)
    out = mlp(scheme.weights(values), same_input())
    difference = out - out[:, :1]
    assert difference[:, 1:].abs().amax((2, 3)).gt(1e-4).all()
    assert torch.allclose(difference, difference[:, :, :1].expand_as(difference), atol=1e-5)
    values["hyper.B2"].zero_()
    stored = {name: value for name, value in values.items() if name[0] in "Wb"}
    shared = Shared(SIZES, N, agent_id=False).weights(stored)
    assert torch.equal(mlp(scheme.weights(values), same_input()), mlp(shared, same_input()))


def test_alpha_is_the_factor_of_what_is_added_to_the_base() -> None:
    one, half = (Hypernet(SIZES, N, target="all", alpha=alpha) for alpha in (1.0, 0.5))
    values = stepped(one)
    for n, (full, part) in enumerate(zip(one.weights(values), half.weights(values), strict=True)):
        base = values[f"hyper.g{n}"].unflatten(2, full[0].shape[2:])
        assert torch.allclose(part[0] - base, (full[0] - base) / 2, atol=1e-6)
        assert torch.allclose(part[1], full[1] / 2, atol=1e-6)


def test_a_linear_one_hot_hypernetwork_is_unshared_networks_under_the_same_sgd_steps() -> None:
    """Feature i of the code is agent i's alone, so its generator column is agent i's network."""
    hyper = Hypernet(SIZES, N, target="all", conditioning="one-hot", hidden=0, rho=1.0)
    plain = Independent(SIZES, N)
    generated = {name: value.double().requires_grad_() for name, value in drawn(hyper).items()}
    stored: dict[str, Tensor] = {}
    for n, (weight, bias) in enumerate(hyper.weights(generated)):
        stored |= {f"W{n}": weight.detach().clone(), f"b{n}": bias.detach().clone()}
    stored = {name: value.requires_grad_() for name, value in stored.items()}
    for step in range(5):
        x = observations(step).double()
        outputs = []
        for scheme, values in ((hyper, generated), (plain, stored)):
            out = mlp(scheme.weights(values), x)
            gradients = torch.autograd.grad((out - 1).square().mean(), list(values.values()))
            with torch.no_grad():
                for value, gradient in zip(values.values(), gradients, strict=True):
                    value -= 0.1 * gradient
            outputs.append(out)
        assert torch.allclose(outputs[0], outputs[1], atol=1e-10)


def test_what_is_generated_is_held_against_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = Hypernet(SIZES, N)
    values = drawn(scheme)
    branch = scheme._branches["hyper"]
    monkeypatch.setattr(branch, "_generator", lambda own, h: [torch.zeros(R, N, 2, 12)])
    with pytest.raises(ValueError, match="the manifest asks for"):
        scheme.weights(values)


# -- initialisations -------------------------------------------------------------------------------


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("conditioning", ["learned", "orthogonal", "one-hot"])
@pytest.mark.parametrize("hidden", [64, 0])
def test_generated_layers_start_at_the_scale_of_plain_ones(
    rho: float, conditioning: str, hidden: int
) -> None:
    sizes, agents = [40, 50, 30], 8
    scheme = Hypernet(
        sizes, agents, target="all", conditioning=conditioning, hidden=hidden, rho=rho
    )
    values = scheme.init(Random.from_seeds(range(20)))
    (weight, _), (last, _) = scheme.weights(values)
    assert math.isclose(float(weight.std()), math.sqrt(2 / 40), rel_tol=0.08)
    assert math.isclose(float(last.std()), 0.1 / math.sqrt(50), rel_tol=0.08), "small: a tenth"
    between = (weight - weight.mean(1, keepdim=True)).square().sum(1) / (agents - 1)
    shared = float(between.mean()) / (2 / 40)
    if hidden == 0:  # codes are independent, so all that is generated differs between agents
        assert math.isclose(shared, rho, abs_tol=0.08)
    assert (shared > 1e-6) == (rho > 0)


@pytest.mark.parametrize("generator", GENERATORS)
def test_every_generator_starts_at_the_scale_of_plain_layers(generator: str) -> None:
    sizes = [40, 52, 32]
    options = {**GENERATORS[generator], "target": "all"}
    values = Hypernet(sizes, 8, **options).init(Random.from_seeds(range(40)))
    weight = Hypernet(sizes, 8, **options).weights(values)[0][0]
    assert math.isclose(float(weight.square().mean().sqrt()), math.sqrt(2 / 40), rel_tol=0.08)


def output_variance(initialisation: str, fan_in: int) -> float:
    """Of a generated hidden layer, for inputs of unit variance; 2 is what a ReLU wants."""
    options: dict[str, Any] = {"rho": 1.0} if initialisation == "balanced" else {}
    scheme = Hypernet([fan_in, 48, 2], 4, target="all", initialisation=initialisation, **options)
    values = scheme.init(Random.from_seeds(range(20)))
    (weight, bias), *_ = scheme.weights(values)
    x = Random.from_seeds(range(20)).fold("x").normal(4, 50, fan_in)
    return float((x @ weight + bias).square().mean())


def test_hyperfan_in_lets_weights_and_biases_bring_half_each() -> None:
    scheme = Hypernet([40, 48, 2], 4, target="all", initialisation="hyperfan-in")
    (weight, bias), *_ = scheme.weights(scheme.init(Random.from_seeds(range(20))))
    x = Random.from_seeds(range(20)).fold("x").normal(4, 50, 40)
    assert math.isclose(float((x @ weight).square().mean()), 1, rel_tol=0.12)
    assert math.isclose(float(bias.square().mean()), 1, rel_tol=0.12)


@pytest.mark.parametrize("fan_in", [10, 160])
def test_balanced_and_hyperfan_in_keep_the_variance_and_the_naive_start_does_not(
    fan_in: int,
) -> None:
    assert math.isclose(output_variance("balanced", fan_in), 2, rel_tol=0.12)
    assert math.isclose(output_variance("hyperfan-in", fan_in), 2, rel_tol=0.12)
    assert output_variance("naive", fan_in) > 0.3 * fan_in


def test_the_naive_start_is_the_librarys() -> None:
    scheme = Hypernet([30, 40, 2], 4, target="all", initialisation="naive")
    values = scheme.init(Random.from_seeds(range(20)))
    weight = scheme.weights(values)[0][0]
    code = torch.randn(5000, 64)
    code = code * torch.rsqrt(code.square().mean(1, keepdim=True))
    with torch.no_grad():
        library = nn.Linear(64, 1200)(code)
    assert math.isclose(float(weight.std()), float(library.std()), rel_tol=0.05)


# -- acting ----------------------------------------------------------------------------------------


def test_layers_for_acting_are_generated_once_per_change() -> None:
    class Counting(Hypernet):
        generations = 0

        def weights(self, parameters: Any) -> Any:
            self.generations += 1
            return super().weights(parameters)

    scheme = Counting(SIZES, N, warmup=3)
    parameters = Parameters(drawn(scheme))
    acting = Acting(scheme, parameters)
    first = acting.layers()
    assert acting.layers() is first
    assert scheme.generations == 1
    assert not any(part.requires_grad for part in first[-1])
    changes = [
        lambda: parameters.flat.add_(0.1),
        lambda: parameters.flat.copy_(parameters.flat.clone()),
        lambda: scheme.settle(parameters.views, 0.1),
    ]
    for number, change in enumerate(changes, start=2):
        change()
        acting.layers()
        acting.layers()
        assert scheme.generations == number


# -- what does not go together ---------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"target": "trunk"}, "'head', 'all' or 'bias'"),
    ({"rho": 2.0}, "less than or equal to 1"),
    ({"generatr": "dense"}, "did you mean 'generator'"),
    ({"rank": 3}, "choose generator: low-rank or core"),
    ({"conditioning": "one-hot", "embedding": 4}, "choose conditioning: learned or orthogonal"),
    ({"frozen": "trunk"}, "choose branches: modules"),
    ({"branches": "modules"}, "choose target: all"),
    ({"target": "bias", "generator": "sparse"}, "choose generator: dense"),
    ({"target": "bias", "bound": "spectral"}, "choose target: head"),
    ({"target": "bias", "warmup": 5}, "choose target: head"),
    ({"initialisation": "naive", "rho": 0.5}, "choose initialisation: balanced"),
    ({"initialisation": "naive", "pace": "weights"}, "choose initialisation: balanced"),
    ({"rho": 1.0, "warmup": 5}, "choose rho below 1"),
    ({"rho": 0.0, "warmup": 5}, "choose rho above 0"),
    ({"generator": "grouped", "groups": 4}, "choose groups: 3 or fewer"),
    ({"conditioning": "features"}, "choose conditioning: learned"),
]


@pytest.mark.parametrize(("options", "says"), REFUSED)
def test_what_does_not_go_together_is_refused_with_what_does(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says) as error:
        Hypernet(SIZES, N, **options)
    assert "\n" not in str(error.value)
