"""What the source paper's Figure 4 and Table 1 are made of: four curves, one method, several N."""

from __future__ import annotations

from bench.report.aggregate import Row

FIGURE4 = "figure4"
"""Name of the experiment that reproduces the figure."""
METHOD = "ps-maddpg"
"""The source paper's method, whose curves Figure 4 shows if the experiment has it."""

CURVES = {
    "A": ("group-goal", "uniform"),
    "B": ("group-goal", "prioritized"),
    "C": ("summed-individual", "uniform"),
    "D": ("summed-individual", "prioritized"),
}
"""Reward and sampler of each curve."""


def letter(row: Row) -> str | None:
    """Return the letter of a row's reward and sampler; none if they have none."""
    c = row.cell.config
    return next((k for k, v in CURVES.items() if v == (c.reward, c.sampler)), None)


def experiments(table: list[Row]) -> list[str]:
    """Name the experiments with runs and all four curves of one method, in the grid's order."""
    methods: dict[str, dict[str, set[str | None]]] = {}
    for row in table:
        of = methods.setdefault(row.cell.experiment, {})
        of.setdefault(row.cell.config.method, set()).add(letter(row))
    run = {row.cell.experiment for row in table if row.cell.outcomes}
    return [
        name
        for name, of in methods.items()
        if len(of) == 1 and CURVES.keys() <= next(iter(of.values())) and name in run
    ]


def panels(table: list[Row], experiment: str = FIGURE4) -> dict[str, dict[int, dict[str, Row]]]:
    """Arrange an experiment's rows by method, number of agents and letter: a panel an N.

    The method of the source paper comes first; the others follow in the order of the grid.
    """
    found: dict[str, dict[int, dict[str, Row]]] = {}
    for row in sorted(table, key=lambda row: row.cell.config.agents):
        curve = letter(row)
        if curve is not None and row.cell.experiment == experiment:
            of_method = found.setdefault(row.cell.config.method, {})
            of_method.setdefault(row.cell.config.agents, {})[curve] = row
    order = dict.fromkeys(row.cell.config.method for row in table)
    first = sorted((m for m in order if m in found), key=lambda method: method != METHOD)
    return {method: found[method] for method in first}
