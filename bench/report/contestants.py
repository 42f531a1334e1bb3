"""What a figure of a whole grid shows: settings, and in each the methods by name."""

from __future__ import annotations

from collections import Counter

from bench.errors import RequestError
from bench.report.aggregate import Row, Setting, unusual

Kind = tuple[str, str]
"""A reward and a sampler."""


def kind(setting: Setting) -> Kind:
    """Return a setting's reward and sampler, which share a line of panels."""
    return setting.reward, setting.sampler


def settings(table: list[Row]) -> dict[Setting, dict[str, Row]]:
    """Find the settings to draw, and in each the rows by the name that tells them apart.

    They are those of the grid's main task and length of training; if any of them has two rows, only
    those with two.  A method of which some setting has two cells goes by its name in the first
    experiment that has it, and by its name and the experiment's in every other, so that a name is
    one thing throughout.

    Raises:
        RequestError: if the grid has nothing but references.
    """
    found: dict[Setting, list[Row]] = {}
    for row in table:
        if not row.cell.reference:
            found.setdefault(row.cell.setting, []).append(row)
    if not found:
        raise RequestError("the grid has references and no method: there is nothing to draw")

    def world(setting: Setting) -> tuple[str, str, int]:
        return setting.world.task, setting.world.options, setting.episodes

    def compared(setting: Setting) -> int:
        return len({row.cell.config.method for row in found[setting]})

    main = world(max(found, key=compared))  # the first of those with most methods
    found = {setting: rows for setting, rows in found.items() if world(setting) == main}
    found = {setting: rows for setting, rows in found.items() if len(rows) > 1} or found
    home: dict[str, str] = {}
    for row in table:
        if row.cell.setting in found:
            home.setdefault(row.cell.config.method, row.cell.experiment)
    counts = [Counter(row.cell.config.method for row in rows) for rows in found.values()]
    doubled = {method for count in counts for method in count if count[method] > 1}

    def name(row: Row) -> str:
        method, experiment = row.cell.config.method, row.cell.experiment
        apart = method in doubled and experiment != home[method]
        return f"{method} ({experiment})" if apart else method

    return {setting: {name(row): row for row in rows} for setting, rows in found.items()}


def by_kind(found: dict[Setting, dict[str, Row]]) -> dict[Kind, list[str]]:
    """List the names to draw by reward and sampler: of those that have a run there, at whatever N.

    If nothing has a run, all are listed.
    """
    return _names(found, run=True) or _names(found, run=False)


def _names(found: dict[Setting, dict[str, Row]], *, run: bool) -> dict[Kind, list[str]]:
    listed: dict[Kind, dict[str, None]] = {}
    for setting, contestants in found.items():
        for name, row in contestants.items():
            if row.cell.outcomes or not run:
                listed.setdefault(kind(setting), {})[name] = None
    order = list(dict.fromkeys(name for rows in found.values() for name in rows))
    return {of: sorted(own, key=order.index) for of, own in listed.items()}


def described(found: dict[Setting, dict[str, Row]], table: list[Row]) -> str:
    """Name the world and the length of training of settings, and count the cells not of them."""
    drawn = [row for rows in found.values() for row in rows.values()]
    c = drawn[0].cell.config
    options = "".join(f", {name} {value}" for name, value in unusual(c).items())
    every = sum(not row.cell.reference for row in table)
    part = f": {len(drawn)} of {every} cells (tables/final.csv has all)"
    return f"{c.task}{options}, {c.episodes:,} episodes{part if len(drawn) < every else ''}"
