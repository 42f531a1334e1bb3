"""What every method promises: an algorithm around a parameter scheme.

Shapes: R replicas, N agents, B rows of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from baselines.networks import Parameters
from bench.compilation import recorded
from bench.config import RunConfig
from bench.conformance.scheme import SIZES, TOLERANCE, B, N, R, exempt
from bench.interfaces import Algorithm, Batch, Centralised, Layered, Scored, Spec
from bench.methods import MethodEntry
from bench.random import Random
from bench.team import build_algorithm

ENTITIES = ((1, 2), (1, 2))
"""An observation of SIZES[0] = 5 numbers is one of the agent's own, and where two things are."""


def spec_of(entry: MethodEntry, features: Tensor | None = None) -> Spec:
    """Return a small world for a method."""
    config = RunConfig(agents=N, hidden=SIZES[1:-1], batch=B)
    discrete = entry.actions == "discrete"
    device = torch.device("cpu")
    ends = SIZES[0], SIZES[-1]
    world = Spec(config, R, N, *ends, discrete, device, features)
    return replace(world, entities=ENTITIES)


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
    algorithm = build_algorithm(entry, spec, Random.from_seeds(seeds))
    if isinstance(algorithm, Scored):
        algorithm.scored(torch.tensor(seeds, dtype=torch.float32))
    return algorithm


def acting_parameters(spec: Spec, algorithm: Algorithm) -> dict[str, Tensor]:
    """Read the acting network's parameters by name out of its flat policy."""
    assert isinstance(algorithm, Layered), "the algorithm does not say what scheme it acts by"
    parameters = Parameters(algorithm.scheme.init(Random.from_seeds(range(spec.replicas))))
    (flat,) = algorithm.policy.values()
    assert flat.shape == parameters.flat.shape, "the policy is not the scheme's parameters"
    parameters.flat.copy_(flat)
    return parameters.views


def action_shapes(entry: MethodEntry, spec: Spec) -> None:
    """Actions, TD errors and metrics have the shapes and ranges that the loop relies on."""
    algorithm, batch = build(entry, spec), batch_of(spec)
    action = algorithm.act(batch.observation)
    expected = batch.action.shape
    assert action.shape == expected, (
        f"act gives {[*action.shape]}, not [R, E, N, A] = {[*expected]}"
    )
    if spec.discrete:
        one_hot = ((action == 0) | (action == 1)).all() and (action.sum(-1) == 1).all()
        assert one_hot, "act gives moves that are not one-hot"
    else:
        assert (action.abs() <= 1).all(), "act gives forces beyond [-1, 1]"
    td_errors, metrics = algorithm.update(batch)
    size = [*batch.weight.shape]
    assert [*td_errors.shape] == size, f"update gives TD errors {[*td_errors.shape]}, not {size}"
    for name, value in metrics.items():
        found = [*value.shape] if isinstance(value, Tensor) else type(value).__name__
        assert found == [spec.replicas], f"metric {name} is {found}, not a tensor [R]"


def learns(entry: MethodEntry, spec: Spec) -> None:
    """Under the algorithm every parameter of the acting network moves, and stays finite."""
    algorithm = build(entry, spec)
    algorithm.update(batch_of(spec))
    before = acting_parameters(spec, algorithm)
    algorithm.update(batch_of(spec, 1))
    assert isinstance(algorithm, Layered)
    skipped = exempt(algorithm.scheme)
    for name, value in acting_parameters(spec, algorithm).items():
        assert value.isfinite().all(), f"{name} is not finite after an update"
        moved = name in skipped or not torch.equal(value, before[name])
        assert moved, f"{name} does not learn"


def reloads(entry: MethodEntry, spec: Spec) -> None:
    """What is saved and loaded again acts, and goes on learning, to the same bits."""
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


def targets(entry: MethodEntry, spec: Spec) -> None:
    """Target networks average parameters, and never what is generated from them."""
    algorithm = build(entry, spec)
    before = {name: value.clone() for name, value in algorithm.state().items()}
    algorithm.update(batch_of(spec))
    state = algorithm.state()
    for name in (name for name in state if name.endswith(".target")):
        online = state[name.replace(".target", ".online")]
        expected = before[name].lerp(online, spec.config.tau)
        assert state[name].shape == online.shape, f"{name} is not of the parameters' shape"
        assert torch.allclose(state[name], expected, atol=1e-7), f"{name} is no average"


def fleets(entry: MethodEntry, spec: Spec) -> None:
    """A replica learns the same in a fleet as alone."""
    fleet, alone = build(entry, spec), build(entry, replace(spec, replicas=1), first=1)
    for step in range(2):
        fleet.update(batch_of(spec, step))
        alone.update(batch_of(replace(spec, replicas=1), step, first=1))
    for name, value in alone.policy.items():
        error = float((fleet.policy[name][1:] - value).abs().max())
        # Adam divides by a gradient's size: where that is rounding, a step may differ by more.
        assert error < 100 * TOLERANCE, f"{name} differs by {error:.1e} in a fleet"


def captured(entry: MethodEntry, spec: Spec) -> None:
    """Repeating what one update did to tensors is updating: what changes is kept in them.

    A method that looks at numbers meanwhile cannot be captured or compiled, and need not be.
    """
    one, other = build(entry, spec), build(entry, spec)
    first, second = batch_of(spec), batch_of(spec, 1)
    names = [name for name, value in vars(first).items() if value is not None]

    def update(*tensors: Tensor) -> object:
        return other.update(replace(first, **dict(zip(names, tensors, strict=True))))

    try:
        repeated, _ = recorded(update, *(vars(first)[name] for name in names))
    except RuntimeError:
        return
    with torch.no_grad():
        repeated(*(vars(second)[name] for name in names))
    for batch in (first, second):
        one.update(batch)
    for name, value in one.state().items():
        # Not to the bit: products may round by where their operands lie in memory.
        same = torch.allclose(other.state()[name], value, rtol=0, atol=100 * TOLERANCE)
        assert same, f"{name} differs where the operations of an update are repeated"


def decentralised(entry: MethodEntry, spec: Spec) -> None:
    """An agent acts by what it sees itself, unless the team acts as one agent and says so."""
    algorithm, batch = build(entry, spec), batch_of(spec)
    if isinstance(algorithm, Centralised) and algorithm.centralised is True:
        return
    alike = algorithm.act(batch.observation)
    others = batch_of(spec, 1).observation
    for agent in range(spec.agents):
        seen = others.clone()
        seen[:, :, agent] = batch.observation[:, :, agent]
        same = torch.equal(algorithm.act(seen)[:, :, agent], alike[:, :, agent])
        assert same, f"agent {agent} acts otherwise where only its team-mates see something else"


METHOD_CHECKS: tuple[Callable[[MethodEntry, Spec], None], ...] = (
    action_shapes,
    decentralised,
    learns,
    reloads,
    targets,
    fleets,
)
THOROUGH_CHECKS = (*METHOD_CHECKS, captured)
"""Those, and one that takes longer than they do together."""
