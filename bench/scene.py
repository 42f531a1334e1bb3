"""Episodes of cooperative navigation as pictures: a panel each, drawn up to a step.

Everything that draws a state goes through :class:`Scene`: the PNG, each frame of a GIF, and the
PettingZoo bridge's rendering; a report's filmstrip, whose episode is in a record, through
:func:`draw_episode`.  Matplotlib is imported only when something is drawn.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from torch import Tensor

    from bench.interfaces import Task
    from bench.tasks.coop_nav import CoopNav

    Image = np.ndarray[Any, np.dtype[np.uint8]]

# Okabe and Ito's palette, told apart by the colour-blind, and a red of Tol's; green is for success.
COLOURS = ("#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442", "#882255")
SUCCESS = "#009E73"
TARGET = "#666666"

COLUMNS = 3
"""Episodes side by side."""
FRAME_MS, LAST_FRAME_MS = 120, 1500
"""Durations of an animation's frames, in milliseconds."""


def picture(task: Task, state: Tensor) -> Image:
    """Draw one state.

    Args:
        task: as for :func:`bench.watch.watch`.
        state: [1, S].

    Returns:
        [height, width, 3] uint8.

    Raises:
        RequestError: if the task has no positions.
    """
    scene = Scene.of(task, state[None])
    scene.draw(0)
    return scene.pixels()


def require_positions(task: Task) -> CoopNav:
    """Return the task as one that can be drawn.

    Raises:
        RequestError: if it has no positions.
    """
    if all(hasattr(task, name) for name in ("positions", "target_positions", "radius")):
        return task  # type: ignore[return-value]  # all that is used of it was looked for
    raise RequestError(
        f"cannot draw a task without positions ({type(task).__name__}); coop-nav can be drawn"
    )


class Scene:
    """A figure with a panel per episode, drawn up to a step.

    Args:
        positions: [T + 1, E, N, 2] of the agents.
        targets: [T + 1, E, N, 2].
        success: [T + 1, E] bool; the first is the initial state's, which is no step.
        radius: cover radius.
    """

    def __init__(
        self,
        positions: np.ndarray[Any, Any],
        targets: np.ndarray[Any, Any],
        success: np.ndarray[Any, Any],
        radius: float,
    ) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.positions, self.targets, self.success = positions, targets, success
        self.radius, self.horizon = radius, len(positions) - 1
        self.drawn: list[Artist] = []

        episodes = positions.shape[1]
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

    @classmethod
    def of(cls, task: Task, states: Tensor) -> Scene:
        """Make one of states [T + 1, E, S] of a task as for :func:`bench.watch.watch`.

        Raises:
            RequestError: if the task has no positions.
        """
        drawable = require_positions(task)
        states = states.detach().cpu()
        return cls(
            drawable.positions(states).numpy(),
            drawable.target_positions(states).numpy(),
            task.metrics(states)["successful_steps"].bool().numpy(),
            drawable.radius,
        )

    def _legend_entries(self) -> list[Any]:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        def dot(label: str, face: str, edge: str, size: float) -> Line2D:
            style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": size}
            return Line2D([], [], label=label, markerfacecolor=face, markeredgecolor=edge, **style)

        agents = range(self.positions.shape[2])
        target = dot(f"target, cover radius {self.radius:g}", "white", TARGET, 10)
        if self.horizon == 0:
            return [*(dot(f"agent {i}", colour_of(i), "white", 7) for i in agents), target]
        return [
            *(Line2D([], [], color=colour_of(i), lw=2, label=f"agent {i}") for i in agents),
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
            self.drawn += draw_episode(
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
                which = f"episode {episode}: " if len(self.panels) > 1 else ""
                panel.set_title(f"{which}{so_far}{count}", fontsize=8)

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


def animation(scene: Scene) -> bytes:
    """Return a GIF of episodes, a frame a step."""
    from matplotlib.colors import to_rgb
    from PIL import Image

    # One palette for all frames, of what is drawn and its tints: chosen from the pixels of a frame,
    # it would merge colours that few pixels have.  Finer tints would be taken for white.
    tints = np.linspace(0, 1, 14)[:, None]
    colours = [1 + tints * (np.array(to_rgb(c)) - 1) for c in (*COLOURS, SUCCESS, TARGET)]
    palette = Image.new("P", (1, 1))
    palette.putpalette((np.concatenate(colours) * 255).round().astype(np.uint8).tobytes())
    frames = []
    for step in range(scene.horizon + 1):
        scene.draw(step)
        frames.append(
            Image.fromarray(scene.pixels()).quantize(palette=palette, dither=Image.Dither.NONE)
        )
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    content = io.BytesIO()
    options = {"append_images": frames[1:], "duration": durations, "loop": 0}
    frames[0].save(content, "GIF", save_all=True, **options)
    return content.getvalue()


def colour_of(agent: int) -> str:
    """Return the colour of an agent."""
    return COLOURS[agent % len(COLOURS)]


def draw_episode(
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
        colour = colour_of(agent)
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
