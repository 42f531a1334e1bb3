"""Every scheme under every algorithm, against all that a parameter scheme promises."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from compositions import ALGORITHMS, GENERATORS, MORE_ALGORITHMS, STABILISERS

from bench.conformance import examine
from bench.conformance.method import batch_of, build, spec_of
from bench.methods import MethodEntry, load_methods

HYPERNET = "baselines.hypernet.scheme:Hypernet"
CONDITIONINGS = ["learned", "orthogonal", "one-hot", "features"]


def entry(algorithm: str, **options: Any) -> MethodEntry:
    options = {"hidden": 12, **options}
    kind = {**ALGORITHMS, **MORE_ALGORITHMS}[algorithm]
    return MethodEntry(summary="", scheme=HYPERNET, scheme_options=options, **kind)


def failures(method: MethodEntry) -> dict[str, str]:
    return {name: found for name, found in examine(method).items() if found}


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, *MORE_ALGORITHMS])
@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("independent:Independent", {}),
        ("shared:Shared", {"agent_id": True}),
        ("shared:Shared", {"agent_id": False}),
        ("heads:Heads", {}),
    ],
)
def test_schemes_that_store_their_weights(
    scheme: str, options: dict[str, Any], algorithm: str
) -> None:
    path = f"baselines.sharing.{scheme}"
    kind = {**ALGORITHMS, **MORE_ALGORITHMS}[algorithm]
    method = MethodEntry(summary="", scheme=path, scheme_options=options, **kind)
    assert not failures(method)


@pytest.mark.parametrize(
    ("generator", "algorithm", "stabiliser"),
    [
        combination
        for combination in itertools.product(GENERATORS, ALGORITHMS, STABILISERS)
        # Refused: nothing to warm up, and no whole network to store.
        if combination[::2] not in (("zero factor", "warm-up"), ("modules", "replay"))
    ],
)
def test_generators_under_every_algorithm_and_stabiliser(
    generator: str, algorithm: str, stabiliser: str
) -> None:
    options = {**GENERATORS[generator], **STABILISERS[stabiliser]}
    assert not failures(entry(algorithm, target="all", **options))


@pytest.mark.parametrize("algorithm", MORE_ALGORITHMS)
def test_a_hypernetwork_under_every_other_algorithm(algorithm: str) -> None:
    assert not failures(entry(algorithm, target="all", replay=2, replay_every=1))


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, *MORE_ALGORITHMS])
def test_an_algorithm_tells_what_remembers_it_of_the_mean_reward(algorithm: str) -> None:
    method = entry(algorithm, target="all", replay=2, replay_every=1)
    spec = spec_of(method)
    learner, batch = build(method, spec), batch_of(spec)
    learner.update(batch)
    (score,) = (v for name, v in learner.state().items() if name.endswith("memory.score"))
    assert torch.allclose(score.amax(1), batch.reward.mean((1, 2)))


@pytest.mark.parametrize(
    ("conditioning", "target", "hidden"),
    list(itertools.product(CONDITIONINGS, ["head", "all", "bias"], [12, 0])),
)
def test_conditionings_with_every_target(conditioning: str, target: str, hidden: int) -> None:
    assert not failures(entry("one", conditioning=conditioning, target=target, hidden=hidden))


WITH_SCHEME = [name for name, method in load_methods().items() if method.scheme]


@pytest.mark.parametrize("name", [name for name in WITH_SCHEME if name != "hyper-maddpg-no-grad"])
def test_named_methods(name: str) -> None:
    assert not failures(load_methods()[name])
