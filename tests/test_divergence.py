"""Divergence: a replica that is no longer finite stops alone, and its record says so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import tiny

from bench import outcome as outcome_module
from bench import records
from bench.config import RunConfig
from bench.evaluate import evaluate
from bench.fleet import Fleet
from bench.outcome import Outcome
from bench.train import Trainer, train


def run(*configs: RunConfig) -> list[Outcome]:
    return train(configs, torch.device("cpu"))


def test_a_diverged_replica_stops_alone_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    configs = [tiny(method="ps-maddpg", seed=seed) for seed in range(2)]
    sound = run(*configs)[1].record
    going = Trainer(Fleet(configs, torch.device("cpu")), None, ())
    while not going.done:
        going.evaluate_if_due()
        going.episodes()
        if going._group == 3:
            going._fleet.algorithm.policy["actor"][0, 0] = torch.nan
    going.evaluate_if_due()
    broken, other = (outcome.record for outcome in going.outcomes())
    assert broken.status == "diverged"
    assert broken.final is None and broken.absolute is None
    assert broken.reason is not None and "40" in broken.reason
    assert max(broken.evaluation.episode) < 40
    records.to_json(broken)  # holds no NaN
    assert other.status == "complete"
    assert records.deterministic(other) == records.deterministic(sound)


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "hyper-maddpg-spectral"},
        {"method": "hyper-maddpg-smooth"},
        {"method": "ps-maddpg", "reward": "assignment-shaping", "agents": 7},
    ],
)
def test_a_replica_that_is_not_finite_does_not_stop_its_fleet(settings: dict[str, Any]) -> None:
    configs = [tiny(**settings, seed=seed) for seed in range(2)]
    going = Trainer(Fleet(configs, torch.device("cpu")), None, ())
    going.evaluate_if_due()
    going.episodes()
    going._fleet.algorithm.policy["actor"][0] = torch.nan
    while not going.done:
        going.evaluate_if_due()
        going.episodes()
    going.evaluate_if_due()
    assert [outcome.record.status for outcome in going.outcomes()] == ["diverged", "complete"]


def test_an_assessment_that_is_not_finite_costs_its_replica_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: Any) -> Any:
        raw = {name: values.clone() for name, values in evaluate(*arguments).items()}
        raw["covered"][0, -1] = torch.nan
        return raw

    monkeypatch.setattr(outcome_module, "evaluate", broken)
    found = [outcome.record for outcome in run(tiny(seed=0), tiny(seed=1))]
    assert [record.status for record in found] == ["diverged", "complete"]
    assert found[0].reason is not None and "when it was assessed" in found[0].reason


def test_finite_parameters_that_act_by_a_nan_count_as_diverged() -> None:
    record = run(tiny(actor_lr=1e20, grad_clip=1e30, steps_per_update=300))[0].record
    assert record.status == "diverged"
    records.to_json(record)  # holds no NaN


def test_when_every_replica_diverged_training_ends_early() -> None:
    config = tiny(critic_lr=1e30, grad_clip=1e30, actor_lr=1e30)
    record = run(config)[0].record
    assert record.status == "diverged"
    assert record.evaluation.episode == [0]
