"""Roles: dynamics by mass, covers by colour, and splits that share no role."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from test_parity import TOLERANCE, Spread, random_action
from torch import Tensor

from bench import registry
from bench.config import resolve
from bench.errors import RequestError
from bench.evaluate import evaluate
from bench.random import Random
from bench.tasks import make_task
from bench.tasks.controllers import Oracle
from bench.tasks.options import RolesOptions
from bench.tasks.roles import ACCELERATIONS, COLOURS, FAR, MASSES, Roles, cast
from bench.team import make_spec

SPLITS = ("seen", "held-out")
EVERY = range(1, 13)


def make(agents: int, reward: str = "group-goal", **options: Any) -> Roles:
    function = registry.load(registry.TASKS["roles"].rewards[reward])
    return Roles(agents, function, RolesOptions(**options))


def place(task: Roles, agents: Tensor, targets: Tensor) -> Tensor:
    """States at rest from positions [..., N, 2]."""
    x, goals = agents.flatten(-2), targets.flatten(-2)
    return torch.cat([x, torch.zeros_like(x), goals], -1)


def roles(agents: int, split: str) -> list[tuple[float, float, int]]:
    team = cast(agents, split)
    parts = team.mass.tolist(), team.acceleration.tolist(), team.colour.tolist()
    return list(zip(*parts, strict=True))


def test_no_role_is_in_both_splits_and_every_part_of_a_role_is_in_both() -> None:
    seen, held_out = (set(roles(36, split)) for split in SPLITS)
    assert not seen & held_out
    assert (len(seen), len(held_out)) == (12, 6)
    assert seen | held_out == set(itertools.product(MASSES, ACCELERATIONS, range(COLOURS)))
    assert {role[:2] for role in seen} == {role[:2] for role in held_out}


@pytest.mark.parametrize("agents", EVERY)
def test_every_target_has_an_agent_of_its_colour_and_no_agent_keeps_its_own(agents: int) -> None:
    seen, held_out = (cast(agents, split) for split in SPLITS)
    assert torch.equal(seen.target_colour, held_out.target_colour)
    for team in (seen, held_out):
        assert torch.equal(team.colour.sort()[0], team.target_colour.sort()[0])
    if agents > 1:
        assert (seen.colour != held_out.colour).all()


def test_features_say_the_role() -> None:
    task = make(4, split="held-out")
    assert task.features.shape == (4, 2 + COLOURS)
    for row, (mass, acceleration, colour) in zip(
        task.features.tolist(), roles(4, "held-out"), strict=True
    ):
        one_hot = [float(c == colour) for c in range(COLOURS)]
        assert row == pytest.approx([mass, acceleration / 5, *one_hot])


@pytest.mark.parametrize("split", SPLITS)
def test_a_step_by_hand(split: str) -> None:
    """x' = x + v dt; v' = 3/4 v + dt (a / m) u."""
    task, team = make(5, split=split), cast(5, split)
    state = torch.rand(1, 7, task.state_size) * 2 - 1
    action = torch.rand(1, 7, 5, 2) * 2 - 1
    after = task.step(state, action)
    x, v = task.positions(state), task.velocities(state)
    torch.testing.assert_close(task.positions(after), x + 0.1 * v)
    for agent in range(5):
        a, m = float(team.acceleration[agent]), float(team.mass[agent])
        expected = 0.75 * v[:, :, agent] + 0.1 * (a / m) * action[:, :, agent]
        torch.testing.assert_close(task.velocities(after)[:, :, agent], expected)
    assert torch.equal(task.target_positions(after), task.target_positions(state))


def test_discrete_moves_are_unit_forces() -> None:
    continuous = make(5)
    discrete = Roles(5, continuous._reward, RolesOptions(), discrete=True)
    state, forces = torch.rand(1, 1, 30), torch.zeros(1, 1, 5, 2)
    forces[0, 0, 1:] = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    torch.testing.assert_close(
        discrete.step(state, torch.eye(5)[None, None]), continuous.step(state, forces)
    )


@pytest.mark.parametrize("collisions", [False, True])
def test_masses_and_accelerations_are_mpe2s(collisions: bool) -> None:
    """Step by step against simple_spread with the same `initial_mass` and `accel`."""
    task, spread = make(4, collisions=collisions), Spread(4, collisions)
    for agent, (mass, acceleration, _) in zip(spread.world.agents, roles(4, "seen"), strict=True):
        agent.initial_mass, agent.accel = mass, acceleration
    rng, met = np.random.default_rng(0), 0.0
    for _ in range(300):
        before = spread.state()
        action = random_action(before, 4, rng)
        spread.push(action)
        torch.testing.assert_close(task.step(before, action), spread.state(), **TOLERANCE)
        met += float(task.touching(before).sum())
    assert met > 30, "the agents must meet for contact to be tested"


def brute_force_matching(covers: Tensor, own: list[int], targets: list[int]) -> int:
    """Most targets covered one-to-one by agents of their colour, over every assignment."""
    agents = range(len(own))
    return max(
        sum(bool(covers[i, j]) and own[i] == targets[j] for i, j in zip(agents, order, strict=True))
        for order in itertools.permutations(agents)
    )


@pytest.mark.parametrize("agents", [1, 2, 3, 4, 5])
def test_rewards_equal_brute_force(agents: int) -> None:
    goal, summed = make(agents), make(agents, "summed-individual")
    random = Random.from_seeds([0]).fold(agents)
    targets = random.fold("targets").uniform(300, agents, 2).float() - 0.5
    order = random.fold("order").uniform(300, agents).argsort(-1)
    half = torch.arange(300).view(1, -1, 1) % 2 == 0
    order = torch.where(half, order, torch.arange(agents))  # among them full covers
    offset = random.fold("offset").uniform(300, agents, 2).float() * 0.16 - 0.08
    state = place(goal, targets.gather(-2, order[..., None].expand_as(targets)) + offset, targets)
    x, y = goal.positions(state), goal.target_positions(state)
    near = (x.unsqueeze(-2) - y.unsqueeze(-3)).norm(dim=-1) <= goal.radius
    colours = goal.cast.colour.tolist(), goal.cast.target_colour.tolist()
    expected = [brute_force_matching(covers, *colours) for covers in near[0]]
    assert len(set(expected)) > 1 or agents == 1
    assert agents in expected
    for i, size in enumerate(expected):
        assert summed.reward(state, state)[0, i].tolist() == [float(size)] * agents
        assert goal.reward(state, state)[0, i].tolist() == [float(size == agents)] * agents
    assert goal.metrics(state)["covered"][0].tolist() == expected


@pytest.mark.parametrize("reward", registry.TASKS["roles"].rewards)
def test_only_agents_of_one_colour_are_alike(reward: str) -> None:
    """Swapping places: agents 0 and 3 share a colour, agents 0 and 1 do not."""
    task = make(4, reward)
    targets = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    at_home = place(task, targets, targets)[None, None]
    alike = place(task, targets[[3, 1, 2, 0]], targets)[None, None]
    apart = place(task, targets[[1, 0, 2, 3]], targets)[None, None]
    best = task.reward(at_home, at_home)
    assert torch.equal(task.reward(alike, alike), best)
    assert (task.reward(apart, apart) < best).all()


def test_the_shaping_assigns_by_colour() -> None:
    task = make(7, "assignment-shaping")
    state = task.reset(Random.from_seeds([0]), 20)
    x, y = task.positions(state), task.target_positions(state)
    plain = (x.unsqueeze(-2) - y.unsqueeze(-3)).norm(dim=-1)[0].double()
    own, targets = task.cast.colour.tolist(), task.cast.target_colour.tolist()
    orders = [
        order
        for order in itertools.permutations(range(7))
        if all(targets[j] == own[i] for i, j in enumerate(order))
    ]
    least = torch.stack([plain[:, range(7), order].sum(-1) for order in orders]).amin(0)
    shaping = task.reward(state, state)[0, :, 0].double()
    assert plain.max() < FAR
    torch.testing.assert_close(shaping, (1 - task.gamma) * least / 7, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("agents", "split"), [(3, "seen"), (4, "held-out"), (7, "seen")])
def test_the_oracle_knows_the_roles(agents: int, split: str) -> None:
    """Every agent ends on a target of its colour, and stays there."""
    config = resolve(
        {"task": "roles", "agents": agents, "method": "oracle", "task_options": {"split": split}}
    )
    task = make_task(config, "continuous")
    assert isinstance(task, Roles)
    cpu = torch.device("cpu")
    oracle = Oracle(make_spec(config, task, 1, cpu), None, Random.from_seeds([0]))
    state = task.reset(Random.from_seeds([0]).fold("start"), 100)
    for _ in range(80):
        action = oracle.act(task.observe(state))
        assert action.abs().max() <= 1
        state = task.step(state, action)
    assert task.metrics(state)["successful_steps"].all()
    assert task.velocities(state).abs().max() < 1e-4
    raw = evaluate(task, oracle, Random.from_seeds([1]), 300)
    assert float(raw["successful_steps"].mean()) > 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "unseen"}, "'seen' or 'held-out'"),
        ({"dynamics": "first-order"}, "dynamics = 'first-order'"),
        ({"splitt": "seen"}, "did you mean 'split'"),
    ],
)
def test_bad_options_are_refused_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as refusal:
        resolve({"task": "roles", "task_options": options})
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
