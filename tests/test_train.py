"""Training: deterministic, on schedule, counted right, and replicas apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import METHODS, TINY, tiny
from torch import Tensor

from bench import records
from bench.config import RunConfig
from bench.errors import RequestError
from bench.evaluate import evaluate
from bench.fleet import Fleet
from bench.interfaces import Batch
from bench.outcome import Outcome
from bench.random import Random
from bench.replay.prioritized import Prioritized
from bench.train import Trainer, train


def run(*configs: RunConfig) -> list[Outcome]:
    return train(configs, torch.device("cpu"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sampler", ["uniform", "prioritized"])
def test_the_same_run_gives_the_same_bytes(method: str, sampler: str) -> None:
    config = tiny(method=method, sampler=sampler)
    first, second = run(config)[0], run(config)[0]
    assert records.deterministic(first.record) == records.deterministic(second.record)
    assert all(torch.equal(second.policy[name], value) for name, value in first.policy.items())
    other = run(tiny(method=method, sampler=sampler, seed=1))[0]
    assert records.deterministic(first.record) != records.deterministic(other.record)


@pytest.mark.parametrize("method", [*METHODS, "attention-maddpg"])
def test_a_replica_of_a_fleet_gives_the_same_bytes_as_the_run_alone(method: str) -> None:
    wide = {"agents": 3, "batch": 64, "hidden": [64, 64]}
    fleet = run(*(tiny(**wide, method=method, seed=seed) for seed in range(3)))
    for seed, outcome in enumerate(fleet):
        alone = run(tiny(**wide, method=method, seed=seed))[0]
        assert records.deterministic(outcome.record) == records.deterministic(alone.record)


def test_the_reference_schedule_is_9000_updates() -> None:
    config = RunConfig()
    going = Trainer(Fleet([tiny()], torch.device("cpu")), None, ())
    assert config.episodes * 30 // config.steps_per_update == 9_000
    while not going.done:
        going.episodes()
    assert going._updates == 60 * 30 // 20


def test_serial_episodes_with_rare_updates_train() -> None:
    config = tiny(parallel=1, steps_per_update=100, buffer=200, evaluations=2)
    record = run(config)[0].record
    assert record.evaluation.updates == [0, 60 * 30 // 100]


def test_exploration_falls_linearly_to_its_end() -> None:
    config = tiny(noise_start=1.0, noise_end=0.2, noise_fraction=0.5)
    going = Trainer(Fleet([config], torch.device("cpu")), None, ())
    seen = []
    for group in range(7):
        going._group = group
        seen.append(going._noise())
    assert seen == pytest.approx([1.0, 1 - 0.8 / 3, 1 - 1.6 / 3, 0.2, 0.2, 0.2, 0.2])


def test_a_sampler_hears_how_far_training_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that prioritized replay's beta rises linearly over all updates, to 1."""
    heard, sample = [], Prioritized.sample

    def noted(self: Prioritized, random: Random, progress: float) -> tuple[Tensor, Tensor]:
        heard.append(progress)
        return sample(self, random, progress)

    monkeypatch.setattr(Prioritized, "sample", noted)
    run(tiny(sampler="prioritized"))
    updates = 60 * 30 // 20
    assert heard == pytest.approx([update / updates for update in range(updates)])


def test_evaluation_changes_nothing_and_uses_episodes_of_its_own() -> None:
    often, seldom = (run(tiny(evaluations=n))[0] for n in (7, 2))
    for name, value in seldom.policy.items():
        if name.startswith("final"):
            assert torch.equal(often.policy[name], value)
    fleet = Fleet([tiny()], torch.device("cpu"))
    a = fleet.task.reset(fleet.random.fold("episodes").fold(0).fold("reset"), 5)
    b = fleet.task.reset(fleet.random.fold("evaluation").fold(0).fold("reset"), 5)
    assert not torch.isclose(a[..., :4], b[..., :4]).any()


def test_the_absolute_policy_is_the_best_of_the_curve() -> None:
    record = run(tiny(reward="summed-individual"))[0].record
    scores = record.evaluation.mean[record.score]
    best = max(k for k, score in enumerate(scores) if score == max(scores))
    assert record.absolute is not None
    assert record.absolute.episode == record.evaluation.episode[best]
    assert len(record.absolute.raw["return"]) == TINY["absolute_episodes"]


def test_the_rewarded_shares_are_counted_right() -> None:
    """With the summed reward and a radius that covers the square, every step is rewarded."""
    config = tiny(task_options={"radius": 10.0}, reward="summed-individual")
    training = run(config)[0].record.training.mean
    assert training["rewarded_share_buffer"] == [1.0] * 3
    assert training["rewarded_share_batch"] == pytest.approx([1.0] * 3)
    none = run(tiny(task_options={"radius": 1e-6}))[0].record.training.mean
    assert none["rewarded_share_buffer"] == none["rewarded_share_batch"] == [0.0] * 3


def test_where_success_ends_episodes_the_rewarded_share_is_of_the_steps_before() -> None:
    config = tiny(agents=1, task_options={"end": "success"})
    going = Trainer(Fleet([config], torch.device("cpu")), None, ())
    replay, task = going._fleet.replay, going._fleet.task
    while not going.done:
        going.evaluate_if_due()
        going.episodes()
    going.evaluate_if_due()
    slots = torch.arange(replay.slots).unsqueeze(0)
    lengths = replay.length(slots)[0].tolist()
    taken = [slot * 30 + step for slot, length in enumerate(lengths) for step in range(length)]
    state, _, reached = replay.transitions(torch.tensor([taken]))
    rewarded = (task.reward(state, reached) > 0).all(-1)
    assert 0 < len(taken) < replay.capacity and rewarded.any()
    (share,) = going._history.training["rewarded_share_buffer"][-1]
    assert share == pytest.approx(float(rewarded.float().mean()))


def calls(fleet: Fleet, *watched: tuple[object, str]) -> list[list[tuple[Any, Any]]]:
    """Train a fleet, and return the arguments and result of every call of the watched methods."""
    with pytest.MonkeyPatch.context() as patch:
        seen = [noted(patch, owner, name) for owner, name in watched]
        going = Trainer(fleet, None, ())
        while not going.done:
            going.episodes()
    return seen


def noted(patch: pytest.MonkeyPatch, owner: object, name: str) -> list[tuple[Any, Any]]:
    made, method = [], getattr(owner, name)

    def call(*arguments: Any) -> Any:
        result = method(*arguments)
        made.append((arguments, result))
        return result

    patch.setattr(owner, name, call)
    return made


def learned_from(config: RunConfig) -> list[Batch]:
    """Train a run, and return what it learned from."""
    fleet = Fleet([config], torch.device("cpu"))
    (updates,) = calls(fleet, (fleet.algorithm, "update"))
    return [batch for (batch,), _ in updates]


def test_what_replay_weighs_is_learned_with_that_weight_and_its_errors_come_back_to_it() -> None:
    fleet = Fleet([tiny(sampler="prioritized")], torch.device("cpu"))
    drawn, learned, heard = calls(
        fleet, (fleet.sampler, "sample"), (fleet.algorithm, "update"), (fleet.sampler, "update")
    )
    assert len(drawn) == len(learned) == len(heard) == 60 * 30 // 20
    for (_, (indices, weight)), ((batch,), (errors, _)), ((told, found), _) in zip(
        drawn, learned, heard, strict=True
    ):
        assert torch.equal(batch.weight, weight)
        assert torch.equal(told, indices) and torch.equal(found, errors)
    assert min(float(weight.min()) for _, (_, weight) in drawn) < 0.9, (
        "all weights alike say nothing"
    )


@pytest.mark.parametrize("sampler", ["uniform", "hindsight"])
def test_a_success_that_ends_an_episode_is_learned_as_its_end(sampler: str) -> None:
    """The state that is reached decides, under the goal that is learned about."""
    config = tiny(agents=1, task_options={"end": "success", "radius": 0.3}, sampler=sampler)
    seen = learned_from(config)
    ended = torch.stack([batch.terminated for batch in seen if batch.terminated is not None])
    paid = torch.stack([batch.reward.amin(-1) > 0 for batch in seen])
    assert ended.shape == paid.shape and 0 < paid.float().mean() < 1
    assert torch.equal(ended, paid), "nothing follows a success, and something all else"


def test_the_horizon_is_no_end() -> None:
    seen = learned_from(tiny())
    assert seen and all(batch.terminated is None for batch in seen)


def test_without_a_step_to_learn_from_training_says_so() -> None:
    with pytest.raises(RequestError, match=r"parallel = 10, buffer = 900: .* nothing to learn"):
        run(tiny(agents=1, task_options={"radius": 9.0, "end": "success"}))


@pytest.mark.parametrize("sampler", ["uniform", "prioritized"])
def test_nor_with_a_ring_that_has_forgotten_every_step(sampler: str) -> None:
    """A ring of one episode, and sooner or later one that had ended when it began."""
    options = {"radius": 0.5, "end": "success"}
    with pytest.raises(RequestError, match=r"buffer = 30: .* nothing to learn from"):
        run(tiny(agents=1, parallel=1, buffer=30, sampler=sampler, task_options=options))


def test_rewarded_shares_between_the_two_are_those_of_steps_near_a_target() -> None:
    """The summed reward is paid wherever any agent is within the radius of any target."""
    going = Trainer(Fleet([tiny(reward="summed-individual")], torch.device("cpu")), None, ())
    replay, honest = going._fleet.replay, going._learn_from
    drawn: list[list[bool]] = [[], [], []]

    def near(reached: torch.Tensor) -> list[bool]:
        places, targets = (reached[0, :, part].unflatten(-1, (2, 2)) for part in (at, goals))
        distance = torch.cdist(places, targets)
        return (distance.flatten(1).amin(1) <= 0.3).tolist()

    at, goals = slice(0, 4), slice(8, 12)

    def noting(*batch: torch.Tensor) -> Any:
        drawn[going._group // 2] += near(batch[-1])
        return honest(*batch)

    going._learn_from = noting
    stored = []
    while not going.done:
        going.episodes()
        going.evaluate_if_due()
        if going._group % 2 == 0:
            stored.append(near(replay.transitions(torch.arange(len(replay)).unsqueeze(0))[2]))
    for name, steps in (("batch", drawn), ("buffer", stored)):
        found = [share for (share,) in going._history.training[f"rewarded_share_{name}"]]
        by_hand = [sum(each) / len(each) for each in steps]
        assert found == pytest.approx(by_hand)
        assert min(by_hand) > 0 and max(by_hand) < 1


def test_something_is_learned() -> None:
    """One agent must learn to reach its target from the dense reward, in seconds."""
    config = tiny(
        agents=1, reward="mpe-dense", episodes=1000, batch=128, hidden=[32, 32], buffer=50_000
    )
    record = run(config)[0].record
    scores = record.evaluation.mean["successful_steps"]
    assert scores[0] < 10 < 20 < scores[-1]


def test_references_are_evaluated_and_not_trained() -> None:
    for method in ("oracle", "random"):
        record = run(tiny(method=method, sampler="uniform"))[0].record
        assert record.evaluation.episode == [0]
        assert record.cost.trained_parameters == record.cost.flops_per_update == 0
        assert record.status == "complete"


def test_greedy_evaluation_is_a_pure_function_of_its_random_source() -> None:
    fleet = Fleet([tiny()], torch.device("cpu"))
    random = Random.from_seeds([4])
    first = evaluate(fleet.task, fleet.algorithm, random, 3)
    second = evaluate(fleet.task, fleet.algorithm, random, 3)
    assert all(torch.equal(first[name], second[name]) for name in first)
