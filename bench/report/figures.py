"""Figures, drawn with matplotlib: SVG with outlined text for the paper, PNG for the screen.

The same records give the same bytes: ids are hashed with a fixed salt, and no date is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.files import write_all
from bench.report import (
    distance,
    draw_ablation,
    draw_curves,
    draw_evidence,
    draw_learning,
    draw_methods,
    draw_recipe,
    filmstrip,
    mechanism,
    recipe,
    sensitivity,
    teams,
)
from bench.report.ablation import changes
from bench.report.aggregate import Row, rows
from bench.report.curves import FIGURE4, experiments, panels
from bench.report.load import Results
from bench.report.standings import overall
from bench.report.style import drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ENDINGS = (".svg", ".png", ".gif")
"""Of the files that are written."""


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write every figure below ``out_dir/figures``, each as .svg and .png, an episode as .gif too.

    `methods` always; `learning` where it fits a page; `figure4`, and `figure4-<method>` for every
    further method, where the grid has that experiment; `curves-<experiment>` of every other
    experiment with its four curves of one method; `ablation` where it has a default and changes of
    it, else `profiles` where at least two methods share a setting; `scaling`, `ingredients` and
    `episode` where it has a recipe; and what of :func:`_evidence` the grid has.

    Returns:
        The paths written.

    Raises:
        WorldError: if the disk refuses.
    """
    table, standings = rows(results), overall(results)
    figures: dict[str, Callable[[], Figure]] = {
        "methods": functools.partial(draw_methods.final_scores, table),
    }
    if draw_learning.fits_a_page(table):
        figures["learning"] = functools.partial(draw_learning.every_curve, table)
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
    figures |= _evidence(table)
    files: dict[str, bytes] = {}
    if results.grid.recipe is not None:
        lines = recipe.lines(results.grid.recipe, table)
        compared = recipe.comparisons(results.grid.recipe, table)
        figures["scaling"] = functools.partial(draw_recipe.scaling, lines)
        figures["ingredients"] = functools.partial(draw_recipe.ingredients, lines, compared)
        if (shown := recipe.example(lines)) is not None:
            figures["episode"] = functools.partial(filmstrip.filmstrip, shown)
            files["episode.gif"] = filmstrip.animation(shown)
    for name, draw in figures.items():
        files |= drawn(name, draw)
    return write_all(out_dir / "figures", files, owned=ENDINGS)


def _evidence(table: list[Row]) -> dict[str, Callable[[], Figure]]:
    """Return the figures of why that there is something to draw in.

    `enrichment` and `switches` where the source's method has curves A and B; `figure5` where one of
    its B has learned; `distance` where a run had that reward; `sensitivity` where the grid changes
    one setting at a time.
    """
    found: dict[str, Callable[[], Figure]] = {}
    contrasts, example, changes = (
        mechanism.contrasts(table),
        teams.example(table),
        sensitivity.changes(table),
    )
    if any(mechanism.courses(row) for panel in contrasts.values() for row in panel.values()):
        found["enrichment"] = functools.partial(draw_evidence.enrichment, contrasts)
    if any(teams.learned_teams(panel["B"]) for panel in contrasts.values()):
        found["switches"] = functools.partial(draw_evidence.switches, contrasts)
    if example is not None:
        found["figure5"] = functools.partial(filmstrip.filmstrip, example)
    if pursuers := distance.pursued(table):
        found["distance"] = functools.partial(draw_evidence.distance, pursuers)
    if changes:
        found["sensitivity"] = functools.partial(draw_evidence.sensitivity, changes)
    return found
