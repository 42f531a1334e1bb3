"""The methods compared: final scores setting by setting, and performance profiles over all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import stats
from bench.report import style
from bench.report.aggregate import Cell, Row, Setting
from bench.report.contestants import Kind, by_kind, described, kind, settings
from bench.report.standings import Overall, Standing
from bench.resampling import Array
from bench.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHOD_LINES = [
    (style.BLUE, "-"),
    (style.VERMILION, "--"),
    (style.GREEN, "-."),
    (style.PURPLE, ":"),
    (style.ORANGE, (0, (5, 1, 1, 1, 1, 1))),
    (style.SKY, (0, (1, 1))),
    (style.BLACK, (0, (8, 2))),
]
"""Colour and dashes of the first seven lines of a figure."""
COLUMNS = 5
"""Panels side by side."""


def line_look(place: int) -> tuple[str, Any]:
    """Return colour and dashes of a line, by its place: no two of the first 49 share both."""
    count = len(METHOD_LINES)
    return METHOD_LINES[place % count][0], METHOD_LINES[(place + place // count) % count][1]


def final_scores(table: list[Row]) -> Figure:
    """Draw a panel per setting, its methods below each other: every run, the IQM, the interval.

    Settings and names are those of :mod:`bench.report.contestants`.
    """
    found = settings(table)
    columns = sorted({setting.world.agents for setting in found})
    listed = by_kind(found)
    count = sum(map(len, listed.values()))
    pitch = min(0.16, (style.PAGE_HEIGHT - 0.8 - 0.53 * len(listed)) / count)
    figure = style.new_figure(style.TEXT_WIDTH, 0.8 + 0.53 * len(listed) + pitch * count)
    axes = figure.subplots(
        len(listed),
        len(columns),
        squeeze=False,
        sharex=True,
        sharey="row",
        height_ratios=[0.53 + pitch * len(own) for own in listed.values()],
    )
    for line, (of, own) in zip(axes, listed.items(), strict=True):
        for ax in line:
            ax.set_axis_off()
        _name(line[0], of, own, size=min(6.5, 0.8 * 72 * pitch))
    for setting, contestants in found.items():
        if own := listed.get(kind(setting), []):
            line = axes[list(listed).index(kind(setting))]
            _final_panel(line[columns.index(setting.world.agents)], setting, contestants, own)
    drawn = [row.cell for rows in found.values() for row in rows.values()]
    outcomes = [outcome for cell in drawn for outcome in cell.outcomes]
    limits = style.score_range(outcomes)
    if limits:
        axes[0, 0].set_xlim(limits)
    figure.supxlabel(
        f"{style.score_label(outcomes)} (dots: runs; diamond: IQM; bar: 95% bootstrap interval, "
        f"from {stats.MIN_SEEDS} seeds)",
        fontsize=8,
    )
    style.headed(figure, described(found, table), drawn)
    return figure


def _name(ax: Axes, of: Kind, names: list[str], size: float) -> None:
    """Say left of the first column what a line of panels and each of its rows is.

    Also where the first column has no panel in this line: its axes show, the names apart, nothing.
    """
    ax.set_axis_on()
    ax.xaxis.set_visible(False)
    ax.spines[:].set_visible(False)
    ax.set_yticks(range(len(names)), names, size=size)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) + 0.5, -0.6)  # below the last row is the oracle's label
    heading = ax.annotate(
        ", ".join(of),
        (0.01, 1),
        (0, 5),
        xycoords=("figure fraction", "axes fraction"),
        textcoords="offset points",
        size=6.5,
        weight="bold",
        annotation_clip=False,
    )
    heading.set_in_layout(False)  # which would move the axes by where the figure begins


def _final_panel(ax: Axes, setting: Setting, contestants: dict[str, Row], names: list[str]) -> None:
    ax.set_axis_on()
    ax.xaxis.set_visible(True)
    ax.spines[["left", "bottom"]].set_visible(True)
    ax.set_title(f"N = {setting.world.agents}", size=6.5)
    for name, row in contestants.items():
        if name not in names:
            continue
        strip(ax, names.index(name), row.cell.scores, row.score, row.cell)
    style.oracle_line(ax, next(iter(contestants.values())).reference.oracle, across=False)
    ax.tick_params(axis="x", labelbottom=True)
    ax.tick_params(axis="y", length=2)


def strip(ax: Axes, place: float, runs: Array, found: Estimate | None, cell: Cell) -> None:
    """Draw a row: the runs as dots, IQM and interval, and how many runs there are if not all."""
    ax.plot(runs, np.full(len(runs), place), "o", color="0.7", ms=2.5, mew=0)
    if cell.problems:
        ax.annotate(
            f"{len(cell.outcomes)}/{cell.expected}",
            (1, place),
            xycoords=("axes fraction", "data"),
            va="center",
            size=5.5,
            color=style.VERMILION,
        )
    if found is None:
        return
    if found.lo is not None and found.hi is not None:
        ax.plot([found.lo, found.hi], [place, place], color=style.BLUE, lw=2.2)
    ax.plot(found.point, place, "D", color=style.BLUE, ms=4, mfc="white", zorder=3)


def profiles(standings: Overall) -> Figure:
    """Draw for each method the share of runs above each normalised score, with its band.

    A panel each, before the lines of the others: methods that score alike would hide each other.
    """
    columns = min(COLUMNS, len(standings.standings))
    lines = -(-len(standings.standings) // columns)
    figure = style.new_figure(style.TEXT_WIDTH, 0.5 + 1.1 * lines)
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(standings.standings) :]:
        ax.set_axis_off()
    thresholds = np.linspace(0, 1, 101)
    shares = {
        s.method: stats.performance_profile(s.strata, thresholds)
        for s in standings.standings
        if s.strata
    }
    for ax, standing in zip(axes.flat, standings.standings, strict=False):
        for share in shares.values():
            ax.plot(thresholds, share, color="0.85", linewidth=0.6)
        if standing.method in shares:
            ax.plot(thresholds, shares[standing.method], color=style.BLUE)
        if stats.enough(standing.strata):
            band = stats.performance_profile_band(standing.strata, thresholds)
            ax.fill_between(thresholds, *band, color=style.BLUE, alpha=0.2, linewidth=0)
        ax.set_title(standing.method, size=7, pad=3)
        if standing.left_out or standing.runs != standing.expected:
            ax.text(0.04, 0.06, _entered(standing), size=6, color=style.VERMILION)
        ax.set_xlim(0, 1)
        ax.set_ylim(-0.02, 1.02)  # so that a line along the bottom shows
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    figure.supxlabel("normalised score τ (random 0, oracle 1)", fontsize=8)
    figure.supylabel("share of runs above τ", fontsize=8)
    return figure


def _entered(standing: Standing) -> str:
    """Say how many of a method's runs there are, and why the others are not, if not for lack."""
    runs = f"{standing.runs}/{standing.expected} runs"
    if standing.left_out == f"{standing.expected - standing.runs} missing":
        return runs
    return f"{runs}: {standing.left_out}"
