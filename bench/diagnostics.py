"""What training has made of the agents: how differently they act, and how large their layers are.

**System neural diversity** (Bettini, Shankar and Prorok 2023): how far apart the actions of two
agents are on the same observation, a mean over all pairs of agents and over a set of observations.
Deterministic policies are point masses, whose Wasserstein distance is the distance of the actions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.interfaces import Algorithm, Layered, Spec, Task
from bench.random import Random
from bench.records import Diagnostics, Layer, rounded
from bench.tasks import controllers

SEED, EPISODES = 0, 16
"""Every run of a task is asked about the same observations: of 16 episodes of random actions."""


@torch.no_grad()
def diagnose(task: Task, spec: Spec, algorithm: Algorithm) -> list[Diagnostics | None]:
    """Diagnose the current policy of every replica; None for one whose numbers are not finite."""
    asked = observations(task, spec)
    actions = algorithm.act(asked.unsqueeze(2).expand(-1, -1, spec.agents, -1)).cpu()
    layers = algorithm.layers() if isinstance(algorithm, Layered) else []
    found: list[Diagnostics | None] = []
    # Replica by replica, so that sums do not depend on the fleet.
    for replica in range(spec.replicas):
        own = [(W[replica].cpu().double(), b[replica].cpu().double()) for W, b in layers]
        parts = [actions[replica], *(part for layer in own for part in layer)]
        if not all(bool(part.isfinite().all()) for part in parts):
            found.append(None)
            continue
        found.append(
            Diagnostics(
                observations=asked.shape[1],
                distance="disagreement" if spec.discrete else "euclidean",
                diversity=rounded([diversity(actions[replica], discrete=spec.discrete)])[0],
                layers=[_layer(W, b) for W, b in own],
            )
        )
    return found


def observations(task: Task, spec: Spec) -> Tensor:
    """Return what the agents, each in turn, see in episodes of random actions: [R, K, O].

    They depend on the task alone: not on the run's seed, nor on what it has learned.
    """
    random = Random.from_seeds([SEED] * spec.replicas, spec.device).fold("diagnostics")
    anything = controllers.Random(spec, None, random)
    state = task.reset(random.fold("reset"), EPISODES)
    seen = []
    for step in range(task.horizon):
        views = task.observe(state)
        seen.append(views[:, :, step % spec.agents])
        state = task.step(state, anything.act(views, random=random.fold("act").fold(step)))
    return torch.cat(seen, 1)


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


def _layer(weight: Tensor, bias: Tensor) -> Layer:
    """Measure a layer: W [G, in, out] and b [G, 1, out]."""
    return Layer(
        shape=(weight.shape[1], weight.shape[2]),
        norm=rounded(torch.linalg.matrix_norm(weight).tolist()),
        largest=rounded(torch.linalg.matrix_norm(weight, ord=2).tolist()),
        bias=rounded(torch.linalg.vector_norm(bias, dim=(1, 2)).tolist()),
    )
