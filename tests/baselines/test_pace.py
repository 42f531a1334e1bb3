"""How far a step of the optimiser moves what a hypernetwork generates."""

from __future__ import annotations

import functools
import math

import pytest
import torch

from baselines.algorithms.actor_critic import ActorCritic
from baselines.hypernet.code import Code
from baselines.hypernet.scheme import Hypernet
from baselines.sharing.independent import Independent
from bench.config import RunConfig
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random

N, O, A, B, LR = 3, 12, 2, 256, 3e-3  # noqa: E741
GENERATORS = ["dense", "grouped", "low-rank", "core", "sparse"]


def first_step(make_scheme: SchemeFactory) -> list[float]:
    """Return by how many learning rates the first update moves a layer's weights: the medians."""
    config = RunConfig(agents=N, actor_lr=LR, batch=B, hidden=[64, 64])
    spec = Spec(config, 1, N, O, A, False, torch.device("cpu"))
    random = Random.from_seeds([3])
    method = ActorCritic(spec, make_scheme, random, critic="one")
    numbers = random.fold("batch").normal(B, N, 2 * O + A)
    observation, following, action = numbers.split([O, O, A], -1)
    paid = random.fold("reward").normal(B, N)
    before = [weight.clone() for weight, _ in method.layers()]
    method.update(Batch(observation, action.tanh(), paid, following, None, torch.ones(1, B)))
    moved = [new - old for (new, _), old in zip(method.layers(), before, strict=True)]
    # Of what moved at all: sparse attention leaves rows out.
    return [float(change.detach().abs()[change != 0].median()) / LR for change in moved]


@pytest.mark.parametrize("generator", GENERATORS)
def test_at_the_pace_of_weights_they_move_as_stored_ones_do(generator: str) -> None:
    assert first_step(Independent) == pytest.approx([1.0] * 3, rel=0.01)
    make = functools.partial(Hypernet, target="all", generator=generator)
    paced = first_step(functools.partial(make, pace="weights"))
    assert all(0.3 < moved < 4 for moved in paced), paced
    # Else every number of the generator moves a weight, by its share of the code; the numbers of
    # a core reach weights through bases alone.
    assert max(first_step(make)) > (4 if generator == "core" else 15)


@pytest.mark.parametrize("generator", GENERATORS)
def test_weights_start_at_the_same_scale_at_either_pace(generator: str) -> None:
    spread = []
    for pace in ("generator", "weights"):
        scheme = Hypernet([O, 64, 64, A], N, target="all", generator=generator, pace=pace, rho=1.0)
        layers = scheme.weights(scheme.init(Random.from_seeds(range(20))))
        spread.append([float(weight[weight != 0].std()) for weight, _ in layers])
    assert spread[0] == pytest.approx(spread[1], rel=0.02)


def test_a_paced_code_has_a_sum_of_one() -> None:
    random = Random.from_seeds(range(50))
    code = Code(8, 8.0, 64, paced=True)
    h = code(code.init(random), random.fold("e").normal(20, 8))
    assert math.isclose(float(h.abs().sum(-1).mean()), 1.0, rel_tol=0.05)
    assert math.isclose(float(h.square().sum(-1).mean()), code.energy, rel_tol=0.05)
