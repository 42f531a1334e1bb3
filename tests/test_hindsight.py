"""Hindsight: relabelled transitions are those of the environment set to that goal, to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import TINY, tiny
from torch import Tensor

from bench import registry
from bench.config import resolve
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.interfaces import GoalTask
from bench.random import Random
from bench.replay.hindsight import Hindsight
from bench.replay.storage import Replay
from bench.tasks import make_task
from bench.train import Trainer, train

CPU = torch.device("cpu")


def played(groups: int = 1, seeds: int = 2, **values: Any) -> Trainer:
    """Return a fleet in training that has stored some episodes."""
    settings = {"sampler": "hindsight", "agents": 3, "hindsight_share": 1.0, **values}
    run = Trainer(Fleet([tiny(seed=seed, **settings) for seed in range(seeds)], CPU), None, ())
    for _ in range(groups):
        run.episodes()
    return run


def drawn(fleet: Fleet, count: int = 64) -> tuple[Tensor, Random]:
    random = fleet.random.fold("test")
    return fleet.replay.uniform(random, count), random.fold("relabel")


@pytest.mark.parametrize("task", ["coop-nav", "roles"])
def test_relabelling_to_the_reached_state_is_rewarded(task: str) -> None:
    fleet = played(
        task=task, task_options={"dynamics": "mpe", "radius": 0.1}, hindsight_next=1.0, batch=64
    )._fleet
    indices, random = drawn(fleet)
    state, _, following = fleet.relabel(random, indices)
    assert (fleet.reward(state, following) == 1).all()
    before = fleet.replay.transitions(indices)
    assert (fleet.reward(before[0], before[2]) == 0).any()


@pytest.mark.parametrize("task", ["coop-nav", "roles"])
def test_a_relabelled_transition_is_the_environments_from_that_state(task: str) -> None:
    fleet = played(task=task, task_options={"dynamics": "mpe"}, batch=64)._fleet
    indices, random = drawn(fleet)
    stored = fleet.replay.transitions(indices)
    state, action, following = fleet.relabel(random, indices)
    assert torch.equal(fleet.task.step(state, action), following)
    assert torch.equal(action, stored[1])
    for old, new in zip(stored[::2], (state, following), strict=True):
        assert torch.equal(old[..., :12], new[..., :12])  # places and velocities stay
        assert not torch.equal(old[..., 12:], new[..., 12:])


def test_goals_are_places_that_the_team_reached_later_in_the_episode() -> None:
    fleet = played(hindsight_jitter=0.0, hindsight_next=0.0, batch=256)._fleet
    indices, random = drawn(fleet, 256)
    state, _, _ = fleet.relabel(random, indices)
    kept = fleet.replay.state()["states"]
    orders, waits = set(), set()
    for replica, index, new in zip(
        [0] * 256 + [1] * 256, indices.flatten().tolist(), state.flatten(0, 1), strict=True
    ):
        slot, step = divmod(index, 30)
        places = kept[replica, slot, :, :6].view(-1, 3, 2)
        same = (places.unsqueeze(2) == new[12:].view(3, 2)).all(-1)  # [T + 1, agent, target]
        found = same.any(2).all(1).nonzero().flatten()
        assert len(found) == 1
        waits.add(int(found) - step)
        assert int(found) > step
        orders.add(tuple(same[int(found)].int().argmax(0).tolist()))
    assert len(orders) == 6, "every order of the team"
    assert {1, 10, 25} <= waits


def test_a_later_state_is_of_the_same_episode_and_stored() -> None:
    for terminates, steps in ((False, 2), (True, 4)):
        replay = Replay(1, 24, 3, 4, 1, (1, 1), CPU, terminates)
        lengths = torch.tensor([[4, 1, 2]])
        for group in range(2):
            label = group * 100.0 + torch.arange(3.0).view(1, 3, 1) * 10
            replay.begin(label)
            for step in range(4 if group == 0 else steps):
                alive = (step < lengths) if terminates else None
                replay.add(torch.zeros(1, 3, 1, 1), label + step + 1, alive)
        indices = replay.uniform(Random.from_seeds([0]), 4000)
        chance = Random.from_seeds([1]).uniform(4000)
        state, _, following = replay.transitions(indices)
        later = replay.later(indices, chance)
        assert torch.equal(replay.later(indices, torch.zeros_like(chance)), following)
        assert torch.equal(later.div(10).floor(), state.div(10).floor())
        assert (later > state).all()
        for start in (0.0, 10.0, 100.0):  # every later one that is stored, and the last as well
            slot = int(start // 100) * 3 + int(start % 100 // 10)
            length = int(lengths[0, slot % 3]) if terminates else (4 if slot < 3 else steps)
            seen = set((later - start)[state == start].tolist())
            assert seen == set(range(1, length + 1))


def test_without_a_share_it_is_the_sampler_without_hindsight() -> None:
    for plain, other in (("uniform", "hindsight"), ("prioritized", "hindsight-prioritized")):
        base = train([tiny(sampler=plain)], CPU)[0]
        off = train([tiny(sampler=other, hindsight_share=0.0)], CPU)[0]
        assert off.record.evaluation == base.record.evaluation
        for name, tensor in base.policy.items():
            assert torch.equal(tensor, off.policy[name])


def test_a_mixed_fleet_relabels_its_own_replicas_only() -> None:
    names = ["uniform", "hindsight", "hindsight-prioritized", "hindsight"]
    configs = [tiny(sampler=name, seed=seed) for seed, name in enumerate(names)]
    together = train(configs, CPU)
    for config, outcome in zip(configs, together, strict=True):
        alone = train([config], CPU)[0]
        assert outcome.record.training == alone.record.training
        for name, tensor in alone.policy.items():
            assert torch.equal(tensor, outcome.policy[name])


def test_a_transition_drawn_twice_gets_the_larger_of_its_errors() -> None:
    fleet = played(sampler="hindsight-prioritized", seeds=1)._fleet
    fleet.sampler.update(torch.tensor([[3, 5, 3, 3]]), torch.tensor([[0.1, 0.2, -0.7, 0.3]]))
    leaves = fleet.sampler.state()["leaves"][0]
    assert leaves[3] == pytest.approx(0.7**0.6, rel=1e-4)
    assert leaves[5] == pytest.approx(0.2**0.6, rel=1e-4)


def test_where_success_ends_an_episode_no_transition_begins_with_its_goal_met() -> None:
    ended = {"dynamics": "first-order", "radius": 0.05, "end": "success"}
    run = played(hindsight_next=1.0, hindsight_jitter=0.0, task_options=ended)
    fleet = run._fleet
    indices, random = drawn(fleet, 400)
    state, _, following = fleet.relabel(random, indices)
    assert not fleet.task.terminated(state).any()
    arrived = fleet.task.terminated(following)
    assert arrived.any() and (fleet.task.reward(state, following)[arrived] == 1).all()


def test_a_task_without_goals_is_refused_in_one_line() -> None:
    base = {k: v for k, v in TINY.items() if k != "task_options"}
    config = resolve(base, {"task": "specialisation", "method": "iql", "sampler": "uniform"})
    assert not isinstance(make_task(config, "discrete"), GoalTask)
    words = "'hindsight': task 'specialisation' has no goals"
    with pytest.raises(RequestError, match=words):
        resolve(base, {"task": "specialisation", "method": "iql", "sampler": "hindsight"})
    with pytest.raises(RequestError, match=words):  # as a task from outside would be
        Fleet([config.model_copy(update={"sampler": "hindsight"})], CPU)


@pytest.mark.parametrize("task", sorted(set(registry.TASKS) - {"pettingzoo"}))
def test_the_table_says_which_tasks_and_samplers_go_together(task: str) -> None:
    world = make_task(resolve({"task": task, "method": "iql", "agents": 2}), "discrete")
    assert isinstance(world, GoalTask) == registry.TASKS[task].goals
    for name, path in registry.SAMPLERS.items():
        relabels = hasattr(registry.load(path), "relabel")
        assert (name in registry.samplers_of(task)) == (isinstance(world, GoalTask) or not relabels)


def test_the_share_is_the_share() -> None:
    run = played(hindsight_share=0.3, hindsight_next=0.5, hindsight_jitter=0.0, batch=20_000)
    fleet = run._fleet
    assert isinstance(fleet.sampler, Hindsight)
    indices, random = drawn(fleet, 20_000)
    before = fleet.replay.transitions(indices)
    state, _, following = fleet.relabel(random, indices)
    changed = (state[..., 12:] != before[0][..., 12:]).any(-1)
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.015)
    rewarded = (fleet.reward(state, following).mean(-1) > 0) & changed
    assert float(rewarded.sum() / changed.sum()) > 0.5
