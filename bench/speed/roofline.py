"""The figure of the dynamic products: every form at every shape, under the machine's roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.report.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    TEXT_WIDTH,
    VERMILION,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Rows = Sequence[Mapping[str, Any]]

LOOKS = {
    "plain": (BLUE, "o"),
    "blocks": (GREEN, "s"),
    "outer": (ORANGE, "^"),
    "inputs": (PURPLE, "v"),
    "formed": (BLUE, "o"),
    "factored": (VERMILION, "D"),
    "rows": (ORANGE, "^"),
    "segments": (GREEN, "s"),
}
"""Colour and marker of a form."""


def draw_roofline(rows: Rows) -> Figure:
    """Draw a panel for every kind of product; what the rule chooses is filled."""
    figure = new_figure(TEXT_WIDTH, 3.2)
    roof = next(row for row in rows if row["section"] == "roofline")
    points = [row for row in rows if row["section"] == "dynamic products"]
    kinds = list(dict.fromkeys(row["kind"] for row in points))
    axes = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        ax.set_title(kind)
        _draw_points(ax, [row for row in points if row["kind"] == kind])
        ax.legend(fontsize=6.5, loc="lower right", handletextpad=0.1, borderaxespad=0.1)
    _scale(axes[0])
    lines = [_draw_roof(ax, roof) for ax in axes]
    axes[0].set_ylabel("GFLOP per CPU second, one thread")
    figure.supxlabel("arithmetic intensity, FLOP per byte moved (filled: the chosen form)", size=8)
    figure.legend(handles=lines[0], loc="outside upper center", ncols=3, fontsize=6.5)
    return figure


def _draw_points(ax: Axes, points: Rows) -> None:
    forms = list(dict.fromkeys(row["form"] for row in points))
    for chosen in (False, True):  # the chosen ones lie on top
        for form in forms:
            colour, marker = LOOKS[form]
            some = [row for row in points if row["form"] == form]
            some = [row for row in some if (row["chosen"] == form) == chosen]
            ax.scatter(
                [row["flops_per_byte"] for row in some],
                [row["gflop_per_s"] for row in some],
                s=10, marker=marker, linewidths=0.7, edgecolors=colour,
                facecolors=colour if chosen else "none",
            )  # fmt: skip
    for form in forms:
        colour, marker = LOOKS[form]
        ax.scatter([], [], s=10, marker=marker, color=colour, label=form)


def _scale(ax: Axes) -> None:
    """Make both axes logarithmic, with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set(xscale="log", yscale="log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(LogLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _draw_roof(ax: Axes, roof: Mapping[str, Any]) -> list[Line2D]:
    """Draw the peak, and the slopes that copying allows, over the whole panel."""
    left, right = ax.get_xlim()
    peak = roof["peak_gflop_per_s"]
    style: dict[str, Any] = {"color": GREY, "linewidth": 0.9, "zorder": 0}
    ceiling = f"fastest product, {peak:.0f} GFLOP/s"
    drawn = ax.plot([left, right], [peak, peak], label=ceiling, **style)
    for place, dashes in (("cache", "--"), ("memory", ":")):
        bandwidth = roof[f"copy_in_{place}_gb_per_s"]
        ridge, label = peak / bandwidth, f"copies in {place}, {bandwidth:.0f} GB/s"
        slope = [left * bandwidth, peak]
        drawn += ax.plot([left, ridge], slope, linestyle=dashes, label=label, **style)
    ax.set_xlim(left, right)
    return drawn
