"""Stabilisers: what each keeps, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compositions import ALGORITHMS, GENERATORS
from torch import Tensor

from baselines.hypernet.scheme import CLOCK, Hypernet
from baselines.hypernet.stabilisers.bound import BOUNDS
from baselines.hypernet.stabilisers.clipping import clip_gradient
from baselines.hypernet.stabilisers.shrinkage import shrink
from baselines.mlp import mlp
from baselines.networks import Learner
from bench.conformance import examine
from bench.conformance.method import batch_of, build, spec_of
from bench.conformance.scheme import SIZES, N, R, drawn, observations
from bench.methods import MethodEntry, load_methods


def composed(**options: Any) -> Hypernet:
    return Hypernet(SIZES, N, target="all", **options)


def learner(scheme: Hypernet, lr: float = 1e-2) -> Learner:
    return Learner(drawn(scheme), lr, 1.0, 0.01, scheme)


def learn(scheme: Hypernet, trained: Learner, steps: int) -> None:
    for step in range(steps):
        out = mlp(scheme.weights(trained.online.views), observations(step))
        trained.descend((out - 1).square().sum())


def outputs(scheme: Hypernet, trained: Learner) -> Tensor:
    with torch.no_grad():
        return mlp(
            scheme.weights(trained.online.views), observations()[:, :1].expand(-1, N, -1, -1)
        )


# -- bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("generator", GENERATORS)
def test_no_generated_matrix_has_a_singular_value_beyond_the_limit(
    bound: str, generator: str
) -> None:
    limit = 0.3
    scheme = composed(bound=bound, largest=limit, **GENERATORS[generator])
    values = {name: 50 * value for name, value in drawn(scheme).items()}
    for weight, _ in scheme.weights(values):
        largest = torch.linalg.svdvals(weight)[..., 0]
        assert (largest <= limit * (1 + 1e-5)).all()
        assert (largest >= 0.9 * limit).all()


@pytest.mark.parametrize("bound", BOUNDS)
def test_neither_has_one_with_a_residual_beside_it(bound: str) -> None:
    scheme = composed(bound=bound, largest=0.3, residual_after=1)
    values = {name: 50 * torch.randn_like(value) for name, value in drawn(scheme).items()}
    values[CLOCK] = torch.full_like(values[CLOCK], 5.0)  # so that the residuals have joined
    for weight, _ in scheme.weights(values):
        assert (torch.linalg.svdvals(weight)[..., 0] <= 0.3 * (1 + 1e-5)).all()


def test_a_bound_leaves_small_matrices_as_they_are() -> None:
    small = torch.randn(R, N, 5, 4) * 1e-3
    assert torch.equal(BOUNDS["spectral"](small, 1.0), small)
    assert torch.allclose(BOUNDS["smooth"](small, 1.0), small, rtol=1e-4)
    for bound in BOUNDS.values():
        assert torch.equal(bound(torch.zeros(1, 1, 3, 3), 1.0), torch.zeros(1, 1, 3, 3))


# -- gradients -------------------------------------------------------------------------------------


def test_one_agents_outlier_leaves_the_others_gradients_bit_identical() -> None:
    limit = 1e-3
    found = []
    for factor in (1.0, 1e6):
        weight = torch.randn(R, N, 5, 4, generator=torch.Generator().manual_seed(0))
        weight.requires_grad_()
        scale = torch.tensor([1.0, factor, 1.0]).view(1, N, 1, 1)
        loss = (clip_gradient(weight, limit) * scale).square().sum()
        found.append(torch.autograd.grad(loss, [weight])[0])
    calm, wild = found
    assert torch.equal(calm[:, [0, 2]], wild[:, [0, 2]])
    assert torch.allclose(wild.norm(dim=(2, 3)), torch.full((R, N), limit))
    assert torch.allclose(calm[:, 1], wild[:, 1], atol=1e-9)  # its direction, at the limit


def test_of_the_clipped_method_an_outlier_moves_no_other_agents_embedding() -> None:
    entry = load_methods()["hyper-maddpg-clipped"]
    scheme = Hypernet(SIZES, N, **entry.scheme_options)
    found = []
    for factor in (1.0, 1e3):
        values = {name: value.requires_grad_() for name, value in drawn(scheme).items()}
        scale = torch.tensor([1.0, factor, 1.0]).view(1, N, 1, 1)
        loss = ((mlp(scheme.weights(values), observations()) - 1) * scale).square().sum()
        gradients = torch.autograd.grad(loss, list(values.values()))
        found.append(dict(zip(values, gradients, strict=True))["hyper.e"])
        # The optimiser clips the norm of all together, which would undo it.
        assert max(float(g.norm()) for g in gradients) < 1e-3 * entry.settings["grad_clip"]
    calm, wild = found
    assert torch.equal(calm[:, [0, 2]], wild[:, [0, 2]])
    assert not torch.equal(calm[:, 1], wild[:, 1])


def test_gradients_within_the_limit_are_left_alone_and_layers_are_clipped_apart() -> None:
    weight = torch.randn(R, N, 5, 4, requires_grad=True)
    (free,) = torch.autograd.grad(weight.square().sum(), [weight])
    (wide,) = torch.autograd.grad(clip_gradient(weight, 1e3).square().sum(), [weight])
    assert torch.equal(free, wide)
    scheme, plain = composed(clip=1e-4), composed()
    values = {name: value.requires_grad_() for name, value in drawn(scheme).items()}
    pulled = []
    for either in (scheme, plain):
        loss = (mlp(either.weights(values), observations()) - 1).square().sum()
        pulled.append(torch.autograd.grad(loss, [values["hyper.G0"], values["hyper.G2"]]))
    for clipped, whole in zip(*pulled, strict=True):
        assert 0 < float(clipped.norm()) < 0.01 * float(whole.norm())


# -- shrinkage -------------------------------------------------------------------------------------


def test_shrinkage_by_hand() -> None:
    value = torch.tensor([[1.0, -0.05, -2.0]])
    shrink([value], lr=0.1, decay=0.0, l1=1.0)
    assert torch.allclose(value, torch.tensor([[0.9, 0.0, -1.9]]))
    shrink([value], lr=0.1, decay=2.0, l1=0.0)
    assert torch.allclose(value, torch.tensor([[0.72, 0.0, -1.52]]))


def test_a_learning_rate_on_the_device_shrinks_to_the_bits_of_a_number() -> None:
    value = torch.randn(R, 50, generator=torch.Generator().manual_seed(0))
    number, tensor = value.clone(), value.clone()
    shrink([number], 0.03, 0.7, 5.0)
    shrink([tensor], torch.tensor(0.03, dtype=torch.float64), 0.7, 5.0)
    by_library = torch.nn.functional.softshrink(value * (1 - 0.03 * 0.7), 0.03 * 5.0)
    assert torch.equal(number, by_library) and torch.equal(tensor, by_library)
    shrink([value.to("meta")], torch.tensor(0.03, device="meta"), 0.7, 5.0)


@pytest.mark.parametrize("penalty", ["decay", "l1"])
@pytest.mark.parametrize("generator", GENERATORS)
def test_an_infinite_penalty_makes_the_agents_equal(penalty: str, generator: str) -> None:
    options = GENERATORS[generator]
    free, shrunk = composed(**options), composed(**options, **{penalty: 1e9})
    apart, alike = learner(free), learner(shrunk)
    learn(free, apart, 2)
    learn(shrunk, alike, 2)
    difference = outputs(free, apart) - outputs(free, apart)[:, :1]
    assert difference.abs().max() > 1e-3
    out = outputs(shrunk, alike)
    assert torch.equal(out, out[:, :1].expand_as(out))
    assert out.abs().max() > 0


def test_a_frozen_branch_is_not_shrunk() -> None:
    scheme = composed(branches="modules", frozen="trunk", decay=10.0)
    trained = learner(scheme)
    before = {name: value.clone() for name, value in trained.online.views.items()}
    learn(scheme, trained, 2)
    moved = {n for n, value in trained.online.views.items() if not torch.equal(value, before[n])}
    assert moved and not [name for name in moved if name.startswith("trunk.")]


# -- schedules -------------------------------------------------------------------------------------


def test_warm_up_begins_with_full_sharing_and_ends_with_all_of_what_is_generated() -> None:
    scheme, plain = composed(warmup=4), composed()
    trained = learner(scheme)
    out = outputs(scheme, trained)
    assert torch.equal(out, out[:, :1].expand_as(out))
    for update in range(1, 7):
        learn(scheme, trained, 1)
        views = trained.online.views
        for n, (weight, _) in enumerate(scheme.weights(views)):
            base = views[f"hyper.g{n}"].unflatten(2, weight.shape[2:])
            full = plain.weights(views)[n][0] - base
            assert torch.allclose(weight - base, full * min(update / 4, 1), atol=1e-6)
    assert torch.equal(trained.online.views["clock"], torch.full((R, 1), 6.0))


def test_warm_up_makes_the_largest_early_change_of_outputs_smaller() -> None:
    """Of any update among the first ten: 18 and 22 without, 0.8 over 100, 0.4 over 1,000."""
    largest = []
    for warmup in (0, 100, 1000):
        scheme = composed(warmup=warmup)
        trained, changes = learner(scheme), []
        for _ in range(10):
            before = outputs(scheme, trained)
            learn(scheme, trained, 1)
            changes.append((outputs(scheme, trained) - before).abs().amax((1, 2, 3)))
        largest.append(torch.stack(changes).amax(0))
    none, some, much = largest
    assert (some < 0.1 * none).all()
    assert (much < 0.7 * some).all()


def test_the_second_phase_begins_without_a_jump_and_trains_both() -> None:
    switch = 3
    scheme, plain = composed(residual_after=switch), composed()
    trained, first = learner(scheme), learner(plain)
    for _ in range(switch - 1):
        learn(scheme, trained, 1)
        learn(plain, first, 1)
    views = trained.online.views
    assert torch.equal(outputs(scheme, trained), outputs(plain, first))
    before = outputs(scheme, trained)
    with torch.no_grad():
        views["clock"].add_(1)  # across the switch, with no step
    assert torch.equal(outputs(scheme, trained), before)
    assert all(not views[name].any() for name in views if name[0] in "Xx")
    loss = (mlp(scheme.weights(views), observations()) - 1).square().sum()
    names = [name for name in views if name != "clock"]
    for name, gradient in zip(
        names, torch.autograd.grad(loss, [views[name] for name in names]), strict=True
    ):
        assert gradient.flatten(1).abs().sum(1).gt(0).all(), name


def test_the_target_takes_the_residual_in_as_steadily_as_all_else() -> None:
    """While its own clock, which lags by 1 / tau updates, crosses the switch, and ever after."""
    scheme = composed(residual_after=10)
    trained = learner(scheme)
    x, before, moved, crossed = observations(), None, [], 0
    for update in range(70):
        learn(scheme, trained, 1)
        trained.track()
        after = mlp(scheme.weights(trained.target), x)
        moved.append(0.0 if before is None else float((after - before).abs().max()))
        before = after
        if not crossed and trained.target["clock"].min() >= 10:
            crossed = update
    assert 30 < crossed < 60
    for update in range(2, 70):
        assert moved[update] < 1.5 * moved[update - 1] + 1e-3, update


def test_residuals_get_no_gradient_in_the_first_phase() -> None:
    scheme = composed(residual_after=5)
    trained = learner(scheme)
    learn(scheme, trained, 5)
    assert not any(v.any() for n, v in trained.online.views.items() if n[0] in "Xx")
    learn(scheme, trained, 1)
    assert all(v.any() for n, v in trained.online.views.items() if n[0] in "Xx")


def test_a_saved_policy_holds_how_far_the_warm_up_was() -> None:
    method = MethodEntry(
        summary="",
        scheme="baselines.hypernet.scheme:Hypernet",
        scheme_options={"target": "all", "warmup": 3},
        **ALGORITHMS["one"],
    )
    spec = spec_of(method)
    trained, other = build(method, spec), build(method, spec, first=5)
    trained.update(batch_of(spec))
    other.load_policy(trained.policy)
    seen = batch_of(spec).observation
    assert torch.equal(trained.act(seen), other.act(seen))


# -- the negative control --------------------------------------------------------------------------


def test_the_negative_controls_hypernetwork_gets_no_gradient_and_the_check_tells() -> None:
    scheme = Hypernet(SIZES, N, gradient="blocked")
    trained = learner(scheme)
    start = {name: value.detach().clone() for name, value in trained.online.views.items()}
    learn(scheme, trained, 3)
    for name, value in trained.online.views.items():
        assert torch.equal(value, start[name]) == name.startswith("hyper."), name
    found = examine(load_methods()["hyper-maddpg-no-grad"])
    assert found["gradients"] == "hyper.e gets no gradient"
    assert found["learns"] == "hyper.e does not learn"
