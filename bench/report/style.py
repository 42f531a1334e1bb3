"""One look for every figure, in print and on screen."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bench.report.aggregate import Cell
from bench.report.load import Outcome, counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, safe for the colour-blind.
BLUE, ORANGE, VERMILION, GREEN = "#0072B2", "#E69F00", "#D55E00", "#009E73"
PURPLE, SKY, BLACK = "#CC79A7", "#56B4E9", "#000000"
GREY = "0.35"

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: no machine draws it differently
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "text.parse_math": False,  # a name is not mathematics
    "svg.hashsalt": "hypercoop",
    "svg.fonttype": "path",
    "savefig.dpi": 200,
}
TEXT_WIDTH = 7.0  # inches
PAGE_HEIGHT = 9.0
"""Inches that a figure may take of a page, beside its caption."""


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; ``width`` and ``height`` in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def metric_label(metric: str) -> str:
    """Name a metric on an axis."""
    name = metric.replace("_", " ")
    return f"{name} per {'step' if name.startswith('mean ') else 'episode'}"


def score_label(outcomes: Sequence[Outcome]) -> str:
    """Name the score on an axis, and the policy whose it is."""
    if not outcomes:
        return "score"
    return f"{metric_label(outcomes[0].metric)}, {outcomes[0].assessed} policy"


def oracle_line(ax: Axes, oracle: float | None, *, across: bool = True) -> None:
    """Draw the oracle's score, labelled, across the panel; or upright, if scores run along x."""
    from matplotlib.patheffects import withStroke

    if oracle is None:
        place, va = (0.97, "top") if across else (0.03, "bottom")
        ax.text(
            0.98, place, "oracle: no record", transform=ax.transAxes, ha="right", va=va, size=6.5
        )
        return
    if across:
        ax.axhline(oracle, color=GREY, linewidth=0.8, linestyle=":")
        at, ha, offset = (0.99, oracle), "right", (0, 2)
    else:
        ax.axvline(oracle, color=GREY, linewidth=0.8, linestyle=":")
        at, ha, offset = (oracle, 0), "right", (-2, 3)
    ax.annotate(
        f"oracle {oracle:.1f}",
        at,
        offset,
        xycoords=("axes fraction", "data") if across else ("data", "axes fraction"),
        textcoords="offset points",
        ha=ha,
        size=6.5,
        color=GREY,
        path_effects=[withStroke(linewidth=1.5, foreground="white")],
    )


def incomplete(cells: Iterable[Cell]) -> str:
    """Say how many of the runs that belong in a figure are left out and why; empty if none is."""
    every = list(cells)
    problems = [problem for cell in every for problem in cell.problems]
    if not problems:
        return ""
    expected = sum(cell.expected for cell in every)
    return f"Incomplete: {expected - len(problems)} of {expected} runs ({counts(problems)})"


def notice(figure: Figure, cells: Iterable[Cell]) -> None:
    """Say above a figure what is left out of it; nothing if nothing is."""
    if text := incomplete(cells):
        figure.suptitle(text, size=8, color=VERMILION)


def headed(figure: Figure, heading: str, cells: Iterable[Cell]) -> None:
    """Write a heading above a figure, and below it what is left out, if anything is."""
    notice = incomplete(cells)
    figure.suptitle(f"{heading}\n{notice}" if notice else heading, size=8)


def score_range(outcomes: Sequence[Outcome]) -> tuple[float, float] | None:
    """Return the whole range that a score can have, with a margin below; none if it has no ends."""
    if not outcomes or outcomes[0].metric != "successful_steps":
        return None
    horizon = outcomes[0].horizon
    return -0.02 * horizon, horizon


def drawn(name: str, draw: Callable[[], Figure]) -> dict[str, bytes]:
    """Draw a figure once, and return it as name.svg and name.png, the same bytes every time."""
    import matplotlib.style

    files = {}
    # On matplotlib's own defaults: the user's matplotlibrc must not change the figure.
    with matplotlib.style.context(["default", STYLE]):
        figure = draw()
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out, once for both files
        _settle(figure)
        for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
            content = io.BytesIO()
            figure.savefig(content, format=ending, metadata=metadata)
            files[f"{name}.{ending}"] = content.getvalue()
    return files


def _settle(figure: Figure) -> None:
    """Round what the layout has placed, in shares of the figure.

    Its solver goes through its variables by their addresses in memory, so that the last bits of
    what it finds differ from process to process, and with them the names in an SVG.
    """
    for ax in figure.axes:
        left, bottom, width, height = ax.get_position(original=True).bounds
        ax.set_position((round(left, 9), round(bottom, 9), round(width, 9), round(height, 9)))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position((round(x, 9), round(y, 9)))
