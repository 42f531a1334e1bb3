"""A policy in teams of other sizes than it was trained in: measured once, at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import tiny

from bench import records
from bench.config import RunConfig, load_methods, resolve
from bench.errors import RequestError
from bench.evaluate import evaluate
from bench.policies import load_policy, save_policy
from bench.random import Random
from bench.records import Record
from bench.team import Team
from bench.train import train

CPU = torch.device("cpu")
METHOD = {"method": "deep-set-maddpg-attention", "sampler": "hindsight"}


def test_it_is_the_best_policy_on_episodes_of_its_own_team_size(tmp_path: Path) -> None:
    configs = [tiny(**METHOD, transfer_agents=[1, 3], seed=seed) for seed in (0, 1)]
    for config, outcome in zip(configs, train(configs, CPU), strict=True):
        found = outcome.record.transfer
        assert found is not None and sorted(found) == [1, 3]
        save_policy(tmp_path / "policy.safetensors", config, outcome.policy)
        for agents, assessment in found.items():
            assert outcome.record.absolute is not None
            assert assessment.episode == outcome.record.absolute.episode
            _, task, algorithm = load_policy(tmp_path / "policy.safetensors", agents=agents)
            for name, tensor in algorithm.policy.items():
                assert torch.equal(tensor[0], outcome.policy[f"best.{name}"])
            random = Random.from_seeds([config.seed]).fold("assessment")
            raw = evaluate(task, algorithm, random, config.absolute_episodes)
            assert set(assessment.raw) == set(raw)
            for name, value in raw.items():
                assert records.rounded(value[0].tolist()) == assessment.raw[name]


def test_it_changes_nothing_else_and_is_read_as_written(tmp_path: Path) -> None:
    (plain,), (asked,) = (
        train([tiny(**METHOD, episodes=40, transfer_agents=sizes)], CPU) for sizes in ([], [3])
    )
    differing = {"config", "config_hash", "transfer", "provenance"}
    assert plain.record.transfer is None
    assert plain.record.model_dump(exclude=differing) == asked.record.model_dump(exclude=differing)
    assert plain.record.config.digest == tiny(**METHOD, episodes=40).digest
    records.write(tmp_path / "record.json", asked.record)
    assert records.read(tmp_path / "record.json") == asked.record
    values = asked.record.model_dump()
    with pytest.raises(ValueError, match="transfer is not what the configuration asks for"):
        Record.model_validate({**values, "transfer": None})


def test_the_table_says_which_policies_act_in_teams_of_any_size() -> None:
    for name, entry in load_methods().items():
        if entry.scheme is None:
            continue
        task = "roles" if entry.wants_features else "coop-nav"
        config = resolve({"task": task, "method": name, "agents": 3, "hidden": [8, 8]})
        team = Team([config], CPU)
        if entry.any_size:
            assert team.resized(4).config.agents == 4
        else:
            with pytest.raises(RequestError, match="weights for 3 agents only"):
                team.resized(4)


def test_what_cannot_be_is_refused_in_one_line() -> None:
    with pytest.raises(RequestError) as refused:
        resolve({"method": "deep-set-maddpg", "agents": 4, "transfer_agents": [3, 6]})
    assert str(refused.value) == (
        "request: transfer_agents = [3, 6]: method 'deep-set-maddpg' acts in teams of the size "
        "that it was trained in only; choose deep-set-maddpg-attention or attention-maddpg or "
        "exchangeable-maddpg"
    )
    for sizes in ([4], [3, 3]):
        with pytest.raises(ValueError, match="must be other numbers than agents"):
            RunConfig(agents=4, transfer_agents=sizes)
    config = tiny(**METHOD).model_copy(update={"method": "ps-maddpg", "transfer_agents": [3]})
    with pytest.raises(RequestError, match="weights for 2 agents only"):
        train([config], CPU)
