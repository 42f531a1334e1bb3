"""Figures of why: enrichment by replay, switches of target, the distance reward, sensitivity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from bench import stats
from bench.report import style
from bench.report.aggregate import Row, normalised_scores, nothing
from bench.report.distance import mean_distance
from bench.report.draw_curves import CURVE_MARKERS, SAMPLER_DASHES
from bench.report.mechanism import courses
from bench.report.sensitivity import Change
from bench.report.teams import learned_teams
from bench.resampling import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Contrasts = dict[tuple[str, int], dict[str, Row]]
"""Curves by experiment and number of agents: see :func:`bench.report.mechanism.contrasts`."""
SAMPLERS = (("A", "uniform", style.BLACK), ("B", "prioritized", style.BLUE))
"""Curves of the group goal by sampler, and their colours."""
LEAST = 0.1
"""Lower end of the enrichment's axis: a run may have no rewarded transition in any batch."""
COLUMNS = 4
"""Panels side by side."""


def _panels(
    found: Contrasts, xlabel: str, ylabel: str, note: str = ""
) -> tuple[Figure, list[Axes]]:
    """Make a figure with a titled panel for each experiment and number of agents.

    Args:
        found: by experiment and number of agents.
        xlabel: of every panel.
        ylabel: of all.
        note: what to write in the place after the last panel.
    """
    count = len(found) + bool(note)
    columns = min(COLUMNS, count)
    rows = math.ceil(count / columns)
    figure = style.new_figure(style.TEXT_WIDTH * max(columns, 2) / COLUMNS, 0.9 + 1.2 * rows)
    grid = list(figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat)
    for ax, (experiment, agents) in zip(grid, found, strict=False):
        ax.set_title(f"{experiment}, N = {agents}", size=7)
    for spare in grid[len(found) :]:
        spare.set_axis_off()
    if note:
        place = grid[len(found)]
        place.text(0, 1, note, transform=place.transAxes, va="top", size=7, color=style.GREY)
    for lowest in grid[: len(found)][-columns:]:
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel(xlabel)
    figure.supylabel(ylabel, size=8)
    return figure, grid[: len(found)]


def _say(ax: Axes, text: str) -> None:
    ax.text(0.5, 0.75, text, transform=ax.transAxes, ha="center", size=7, color=style.GREY)


def enrichment(found: Contrasts) -> Figure:
    """Draw how much richer in rewarded transitions batches are than the buffer, for A and B.

    The thick line is the median over the runs that have a rewarded transition by then, thin lines
    are runs.
    """
    figure, axes = _panels(found, "episodes (thousands)", "rewarded share, batches / buffer")
    axes[0].set_yscale("log")
    axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes[0].yaxis.set_minor_formatter(lambda value, _: "")
    for ax, panel in zip(axes, found.values(), strict=True):
        ax.axhline(1, color=style.GREY, lw=0.6)
        for letter, sampler, colour in SAMPLERS:
            course = courses(panel[letter])
            if course is None:
                continue
            ratio, episodes = course.enrichment, course.episode / 1000
            some = np.isfinite(ratio).any(axis=0)
            if some.any():
                dashes, marker = SAMPLER_DASHES[sampler], CURVE_MARKERS[letter]
                ax.plot(episodes, _above_zero(ratio.T), dashes, color=colour, lw=0.4, alpha=0.5)
                ax.plot(
                    episodes[some],
                    _above_zero(np.nanmedian(ratio[:, some], axis=0)),
                    dashes,
                    color=colour,
                    marker=marker,
                    ms=3.5,
                    mfc="white",
                    markevery=(0 if letter == "A" else 3, 6),
                    label=f"{letter}: {sampler}",
                )
        if len(ax.lines) == 1:
            both = [panel[letter].cell for letter in "AB"]
            run = [letter for letter in "AB" if panel[letter].cell.outcomes]
            other = nothing(cell for cell in both if not cell.outcomes)
            of = f"\nin {run[0]}, {other} of the other" if len(run) == 1 else ""
            _say(ax, f"nothing rewarded{of}" if run else other)
    axes[0].set_ylim(bottom=max(axes[0].get_ylim()[0], LEAST))
    _legend(figure, axes)
    style.notice(figure, (panel[letter].cell for panel in found.values() for letter in "AB"))
    return figure


def _above_zero(ratio: Array) -> Array:
    """Leave a gap at 0, which a logarithmic axis has no place for."""
    return np.where(ratio > 0, ratio, np.nan)


def _legend(figure: Figure, axes: list[Axes]) -> None:
    """Put one legend below all panels, in the order in which labels are first drawn."""
    labelled = {
        label: handle
        for ax in axes
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    if labelled:
        figure.legend(
            labelled.values(),
            labelled.keys(),
            loc="outside lower center",
            ncols=len(labelled),
            handlelength=3.2,
        )


def switches(found: Contrasts) -> Figure:
    """Draw when agents of curve B switch, in the runs that learned, beside frozen team-mates.

    Args:
        found: in one of which a run, at least, has learned.
    """
    learned = {at: panel for at, panel in found.items() if learned_teams(panel["B"])}
    rest = _without(found, learned)
    figure, axes = _panels(learned, "step of the episode", "switches per agent and step", rest)
    for ax, panel in zip(axes, learned.values(), strict=True):
        row = panel["B"]
        teams = learned_teams(row)
        count = f"{len(teams)} of {row.cell.expected} runs"
        ax.text(0.98, 0.97, count, transform=ax.transAxes, ha="right", va="top", size=6.5)
        for label, colour, dashes, runs in (
            ("with team-mates", style.BLUE, "-", [team.switches for team in teams]),
            ("team-mates frozen", style.VERMILION, "--", [team.switches_frozen for team in teams]),
        ):
            point, lo, hi = stats.curve_band(np.array(runs))
            steps = np.arange(1, len(point) + 1)
            if lo is not None and hi is not None:
                ax.fill_between(steps, lo, hi, color=colour, alpha=0.18, linewidth=0)
            else:
                ax.plot(steps, np.array(runs).T, color=colour, lw=0.4, alpha=0.5)
            ax.plot(steps, point, dashes, color=colour, label=label)
    axes[0].set_ylim(bottom=0)
    _legend(figure, axes)
    style.notice(figure, (panel["B"].cell for panel in found.values()))
    return figure


def _without(found: Contrasts, learned: Contrasts) -> str:
    """Name what is not drawn, with its numbers of agents, below the reason."""
    teams: dict[str, dict[str, list[str]]] = {}
    for (experiment, agents), panel in found.items():
        if (experiment, agents) not in learned:
            of_reason = teams.setdefault(_why_not(panel["B"]), {})
            of_reason.setdefault(experiment, []).append(str(agents))
    return "\n".join(
        line
        for why, experiments in teams.items()
        for line in (
            f"{why}:",
            *(f"{name}, N = {', '.join(sizes)}" for name, sizes in experiments.items()),
        )
    )


def _why_not(row: Row) -> str:
    """Say why no run of a curve B is known to have learned."""
    if not row.cell.outcomes:
        return f"{row.cell.why_empty} of B"
    return "no run of B learned" if row.reference.oracle is not None else "no record of the oracle"


# -- the distance reward ---------------------------------------------------------------------------


def distance(table: list[Row]) -> Figure:
    """Draw for each method that plays for the distance reward what it gets and what it achieves.

    Args:
        table: rows as :func:`bench.report.distance.pursued` returns them.
    """
    figure = style.new_figure(style.TEXT_WIDTH / 2, 3.2)
    near, solved = figure.subplots(2, 1, sharex=True)
    teams = sorted({row.cell.config.agents for row in table})
    methods = list(dict.fromkeys(row.cell.config.method for row in table))
    width = 0.8 / len(methods)
    looks = ((style.ORANGE, ""), (style.BLUE, "//"), (style.GREEN, ".."), (style.PURPLE, "xx"))
    for row in table:
        place = methods.index(row.cell.config.method)
        at = teams.index(row.cell.config.agents) + (place - (len(methods) - 1) / 2) * width
        colour, hatch = looks[place % len(looks)]
        for ax, height, digits in ((near, mean_distance(row), 3), (solved, row.mean or 0.0, 1)):
            ax.bar(at, height, width, color=colour, hatch=hatch, edgecolor="white", lw=0.5)
            ax.annotate(
                f"{height:.{digits}f}",
                (at, height),
                (0, 1),
                textcoords="offset points",
                ha="center",
                size=6,
            )
    for ax in (near, solved):
        ax.set_xticks(range(len(teams)), [f"N = {agents}" for agents in teams])
        ax.margins(y=0.12)
    near.set_ylabel("mean distance")
    near.set_title("agents to targets: the less, the more return", size=8)
    solved.set_ylabel("steps per episode")
    solved.set_title(table[0].cell.outcomes[0].metric.replace("_", " "), size=8)
    handles = [
        near.patches[[row.cell.config.method for row in table].index(method)] for method in methods
    ]
    figure.legend(handles, methods, loc="outside lower center", ncols=len(methods))
    style.notice(figure, (row.cell for row in table))
    return figure


# -- sensitivity -----------------------------------------------------------------------------------


def sensitivity(found: dict[int, list[Change]]) -> Figure:
    """Draw a panel per number of agents: each change's normalised score below the default's.

    From MIN_SEEDS runs there is an interval; runs are dots; what has no run says so.
    """
    labels = list(dict.fromkeys(change.label for listed in found.values() for change in listed))
    figure = style.new_figure(style.TEXT_WIDTH, 1.05 + 0.12 * len(labels))
    axes = figure.subplots(1, len(found), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (agents, listed) in zip(axes, found.items(), strict=True):
        ax.set_title(f"N = {agents}")
        for place in range(1, len(labels), 2):
            ax.axhspan(place - 0.5, place + 0.5, color="0.95", lw=0, zorder=0)
        for change in listed:
            _change(ax, change, labels.index(change.label))
    axes[0].set_yticks(range(len(labels)), labels, size=6.5)
    axes[0].set_ylim(len(labels) - 0.4, -0.6)
    axes[0].set_xlim(-0.04, 1.25)  # room for counts beside the scores
    axes[0].set_xticks([0, 0.5, 1])
    figure.supxlabel(
        "normalised score: random 0, oracle 1\n(dots: runs; diamond: IQM; bar: 95% bootstrap "
        f"interval, from {stats.MIN_SEEDS} seeds; band: the default's)",
        size=8,
    )
    style.notice(figure, (change.row.cell for listed in found.values() for change in listed))
    return figure


def _change(ax: Axes, change: Change, place: int) -> None:
    row, found = change.row, change.row.normalised
    if found is None:
        text = "no oracle or random" if row.cell.outcomes else row.cell.why_empty
        ax.text(0.02, place, text, va="center", size=6, color=style.VERMILION)
        return
    colour = style.BLACK if change.setting is None else style.BLUE
    scores = normalised_scores(row)
    ax.plot(scores, np.full(len(scores), place), "o", color="0.6", ms=2.2, mew=0)
    if found.lo is not None and found.hi is not None:
        ax.plot([found.lo, found.hi], [place, place], color=colour, lw=2)
        if change.setting is None:
            ax.axvspan(found.lo, found.hi, color=style.SKY, alpha=0.25, lw=0, zorder=0)
    ax.plot(found.point, place, "D", color=colour, ms=3.5, mfc="white", zorder=3)
    if row.cell.problems:
        ax.annotate(
            f"{len(row.cell.outcomes)}/{row.cell.expected}",
            (1, place),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="center",
            size=6,
            color=style.VERMILION,
        )
