"""Every scheme under every algorithm, against all that a parameter scheme promises."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from compositions import ALGORITHMS, GENERATORS, MORE_ALGORITHMS, STABILISERS
from torch import Tensor

from baselines.algorithms.iql import IQL
from baselines.hypernet.scheme import Hypernet
from bench.conformance import FEATURES, examine
from bench.conformance.method import batch_of, build, captured, spec_of
from bench.conformance.scheme import one_by_one
from bench.interfaces import Batch, Scored, Weights
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
def test_an_algorithm_tells_what_remembers_it_of_its_score(algorithm: str) -> None:
    """Not of the rewards that are sampled, which other policies may have earned."""
    method = entry(algorithm, target="all", replay=2, replay_every=1)
    spec = spec_of(method)
    learner, batch = build(method, spec), batch_of(spec)
    assert isinstance(learner, Scored)
    learner.scored(torch.tensor([3.0, -5.0]))
    learner.update(batch)
    (score,) = (v for name, v in learner.state().items() if name.endswith("memory.score"))
    assert score.amax(1).tolist() == [3.0, -5.0]


@pytest.mark.parametrize(
    ("conditioning", "target", "hidden"),
    list(itertools.product(CONDITIONINGS, ["head", "all", "bias"], [12, 0])),
)
def test_conditionings_with_every_target(conditioning: str, target: str, hidden: int) -> None:
    assert not failures(entry("one", conditioning=conditioning, target=target, hidden=hidden))


class Mixing(Hypernet):
    """Generates for an agent what depends on its team-mates."""

    def weights(self, parameters: Mapping[str, Tensor], e: Tensor | None = None) -> Weights:
        layers = super().weights(parameters, e)
        return [(weight - weight.mean(1, keepdim=True), bias) for weight, bias in layers]


def test_agents_are_generated_one_by_one_and_not_cut_out_of_the_team() -> None:
    with pytest.raises(AssertionError, match="agent 0 alone differs"):
        one_by_one(functools.partial(Mixing, target="all"))


WITH_SCHEME = [name for name, method in load_methods().items() if method.scheme]


@pytest.mark.parametrize("name", [name for name in WITH_SCHEME if name != "hyper-maddpg-no-grad"])
def test_named_methods(name: str) -> None:
    assert not failures(load_methods()[name])


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("act", "act gives"),
        ("errors", "update gives TD errors"),
        ("metrics", "metric td_error is float"),
    ],
)
def test_what_the_loop_could_not_use_is_named(
    broken: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, update = IQL.act, IQL.update

    def broken_act(self: IQL, *words: Any) -> Any:
        return act(self, *words)[..., 0]

    def broken_update(self: IQL, batch: Any) -> Any:
        errors, metrics = update(self, batch)
        if broken == "errors":
            return errors.mean(1), metrics
        return errors, {"td_error": 0.5}

    if broken == "act":
        monkeypatch.setattr(IQL, "act", broken_act)
    else:
        monkeypatch.setattr(IQL, "update", broken_update)
    assert said in failures(load_methods()["iql"])["action_shapes"]


@pytest.mark.parametrize("exempt", [None, False, True])
def test_an_agent_that_sees_what_its_team_mates_see_is_found(
    exempt: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = IQL.act

    def peeking(self: IQL, observation: Any, *words: Any) -> Any:
        return act(self, observation.flip(2), *words)

    monkeypatch.setattr(IQL, "act", peeking)
    if exempt is not None:
        monkeypatch.setattr(IQL, "centralised", exempt, raising=False)
    found = failures(load_methods()["iql"])
    assert ("decentralised" in found) == (exempt is not True)


@pytest.mark.parametrize(
    "method",
    [
        *("iql", "hyper-iql", "vdn", "qmix", "meta-dqn", "meta-ddpg", "iddpg", "maddpg"),
        *("ps-maddpg-gumbel", "maddpg-joint", "ps-maddpg-twin", "joined-maddpg", "wide-maddpg"),
        *("hyper-maddpg", "hyper-maddpg-replay", "hyper-iql-orthogonal-paced"),
        *("deep-set-maddpg", "attention-maddpg", "exchangeable-maddpg"),
    ],
)
def test_updates_can_be_captured(method: str) -> None:
    captured(load_methods()[method], spec_of(load_methods()[method], FEATURES))


class Counting(IQL):
    """Counts its updates where no captured update would."""

    count = 0

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        self.count += 1
        return super().update(replace(batch, reward=batch.reward * self.count))


def test_what_is_kept_out_of_tensors_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.algorithms.iql.IQL", Counting)
    method = load_methods()["iql"]
    with pytest.raises(AssertionError, match="where the operations of an update are repeated"):
        captured(method, spec_of(method))
