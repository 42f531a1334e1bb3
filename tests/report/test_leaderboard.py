"""The page is one file, whole and harmless, and says what the records say."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from bench.report import leaderboard
from bench.report.load import Problem


class Page(HTMLParser):
    """Collects tags with attributes, and the text of each row of the board."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._board = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag == "table":
            self._board = found.get("id") == "board"
        if self._board and tag == "tr":
            self.rows.append([])
        if self._board and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self._board and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def page(built):
    return Page(built["leaderboard/index.html"].decode())


def test_the_page_needs_no_network(page, built):
    for _tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "data:,") == "data:,"
    assert not re.search(r"https?://|@import|url\(", built["leaderboard/index.html"].decode())


def test_every_cell_is_a_row(page):
    header, *rows = page.rows
    assert len(rows) == 21
    assert {len(row) for row in rows} == {len(header)} == {len(leaderboard.HEADER)}
    first = dict(zip(leaderboard.HEADER, rows[0], strict=True))
    assert (first["rank"], first["method"], first["N"]) == ("1 of 2", "ps-maddpg", "2")
    assert re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", first["score"])
    assert (first["runs"], first["diverged"], first["absent"]) == ("6/6", "0", "0")
    oracle = [row for row in rows if row[1] == "oracle"]
    assert [row[0] for row in oracle] == ["–", "–"]
    assert all(row[5] == row[6] == "any" for row in oracle)


def test_the_page_is_accessible(page):
    tags = [tag for tag, _ in page.tags]
    assert ("html", {"lang": "en"}) in page.tags
    assert "caption" in tags or any("aria-labelledby" in a for t, a in page.tags if t == "table")
    assert all(a.get("scope") in ("col", "row") for t, a in page.tags if t == "th")
    assert tags.count("select") == tags.count("label") == 3
    assert any(a.get("role") == "status" for _, a in page.tags)
    assert tags.count("button") == len(leaderboard.HEADER)


def test_hostile_names_are_escaped(results, tmp_path):
    hostile = "\"><script>alert(1)</script><b a='"
    outcomes = dict(results.outcomes)
    expected = {
        key: dataclasses.replace(
            run,
            experiment=hostile,
            config=run.config.model_copy(
                update={"method": hostile, "reward": hostile, "sampler": hostile}
            ),
        )
        for key, run in results.expected.items()
    }
    (experiment, *_) = results.grid.experiments.values()
    named = {
        "title": hostile,
        "name": hostile,
        "experiments": {hostile: experiment.model_copy(update={"settings": {hostile: hostile}})},
    }
    broken = dataclasses.replace(
        results,
        grid=results.grid.model_copy(update=named),
        expected=expected,
        outcomes=outcomes,
        problems=[Problem(hostile, "diverged", hostile)],
    )
    (path,) = leaderboard.build(broken, tmp_path)
    text = path.read_text()
    page = Page(text)
    assert "alert(1)</script>" not in text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert [tag for tag, _ in page.tags].count("b") <= len(page.rows)
    assert page.rows[1][1] == hostile
    options = [a["value"] for t, a in page.tags if t == "option"]
    assert hostile in options


def test_what_is_left_out_is_listed(copy):
    for path in (copy.out / "runs/figure4/iql/group-goal-uniform/n2").glob("*.json"):
        path.unlink()
    (path,) = leaderboard.build(copy.load(), copy.out)
    text = path.read_text()
    assert "Incomplete: 96 of 102 runs (6 missing)" in text
    seeds = ", ".join(f"seed{n}" for n in range(6))
    assert f"figure4/iql/group-goal-uniform/n2/{seeds}: missing: no record" in text
    row = next(row for row in Page(text).rows if row[1] == "iql" and row[2] == "figure4")
    lines = [dict(zip(leaderboard.HEADER, row, strict=True)) for row in Page(text).rows]
    (empty,) = (line for line in lines if line["runs"] == "0/6")
    assert (empty["rank"], empty["score"], empty["absent"]) == ("–", "–", "6")
    assert row
