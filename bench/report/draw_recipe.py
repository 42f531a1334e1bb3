"""A recipe: its score against the number of agents, and what each ingredient is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import stats
from bench.report import style
from bench.report.aggregate import Row, nothing
from bench.report.draw_methods import line_look, strip
from bench.report.recipe import Comparison, Lines, sizes_of, transferred
from bench.resampling import Array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "oDs^vPX"
APART = 0.03
"""Octaves between lines at one number of agents."""


def scaling(found: Lines) -> Figure:
    """Draw the lines with their runs, the ends of the scale, and the targets of the recipe.

    Lines of other worlds, which have ends of their own, and those without runs are left to the
    table.  Teams grow by factors along the axis, so that the many lines of small ones lie apart.
    """
    figure = style.new_figure(style.TEXT_WIDTH, 2.6)
    ax = figure.subplots()
    here = {name: rows for name, rows in found.rows.items() if _like_own(found, rows.values())}
    every = [row.cell for rows in here.values() for row in rows.values()]
    drawn = {name: {N: row.cell.scores for N, row in rows.items()} for name, rows in here.items()}
    for row in found.transfer:
        name = f"{row.cell.config.method}, trained at N = {row.cell.config.agents} only"
        drawn[name] = {N: transferred(row, N) for N in sizes_of(row)}
        every.append(row.cell)
    sizes = sorted({N for points in drawn.values() for N in points})
    _scale(ax, found)
    run = [name for name, points in drawn.items() if any(len(runs) for runs in points.values())]
    for place, name in enumerate(run):
        colour, dashes = line_look(place)
        look = (colour if name in here else style.GREY, dashes)
        _line(ax, place, look, name, drawn[name])
    outcomes = [outcome for cell in every for outcome in cell.outcomes]
    if not outcomes:
        said = nothing(every)
        ax.text(0.5, 0.5, said, transform=ax.transAxes, ha="center", color=style.VERMILION)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(N) for N in sizes])
    ax.set_xticks([], minor=True)
    ax.set_xlim(sizes[0] * 2**-0.25, sizes[-1] * 2**0.25)
    ax.set_ylim(-0.8, None)
    ax.set_xlabel("number of agents N")
    ax.set_ylabel(style.metric_label(outcomes[0].metric) if outcomes else "score")
    figure.legend(loc="outside right center", fontsize=6, handlelength=2.6, labelspacing=0.7)
    style.notice(figure, every)
    return figure


def _like_own(found: Lines, rows: Iterable[Row]) -> bool:
    """Whether rows play the recipe's task with the same options."""
    own = next(iter(found.own.values())).cell.setting.world
    worlds = [row.cell.setting.world for row in rows]
    return all((world.task, world.options) == (own.task, own.options) for world in worlds)


def _scale(ax: Axes, found: Lines) -> None:
    """Draw what the oracle and random actions score in the recipe's world, and its targets."""
    rows = [row for drawn in found.rows.values() for row in drawn.values()]
    references = {
        row.cell.config.agents: row.reference
        for row in sorted(rows, key=lambda row: row.cell.config.agents)
        if _like_own(found, [row])
    }
    for label, width, ends in (
        ("scripted oracle", 1.6, {N: ends.oracle for N, ends in references.items()}),
        ("random actions", 0.8, {N: ends.random for N, ends in references.items()}),
    ):
        known = {N: value for N, value in ends.items() if value is not None}
        if known:
            x, y = zip(*known.items(), strict=True)
            ax.plot(x, y, color=style.GREY, lw=width, ls=":", label=label)
    label = "target of the recipe"
    for N, share in found.recipe.targets.items():
        oracle = references[N].oracle if N in references else None
        if oracle is not None:
            at = share * oracle
            sides = [N * 2**-0.15, N * 2**0.15]
            ax.plot(sides, [at, at], color=style.BLUE, lw=4, alpha=0.25, label=label)
            label = "_"


def _line(
    ax: Axes, place: int, look: tuple[str, Any], label: str, points: dict[int, Array]
) -> None:
    """Draw runs, IQM and interval by number of agents; without an interval the marker is full."""
    colour, dashes = look
    marker = MARKERS[(place + place // len(MARKERS)) % len(MARKERS)]
    # The first where it belongs, the others to its right and left by turns.
    shift = APART * (-1) ** place * ((place + 1) // 2)
    there = {N * 2**shift: runs for N, runs in points.items() if len(runs)}
    scores = {at: stats.estimate([runs]) for at, runs in there.items()}
    ax.plot(
        list(scores),
        [score.point for score in scores.values()],
        color=colour,
        ls=dashes,
        marker=marker,
        ms=4.5,
        mfc="white",
        zorder=4 - place / 10,
        label=label,
    )
    for at, runs in there.items():
        ax.plot(np.full(len(runs), at), runs, "o", color=colour, ms=2.2, mew=0, alpha=0.45)
        lo, hi = scores[at].lo, scores[at].hi
        if lo is not None and hi is not None:
            ax.plot([at, at], [lo, hi], color=colour, lw=1.8, alpha=0.8)
        else:
            ax.plot(at, scores[at].point, marker, color=colour, ms=4.5, zorder=4 - place / 10)


def ingredients(found: Lines, compared: list[Comparison]) -> Figure:
    """Draw a line per ingredient: scores, and how often runs with it beat those without.

    What no run has been made of yet is left to the table.
    """
    N = found.recipe.ablated
    own = found.own.get(N)
    asked = [c for c in compared if c.kind in ("removed", "base", "added")]
    parts = [c for c in asked if not c.row.cell.untried]
    places = [1.6 + place + 0.8 * (c.kind != "removed") for place, c in enumerate(parts)]
    bottom = places[-1] if places else 0.0
    figure = style.new_figure(style.TEXT_WIDTH, 1.05 + 0.115 * bottom)
    score, beats = figure.subplots(1, 2, sharey=True, width_ratios=[1.7, 1])
    labels = {0.0: f"the recipe, N = {N}"}
    if own is not None:
        strip(score, 0, own.cell.scores, own.score, own.cell)
        style.oracle_line(score, own.reference.oracle, across=False)
        if own.score is not None:
            score.axvline(own.score.point, color=style.GREY, linewidth=0.8, linestyle="--")
    for place, c in zip(places, parts, strict=True):
        labels[place] = {"removed": f"− {c.what}", "base": "none of these"}.get(
            c.kind, f"+ {c.what}"
        )
        strip(score, place, c.row.cell.scores, c.row.score, c.row.cell)
        _probability(beats, place, c)
    beats.axvline(0.5, color=style.GREY, linewidth=0.8, linestyle=":")
    beats.set(xlim=(-0.03, 1.03), xticks=[0, 0.5, 1])
    ends = [own.reference.oracle or 0.0] if own else []
    tops = [float(c.row.cell.scores.max()) for c in parts if c.row.cell.outcomes]
    right = max([*ends, *tops, 1.0])
    score.set_xlim(-0.03 * right, 1.06 * right)
    score.set_yticks(list(labels), list(labels.values()), size=6.5)
    score.set_ylim(bottom + 1.6, -0.7)  # with room for the oracle's label
    score.set_title(style.score_label([] if own is None else own.cell.outcomes), size=8)
    beats.set_title("probability: with it beats without", size=8)
    figure.supxlabel(
        f"dots: runs; diamond: IQM; bar: 95% bootstrap interval, from {stats.MIN_SEEDS} seeds; "
        "dashes: the recipe",
        fontsize=8,
    )
    style.notice(figure, [*([own.cell] if own else []), *(c.row.cell for c in asked)])
    return figure


def _probability(ax: Axes, place: float, comparison: Comparison) -> None:
    found = comparison.probability
    if found is None:
        return
    if found.lo is not None and found.hi is not None:
        ax.plot([found.lo, found.hi], [place, place], color=style.BLUE, lw=2.2)
    ax.plot(found.point, place, "D", color=style.BLUE, ms=4, mfc="white", zorder=3)
    if comparison.verdict == "decisive":
        ax.annotate(
            "decisive",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            size=7,
            weight="bold",
        )
