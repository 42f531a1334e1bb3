"""The benchmark as a table to read, as JSON and CSV to keep, and as a figure."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import write_all
from bench.report.style import BLUE, GREY, ORANGE, TEXT_WIDTH, VERMILION, drawn, new_figure
from bench.speed.roofline import draw_roofline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]

SCHEMA = 1
"""Version of the layout of speed.json."""
TABLES = ("growth", "against")
"""Sections that are also written as CSV, if there are any."""
AXES = {
    "agents": "agents N",
    "width": "hidden width H",
    "replicas": "replicas R",
    "buffer_transitions": "stored transitions",
}


def show(rows: Rows) -> str:
    """Return the rows as aligned text, a table for every section."""
    blocks = []
    for section, group in itertools.groupby(rows, key=lambda row: row["section"]):
        table = [{k: v for k, v in row.items() if k != "section"} for row in group]
        if len(table) == 1:
            pairs = [f"  {name:24} {_cell(value)}" for name, value in table[0].items()]
            blocks.append("\n".join([section, *pairs]))
            continue
        names = list(dict.fromkeys(name for row in table for name in row))
        cells = [names, *([_cell(row.get(name, "")) for name in names] for row in table)]
        blocks.append("\n".join([section, *_aligned(cells)]))
    return "\n\n".join(blocks)


def _aligned(cells: list[list[str]]) -> list[str]:
    """Set columns side by side, a heading that is too wide broken at its underscores."""
    columns = []
    for heading, *values in zip(*cells, strict=True):
        width = max(*(len(value) for value in values), *(len(w) for w in heading.split("_")))
        lines: list[str] = [""]
        for word in heading.split("_"):
            joined = f"{lines[-1]} {word}".strip()
            lines = [*lines[:-1], joined] if len(joined) <= width else [*lines, word]
        columns.append((width, lines, values))
    height = max(len(lines) for _, lines, _ in columns)
    padded = [
        (width, [""] * (height - len(lines)) + lines + list(values))
        for width, lines, values in columns
    ]
    texts = [[text.ljust(width) for text in column] for width, column in padded]
    return ["  " + "  ".join(line).rstrip() for line in zip(*texts, strict=True)]


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if value < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write(rows: Rows, out_dir: Path) -> list[Path]:
    """Write speed.json, the CSV tables, and two figures as .svg and .png; return their paths.

    Raises:
        WorldError: if the disk refuses.
    """
    whole = {"schema_version": SCHEMA, "rows": list(rows)}
    files = {
        "speed.json": json.dumps(whole, indent=1).encode() + b"\n",
        **{f"{section}.csv": _csv(rows, section) for section in TABLES if _of(rows, section)},
        **drawn("speed", partial(_figure, rows)),
        **drawn("roofline", partial(draw_roofline, rows)),
    }
    return write_all(out_dir, files)


def _of(rows: Rows, section: str) -> Rows:
    return [row for row in rows if row["section"] == section]


def _csv(rows: Rows, section: str) -> bytes:
    chosen = _of(rows, section)
    names = list(dict.fromkeys(name for row in chosen for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(chosen)
    return text.getvalue().encode()


def _figure(rows: Rows) -> Figure:
    """Draw the parts against their floors, and the growth of an update along four axes."""
    figure = new_figure(TEXT_WIDTH, 5.0)
    grown = list(dict.fromkeys(row["axis"] for row in _of(rows, "growth")))
    grid = figure.add_gridspec(2, len(grown), height_ratios=[1.5, 1])
    _draw_parts(figure.add_subplot(grid[0, :]), rows)
    for column, axis in enumerate(grown):
        ax = figure.add_subplot(grid[1, column])
        _draw_growth(ax, [row for row in _of(rows, "growth") if row["axis"] == axis], AXES[axis])
        if column == 0:
            ax.set_ylabel("CPU ms per update")
            ax.legend(fontsize=6)
    return figure


def _draw_parts(ax: Axes, rows: Rows) -> None:
    sums = ("network update", "everything else")
    parts = [row for row in rows if row["section"] == "update"]
    parts = [row for row in parts if not row["part"].startswith("all parts")]
    parts.sort(key=lambda row: (row["part"] in sums, row["cpu_us_per_update_median"]))
    times = [row["cpu_us_per_update_median"] / 1e3 for row in parts]
    floors = [row.get("floor_us_per_update_median", 0.0) / 1e3 for row in parts]
    colours = [ORANGE if row["part"] in sums else BLUE for row in parts]
    ax.barh([row["part"] for row in parts], times, color=colours, height=0.7)
    ax.barh(range(len(parts)), floors, color=GREY, height=0.25, label="floor: its products alone")
    for place, row in enumerate(parts):
        telling = floors[place] > 0.1 * times[place]
        ratio = f"  {_rounded(row['ratio_to_floor'])} x floor" if telling else ""
        said, at = f"{_rounded(times[place])}{ratio}", (times[place], place)
        ax.annotate(said, at, (3, 0), va="center", size=6.5, textcoords="offset points")
    ax.margins(x=0.12)
    ax.set_xlabel("CPU ms per update, with the 100 environment steps that come with it")
    ax.legend(loc="lower right")


def _rounded(x: float) -> Decimal:
    """Round as the paper does: halves, as they are written, up."""
    return Decimal(str(x)).quantize(Decimal("0.01"), ROUND_HALF_UP)


def _draw_growth(ax: Axes, rows: Rows, label: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    values = [row["value"] for row in rows]
    for name, text, colour in (
        ("cpu_us_per_update", "whole update", BLUE),
        ("network_cpu_us_per_update", "network", VERMILION),
        ("network_floor_us_per_update", "floor", GREY),
    ):
        times = [row[f"{name}_median"] / 1e3 for row in rows]
        ax.plot(values, times, color=colour, marker="o", markersize=3, label=text)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(label)
    ax.xaxis.set_major_locator(FixedLocator(values))
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """Write 10000 as 10k and 1000000 as 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
