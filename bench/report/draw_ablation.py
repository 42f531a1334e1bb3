"""An ablation: score and early stability of every change, below the default they are changes of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import stats
from bench.report import style
from bench.report.ablation import DEFAULT, EARLY, Change
from bench.report.draw_methods import strip

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ablation(found: list[Change]) -> Figure:
    """Draw two panels side by side: a line per method, the kinds of change set apart."""
    places, place = [], 0.0
    for before, change in zip([found[0], *found], found, strict=False):
        place += 0 if change is found[0] else 1 + 0.7 * (change.kind != before.kind)
        places.append(place)
    figure = style.new_figure(style.TEXT_WIDTH, 1.0 + 0.15 * place)
    score, drop = figure.subplots(1, 2, sharey=True)
    for place, change in zip(places, found, strict=True):
        cell = change.row.cell
        strip(score, place, cell.scores, change.row.score, cell)
        strip(drop, place, change.drops, change.drop, cell)
    for ax, estimate in ((score, found[0].row.score), (drop, found[0].drop)):
        if estimate is not None:  # the default's, to compare with
            ax.axvline(estimate.point, color=style.GREY, linewidth=0.8, linestyle="--")
    style.oracle_line(score, found[0].row.reference.oracle, across=False)
    outcomes = [outcome for change in found for outcome in change.row.cell.outcomes]
    score.set_title(style.score_label(outcomes), size=8)
    drop.set_title(f"largest drop in the first {EARLY:.0%} of training", size=8)
    score.set_yticks(places, [change.row.cell.config.method for change in found], size=7)
    for place, change, before in zip(places[1:], found[1:], found, strict=False):
        if change.kind != before.kind:
            drop.annotate(
                change.kind, (1.01, place), xycoords=("axes fraction", "data"), va="center", size=7
            )
    drop.annotate(DEFAULT, (1.01, 0), xycoords=("axes fraction", "data"), va="center", size=7)
    score.set_ylim(place + 1.4, -0.6)  # with room for the oracle's label
    figure.supxlabel(
        f"dots: runs; diamond: IQM; bar: 95% bootstrap interval, from {stats.MIN_SEEDS} seeds; "
        "dashes: the default",
        fontsize=8,
    )
    style.notice(figure, (change.row.cell for change in found))
    return figure
