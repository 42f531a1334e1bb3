"""Replay of weights: what is stored, what it costs, and that it comes back to the bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from small import tiny
from torch import Tensor

from baselines.hypernet.replay import WeightReplay
from baselines.hypernet.scheme import Hypernet
from baselines.mlp import mlp
from baselines.networks import Learner
from bench.conformance.scheme import SIZES, N, R, drawn, observations, stepped
from bench.fleet import Fleet

CONDITIONINGS = ["learned", "one-hot", "features"]


def composed(**options: Any) -> Hypernet:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return Hypernet(SIZES, N, features, target="all", **{"replay": 3, "replay_every": 1, **options})


def memory_of(scheme: Hypernet, values: dict[str, Tensor]) -> WeightReplay:
    memory = scheme.memory(values)
    assert memory is not None
    return memory


def hear(memory: WeightReplay, values: dict[str, Tensor], *score: float) -> None:
    memory.scored(torch.tensor(score))
    memory.hear(values)


def test_it_is_off_by_default() -> None:
    assert Hypernet(SIZES, N, target="all").memory(drawn(composed())) is None


def test_it_is_bounded_and_gives_up_the_lowest_score_of_each_replica() -> None:
    scheme = composed()
    memory = memory_of(scheme, drawn(scheme))
    for step, score in enumerate([(1, 9), (2, 8), (3, 7), (4, 6), (0, 9.5)]):
        hear(memory, stepped(scheme, step), *score)
    assert memory.score.sort(1).values.tolist() == [[2, 3, 4], [8, 9, 9.5]]
    assert memory.version.sort(1).values.tolist() == [[2, 3, 4], [1, 2, 5]]


def test_there_is_no_entry_of_a_policy_without_a_score() -> None:
    scheme = composed()
    memory = memory_of(scheme, drawn(scheme))
    memory.hear(drawn(scheme))
    hear(memory, drawn(scheme), 1, -torch.inf)
    assert memory.version.sort(1).values.tolist() == [[-1, -1, 2], [-1, -1, -1]]
    assert memory.shares().sum(1).tolist() == [1, 0]


def test_the_score_is_what_the_replicas_newest_episodes_earned() -> None:
    configs = [tiny(method="hyper-maddpg-replay", seed=seed) for seed in range(2)]
    fleet = Fleet(configs, torch.device("cpu"))
    for rewards in ([1.0, 2.0], [0.5, -3.0]):
        fleet.ended(torch.tensor(rewards).view(2, 1, 1).expand(2, 10, 30))
    latest = fleet.algorithm.state()["actor.memory.latest"]
    assert latest.tolist() == [30 * 0.5, 30 * -3.0]


def test_entries_are_made_as_often_as_said() -> None:
    scheme = composed(replay_every=3)
    memory = memory_of(scheme, drawn(scheme))
    for _ in range(7):
        hear(memory, drawn(scheme), 0, 0)
    assert memory.version.sort(1).values.tolist() == [[-1, 3, 6]] * R


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_a_stored_policy_comes_back_to_the_bit(conditioning: str) -> None:
    scheme = composed(conditioning=conditioning)
    memory = memory_of(scheme, drawn(scheme))
    learner = Learner(drawn(scheme), 1e-2, 1.0, 0.01, scheme)
    behaviours, x = [], observations()
    for step in range(3):
        out = mlp(scheme.weights(learner.online.views), x)
        learner.descend((out - 1).square().sum())
        hear(memory, learner.online.views, step, -step)
        with torch.no_grad():
            behaviours.append(mlp(scheme.weights(learner.online.views), x))
    for version, behaviour in enumerate(behaviours, start=1):
        slot = (memory.version == version).long().argmax(1)
        assert torch.equal(mlp(memory.recover(slot), x), behaviour)
    best = mlp(memory.recover(memory.score.argmax(1)), x)
    assert torch.equal(best[0], behaviours[2][0])
    assert torch.equal(best[1], behaviours[0][1])


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_the_loss_by_hand(conditioning: str) -> None:
    scheme = composed(conditioning=conditioning, replay_loss=0.5)
    values = drawn(scheme)
    memory = memory_of(scheme, values)
    assert float(memory.loss(values)) == 0  # nothing is stored
    hear(memory, values, 1, 1)
    assert float(memory.loss(values)) == 0  # nothing has changed
    later = stepped(scheme, 2)
    hear(memory, later, 2, 2)
    frozen = {name: value if name == "hyper.e" else later[name] for name, value in values.items()}
    expected = 0.0
    for then, now in (
        (scheme.weights(values), scheme.weights(frozen)),  # from the embeddings of then
        (scheme.weights(later), scheme.weights(later)),
    ):
        for old, new in zip(then, now, strict=True):
            for part, other in zip(old, new, strict=True):
                expected += 0.5 * 0.5 * float((part - other).square().sum()) / N
    assert expected > 0
    assert float(memory.loss(later)) == pytest.approx(expected, rel=1e-4)


def test_better_scores_weigh_more() -> None:
    scheme = composed(replay_by="score")
    memory = memory_of(scheme, drawn(scheme))
    assert torch.equal(memory.shares(), torch.zeros(R, 3))
    hear(memory, drawn(scheme), 1, 5)
    assert memory.shares().sum(1).tolist() == [1, 1]
    hear(memory, drawn(scheme), 3, 5)
    shares = memory.shares().gather(1, memory.version.argsort(1))
    by_hand = torch.tensor([0.0, -1.0, 1.0]).exp() * torch.tensor([0.0, 1, 1])
    assert torch.allclose(shares[0], by_hand / by_hand.sum(), atol=1e-5)
    assert torch.allclose(shares[1], torch.tensor([0.0, 0.5, 0.5]))


def test_the_loss_keeps_what_is_generated_where_it_was() -> None:
    moved = []
    for strength in (1e-6, 1e3):
        scheme = composed(replay=1, replay_loss=strength)
        learner = Learner(drawn(scheme), 1e-3, 1e9, 0.01, scheme)
        learner.scored(torch.ones(R))
        learner.track()
        start = scheme.weights(drawn(scheme))
        for _ in range(100):
            out = mlp(scheme.weights(learner.online.views), observations())
            learner.descend((out - 1).square().sum())
        views = {**learner.online.views, "hyper.e": drawn(scheme)["hyper.e"]}
        pairs = zip(start, scheme.weights(views), strict=True)
        moved.append(sum(float((a[0] - b[0]).detach().square().sum()) for a, b in pairs))
    assert moved[1] < 0.01 * moved[0]


def test_behaviour_on_an_earlier_task_is_retained_with_replay_and_lost_without() -> None:
    """One task, then another on other observations: the actions on the first, before and after."""
    first, second = observations(), observations() + 3
    lost: dict[int, float] = {}
    learned: dict[int, float] = {}
    for replay in (0, 1):
        kept = {"replay": 1, "replay_every": 1, "replay_loss": 0.03} if replay else {}
        features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        scheme = Hypernet(SIZES, N, features, target="all", conditioning="features", **kept)
        learner = Learner(drawn(scheme), 1e-3, 1e9, 0.01, scheme)

        def act(x: Tensor, scheme: Hypernet = scheme, learner: Learner = learner) -> Tensor:
            return mlp(scheme.weights(learner.online.views), x)

        for _ in range(200):
            learner.descend((act(first) - 1).square().mean())
        learner.scored(torch.ones(R))
        learner.track()  # the policy of the first task is stored, where there is replay
        before = act(first).detach()
        for _ in range(200):
            learner.descend((act(second) + 1).square().mean())
        with torch.no_grad():
            lost[replay] = float((act(first) - before).square().mean())
            learned[replay] = float((act(second) + 1).square().mean())
    assert lost[1] < lost[0] / 2
    assert learned[1] < 0.5


def test_the_store_is_part_of_a_checkpoint() -> None:
    scheme = composed()
    one, other = (Learner(drawn(scheme), 1e-2, 1.0, 0.01, scheme) for _ in range(2))
    one.scored(torch.tensor([1.0, 2.0]))
    one.track()
    other.load("actor", {name: value.clone() for name, value in one.state("actor").items()})
    for name, value in one.state("actor").items():
        assert torch.equal(other.state("actor")[name], value), name
    assert int(other.state("actor")["actor.memory.version"].max()) == 1
