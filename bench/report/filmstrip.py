"""One episode, chosen by rule, frame by frame, and as an animation; so the source's Figure 5.

:func:`bench.report.teams.example` or :func:`bench.report.recipe.example` chooses the run, and its
record the episode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import scene
from bench.report import style
from bench.report.aggregate import world
from bench.report.formats import Table
from bench.report.teams import Example

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAMES = 6
COLUMNS = 3


def filmstrip(example: Example) -> Figure:
    """Draw the frames, with a diamond wherever an agent has switched by then."""
    figure = style.new_figure(style.TEXT_WIDTH, 5.0)
    axes = figure.subplots(-(-FRAMES // COLUMNS), COLUMNS, sharex=True, sharey=True)
    reached = successes(example)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, step in zip(axes.flat, frames(example), strict=False):
        _frame(ax, example, reached, step)
    figure.legend(
        handles=_legend(example),
        loc="outside lower center",
        ncols=4,
        handlelength=1.6,
        fontsize=7.5,
    )
    return figure


def frames(example: Example) -> list[int]:
    """Choose the steps to show: evenly from 0 to the last of what happens, then the final one.

    Something happens until the last switch and the first successful step, whichever is later; one
    step more shows what it led to.  Without a success the steps are spread over the whole episode.
    """
    reached = successes(example)
    horizon = len(reached) - 1
    switched = max((step for step, _ in example.teamwork.example.switches), default=0)
    succeeded = int(reached.argmax()) if reached.any() else horizon
    end = min(max(switched + 1, succeeded) + 1, horizon)
    count = FRAMES if end == horizon else FRAMES - 1
    steps = np.linspace(0, end, count).round().astype(int).tolist()
    return list(dict.fromkeys([*steps, horizon]))


def successes(example: Example) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Say after which steps all targets are covered one-to-one: [T + 1]; the start is no step."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    episode = example.teamwork.example
    positions, targets = np.array(episode.positions), np.array(episode.targets)
    apart = np.linalg.norm(positions[:, :, None] - targets, axis=-1)
    covers = apart <= _radius(example)
    # Who has no target is matched with -1.
    matched = [maximum_bipartite_matching(csr_matrix(step)) for step in covers]
    reached = np.array([bool((targets_of >= 0).all()) for targets_of in matched])
    reached[0] = False
    return reached


def animation(example: Example) -> bytes:
    """Return the episode as a GIF, a frame a step."""
    episode = example.teamwork.example
    positions, reached = np.array(episode.positions)[:, None], successes(example)[:, None]
    targets = np.broadcast_to(np.array(episode.targets), positions.shape)
    return scene.animation(scene.Scene(positions, targets, reached, _radius(example)))


def _radius(example: Example) -> float:
    return float(world(example.outcome.config).task_options["radius"])


def described(example: Example | None) -> Table:
    """Say in one row which episode is shown; no row if none is."""
    if example is None:
        return []
    config, episode = example.outcome.config, example.teamwork.example
    options = world(config).task_options
    return [
        {
            "experiment": example.row.cell.experiment,
            "method": config.method,
            "reward": config.reward,
            "sampler": config.sampler,
            "agents": config.agents,
            "dynamics": options["dynamics"],
            "radius": options["radius"],
            "seed": config.seed,
            "score": example.outcome.last,
            "switches": len(episode.switches),
            "successful_steps": int(successes(example).sum()),
            "horizon": example.outcome.horizon,
        }
    ]


def _frame(
    ax: Axes, example: Example, reached: np.ndarray[Any, np.dtype[np.bool_]], step: int
) -> None:
    """Draw the episode up to a step."""
    episode = example.teamwork.example
    positions, targets = np.array(episode.positions), np.array(episode.targets)
    ax.set_axis_on()
    ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
    for side in ("top", "right"):
        ax.spines[side].set_visible(True)
    ax.set_title(f"step {step}{': all covered' if reached[step] else ''}", size=8)
    scene.draw_episode(ax, positions[: step + 1], targets, reached[: step + 1], _radius(example))
    for agent, at in enumerate(positions[step]):
        ax.annotate(
            str(agent),
            at,
            (5, 4),
            textcoords="offset points",
            size=7,
            color=scene.colour_of(agent),
        )
    for switched, agent in episode.switches:
        if switched < step:
            ax.plot(
                *positions[switched, agent],
                marker="D",
                ms=6,
                mfc="white",
                mec=scene.colour_of(agent),
                mew=1.4,
                zorder=6,
            )


def _legend(example: Example) -> list[Any]:
    from matplotlib.lines import Line2D

    def mark(marker: str, label: str, size: float, face: str, edge: str) -> Line2D:
        return Line2D(
            [], [], ls="none", marker=marker, ms=size, mfc=face, mec=edge, label=label, mew=1.2
        )

    episode = example.teamwork.example
    agents = range(len(episode.targets))
    switched = mark("D", "where it switched target", 6, "white", scene.TARGET)
    return [
        *(
            Line2D([], [], color=scene.colour_of(agent), lw=2, label=f"agent {agent}")
            for agent in agents
        ),
        mark("o", "where it started", 4, "white", scene.TARGET),
        *([switched] if episode.switches else []),
        mark("o", "target, cover radius (green: all covered)", 10, "white", scene.TARGET),
        mark("o", "agent in a successful step", 3, scene.SUCCESS, scene.SUCCESS),
    ]
