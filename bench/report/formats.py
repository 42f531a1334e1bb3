"""How numbers are written: CSV for programs, booktabs for LaTeX, words for people."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence

from bench.stats import Estimate

Value = str | int | float | None
Table = list[dict[str, Value]]


def shown(found: Estimate | None) -> str | None:
    """Write an estimate for people: ``12.31 [11.02, 13.40]``; the point alone has no interval."""
    if found is None:
        return None
    if found.lo is None or found.hi is None:
        return _fixed(found.point)
    return f"{_fixed(found.point)} [{_fixed(found.lo)}, {_fixed(found.hi)}]"


def _fixed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # + 0.0: minus zero is zero


def interval(name: str, found: Estimate | None) -> dict[str, Value]:
    """Return an estimate as three columns; all are empty if there is none."""
    return {
        name: found.point if found else None,
        f"{name}_lo": found.lo if found else None,
        f"{name}_hi": found.hi if found else None,
    }


def shown_rank(rank: tuple[int, int] | None) -> str:
    """Write a rank, or the range of ranks that cannot be told apart: ``2``, ``2–4``."""
    if rank is None:
        return "–"
    first, last = rank
    return str(first) if first == last else f"{first}–{last}"


def to_csv(table: Table, header: Sequence[str] = ()) -> str:
    """Write a CSV: six significant digits, so that the last bits of a sum do not show.

    Its columns are the ``header``, then whatever else the entries have; what an entry has not is
    empty.  An empty table without a ``header`` is an empty file.
    """
    text = io.StringIO()
    columns = dict.fromkeys([*header, *itertools.chain.from_iterable(table)])
    writer = csv.DictWriter(text, list(columns), lineterminator="\n")
    if columns:
        writer.writeheader()
    for entry in table:
        writer.writerow({name: _harmless(value) for name, value in entry.items()})
    return text.getvalue()


def _harmless(value: Value) -> str:
    """Write a value so that no spreadsheet takes a text for a formula: with an apostrophe.

    Carriage returns, which would end a row, become spaces.
    """
    if not isinstance(value, str):
        return _number(value)
    formula = value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return ("'" if formula else "") + value.replace("\r", " ")


def _number(value: Value) -> str:
    if value is None:
        return ""
    return f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)  # not minus zero


def to_tex(table: Table, notice: str) -> str:
    """Write a booktabs tabular; a notice of what is left out becomes its last line.

    An empty table is an empty file.
    """
    if not table:
        return ""
    header = list(table[0])
    lines = [
        rf"\begin{{tabular}}{{{'l' * len(header)}}}",
        r"\toprule",
        " & ".join(name if name.startswith("$") else tex(name) for name in header) + r" \\",
        r"\midrule",
        *(" & ".join(tex(_number(value)) for value in row.values()) + r" \\" for row in table),
        r"\bottomrule",
    ]
    if notice:
        lines.append(rf"\multicolumn{{{len(header)}}}{{l}}{{\footnotesize {tex(notice)}}} \\")
    return "\n".join([*lines, r"\end{tabular}", ""])


TEX = {ord(c): rf"\{c}" for c in "&%$#_{}"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("–"): "--",
}


def tex(text: str) -> str:
    """Escape text for LaTeX."""
    return text.translate(TEX)
