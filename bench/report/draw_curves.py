"""The source paper's Figure 4: learning curves of one method, a panel per number of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bench import stats
from bench.report import style
from bench.report.aggregate import Cell, Row, nothing
from bench.report.curves import CURVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Colour is the reward and dashes are the sampler, so that the curves can be told apart in grey as
# well; markers, at other points on each curve, tell those that lie on each other.
REWARD_COLOURS = {"group-goal": style.BLUE, "summed-individual": style.ORANGE}
SAMPLER_DASHES: dict[str, Literal["--", "-"]] = {"uniform": "--", "prioritized": "-"}
CURVE_MARKERS = {"A": "o", "B": "s", "C": "^", "D": "D"}


def learning_curves(method: str, by_agents: dict[int, dict[str, Row]]) -> Figure:
    """Draw one panel per number of agents: IQM and band, or below MIN_SEEDS each seed."""
    single = len(by_agents) == 1
    figure = style.new_figure(style.TEXT_WIDTH / 2 if single else style.TEXT_WIDTH, 2.5)
    every = [row.cell for panel in by_agents.values() for row in panel.values()]
    outcomes = [outcome for cell in every for outcome in cell.outcomes]
    axes = figure.subplots(1, len(by_agents), sharey=True, squeeze=False)[0]
    for ax, (agents, panel) in zip(axes, by_agents.items(), strict=True):
        ax.set_title(f"N = {agents}\n{_seeds(panel)}", size=8)
        for place, (letter, row) in enumerate(panel.items()):
            _curve(ax, letter, row, place)
        cells = [row.cell for row in panel.values()]
        if not any(cell.outcomes for cell in cells):
            ax.text(0.5, 0.5, nothing(cells), transform=ax.transAxes, ha="center")
        style.oracle_line(ax, next(iter(panel.values())).reference.oracle)
        ax.set_xlabel("training episodes (thousands)")
        ax.set_xlim(0, max(row.cell.config.episodes for row in panel.values()) / 1000)
    axes[0].set_ylabel(style.metric_label(outcomes[0].metric) if outcomes else "score")
    limits = style.score_range(outcomes)
    if limits:
        axes[0].set_ylim(limits)
    separator = "\n" if single else " "
    heading = f"{method}: IQM over seeds,{separator}{band_note(every)}"
    style.headed(figure, heading, every)
    figure.legend(
        handles=_legend(), loc="outside lower center", ncols=1 if single else 2, handlelength=3.2
    )
    return figure


def _curve(ax: Axes, letter: str, row: Row, place: int) -> None:
    if not row.cell.outcomes:
        return
    reward, sampler = CURVES[letter]
    spacing = max(4, len(row.cell.outcomes[0].episode) // 6)
    curve(
        ax,
        row.cell,
        color=REWARD_COLOURS[reward],
        linestyle=SAMPLER_DASHES[sampler],
        marker=CURVE_MARKERS[letter],
        markersize=4,
        markerfacecolor="white",
        markevery=(place * spacing // 4, spacing),
        clip_on=False,
    )


def curve(ax: Axes, cell: Cell, color: str, **line: Any) -> None:
    """Draw a cell's curve, of at least one run: its IQM over a band, or over each seed.

    Args:
        ax: where.
        cell: whose.
        color: of both.
        line: how the IQM is drawn.
    """
    episodes = cell.outcomes[0].episode / 1000
    point, lo, hi = stats.curve_band(cell.curves)
    if lo is not None and hi is not None:
        ax.fill_between(episodes, lo, hi, color=color, alpha=0.18, linewidth=0)
    else:
        ax.plot(episodes, cell.curves.T, color=color, linewidth=0.5, alpha=0.6)
    ax.plot(episodes, point, color=color, zorder=3, **line)


def _seeds(panel: dict[str, Row]) -> str:
    """Say how many seeds the curves have, and how many of those that the grid asks for."""
    seeds = max(row.cell.expected for row in panel.values())
    there = sorted({len(row.cell.outcomes) for row in panel.values()})
    if there == [seeds]:
        return f"n = {seeds} seeds"
    return f"only {'–'.join(map(str, dict.fromkeys((there[0], there[-1]))))} of {seeds} seeds"


def band_note(every: list[Cell]) -> str:
    """Say what is drawn around the curves of cells."""
    full = [len(cell.outcomes) >= stats.MIN_SEEDS for cell in every if cell.outcomes]
    if all(full):
        return "bands: 95% bootstrap"
    few = f"thin lines: single seeds (fewer than {stats.MIN_SEEDS})"
    return f"bands: 95% bootstrap; {few}" if any(full) else few


def _legend() -> list[Line2D]:
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [],
            [],
            color=REWARD_COLOURS[reward],
            linestyle=SAMPLER_DASHES[sampler],
            marker=CURVE_MARKERS[letter],
            markersize=4,
            markerfacecolor="white",
            label=f"{letter}: {reward}, {sampler}",
        )
        for letter, (reward, sampler) in CURVES.items()
    ]
