"""Rollouts as pictures: paths of a few episodes side by side (PNG), and an animation (GIF)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.errors import RequestError, WorldError
from bench.evaluate import play
from bench.random import Random
from bench.scene import Scene, animation, require_positions

if TYPE_CHECKING:
    from bench.interfaces import Task


def watch(
    task: Task, act: Callable[..., Tensor], random: Random, out_dir: Path, episodes: int = 6
) -> list[Path]:
    """Roll a policy out and draw it.

    Args:
        task: coop-nav, or any task with its `positions`, `target_positions` and `radius`.
        act: greedy acting half of an algorithm, called ``act(observation, noise=0.0, random=...)``.
        random: source of the episodes; only its first replica is drawn.
        out_dir: where `trajectories.png` and `animation.gif` are written; made if missing.
        episodes: how many episodes.

    Returns:
        The files written.

    Raises:
        RequestError: if the task has no positions, or if there are no episodes.
        WorldError: if a file cannot be written.
    """
    require_positions(task)
    states = trajectory(task, act, random, episodes)[:, 0]
    paths = [out_dir / "trajectories.png", out_dir / "animation.gif"]
    with _writing(out_dir):
        out_dir.mkdir(parents=True, exist_ok=True)
    draw_png(paths[0], task, states)
    draw_gif(paths[1], task, states)
    return paths


def trajectory(task: Task, act: Callable[..., Tensor], random: Random, episodes: int) -> Tensor:
    """Roll a policy out greedily to the horizon T.

    Args:
        task: any task.
        act: called ``act(observation [R, E, N, O], random=...) -> [R, E, N, A]``.
        random: source with a key per replica.
        episodes: E.

    Returns:
        [T + 1, R, E, S] states, the initial one first.

    Raises:
        RequestError: if `episodes` is not positive.
    """
    if episodes < 1:
        raise RequestError(f"episodes = {episodes}: must be at least 1")
    state = task.reset(random.fold("reset"), episodes)
    with torch.no_grad():
        played = play(task, act, random.fold("act"), state)
        return torch.stack([state, *(following for _, _, following in played)])


def draw_png(path: Path, task: Task, states: Tensor) -> None:
    """Draw the paths of episodes as small multiples.

    Args:
        path: the PNG.
        task: as for :func:`watch`.
        states: [T + 1, E, S].

    Raises:
        RequestError: if the task has no positions.
        WorldError: if the file cannot be written.
    """
    scene = Scene.of(task, states)
    scene.draw(len(states) - 1)
    with _writing(path):
        scene.figure.savefig(path, format="png", metadata={"Software": None})


def draw_gif(path: Path, task: Task, states: Tensor) -> None:
    """Draw episodes as an animation, a frame a step.

    Args:
        path: the GIF.
        task: as for :func:`watch`.
        states: [T + 1, E, S].

    Raises:
        RequestError: if the task has no positions.
        WorldError: if the file cannot be written.
    """
    content = animation(Scene.of(task, states))
    with _writing(path):
        path.write_bytes(content)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from error
