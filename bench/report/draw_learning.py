"""Learning curves of every method of a grid, setting by setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.report import style
from bench.report.aggregate import Row, Setting, nothing
from bench.report.contestants import Kind, by_kind, described, kind, settings
from bench.report.draw_curves import band_note, curve
from bench.report.draw_methods import METHOD_LINES, line_look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 7
"""Lines of panels that a page has room for."""


def lines(table: list[Row]) -> list[tuple[Kind, list[str]]]:
    """Say what is drawn in each line of panels: a reward and a sampler, and names.

    As many names as there are colours share a line; of more, each has as many below it as it takes.
    Settings and names are those of :mod:`bench.report.contestants`.
    """
    most = len(METHOD_LINES)
    return [
        (of, own[first : first + most])
        for of, own in by_kind(settings(table)).items()
        for first in range(0, len(own), most)
    ]


def fits_a_page(table: list[Row]) -> bool:
    """Say whether the figure can be read."""
    return len(lines(table)) <= LINES


def every_curve(table: list[Row]) -> Figure:
    """Draw a panel per setting: each method's IQM in training, with its band or single seeds."""
    found, listed = settings(table), lines(table)
    columns = sorted({setting.world.agents for setting in found})
    figure = style.new_figure(style.TEXT_WIDTH, min(style.PAGE_HEIGHT, 0.7 + 1.35 * len(listed)))
    shares = [1.0] * len(columns) + [0.01]  # the last is for legends
    axes = figure.subplots(
        len(listed), len(shares), squeeze=False, sharex=True, sharey=True, width_ratios=shares
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for line, (of, own) in zip(axes, listed, strict=True):
        _legend(line[-1], of, own)
        for setting, contestants in found.items():
            rows = {name: contestants[name] for name in own if name in contestants}
            if kind(setting) == of and rows:
                _panel(line[columns.index(setting.world.agents)], setting, rows, own)
    drawn = [row.cell for contestants in found.values() for row in contestants.values()]
    outcomes = [outcome for cell in drawn for outcome in cell.outcomes]
    limits = style.score_range(outcomes)
    if limits:
        axes[0, 0].set_ylim(limits)
    axes[0, 0].set_xlim(0, drawn[0].config.episodes / 1000)
    figure.supxlabel("training episodes (thousands)", fontsize=8)
    figure.supylabel(style.metric_label(outcomes[0].metric) if outcomes else "score", fontsize=8)
    note = f"IQM over seeds, {band_note(drawn)}"
    style.headed(figure, f"{described(found, table)}\n{note}", drawn)
    return figure


def _panel(ax: Axes, setting: Setting, rows: dict[str, Row], own: list[str]) -> None:
    ax.set_axis_on()
    ax.set_title(f"N = {setting.world.agents}", size=6.5)
    ax.tick_params(labelleft=True, labelbottom=True, labelsize=6.5)
    for name, row in rows.items():
        if row.cell.outcomes:
            color, dashes = line_look(own.index(name))
            curve(ax, row.cell, color=color, linestyle=dashes, linewidth=1)
    cells = [row.cell for row in rows.values()]
    if not any(cell.outcomes for cell in cells):
        ax.text(0.5, 0.4, nothing(cells), transform=ax.transAxes, ha="center", size=6.5)
    style.oracle_line(ax, next(iter(rows.values())).reference.oracle)


def _legend(ax: Axes, of: Kind, own: list[str]) -> None:
    from matplotlib.lines import Line2D

    looks = [line_look(place) for place in range(len(own))]
    ax.legend(
        handles=[
            Line2D([], [], color=color, linestyle=dashes, label=name)
            for name, (color, dashes) in zip(own, looks, strict=True)
        ],
        title=", ".join(of),
        title_fontproperties={"size": 6.5, "weight": "bold"},
        alignment="left",
        loc="center left",
        bbox_to_anchor=(0, 0.5),
        fontsize=6,
        labelspacing=0.3,
        handlelength=2.6,
        borderpad=1,  # room for text that a file's resolution makes wider
        borderaxespad=0,
    )
