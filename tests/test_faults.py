"""Runs that were struck end in the record that they would have made anyway, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import faults, records
from bench.faults.kinds import KINDS
from bench.faults.lab import RUNS, Lab

ROOT = Path(__file__).parents[1]
HARM = ("runs lost", "records differing", "files left behind")


def test_a_run_that_is_struck_ends_in_the_same_record() -> None:
    """Every kind of fault once; `hypercoop faults` injects 50 and more."""
    table = faults.rows(faults.inject(len(KINDS), seed=1))
    assert [row["injections"] for row in table] == [1] * len(KINDS) + [len(KINDS)]
    assert all(row[harm] == 0 for row in table for harm in HARM)
    assert table[-1]["was done"] != table[-1]["injections"], "nothing was struck in training"


def test_a_loss_a_difference_and_a_leftover_would_be_seen(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", RUNS[0])
    (path,) = lab.results.rglob("runs/**/*.json")
    sound = path.read_bytes()
    assert (lab.finish().lost, lab.finish().differs, lab.finish().left) == (False, False, ())
    other = records.read(path).model_copy(update={"reason": "another"})
    path.write_text(records.to_json(other))
    assert lab.finish().differs
    path.write_bytes(sound)
    stray = path.with_name(".tmp-stray")
    stray.touch()
    assert [Path(name) for name in lab.finish().left] == [stray]
    path.unlink()
    path.mkdir()  # nothing can be written there
    assert lab.finish().lost


def test_the_documented_table_is_what_the_command_writes_and_shows_no_harm() -> None:
    text = (ROOT / "docs" / "faults.md").read_text()
    header, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    names = [cell.strip() for cell in header.strip("|").split("|")]
    table = [
        dict(zip(names, (c.strip() for c in row.strip("|").split("|")), strict=True))
        for row in rows
    ]
    assert [row["fault"] for row in table] == [*KINDS, "all"]
    assert int(table[-1]["injections"]) >= 50
    assert all(row[harm] == "0" for row in table for harm in HARM)
    typed = [
        {name: int(cell) if cell.isdigit() else cell for name, cell in row.items()} for row in table
    ]
    assert faults.page(typed) == text


def test_every_kind_says_what_it_does() -> None:
    for kind in KINDS.values():
        assert kind.__doc__ and "\n" not in kind.__doc__


@pytest.mark.parametrize("count", [-1, 0])
def test_no_injections_are_refused(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    from bench.cli import main

    assert main(["faults", f"--injections={count}"]) == 2
    assert "at least 1" in capsys.readouterr().err
