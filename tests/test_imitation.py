"""Self-imitation draws from rewarded episodes; permutation changes the order and nothing else."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from small import TINY, tiny

from bench.config import RunConfig, resolve
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.random import Random
from bench.replay.imitation import SelfImitation
from bench.replay.storage import Replay
from bench.train import Trainer, train

CPU = torch.device("cpu")
R, E, T = 2, 3, 4


def filled(groups: int, share: float, terminates: bool = False) -> tuple[Replay, SelfImitation]:
    replay = Replay(R, 4 * E * T, E, T, 1, (1, 1), CPU, terminates)
    config = RunConfig(batch=6000, imitation_share=share)
    sampler = SelfImitation(replay, config, slice(0, R))
    for group in range(groups):
        replay.begin(torch.zeros(R, E, 1))
        sampler.evict(replay.running)
        for step in range(T):
            alive = torch.tensor([[True, step < 2, True]] * R) if terminates else None
            replay.add(torch.zeros(R, E, 1, 1), torch.zeros(R, E, 1), alive)
        reward = torch.zeros(R, E, T)
        if group in (1, 2):
            reward[0, 1, group] = 1.0  # one episode of the first replica, twice; none of the second
        sampler.ended(replay.running_slots, reward)
    return replay, sampler


def test_all_of_the_share_comes_from_rewarded_episodes_evenly() -> None:
    for terminates, steps in ((False, 4), (True, 2)):
        replay, sampler = filled(3, 1.0, terminates)
        indices, weights = sampler.sample(Random.from_seeds([0, 1]), 0.0)
        assert (weights == 1).all()
        counts = torch.bincount(indices[0], minlength=replay.capacity)
        live = [slot * T + step for slot in (4, 7) for step in range(steps)]
        assert counts[live].sum() == 6000
        assert scipy.stats.chisquare(counts[live]).pvalue > 1e-4
        uniform = replay.uniform(Random.from_seeds([0, 1]), 6000)
        assert torch.equal(indices[1], uniform[1])


def test_a_share_of_a_batch_is_imitated() -> None:
    _, sampler = filled(3, 0.25)
    indices, _ = sampler.sample(Random.from_seeds([0, 1]), 0.0)
    rewarded = torch.isin(indices[0] // T, torch.tensor([4, 7])).float().mean()
    assert float(rewarded) == pytest.approx(0.25 + 0.75 * 2 / 9, abs=0.02)


def test_episodes_that_are_gone_are_forgotten() -> None:
    _, sampler = filled(6, 1.0)  # the second group's slots are taken again
    indices, _ = sampler.sample(Random.from_seeds([0, 1]), 0.0)
    assert set((indices[0] // T).tolist()) == {7}


def test_without_a_share_or_a_success_it_is_uniform() -> None:
    base = train([tiny(sampler="uniform")], CPU)[0]
    off = train([tiny(sampler="self-imitation", imitation_share=0.0)], CPU)[0]
    assert off.record.evaluation == base.record.evaluation
    for name, tensor in base.policy.items():
        assert torch.equal(tensor, off.policy[name])


def test_a_mixed_fleet_with_self_imitation_equals_its_runs_and_resumes() -> None:
    names = ["self-imitation", "uniform", "self-imitation"]
    configs = [tiny(sampler=name, seed=seed) for seed, name in enumerate(names)]
    for config, outcome in zip(configs, train(configs, CPU), strict=True):
        assert outcome.record.training == train([config], CPU)[0].record.training
    run, again = Trainer(Fleet(configs, CPU), None, ()), Fleet(configs, CPU)
    run.episodes()
    again.load({key: value.clone() for key, value in run._fleet.state().items()})
    for key, value in run._fleet.state().items():
        assert torch.equal(value, again.state()[key]), key


def test_a_permuted_transition_is_the_environments_and_the_same_but_for_the_order() -> None:
    for dynamics in ("first-order", "mpe"):
        options = {"dynamics": dynamics, "collisions": dynamics == "mpe"}
        config = tiny(agents=3, task_options=options, augmentation="permutation", batch=256)
        run = Trainer(Fleet([config, config.model_copy(update={"seed": 1})], CPU), None, ())
        run.episodes()
        fleet = run._fleet
        indices = fleet.replay.uniform(fleet.random.fold("x"), 256)
        old_state, old_action, old_following = fleet.replay.transitions(indices)
        state, action, following = fleet.relabel(fleet.random.fold("y"), indices)
        assert torch.allclose(fleet.task.step(state, action), following, atol=1e-6)
        assert torch.equal(fleet.reward(state, following), fleet.reward(old_state, old_following))
        orders = set()
        for at in range(256):
            x, old_x = (s[0, at, :6].view(3, 2) for s in (state, old_state))
            order = [(old_x == row).all(1).nonzero()[0].item() for row in x]
            assert torch.equal(action[0, at], old_action[0, at, order])
            goal, old_goal = (s[0, at, 12:].view(3, 2) for s in (state, old_state))
            targets = [(old_goal == row).all(1).nonzero()[0].item() for row in goal]
            orders.add((*order, *targets))
        assert len(orders) == 36


def test_permutation_of_agents_that_differ_is_refused() -> None:
    base = {k: v for k, v in TINY.items() if k != "task_options"}
    config = resolve(base, {"task": "roles", "augmentation": "permutation"})
    with pytest.raises(RequestError, match="task 'roles' has agents that differ"):
        Fleet([config], CPU)
    assert resolve({"augmentation": "none"}).digest == resolve({}).digest
