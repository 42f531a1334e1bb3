"""Figures, drawn with matplotlib: SVG with outlined text for the paper, PNG for the screen.

The same records give the same bytes: ids are hashed with a fixed salt, and no date is written.
"""

from __future__ import annotations

import io
from pathlib import Path

from bench.records import write_atomic
from bench.report import draw_curves, draw_growth, draw_methods
from bench.report.aggregate import overall, rows
from bench.report.curves import panels
from bench.report.load import Results
from bench.report.style import STYLE


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write every figure below ``out_dir/figures``, each as .svg and .png.

    `methods` and `growth` always; `figure4`, and `figure4-<method>` for every further method, where
    the grid has that experiment; `profiles` where at least two methods share a setting.

    Returns:
        The paths written.

    Raises:
        WorldError: if the disk refuses.
    """
    import matplotlib.style

    table, standings = rows(results), overall(results)
    paths = []
    # On matplotlib's own defaults: the user's matplotlibrc must not change the figures.
    with matplotlib.style.context(["default", STYLE]):
        figures = {"methods": draw_methods.final_scores(table), "growth": draw_growth.costs()}
        for place, (method, by_agents) in enumerate(panels(table).items()):
            name = f"figure4-{method.replace(':', '.')}" if place else "figure4"
            figures[name] = draw_curves.learning_curves(method, by_agents)
        if len(standings.standings) > 1:
            figures["profiles"] = draw_methods.profiles(standings)
        for name, figure in figures.items():
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # laid out, once for both files
            for ending, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                content = io.BytesIO()
                figure.savefig(content, format=ending, metadata=metadata)
                paths.append(out_dir / "figures" / f"{name}.{ending}")
                write_atomic(paths[-1], content.getvalue())
    return paths
