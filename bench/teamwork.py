"""Who does the work in cooperative navigation, and how agents choose among targets.

Measured on greedy episodes of the last policy, beside two counterfactuals from the same starts: an
agent that does nothing, and an agent whose team-mates do nothing.

- **Lazy agents.**  Agent i is *replaceable* in an episode if the team covers no fewer targets when
  i does nothing; it is *idle* in a step if it neither moves nor covers a target.
- **Re-planning.**  An agent aims at the target that it covers, and while it moves elsewhere, at the
  one that a straight continuation of its last step passes nearest to.  It *switches* when its aim
  changes and stays changed for another step.  It is *redirected* by its team-mates if the target
  that it ends with is another one than when they are frozen where they started.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.evaluate import play
from bench.interfaces import Algorithm
from bench.random import Random
from bench.records import Episode, Teamwork, rounded
from bench.tasks.coop_nav import CoopNav

EPISODES = 128
"""Greedy episodes."""
STILL = 0.01
"""An agent moves if a step takes it further: a tenth of the longest first-order step."""


@torch.no_grad()
def teamwork(task: CoopNav, algorithm: Algorithm, random: Random) -> list[Teamwork | None]:
    """Measure every replica's team; None where positions are not finite.

    Args:
        task: cooperative navigation, of whatever options.
        algorithm: who plays, greedily.
        random: source of the episodes.
    """
    N = task.agents
    start = task.reset(random.fold("reset"), EPISODES)
    alone = torch.eye(N, dtype=torch.bool, device=start.device)
    # The casts of one episode: all act, all but i, and i alone.
    casts = torch.cat([torch.ones_like(alone[:1]), ~alone, alone])
    states = _play(task, algorithm, random.fold("act"), start, casts).cpu()
    return [_measure(task, own) if bool(own.isfinite().all()) else None for own in states]


def _play(
    task: CoopNav, algorithm: Algorithm, random: Random, start: Tensor, casts: Tensor
) -> Tensor:
    """Play the episodes that begin at start [R, E, S] once with each cast.

    Args:
        task: what is played.
        algorithm: who plays.
        random: source of what a controller draws.
        start: [R, E, S].
        casts: [C, N] bool, which agents act; the others do nothing.

    Returns:
        [R, C, E, T + 1, S]
    """
    acts = casts.repeat_interleave(EPISODES, 0).unsqueeze(-1)
    idle = task.idle.to(start)
    state = start.repeat(1, len(casts), 1)

    def act(observation: Tensor, random: Random) -> Tensor:
        return torch.where(acts, algorithm.act(observation, random=random), idle)

    states = [state, *(following for _, _, following in play(task, act, random, state))]
    return torch.stack(states, 2).unflatten(1, (len(casts), -1))


def _measure(task: CoopNav, states: Tensor) -> Teamwork:
    """Measure one replica's episodes with every cast: [1 + 2 N, E, T + 1, S]."""
    N = task.agents
    together, alone = states[0], states[1 + N :]
    covered = task.metrics(states[: 1 + N, :, 1:])["covered"].double().mean(-1)
    lost = covered[0] - covered[1:]
    held = aims(task, together)
    # Agent i of the episodes in which only i acts; the targets are where they were.
    frozen = torch.stack([aims(task, alone[i])[..., i] for i in range(N)], -1)
    return Teamwork(
        episodes=EPISODES,
        idle=rounded(_idle(task, together).double().mean((0, 1)).tolist()),
        replaceable=rounded((lost <= 0).double().mean(1).tolist()),
        lost=rounded(lost.mean(1).tolist()),
        switches=rounded(_switches(held).double().mean((0, 2)).tolist()),
        switches_frozen=rounded(_switches(frozen).double().mean((0, 2)).tolist()),
        redirected=rounded((held[:, -1] != frozen[:, -1]).double().mean(0).tolist()),
        example=_median(task, together, _switches(held)),
    )


def _idle(task: CoopNav, states: Tensor) -> Tensor:
    """Say which agents are idle at each step: [E, T + 1, S] -> [E, T, N] bool."""
    still = task.positions(states).diff(dim=1).square().sum(-1) < STILL**2
    return still & ~task.covers(states[:, 1:]).any(-1)


def aims(task: CoopNav, states: Tensor) -> Tensor:
    """Return the target that each agent is after: [E, T + 1, S] -> [E, T, N] int64.

    It is -1 before the agent first moves, and changes to what the agent aims at after a step only
    if it still does after the next.
    """
    aimed = _momentary(task, states)
    confirmed = torch.zeros_like(aimed, dtype=torch.bool)
    confirmed[:, :-1] = (aimed[:, 1:] == aimed[:, :-1]) & (aimed[:, :-1] >= 0)
    held = [aimed[:, 0]]
    for now, sure in zip(aimed.unbind(1)[1:], confirmed.unbind(1)[1:], strict=True):
        held.append(torch.where(sure | (held[-1] < 0), now, held[-1]))
    return torch.stack(held, 1)


def _switches(held: Tensor) -> Tensor:
    """Say at which steps the target changes: [E, T, N] -> [E, T, N] bool."""
    changed = torch.zeros_like(held, dtype=torch.bool)
    changed[:, 1:] = (held[:, 1:] != held[:, :-1]) & (held[:, :-1] >= 0)
    return changed


def _momentary(task: CoopNav, states: Tensor) -> Tensor:
    """Return what each agent aims at after each step, or -1: [E, T + 1, S] -> [E, T, N] int64."""
    move = task.positions(states).diff(dim=1).unsqueeze(-2)
    now = states[:, 1:]
    gap = task.target_positions(now).unsqueeze(-3) - task.positions(now).unsqueeze(-2)
    length = move.square().sum(-1)
    # How many more such steps lead to the nearest point of the ray.
    ahead = ((gap * move).sum(-1) / length.clamp(min=1e-12)).clamp(min=0)
    passes = (gap - ahead.unsqueeze(-1) * move).square().sum(-1).argmin(-1)
    moving = torch.where(length.squeeze(-1) >= STILL**2, passes, -1)
    covers, distances = task.covers(now), task.distances(now)
    nearest = torch.where(covers, distances, torch.inf).argmin(-1)
    return torch.where(covers.any(-1), nearest, moving)


def _median(task: CoopNav, states: Tensor, switched: Tensor) -> Episode:
    """Return the episode with the median number of switches, the first of equals."""
    order = switched.sum((1, 2)).argsort(stable=True)
    chosen = int(order[(len(order) - 1) // 2])

    def plain(points: Tensor) -> list[list[float]]:
        return [[round(value, 4) for value in point] for point in points.tolist()]

    return Episode(
        targets=plain(task.target_positions(states[chosen, 0])),
        positions=[plain(points) for points in task.positions(states[chosen])],
        switches=switched[chosen].nonzero().tolist(),
    )
