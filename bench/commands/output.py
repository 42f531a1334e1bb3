"""What commands print."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def print_table(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows of the same keys as a table, or as JSON."""
    if as_json:
        print(json.dumps(rows))
        return
    print_as_made(rows, rows)


def print_as_made(rows: Iterable[Mapping[str, Any]], known: Iterable[Mapping[str, Any]]) -> None:
    """Print rows of the same keys, each as soon as it is made, as a table.

    Args:
        rows: what is printed.
        known: parts of rows that say how wide their columns are; other columns are as wide as what
            stands above them.
    """
    widths: dict[str, int] = {}
    for part in known:
        for name, value in part.items():
            widths[name] = max(widths.get(name, len(name)), len(str(value)))
    for number, row in enumerate(rows):
        for line in [row, row.values()] if number == 0 else [row.values()]:
            padded = (
                str(cell).ljust(widths.get(name, len(name)))
                for name, cell in zip(row, line, strict=True)
            )
            print("  ".join(padded).rstrip(), flush=True)
