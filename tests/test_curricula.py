"""Curricula ease training only, stage by stage, and end at the task itself, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import TINY, tiny

from bench.config import RunConfig, resolve
from bench.curricula.gated import Gated
from bench.curricula.radius import WIDEST, Radius
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.random import Random
from bench.tasks import make_task
from bench.tasks.rewards import group_goal
from bench.train import Trainer, train

CPU = torch.device("cpu")
NAMES = ["radius", "reverse", "agents"]


def fleet(seeds: int = 2, **values: Any) -> Fleet:
    options = {"dynamics": "first-order", "radius": 0.1}
    return Fleet([tiny(seed=s, task_options=options, **values) for s in range(seeds)], CPU)


def at_stage(made: Fleet, stages: list[int]) -> Fleet:
    assert made.curriculum is not None
    made.curriculum.load({"stage": torch.tensor(stages)})
    return made


def test_a_stage_is_left_where_the_gate_is_reached_and_never_returned_to() -> None:
    gated = Gated(RunConfig(curriculum_stages=2, curriculum_gate=0.25), 3, CPU)
    reward = torch.zeros(3, 2, 4)
    reward[1, 0, :2] = 1.0  # a quarter
    reward[2] = 0.1
    reward[0, 0, 0] = 1.0
    for expected in ([0, 0.5, 0.5], [0, 1, 1], [0, 1, 1]):
        gated.ended(reward)
        assert gated.level.tolist() == expected
    gated.ended(torch.zeros(3, 2, 4))
    assert gated.level.tolist() == [0, 1, 1]


def test_the_radius_shrinks_per_replica_and_all_stored_rewards_follow() -> None:
    made = at_stage(fleet(4, agents=3, curriculum="radius"), [0, 10, 39, 40])
    curriculum = made.curriculum
    assert isinstance(curriculum, Radius)
    radii = [WIDEST * (0.1 / WIDEST) ** (stage / 40) for stage in (0, 10, 39)] + [0.1]
    assert curriculum._radius.tolist() == pytest.approx(radii)
    state = made.task.reset(Random.from_seeds(range(4)), 2000)
    reward = made.training_reward(state, state)
    for replica, radius in enumerate(radii):
        task = make_task(tiny(agents=3, task_options={"radius": radius}), "continuous")
        assert torch.equal(reward[replica], task.reward(state[replica], state[replica]))
    episodes = state.unflatten(1, (200, 10))  # [R, E, T, S], as the running episodes come
    assert torch.equal(made.training_reward(episodes, episodes).flatten(1, 2), reward)


def test_reverse_starts_leave_a_share_of_each_agents_way() -> None:
    made = at_stage(fleet(3, agents=3, curriculum="reverse"), [0, 20, 40])
    random = made.random.fold("x")
    drawn, start = made.task.reset(random, 10), made.start(random)
    left = torch.tensor([0.05, 0.525, 1.0]).view(3, 1, 1, 1)
    ways = [(s[..., :6] - s[..., 12:]).unflatten(-1, (3, 2)) for s in (drawn, start)]
    assert torch.allclose(ways[1], left * ways[0], atol=1e-6)
    assert torch.equal(start[..., 6:], drawn[..., 6:])
    assert torch.equal(start[2], drawn[2])


def test_agents_are_sent_one_after_the_other() -> None:
    made = at_stage(fleet(3, agents=3, curriculum="agents"), [0, 20, 40])
    random = made.random.fold("x")
    drawn, start = made.task.reset(random, 10), made.start(random)
    for replica, going in enumerate((1, 2, 3)):
        way = (start[..., :6] - start[..., 12:]).unflatten(-1, (3, 2))[replica]
        assert (way[:, going:] == 0).all()
        assert torch.equal(start[replica, :, : 2 * going], drawn[replica, :, : 2 * going])


def test_roles_start_near_targets_of_their_own_colour() -> None:
    base = {k: v for k, v in TINY.items() if k != "task_options"}
    options = {"task": "roles", "agents": 4, "task_options": {"split": "held-out"}}
    config = resolve(base, options, {"curriculum": "agents"})
    made = at_stage(Fleet([config], CPU), [0])
    start = made.start(made.random.fold("x"))
    covered = made.task.metrics(start)["covered"]
    assert (covered >= 3).all()


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_of_the_group_goal_at_radius_one_tenth(name: str) -> None:
    made = at_stage(fleet(2, agents=2, curriculum=name), [0, 7])
    state = made.task.reset(Random.from_seeds(range(2)), 5000)
    true = make_task(resolve({"agents": 2, "reward": "group-goal"}), "continuous")
    expected = group_goal(true, state, state)  # type: ignore[arg-type]
    assert 0 < expected.sum() < 100
    assert torch.equal(made.reward(state, state), expected)
    metrics = made.task.metrics(state)["successful_steps"]
    assert torch.equal(metrics, expected[..., 0])
    plain = fleet(2, agents=2)
    plain.algorithm.load_policy(made.algorithm.policy)
    runs = [Trainer(each, None, ()) for each in (made, plain)]
    for run in runs:
        run.evaluate_if_due()
    assert runs[0]._history.mean == runs[1]._history.mean


@pytest.mark.parametrize("name", NAMES)
def test_at_its_last_stage_training_is_the_tasks_own(name: str) -> None:
    runs = []
    for curriculum in (name, "none"):
        made = fleet(2, curriculum=curriculum)
        if made.curriculum is not None:
            at_stage(made, [40, 40])
        runs.append(Trainer(made, None, ()))
    for run in runs:
        run.episodes()
        run.episodes()
    eased, plain = (run._fleet.algorithm.state() for run in runs)
    assert all(torch.equal(eased[key], plain[key]) for key in plain)


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_in_a_curriculum_resumes_and_equals_its_runs(name: str, tmp_path: Path) -> None:
    settings = {"curriculum": name, "curriculum_stages": 3, "curriculum_gate": 0.05, "agents": 2}
    made, again = fleet(2, **settings), fleet(2, **settings)
    run, other = Trainer(made, None, ()), Trainer(again, None, ())
    for _ in range(3):
        run.episodes()
    again.load({key: value.clone() for key, value in made.state().items()})
    other._group, other._updates = run._group, run._updates
    for each in (run, other):
        each.episodes()
    for key, value in made.state().items():
        assert torch.equal(value, again.state()[key]), key
    configs = [tiny(seed=seed, **settings) for seed in range(2)]
    for config, outcome in zip(configs, train(configs, CPU), strict=True):
        alone = train([config], CPU)[0]
        assert outcome.record.training == alone.record.training
        assert outcome.record.evaluation == alone.record.evaluation


def test_what_a_task_has_not_is_refused_in_one_line() -> None:
    with pytest.raises(RequestError, match=r"curriculum = reverse: .* choose end = time"):
        tiny(curriculum="reverse", task_options={"end": "success"})
    with pytest.raises(RequestError, match="unknown curriculum 'radios'; did you mean 'radius'"):
        resolve({"curriculum": "radios"})
    base = {k: v for k, v in TINY.items() if k != "task_options"}
    game = {**base, "task": "specialisation", "method": "iql"}
    with pytest.raises(RequestError, match="curriculum = radius: the task has no radius"):
        Fleet([resolve(game, {"curriculum": "radius"})], CPU)
    with pytest.raises(RequestError, match="curriculum = reverse: the task has no goals"):
        Trainer(Fleet([resolve(game, {"curriculum": "reverse"})], CPU), None, ()).episodes()


def test_a_curriculum_is_part_of_the_configuration_and_none_is_not() -> None:
    assert resolve({"curriculum": "none"}).digest == resolve({}).digest
    assert resolve({"curriculum": "radius"}).digest != resolve({}).digest
