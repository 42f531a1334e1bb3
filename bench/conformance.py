"""What every parameter scheme promises, as checks that run on any scheme, ours or not.

Each check is a function of what makes the scheme; it raises an AssertionError that says what is
wrong.  `examine` runs them all.  Those of a method build a whole algorithm around the scheme.

Shapes: R replicas, N agents, B rows of a batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import Learner, Parameters
from bench.config import MethodEntry, RunConfig
from bench.fleet import build_algorithm, scheme_factory
from bench.interfaces import Algorithm, Batch, ParameterScheme, SchemeFactory, Spec
from bench.random import Random

R, N, B = 2, 3, 6
SIZES = [5, 16, 12, 2]
"""A network whose layers all differ in shape."""
TOLERANCE = 1e-6


def drawn(scheme: ParameterScheme, replicas: range = range(R)) -> dict[str, Tensor]:
    """Draw a scheme's parameters for some replicas."""
    return scheme.init(Random.from_seeds(replicas).fold("conformance"))


def observations(step: int = 0) -> Tensor:
    """Draw [R, N, B, in]."""
    return Random.from_seeds(range(R)).fold("observations").fold(step).normal(N, B, SIZES[0])


def stepped(scheme: ParameterScheme, steps: int = 1) -> dict[str, Tensor]:
    """Return parameters after some steps: what starts at zero has left it."""
    learner = Learner(drawn(scheme), 1e-2, 1.0, 0.01, getattr(scheme, "settle", None))
    for step in range(steps):
        out = mlp(scheme.weights(learner.online.views), observations(step))
        learner.descend((out - 1).square().sum())
    return {name: value.detach().clone() for name, value in learner.online.views.items()}


def _estimated(scheme: ParameterScheme) -> set[str]:
    return set(getattr(scheme, "estimated", ()))


# -- of a scheme -----------------------------------------------------------------------------------


def shapes(make: SchemeFactory) -> None:
    """Layers have the shapes W [R, G, in, out], b [R, G, 1, out] with G = 1 or N."""
    layers = make(SIZES, N).weights(drawn(make(SIZES, N)))
    assert len(layers) == len(SIZES) - 1, f"{len(layers)} layers, not {len(SIZES) - 1}"
    for n, (weight, bias) in enumerate(layers):
        for part, last in ((weight, (SIZES[n], SIZES[n + 1])), (bias, (1, SIZES[n + 1]))):
            fits = len(part) == R and part.shape[1] in (1, N) and part.shape[2:] == last
            assert fits, f"layer {n}: {tuple(part.shape)}, not [{R}, 1 or {N}, {last}]"


def gradients(make: SchemeFactory) -> None:
    """After one step every parameter gets a finite gradient, and one that is not zero."""
    scheme = make(SIZES, N)
    values = {name: value.requires_grad_() for name, value in stepped(scheme).items()}
    loss = (mlp(scheme.weights(values), observations(1)) - 1).square().sum()
    found = torch.autograd.grad(
        loss, list(values.values()), allow_unused=True, materialize_grads=True
    )
    for name, gradient in zip(values, found, strict=True):
        assert gradient.isfinite().all(), f"the gradient of {name} is not finite"
        if name not in _estimated(scheme):
            reached = gradient.flatten(1).abs().sum(1) > 0
            assert reached.all(), f"{name} gets no gradient"


def differences(make: SchemeFactory) -> None:
    """Gradients equal finite differences in float64, for each parameter."""
    scheme = make(SIZES, N)
    values = {name: value.double() for name, value in stepped(scheme).items()}
    x = observations(1).double()

    def loss(at: Mapping[str, Tensor]) -> Tensor:
        return mlp(scheme.weights(at), x).sin().sum()

    for name in values.keys() - _estimated(scheme):
        value = values[name].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss({**values, name: value}), [value])
        # Along the gradient, where errors of its size show, and along anything else.
        anything = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value).cos()
        direction = sum(part / part.norm().clamp(min=1e-12) for part in (gradient, anything))
        assert isinstance(direction, Tensor)
        step = 1e-6 * direction  # small enough to cross no kink of a ReLU
        with torch.no_grad():
            ahead, behind = (loss({**values, name: values[name] + s}) for s in (step, -step))
        numeric, exact = float(ahead - behind) / 2e-6, float((gradient * direction).sum())
        wrong = abs(numeric - exact) / max(abs(exact), 1e-2)
        assert wrong < 1e-4, f"the gradient of {name} is off by {wrong:.1e}"


def forward(make: SchemeFactory) -> None:
    """The network equals torch's own layers with its weights copied into them, agent by agent."""
    scheme = make(SIZES, N)
    layers, x = scheme.weights(stepped(scheme)), observations()
    y = mlp(layers, x)
    for r in range(R):
        for i in range(N):
            h = x[r, i]
            for depth, (weight, bias) in enumerate(layers):
                h = h @ weight[r, i % weight.shape[1]] + bias[r, i % bias.shape[1], 0]
                h = h if depth == len(layers) - 1 else torch.relu(h)
            error = float((y[r, i] - h).abs().max())
            assert error < TOLERANCE * 10, f"agent {i} is {error:.1e} off its plain network"


def one_by_one(make: SchemeFactory) -> None:
    """All agents at once do what each does alone."""
    scheme = make(SIZES, N)
    layers, x = scheme.weights(stepped(scheme)), observations()
    together = mlp(layers, x)
    for i in range(N):
        own = [tuple(p[:, i % p.shape[1]].unsqueeze(1) for p in layer) for layer in layers]
        alone = mlp([(weight, bias) for weight, bias in own], x[:, i : i + 1])
        error = float((together[:, i : i + 1] - alone).abs().max())
        assert error < TOLERANCE, f"agent {i} alone differs by {error:.1e}"


def replicas(make: SchemeFactory) -> None:
    """A replica draws and generates the same in a fleet as alone."""
    scheme = make(SIZES, N)
    fleet, alone = drawn(scheme), drawn(scheme, range(1, 2))
    for name, value in fleet.items():
        assert torch.equal(value[1:], alone[name]), f"{name} is drawn differently in a fleet"
    pairs = zip(scheme.weights(fleet), scheme.weights(alone), strict=True)
    for n, (layer, own) in enumerate(pairs):
        for part, single in zip(layer, own, strict=True):
            error = float((part[1:] - single).abs().max())
            assert error < TOLERANCE, f"layer {n} differs by {error:.1e} in a fleet"


# -- of a method -----------------------------------------------------------------------------------


def spec_of(entry: MethodEntry, replicas: int = R, features: Tensor | None = None) -> Spec:
    """Return a small world for a method."""
    config = RunConfig(agents=N, hidden=SIZES[1:-1], batch=B)
    discrete = entry.actions == "discrete"
    device = torch.device("cpu")
    return Spec(config, replicas, N, SIZES[0], SIZES[-1], discrete, device, features)


def batch_of(spec: Spec, step: int = 0, first: int = 0) -> Batch:
    """Draw transitions for replicas first, first + 1, ..."""
    random = Random.from_seeds(range(first, first + spec.replicas)).fold("batch").fold(step)
    action = random.fold("action").normal(B, N, spec.action_size)
    if spec.discrete:
        action = torch.nn.functional.one_hot(action.argmax(-1), spec.action_size).float()
    return Batch(
        observation=random.fold("observation").normal(B, N, spec.observation_size),
        action=action.clamp(-1, 1),
        reward=random.fold("reward").normal(B, N),
        next_observation=random.fold("next").normal(B, N, spec.observation_size),
        terminated=None,
        weight=torch.ones(spec.replicas, B),
    )


def build(entry: MethodEntry, spec: Spec, first: int = 0) -> Algorithm:
    """Make the method for replicas first, first + 1, ..."""
    seeds = range(first, first + spec.replicas)
    return build_algorithm(entry, spec, Random.from_seeds(seeds))


def acting_parameters(entry: MethodEntry, spec: Spec, algorithm: Algorithm) -> dict[str, Tensor]:
    """Read the acting network's parameters by name out of its flat policy."""
    scheme = scheme_factory(entry, spec)([SIZES[0], *SIZES[1:-1], spec.action_size], N)
    parameters = Parameters(scheme.init(Random.from_seeds(range(spec.replicas))))
    (flat,) = algorithm.policy.values()
    assert flat.shape == parameters.flat.shape, "the policy is not the scheme's parameters"
    parameters.flat.copy_(flat)
    return parameters.views


def learns(entry: MethodEntry, features: Tensor | None = None) -> None:
    """Under the algorithm every parameter of the acting network moves, and stays finite."""
    spec = spec_of(entry, features=features)
    algorithm = build(entry, spec)
    algorithm.update(batch_of(spec))
    before = acting_parameters(entry, spec, algorithm)
    algorithm.update(batch_of(spec, 1))
    for name, value in acting_parameters(entry, spec, algorithm).items():
        assert value.isfinite().all(), f"{name} is not finite after an update"
        assert not torch.equal(value, before[name]), f"{name} does not learn"


def reloads(entry: MethodEntry, features: Tensor | None = None) -> None:
    """What is saved and loaded again acts, and goes on learning, to the same bits."""
    spec = spec_of(entry, features=features)
    one, other = build(entry, spec), build(entry, spec, first=7)
    one.update(batch_of(spec))
    seen = batch_of(spec).observation
    acted = one.act(seen)
    other.act(seen)
    other.load_policy({name: value.clone() for name, value in one.policy.items()})
    assert torch.equal(other.act(seen), acted), "a reloaded policy acts differently"
    other.load({name: value.clone() for name, value in one.state().items()})
    for algorithm in (one, other):
        algorithm.update(batch_of(spec, 1))
    assert torch.equal(one.act(seen), other.act(seen)), "a reloaded state learns differently"


def targets(entry: MethodEntry, features: Tensor | None = None) -> None:
    """Target networks average parameters, and never what is generated from them."""
    spec = spec_of(entry, features=features)
    algorithm = build(entry, spec)
    before = {name: value.clone() for name, value in algorithm.state().items()}
    algorithm.update(batch_of(spec))
    state = algorithm.state()
    for name in (name for name in state if name.endswith(".target")):
        online = state[name.replace(".target", ".online")]
        expected = before[name].lerp(online, spec.config.tau)
        assert state[name].shape == online.shape, f"{name} is not of the parameters' shape"
        assert torch.allclose(state[name], expected, atol=1e-7), f"{name} is no average"


def fleets(entry: MethodEntry, features: Tensor | None = None) -> None:
    """A replica learns the same in a fleet as alone."""
    spec = spec_of(entry, features=features)
    fleet, alone = build(entry, spec), build(entry, replace(spec, replicas=1), first=1)
    for step in range(2):
        fleet.update(batch_of(spec, step))
        alone.update(batch_of(replace(spec, replicas=1), step, first=1))
    for name, value in alone.policy.items():
        error = float((fleet.policy[name][1:] - value).abs().max())
        # Adam divides by a gradient's size: where that is rounding, a step may differ by more.
        assert error < 100 * TOLERANCE, f"{name} differs by {error:.1e} in a fleet"


SCHEME_CHECKS: tuple[Callable[[SchemeFactory], None], ...] = (
    shapes,
    gradients,
    differences,
    forward,
    one_by_one,
    replicas,
)
METHOD_CHECKS: tuple[Callable[..., None], ...] = (learns, reloads, targets, fleets)


def examine(entry: MethodEntry) -> dict[str, str | None]:
    """Run every check on a method; return what each found wrong, by name, or None."""
    features = torch.tensor([[math.sin(i + f) for f in range(4)] for i in range(N)])
    make = scheme_factory(entry, spec_of(entry, features=features))
    checks = [functools.partial(check, make) for check in SCHEME_CHECKS]
    checks += [functools.partial(check, entry, features) for check in METHOD_CHECKS]
    found: dict[str, str | None] = {}
    for check in checks:
        try:
            check()
            found[check.func.__name__] = None
        except Exception as error:  # a scheme from outside may fail in any way
            found[check.func.__name__] = str(error) or type(error).__name__
    return found
