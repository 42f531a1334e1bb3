"""Figures, drawn with matplotlib: SVG with outlined text for the paper, PNG for the screen.

The same records give the same bytes: ids are hashed with a fixed salt, and no date is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.records import write_atomic
from bench.report import draw_ablation, draw_curves, draw_methods
from bench.report.ablation import changes
from bench.report.aggregate import overall, rows
from bench.report.curves import FIGURE4, experiments, panels
from bench.report.load import Results
from bench.report.style import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write every figure below ``out_dir/figures``, each as .svg and .png.

    `methods` always; `figure4`, and `figure4-<method>` for every further method, where the grid has
    that experiment; `curves-<experiment>` of every other experiment with its four curves of one
    method; `ablation` where it has a default and changes of it, else `profiles` where at least two
    methods share a setting.

    Returns:
        The paths written.

    Raises:
        WorldError: if the disk refuses.
    """
    table, standings = rows(results), overall(results)
    figures: dict[str, Callable[[], Figure]] = {
        "methods": functools.partial(draw_methods.final_scores, table)
    }
    for place, (method, by_agents) in enumerate(panels(table).items()):
        name = f"figure4-{method.replace(':', '.')}" if place else "figure4"
        figures[name] = functools.partial(draw_curves.learning_curves, method, by_agents)
    for experiment in experiments(table):
        if experiment != FIGURE4:
            ((method, by_agents),) = panels(table, experiment).items()
            figures[f"curves-{experiment}"] = functools.partial(
                draw_curves.learning_curves, method, by_agents
            )
    if changed := changes(table):
        figures["ablation"] = functools.partial(draw_ablation.ablation, changed)
    elif len(standings.standings) > 1:
        figures["profiles"] = functools.partial(draw_methods.profiles, standings)
    paths = []
    for name, draw in figures.items():
        for file, content in drawn(name, draw).items():
            paths.append(out_dir / "figures" / file)
            write_atomic(paths[-1], content)
    return paths
