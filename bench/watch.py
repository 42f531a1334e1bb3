"""Rollouts as pictures: paths of a few episodes side by side (PNG), and an animation (GIF).

One function, `_draw_episode`, draws an episode up to a step; the PNG draws the last step, each
frame of the GIF one step, and the PettingZoo bridge renders with it.  Matplotlib is imported only
when something is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bench.errors import RequestError, WorldError
from bench.random import Random

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from bench.interfaces import Task
    from bench.tasks.coop_nav import CoopNav

    Image = np.ndarray[Any, np.dtype[np.uint8]]

# Okabe and Ito's palette, told apart by the colour-blind; green is kept for success.
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
SUCCESS = "#009E73"
TARGET = "#666666"

COLUMNS = 3
"""Episodes side by side."""
FRAME_MS, LAST_FRAME_MS = 120, 1500
"""Durations of the animation's frames, in milliseconds."""


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
    _require_positions(task)
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
        act: called ``act(observation [R, E, N, O], noise=0.0, random=...) -> [R, E, N, A]``.
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
    states = [state]
    with torch.no_grad():
        for step in range(task.horizon):
            source = random.fold("act").fold(step)
            action = act(task.observe(state), noise=0.0, random=source)
            state = task.step(state, action)
            states.append(state)
    return torch.stack(states)


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
    scene = _Scene(task, states)
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
    from matplotlib.colors import to_rgb
    from PIL import Image

    # One palette for all frames, of what is drawn and its tints: chosen from the pixels of a frame,
    # it would merge colours that few pixels have.  Finer tints would be taken for white.
    tints = np.linspace(0, 1, 14)[:, None]
    colours = [1 + tints * (np.array(to_rgb(c)) - 1) for c in (*COLOURS, SUCCESS, TARGET)]
    palette = Image.new("P", (1, 1))
    palette.putpalette((np.concatenate(colours) * 255).round().astype(np.uint8).tobytes())
    scene = _Scene(task, states)
    frames = []
    for step in range(len(states)):
        scene.draw(step)
        frames.append(
            Image.fromarray(scene.pixels()).quantize(palette=palette, dither=Image.Dither.NONE)
        )
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    with _writing(path):
        options = {"append_images": frames[1:], "duration": durations, "loop": 0}
        frames[0].save(path, "GIF", save_all=True, **options)


def picture(task: Task, state: Tensor) -> Image:
    """Draw one state.

    Args:
        task: as for :func:`watch`.
        state: [1, S].

    Returns:
        [height, width, 3] uint8.

    Raises:
        RequestError: if the task has no positions.
    """
    scene = _Scene(task, state[None])
    scene.draw(0)
    return scene.pixels()


def _require_positions(task: Task) -> CoopNav:
    """Return the task as one that can be drawn.

    Raises:
        RequestError: if it has no positions.
    """
    if all(hasattr(task, name) for name in ("positions", "target_positions", "radius")):
        return task  # type: ignore[return-value]  # all that is used of it was looked for
    raise RequestError(
        f"cannot draw a task without positions ({type(task).__name__}); coop-nav can be drawn"
    )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorldError(f"cannot write {path}: {error.strerror or error}") from error


class _Scene:
    """A figure with a panel per episode, drawn up to a step.

    Args:
        task: as for :func:`watch`.
        states: [T + 1, E, S].
    """

    def __init__(self, task: Task, states: Tensor) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        drawable = _require_positions(task)
        states = states.detach().cpu()
        self.positions = drawable.positions(states).numpy()  # [T + 1, E, N, 2]
        self.targets = drawable.target_positions(states).numpy()
        self.success = task.metrics(states)["successful_steps"].bool().numpy()  # [T + 1, E]
        self.radius = drawable.radius
        self.horizon = len(states) - 1
        self.drawn: list[Artist] = []

        episodes = states.shape[1]
        columns = min(COLUMNS, episodes)
        rows = math.ceil(episodes / columns)
        entries = self._legend_entries()
        legend_columns = {1: 2, 2: 4}.get(columns, 7)
        legend_height = 0.22 * math.ceil(len(entries) / legend_columns) + 0.15
        size = (3.2 * columns + 0.3, 3.3 * rows + legend_height)
        self.figure = Figure(figsize=size, dpi=100, layout="constrained")
        self.canvas = FigureCanvasAgg(self.figure)
        self.figure.legend(
            handles=entries,
            loc="outside lower center",
            ncols=legend_columns,
            frameon=False,
            fontsize=8,
        )
        axes = self.figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        grid = list(axes.flat)
        self.panels, spare = grid[:episodes], grid[episodes:]
        for panel in spare:
            panel.set_axis_off()
        extent = float(max(np.abs(self.positions).max(), np.abs(self.targets).max(), 1.0))
        limits = (-extent - self.radius - 0.05, extent + self.radius + 0.05)
        for panel in self.panels:
            panel.set(xlim=limits, ylim=limits, aspect="equal", title=" ")
            panel.tick_params(labelsize=7)
        # What is the same at every step is laid out and rendered once.
        self.canvas.draw()  # type: ignore[no-untyped-call]
        self.figure.set_layout_engine("none")
        self.backdrop = self.canvas.copy_from_bbox(self.figure.bbox)  # type: ignore[no-untyped-call]

    def _legend_entries(self) -> list[Any]:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        def dot(label: str, face: str, edge: str, size: float) -> Line2D:
            style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": size}
            return Line2D([], [], label=label, markerfacecolor=face, markeredgecolor=edge, **style)

        agents = range(self.positions.shape[2])
        target = dot(f"target, cover radius {self.radius:g}", "white", TARGET, 10)
        if self.horizon == 0:
            return [*(dot(f"agent {i}", _colour(i), "white", 7) for i in agents), target]
        return [
            *(Line2D([], [], color=_colour(i), lw=2, label=f"agent {i}") for i in agents),
            dot("start", "white", TARGET, 4),
            dot("end", TARGET, "white", 7),
            target,
            Patch(color=SUCCESS, label="successful step"),
        ]

    def draw(self, step: int) -> None:
        """Draw every episode up to `step`."""
        for artist in self.drawn:
            artist.remove()
        self.drawn = []
        for episode, panel in enumerate(self.panels):
            success = self.success[: step + 1, episode]
            self.drawn += _draw_episode(
                panel,
                self.positions[: step + 1, episode],
                self.targets[step, episode],
                success,
                self.radius,
            )
            if self.horizon:
                self.drawn += _draw_time(panel, success, self.horizon)
                so_far = f"step {step}, " if step < self.horizon else ""
                count = f"{success[1:].sum()} of {self.horizon} steps successful"
                panel.set_title(f"episode {episode}: {so_far}{count}", fontsize=8)

    def pixels(self) -> Image:
        """Return what was drawn: [height, width, 3] uint8."""
        self.canvas.restore_region(self.backdrop)  # type: ignore[no-untyped-call]
        for artist in sorted(self.drawn, key=lambda artist: artist.zorder):
            self.figure.draw_artist(artist)
        for panel in self.panels:
            panel.draw_artist(panel.title)
        pixels = np.asarray(self.canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        image: Image = pixels[..., :3].copy()
        return image


def _colour(agent: int) -> str:
    return COLOURS[agent % len(COLOURS)]


def _draw_episode(
    panel: Axes,
    positions: np.ndarray[Any, Any],
    targets: np.ndarray[Any, Any],
    success: np.ndarray[Any, Any],
    radius: float,
) -> list[Artist]:
    """Draw one episode as far as it has come.

    Args:
        panel: where to draw.
        positions: [t + 1, N, 2].
        targets: [N, 2].
        success: [t + 1] bool; the first is the initial state's, which is no step.
        radius: cover radius.

    Returns:
        What was drawn, to be removed before the next step.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.patches import Circle

    drawn: list[Artist] = []
    edge, strength = (SUCCESS, 0.25) if success[-1] else (TARGET, 0.10)
    for target in targets:
        circle = Circle(tuple(target), radius, facecolor=(edge, strength), edgecolor=edge, lw=1)
        drawn.append(panel.add_patch(circle))
        drawn += panel.plot(*target, marker="+", color=edge, ms=5, mew=1)
    for agent, path in enumerate(positions.swapaxes(0, 1)):
        colour = _colour(agent)
        if len(path) > 1:
            segments = np.stack([path[:-1], path[1:]], 1)
            # The path fades towards its start, by length: an agent at rest fades no further.
            length = np.linalg.norm(path[1:] - path[:-1], axis=-1).cumsum()
            alpha = np.clip(0.2 + 0.8 * length / max(float(length[-1]), 1e-9), 0, 1)
            lines = LineCollection(list(segments), colors=colour, alpha=alpha, lw=1.8)
            drawn.append(panel.add_collection(lines, autolim=False))
            drawn += panel.plot(*path[0], marker="o", ms=4, mfc="white", mec=colour, zorder=3)
        reached = path[1:][success[1:]]
        drawn += panel.plot(*reached.T, ls="none", marker="o", ms=3, color=SUCCESS, zorder=4)
        drawn += panel.plot(*path[-1], marker="o", ms=7, mfc=colour, mec="white", zorder=5)
    return drawn


def _draw_time(panel: Axes, success: np.ndarray[Any, Any], horizon: int) -> list[Artist]:
    """Draw time as a bar along the bottom, a cell a step, coloured where the step succeeded."""
    style: dict[str, Any] = {"transform": panel.transAxes, "zorder": 6, "lw": 0}
    passed = [(0, (len(success) - 1) / horizon)]
    cells = [(step / horizon, 1 / horizon) for step in np.flatnonzero(success[1:])]
    return [
        panel.broken_barh(passed, (0, 0.025), color="#CCCCCC", **style),
        panel.broken_barh(cells, (0, 0.025), color=SUCCESS, **style),
    ]
