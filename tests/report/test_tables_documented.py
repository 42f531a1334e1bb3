"""docs/tables.md names the columns of every table, and no others."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = "In most tables"
DERIVED = re.compile(r"^(?:than_|over_)?(.*?)(?:_lo|_hi)?$")
"""What a column is called beside the column that the page explains."""


def explained() -> dict[str, set[str]]:
    """Columns by section: those in backticks in the first column of its table."""
    _, *sections = (ROOT / "docs" / "tables.md").read_text().split("\n## ")
    found = {}
    for section in sections:
        title, _, text = section.partition("\n")
        cells = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
        names = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
        assert len(names) == len(set(names)), title
        found[title.strip("`")] = set(names)
    return found


def written() -> dict[str, set[str]]:
    """Columns by file name, of all committed grids."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "results").glob("*/tables/*.csv"):
        with path.open() as file:
            found.setdefault(path.name, set()).update(next(csv.reader(file)))
    return found


FILES = sorted(written())


def test_every_table_has_its_section() -> None:
    assert sorted(explained()) == sorted([SHARED, *FILES])


@pytest.mark.parametrize("name", FILES)
def test_every_column_is_explained_and_every_explained_one_is_there(name: str) -> None:
    page, columns = explained(), written()[name]
    stems = {match[1] for column in columns if (match := DERIVED.match(column))}
    assert stems <= page[SHARED] | page[name]
    assert page[name] <= columns


def test_what_most_tables_have_some_have() -> None:
    assert explained()[SHARED] <= set().union(*written().values())
