"""The climbing and the penalty game: their tables, their equilibria, and one step."""

from __future__ import annotations

import itertools

import pytest
import torch
from small import tiny
from torch import Tensor

from bench.config import RunConfig, resolve
from bench.errors import RequestError
from bench.random import Random
from bench.tasks import make_task
from bench.tasks.games import team
from bench.tasks.one_shot import Climbing, OneShot, Penalty
from bench.tasks.options import ClimbingOptions, PenaltyOptions


def games() -> list[OneShot]:
    penalties = [Penalty(2, team, PenaltyOptions(penalty=k)) for k in (-100, -1, 0)]
    return [Climbing(2, team, ClimbingOptions()), *penalties]


def every_joint_move() -> Tensor:
    return torch.tensor(list(itertools.product(range(3), repeat=2))).float()


def paid(game: OneShot) -> Tensor:
    moves = every_joint_move()
    reward = game.reward(torch.full_like(moves, -1), moves)
    assert torch.equal(reward[:, 0], reward[:, 1])
    return reward[:, 0].view(3, 3)


def equilibria(table: Tensor) -> set[tuple[int, int]]:
    """Joint moves that no agent gains by leaving alone."""
    best = (table == table.max(0, keepdim=True).values) & (
        table == table.max(1, keepdim=True).values
    )
    return {(int(i), int(j)) for i, j in best.nonzero()}


def test_the_tables_are_the_sources() -> None:
    climbing, deep, shallow, none = map(paid, games())
    assert climbing.tolist() == [[11, -30, 0], [-30, 7, 0], [0, 6, 5]]
    assert equilibria(climbing) == {(0, 0), (1, 1)}
    # Averaged over what the other does, the worst equilibrium's neighbour looks best to both.
    assert climbing.mean(1).argmax() == climbing.mean(0).argmax() == 2
    for table, k in ((deep, -100), (shallow, -1), (none, 0)):
        assert table.tolist() == [[10, 0, k], [0, 2, 0], [k, 0, 10]]
        assert equilibria(table) == {(0, 0), (1, 1), (2, 2)}
        assert torch.equal(table, table.T) and torch.equal(table, table.flip(0, 1))
    assert deep.mean(1).argmax() == 1, "a deep penalty makes the middle look best"
    assert none.mean(1).argmax() != 1


@pytest.mark.parametrize("game", games(), ids=lambda game: type(game).__name__)
def test_one_step_and_nothing_after_it(game: OneShot) -> None:
    state = game.reset(Random.from_seeds([0, 1]), 5)
    assert game.horizon == 1 and state.shape == (2, 5, 2)
    assert not game.terminated(state).any()
    assert game.observe(state).shape == (2, 5, 2, 1)
    moves = torch.randint(3, (2, 5, 2))
    after = game.step(state, torch.nn.functional.one_hot(moves, 3).float())
    assert torch.equal(after, moves.float()) and game.terminated(after).all()
    assert torch.equal(game.observe(after), game.observe(state)), "there is nothing to see"
    counted = game.episode_metrics(game.metrics(after))
    table = torch.tensor(game.table)
    assert torch.equal(counted["mean_reward"], table[moves[..., 0], moves[..., 1]])
    assert torch.equal(counted["any_success"], (counted["mean_reward"] == table.max()).float())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"agents": 3}, "agents = 3: the game is played by 2"),
        ({"task_options": {"penalty": 1.0}}, "less than or equal to 0"),
        ({"task": "climbing", "task_options": {"penalty": -1.0}}, "unknown key 'penalty'"),
        ({"reward": "individual"}, "known: team"),
        ({"method": "ps-maddpg"}, "choose a discrete method (iql"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(
    values: dict[str, object], words: str
) -> None:
    def build() -> None:
        config = resolve({"task": "penalty", "method": "iql", "agents": 2, **values})
        make_task(config, "discrete" if config.method == "iql" else "continuous")

    with pytest.raises(RequestError) as refusal:
        build()
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_the_default_reward_is_the_teams() -> None:
    base = tiny().model_dump(exclude={"task_options", "reward", "method"})
    config: RunConfig = resolve(base, {"task": "climbing", "method": "iql"})
    assert config.reward == "team"
