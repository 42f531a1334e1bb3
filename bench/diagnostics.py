"""What training has made of the agents: how differently they act, and the state of their layers.

**System neural diversity** (Bettini, Shankar and Prorok 2023): how far apart the actions of two
agents are on the same observation, a mean over all pairs of agents and over a set of observations.
Deterministic policies are point masses, whose Wasserstein distance is the distance of the actions.

Shapes, beside the usual: K transitions, the same in every run of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.evaluate import play
from bench.interfaces import Algorithm, Batch, Graded, Layered, Spec, Task
from bench.random import Random
from bench.records import Diagnostics, Layer, rounded
from bench.tasks import controllers

SEED, EPISODES = 0, 16
"""Every run of a task is asked about the same transitions: of 16 episodes of random actions."""


def diagnose(
    task: Task,
    spec: Spec,
    algorithm: Algorithm,
    reward: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> list[Diagnostics | None]:
    """Diagnose the current policy of every replica; None for one whose numbers are not finite.

    Args:
        task: what transitions are of.
        spec: the fleet's sizes.
        algorithm: what acts.
        reward: in place of the task's, where replicas are rewarded differently.
    """
    batch = transitions(task, spec, reward or task.reward)
    asked = in_turn(batch)
    with torch.no_grad():
        actions = algorithm.act(asked.unsqueeze(2).expand(-1, -1, spec.agents, -1)).cpu()
        layers = algorithm.layers() if isinstance(algorithm, Layered) else []
    gradient: Tensor | None = None
    fed: Tensor | None = None
    slopes: Sequence[Tensor | None] = [None] * len(layers)
    if layers and isinstance(algorithm, Graded):
        gradient, slopes = algorithm.gradients(batch)
        fed = algorithm.fed(asked.unsqueeze(1).expand(-1, spec.agents, -1, -1))
    found: list[Diagnostics | None] = []
    # Replica by replica, so that sums do not depend on the fleet.
    for replica in range(spec.replicas):

        def of(part: Tensor, replica: int = replica) -> Tensor:
            return part[replica].detach().cpu().double()

        own = [
            (of(W), of(b), None if g is None else of(g))
            for (W, b), g in zip(layers, slopes, strict=True)
        ]
        whole = None if gradient is None else of(gradient)
        parts: list[Tensor | None] = [actions[replica], whole]
        parts += [part for layer in own for part in layer]
        if not all(part is None or bool(part.isfinite().all()) for part in parts):
            found.append(None)
            continue
        seen = None if fed is None else of(fed)
        dead = [[]] * len(own) if seen is None else dead_units([layer[:2] for layer in own], seen)
        found.append(
            Diagnostics(
                observations=asked.shape[1],
                distance="disagreement" if spec.discrete else "euclidean",
                diversity=rounded([diversity(actions[replica], discrete=spec.discrete)])[0],
                gradient=None if whole is None else rounded([float(whole.norm())])[0],
                layers=[_layer(*layer, units) for layer, units in zip(own, dead, strict=True)],
            )
        )
    return found


@torch.no_grad()
def transitions(task: Task, spec: Spec, reward: Callable[[Tensor, Tensor], Tensor]) -> Batch:
    """Play episodes of random actions: a batch of K = T x 16 transitions, step after step.

    They depend on the task alone: not on the run's seed, nor on what it has learned.
    """
    random = Random.from_seeds([SEED] * spec.replicas, spec.device).fold("diagnostics")
    anything = controllers.Random(spec, None, random)
    start = task.reset(random.fold("reset"), EPISODES)
    played = zip(*play(task, anything.act, random.fold("act"), start), strict=True)
    state, action, next_state = (torch.cat(part, 1) for part in played)
    return Batch(
        observation=task.observe(state),
        action=action,
        reward=reward(state, next_state),
        next_observation=task.observe(next_state),
        terminated=task.terminated(next_state),
        weight=torch.ones(state.shape[:2], device=spec.device),
    )


def in_turn(batch: Batch) -> Tensor:
    """Return what one agent sees in each transition, all taking turns step by step: [R, K, O]."""
    K, N = batch.observation.shape[1:3]
    each = torch.arange(K, device=batch.observation.device)
    return batch.observation[:, each, each // EPISODES % N]


def diversity(actions: Tensor, *, discrete: bool) -> float:
    """Average the distance of two agents' actions over pairs and observations.

    Args:
        actions: [K, N, A].
        discrete: whether they are one-hot: the distance is then 1 for different moves, which is the
            total variation of the two policies; else it is Euclidean.

    Returns:
        At least 0, and 0 for a single agent.
    """
    if actions.shape[1] < 2:
        return 0.0
    first, second = torch.triu_indices(actions.shape[1], actions.shape[1], 1).unbind()
    apart = (actions.double()[:, first] - actions.double()[:, second]).contiguous()
    distance = apart.abs().sum(-1) / 2 if discrete else torch.linalg.vector_norm(apart, dim=-1)
    return float(distance.mean())


def dead_units(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> list[list[float]]:
    """Return the share of units that are 0 after the ReLU on every observation, layer by layer.

    Args:
        layers: W [G, in, out] and b [G, 1, out] of a ReLU network, G being 1 or N.
        x: what they are applied to, [N, K, in].

    Returns:
        Of every hidden layer a share per agent, or one if nothing up to there tells agents apart;
        of the last layer, which has no ReLU, nothing.
    """
    shares: list[list[float]] = []
    h = x[:1] if torch.equal(x, x[:1].expand_as(x)) else x
    for weight, bias in layers[:-1]:
        h = torch.relu(h @ weight + bias)
        shares.append((h == 0).all(1).double().mean(1).tolist())
    return [*shares, []]


def _layer(weight: Tensor, bias: Tensor, slope: Tensor | None, dead: list[float]) -> Layer:
    """Measure a layer: W [G, in, out], b [G, 1, out], the loss's gradient by W, and dead units."""
    return Layer(
        shape=(weight.shape[1], weight.shape[2]),
        norm=rounded(torch.linalg.matrix_norm(weight).tolist()),
        largest=rounded(torch.linalg.matrix_norm(weight, ord=2).tolist()),
        bias=rounded(torch.linalg.vector_norm(bias, dim=(1, 2)).tolist()),
        gradient=[] if slope is None else rounded(torch.linalg.matrix_norm(slope).tolist()),
        alike=rounded([float((weight == weight[:1]).all(2).all(0).double().mean())])[0],
        dead=rounded(dead),
    )
