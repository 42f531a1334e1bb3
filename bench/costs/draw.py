"""How costs grow: a row of panels along the number of agents, one along the width."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

from bench.costs import growth
from bench.report import style
from bench.report.draw_methods import line_look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "agents": f"agents N (width {growth.WIDTH_AT})",
    "width": f"width (N = {growth.AGENTS_AT})",
}
DRAWN = [name for name in growth.QUANTITIES if name != "generated_parameters"]
"""The generated ones are, of most methods, none: they are in the table."""
METHODS = (
    *("iql", "iddpg", "maddpg", "ps-maddpg", "id-maddpg", "hyper-maddpg", "hyper-maddpg-full"),
    *("hyper-maddpg-chunked", "hyper-maddpg-low-rank", "hyper-maddpg-sparse"),
)
"""A method of every kind; the others' counts lie on or between these, and are in the table."""
RAISED = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def costs() -> Figure:
    """Draw every count of `METHODS` on logarithmic axes."""
    sweeps = [sweep for sweep in growth.sweeps() if sweep.method in METHODS]
    methods = list(dict.fromkeys(sweep.method for sweep in sweeps))
    columns = 4
    height = 3.6 + 0.15 * -(-len(methods) // columns)
    figure = style.new_figure(style.TEXT_WIDTH, height)
    axes = figure.subplots(len(growth.AXES), len(DRAWN), squeeze=False, sharey="col", sharex="row")
    for row, (axis, values) in zip(axes, growth.AXES.items(), strict=True):
        for ax, name in zip(row, DRAWN, strict=True):
            for sweep in sweeps:
                if sweep.axis != axis:
                    continue
                colour, dashes = line_look(methods.index(sweep.method))
                ax.plot(
                    values,
                    sweep.counts[name],
                    color=colour,
                    linestyle=dashes,
                    label=sweep.method,
                )
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter(lambda y, _: f"10{str(round(log10(y))).translate(RAISED)}")
            ax.set_xticks(values, [str(value) for value in values], size=6.5)
            ax.minorticks_off()
            ax.set_xlabel(LABELS[axis])
    for ax, name in zip(axes[0], DRAWN, strict=True):
        ax.set_title(growth.QUANTITIES[name], size=8)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=columns, handlelength=3, fontsize=7
    )
    return figure
