"""Matrix games: payoffs by brute force, symmetries, and what sharing one policy can reach."""

from __future__ import annotations

import itertools
import sys
from types import SimpleNamespace

import pytest
import torch
from small import tiny
from torch import Tensor

from bench.config import resolve
from bench.errors import RequestError
from bench.methods import MethodEntry
from bench.random import Random
from bench.tasks import make_task, parallel_env
from bench.tasks.games import MatrixGame, Specialisation, Synchronisation, individual, team
from bench.tasks.options import GameOptions
from bench.train import train

GAMES = [Specialisation, Synchronisation]

SHARED_IQL = MethodEntry(
    summary="One Q network for all agents, which sees no ID",
    algorithm="baselines.algorithms.iql:IQL",
    scheme="baselines.sharing.shared:Shared",
    scheme_options={"agent_id": False},
    actions="discrete",
)


def make(game: type[MatrixGame], agents: int) -> MatrixGame:
    return game(agents, individual, GameOptions())


def every_joint_move(agents: int) -> Tensor:
    """All N^N of them: [1, N^N, N]."""
    return torch.tensor(list(itertools.product(range(agents), repeat=agents))).float()[None]


def by_hand(game: type[MatrixGame], moves: list[float]) -> list[float]:
    """The source's two formulas, agent by agent."""
    n, counts = len(moves), [moves.count(move) for move in moves]
    return [1 / c if game is Specialisation else 1 / (n - c + 1) for c in counts]


@pytest.mark.parametrize("agents", [2, 3, 4])
@pytest.mark.parametrize("game", GAMES)
def test_payoffs_and_metrics_equal_brute_force(game: type[MatrixGame], agents: int) -> None:
    task, states = make(game, agents), every_joint_move(agents)
    nothing = torch.full_like(states, -1)
    expected = torch.tensor([by_hand(game, moves) for moves in states[0].tolist()])[None]
    torch.testing.assert_close(task.reward(nothing, states), expected)
    shared = game(agents, team, GameOptions()).reward(nothing, states)
    torch.testing.assert_close(shared, expected.mean(-1, keepdim=True).expand_as(expected))
    counted = task.metrics(states)
    torch.testing.assert_close(counted["mean_reward"], expected.mean(-1))
    distinct = [len(set(moves)) for moves in states[0].tolist()]
    assert counted["distinct_moves"][0].tolist() == distinct
    best = agents if game is Specialisation else 1
    assert counted["optimal_steps"][0].bool().tolist() == [d == best for d in distinct]
    assert float(expected.mean(-1).max()) == 1
    assert float(expected.mean(-1).min()) == pytest.approx(1 / agents)


@pytest.mark.parametrize("game", GAMES)
def test_permuting_agents_and_renaming_moves(game: type[MatrixGame]) -> None:
    task = make(game, 8)
    moves = (Random.from_seeds([0]).uniform(200, 8) * 8).floor().float()
    order, names = torch.randperm(8), torch.randperm(8).float()
    payoffs = task.payoffs(moves)
    assert torch.equal(task.payoffs(moves[..., order]), payoffs[..., order])
    assert torch.equal(task.payoffs(names[moves.long()]), payoffs)


@pytest.mark.parametrize("agents", [2, 4, 8, 16])
def test_an_episode(agents: int) -> None:
    """Nobody has moved; then the state holds the moves, and all observe all of them one-hot."""
    task = make(Specialisation, agents)
    state = task.reset(Random.from_seeds([0, 1, 2]), 5)
    assert state.shape == (3, 5, agents)
    assert task.observe(state).shape == (3, 5, agents, agents * agents)
    assert not task.observe(state).any()
    moves = torch.randint(agents, (3, 5, agents))
    action = torch.nn.functional.one_hot(moves, agents).float()
    after = task.step(state, action)
    assert torch.equal(after, moves.float())
    seen = task.observe(after)
    for agent in range(agents):
        assert torch.equal(seen[:, :, agent], action.flatten(-2))
    assert torch.equal(task.step(after, action), after), "the state is the last move alone"
    assert task.horizon == 10


def expected_reward(task: MatrixGame, policy: Tensor) -> float:
    """Sum over all joint moves, each with its probability."""
    states = every_joint_move(task.agents)
    chance = policy.double()[states.long()].prod(-1)
    return float((chance * task.payoffs(states).double().mean(-1)).sum())


@pytest.mark.parametrize("agents", [2, 3, 4])
@pytest.mark.parametrize("game", GAMES)
def test_the_bound_of_sharing_equals_brute_force(game: type[MatrixGame], agents: int) -> None:
    task = make(game, agents)
    draws = -torch.log(1 - Random.from_seeds([0]).uniform(300, agents)[0])
    policies = torch.cat([draws / draws.sum(-1, keepdim=True), torch.eye(agents).double()])
    rewards = task.symmetric_reward(policies)
    for policy, reward in zip(policies, rewards.tolist(), strict=True):
        assert reward == pytest.approx(expected_reward(task, policy), rel=1e-6)
    bound = task.sharing_bound(stochastic=True)
    assert rewards.max() <= bound + 1e-9
    best = torch.full((agents,), 1 / agents) if game is Specialisation else torch.eye(agents)[0]
    assert bound == pytest.approx(expected_reward(task, best), rel=1e-6)
    certain = expected_reward(task, torch.eye(agents)[0])
    assert task.sharing_bound(stochastic=False) == pytest.approx(certain, rel=1e-6)


@pytest.mark.parametrize("agents", [2, 4, 8, 16, 2000])
def test_the_bounds_in_closed_form(agents: int) -> None:
    special, synchronous = make(Specialisation, agents), make(Synchronisation, agents)
    uniform = 1 - (1 - 1 / agents) ** agents
    assert special.sharing_bound(stochastic=True) == pytest.approx(uniform, rel=1e-6)
    assert special.sharing_bound(stochastic=False) == pytest.approx(1 / agents, rel=1e-6)
    assert synchronous.sharing_bound(stochastic=True) == pytest.approx(1)
    assert synchronous.sharing_bound(stochastic=False) == pytest.approx(1)


def play(method: str, task: str, **values: object) -> dict[str, float]:
    """Means of a small run's greedy episodes."""
    small = {"task_options": {}, "agents": 4, "episodes": 200, "noise_fraction": 1.0, **values}
    base = tiny().model_dump(exclude={"task_options", "reward", "method", "sampler"})
    config = resolve(base, {"method": method, "task": task, "sampler": "uniform"}, small)
    final = train([config], torch.device("cpu"))[0].record.final
    assert final is not None
    return {name: sum(raw) / len(raw) for name, raw in final.raw.items()}


def test_sharing_without_ids_stays_at_its_bound_and_own_networks_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "shared.iql", SimpleNamespace(METHOD=SHARED_IQL))
    shared = play("shared.iql:METHOD", "specialisation")
    assert shared["mean_reward"] == pytest.approx(1 / 4)
    assert shared["distinct_moves"] == 1
    own = play("iql", "specialisation")
    assert own["mean_reward"] > 0.7
    assert play("shared.iql:METHOD", "synchronisation")["mean_reward"] == 1


def test_the_first_reward_is_the_default() -> None:
    assert resolve({"task": "specialisation", "method": "iql"}).reward == "individual"
    assert resolve({"task": "roles"}).reward == resolve({}).reward == "group-goal"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "ps-maddpg"}, "choose a discrete method (iql"),
        ({"method": "ps-maddpg"}, "or say `actions: discrete` in the method's entry"),
        ({"agents": 1}, "at least 2"),
        ({"task_options": {"radius": 1}}, "known: horizon"),
        ({"reward": "group-goal"}, "known: individual, team"),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(
    values: dict[str, object], words: str
) -> None:
    def build() -> None:
        config = resolve({"task": "synchronisation", "method": "iql", **values})
        make_task(config, "discrete" if config.method == "iql" else "continuous")

    with pytest.raises(RequestError) as refusal:
        build()
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "oracle" not in str(refusal.value), "it plays another task"


def test_as_a_pettingzoo_environment() -> None:
    env = parallel_env(task="specialisation", agents=3, actions="discrete")
    env.reset(seed=0)
    moves = {"agent_0": 0, "agent_1": 0, "agent_2": 2}
    _, rewards, *_ = env.step(moves)
    assert rewards == {"agent_0": 0.5, "agent_1": 0.5, "agent_2": 1.0}
