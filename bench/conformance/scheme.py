"""What every parameter scheme promises, as functions of what makes the scheme.

Shapes: R replicas, N agents, B rows of a batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from baselines.mlp import mlp
from baselines.networks import Learner
from bench.interfaces import Generating, ParameterScheme, SchemeFactory
from bench.layers import misfit
from bench.random import Random
from bench.team import TOLD

R, N, B = 2, 3, 6
SIZES = [5, 16, 12, 2]
"""A network whose layers all differ in shape."""
TOLERANCE = 1e-6
SMALL = 1e-4
"""Scale of a loss whose gradients no clipping reaches."""


def misbuilt(scheme: Callable[..., object]) -> str:
    """Say why this is not what makes a parameter scheme of sizes and agents; empty if it may be."""
    if isinstance(scheme, type):
        lacking = [name for name in ("init", "weights") if not hasattr(scheme, name)]
        if lacking:
            return f"it has no {' and no '.join(lacking)}"
    try:
        signature = inspect.signature(scheme)
        signature.bind(SIZES, N, **dict.fromkeys(signature.parameters.keys() & TOLD))
    except (TypeError, ValueError) as error:  # of what is built in there may be no signature
        return str(error)
    return ""


def drawn(scheme: ParameterScheme, replicas: range = range(R)) -> dict[str, Tensor]:
    """Draw a scheme's parameters for some replicas."""
    return scheme.init(Random.from_seeds(replicas).fold("conformance"))


def observations(step: int = 0) -> Tensor:
    """Draw [R, N, B, in]."""
    return Random.from_seeds(range(R)).fold("observations").fold(step).normal(N, B, SIZES[0])


def stepped(scheme: ParameterScheme, steps: int = 1) -> dict[str, Tensor]:
    """Return parameters after some steps: what starts at zero has left it."""
    learner = Learner(drawn(scheme), 1e-2, 1.0, 0.01, scheme)
    for step in range(steps):
        out = mlp(scheme.weights(learner.online.views), observations(step))
        learner.descend((out - 1).square().sum())
    return {name: value.detach().clone() for name, value in learner.online.views.items()}


def exempt(scheme: ParameterScheme) -> set[str]:
    """Name the parameters that the checks of gradients leave out."""
    return set(getattr(scheme, "exempt", ()))


def layer_shapes(make: SchemeFactory) -> None:
    """Layers are W [R, G, in, out] and b [R, G, 1, out] with G = 1 or N, each fitting the next."""
    layers = make(SIZES, N).weights(drawn(make(SIZES, N)))
    wrong = misfit(layers, R, N)
    assert not wrong, wrong
    ends = layers[0][0].shape[2], layers[-1][0].shape[3]
    assert ends == (SIZES[0], SIZES[-1]), f"from {ends[0]} to {ends[1]} units, not {SIZES}"


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
        if name not in exempt(scheme):
            # Of embeddings every agent's: one that is cut off leaves the others' sum above 0.
            each = 2 if name.endswith(".e") else 1
            reached = gradient.flatten(each).abs().sum(each) > 0
            assert reached.all(), f"{name} gets no gradient"


def differences(make: SchemeFactory) -> None:
    """Gradients equal finite differences in float64, for each parameter."""
    scheme = make(SIZES, N)
    values = {name: value.double() for name, value in stepped(scheme).items()}
    x = observations(1).double()

    def loss(at: Mapping[str, Tensor]) -> Tensor:
        # Small: a scheme may clip gradients, and these are to pass.
        return SMALL * mlp(scheme.weights(at), x).sin().sum()

    for name in values.keys() - exempt(scheme):
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
        wrong = abs(numeric - exact) / max(abs(exact), 1e-2 * SMALL)
        assert wrong < 1e-4, f"the gradient of {name} is off by {wrong:.1e}"


def forward(make: SchemeFactory) -> None:
    """The network equals plain layers with its weights copied into them, agent by agent."""
    scheme = make(SIZES, N)
    values, x = _exactly(scheme)
    layers = scheme.weights(values)
    y = mlp(layers, x)
    for r in range(R):
        for i in range(N):
            h = x[r, i]
            for depth, (weight, bias) in enumerate(layers):
                h = h @ weight[r, i % weight.shape[1]] + bias[r, i % bias.shape[1], 0]
                h = h if depth == len(layers) - 1 else torch.relu(h)
            error = float((y[r, i] - h).abs().max())
            assert error < TOLERANCE, f"agent {i} is {error:.1e} off its plain network"


def one_by_one(make: SchemeFactory) -> None:
    """All agents at once do what each does alone, with weights that are generated for it alone."""
    scheme = make(SIZES, N)
    values, x = _exactly(scheme)
    layers = scheme.weights(values)
    together = mlp(layers, x)
    for i in range(N):
        if isinstance(scheme, Generating):
            single, part = scheme.alone(values, i)
            own = single.weights(part)
        else:
            of_agent = [[p[:, i % p.shape[1]].unsqueeze(1) for p in layer] for layer in layers]
            own = [(weight, bias) for weight, bias in of_agent]
        error = float((together[:, i : i + 1] - mlp(own, x[:, i : i + 1])).abs().max())
        assert error < TOLERANCE, f"agent {i} alone differs by {error:.1e}"


def _exactly(scheme: ParameterScheme) -> tuple[dict[str, Tensor], Tensor]:
    """Return parameters after a step and observations, in float64."""
    values = {name: value.double() for name, value in stepped(scheme).items()}
    return values, observations().double()


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


SCHEME_CHECKS: tuple[Callable[[SchemeFactory], None], ...] = (
    layer_shapes,
    gradients,
    differences,
    forward,
    one_by_one,
    replicas,
)
