"""The source paper's Figure 4: learning curves of one method, a panel per number of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
        for place, (curve, row) in enumerate(panel.items()):
            _curve(ax, curve, row, place)
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
    heading = f"{method}: IQM over seeds,{separator}{_band_note(every)}"
    notice = style.incomplete(every)
    figure.suptitle(f"{heading}\n{notice}" if notice else heading, fontsize=8)
    figure.legend(
        handles=_legend(), loc="outside lower center", ncols=1 if single else 2, handlelength=3.2
    )
    return figure


def _curve(ax: Axes, curve: str, row: Row, place: int) -> None:
    if not row.cell.outcomes:
        return
    reward, sampler = CURVES[curve]
    colour = REWARD_COLOURS[reward]
    episodes = row.cell.outcomes[0].episode / 1000
    point, lo, hi = stats.curve_band(row.cell.curves)
    if lo is not None and hi is not None:
        ax.fill_between(episodes, lo, hi, color=colour, alpha=0.18, linewidth=0)
    else:
        ax.plot(episodes, row.cell.curves.T, color=colour, linewidth=0.5, alpha=0.6)
    spacing = max(4, len(episodes) // 6)
    ax.plot(
        episodes,
        point,
        SAMPLER_DASHES[sampler],
        color=colour,
        marker=CURVE_MARKERS[curve],
        markersize=4,
        markerfacecolor="white",
        markevery=(place * spacing // 4, spacing),
        clip_on=False,
        zorder=3,
    )


def _seeds(panel: dict[str, Row]) -> str:
    """Say how many seeds the curves have, and how many of those that the grid asks for."""
    seeds = max(row.cell.expected for row in panel.values())
    there = sorted({len(row.cell.outcomes) for row in panel.values()})
    if there == [seeds]:
        return f"n = {seeds} seeds"
    return f"only {'–'.join(map(str, dict.fromkeys((there[0], there[-1]))))} of {seeds} seeds"


def _band_note(every: list[Cell]) -> str:
    full = [len(cell.outcomes) >= stats.MIN_SEEDS for cell in every]
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
            marker=CURVE_MARKERS[curve],
            markersize=4,
            markerfacecolor="white",
            label=f"{curve}: {reward}, {sampler}",
        )
        for curve, (reward, sampler) in CURVES.items()
    ]
