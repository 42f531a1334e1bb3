"""Every number in the tables, computed again from the JSON files by plain arithmetic."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics

import pytest
from synthetic import build_all

from bench import records
from bench.places import Places
from bench.report import formats, tables


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def plain_iqm(values):
    ordered = sorted(values)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def raw_records(root, row):
    folder = (
        f"{row['experiment']}/{row['method']}/{row['reward']}-{row['sampler']}/n{row['agents']}"
    )
    paths = Places(root / "small").record(folder).with_suffix("").glob("seed*.json")
    return [json.loads(path.read_text()) for path in sorted(paths)]


@pytest.fixture(scope="module")
def final(small, built):
    return read(small.out / "tables/final.csv")


def test_final_scores_are_those_of_the_records(small, final):
    assert len(final) == 21
    assert {row["settings"] for row in final} == {"{}"}
    for row in final:
        found = raw_records(small.root, row)
        scores = [statistics.fmean(r["absolute"]["raw"]["successful_steps"]) for r in found]
        assert int(row["runs"]) == int(row["expected"]) == len(found)
        assert float(row["iqm"]) == pytest.approx(plain_iqm(scores), rel=1e-5)
        assert float(row["mean"]) == pytest.approx(statistics.fmean(scores), rel=1e-5)
        last = [statistics.fmean(r["final"]["raw"]["successful_steps"]) for r in found]
        assert float(row["last"]) == pytest.approx(plain_iqm(last), rel=1e-5)
        success = statistics.fmean(
            statistics.fmean(x > 0 for x in r["absolute"]["raw"]["successful_steps"]) for r in found
        )
        assert float(row["any_success"]) == pytest.approx(success, rel=1e-5)
        seconds = statistics.median(r["provenance"]["cpu_seconds"] for r in found)
        assert float(row["cpu_seconds"]) == pytest.approx(seconds, rel=1e-5)
        for count, value in found[0]["cost"].items():
            assert int(row[count]) == value
        if len(found) > 1:
            assert float(row["std"]) == pytest.approx(statistics.stdev(scores), rel=1e-5)
        if len(found) >= 5:
            assert float(row["iqm_lo"]) <= float(row["iqm"]) <= float(row["iqm_hi"])
        else:
            assert row["iqm_lo"] == row["iqm_hi"] == ""


def test_learning_curves_are_those_of_the_records(small, built, final):
    table = read(small.out / "tables/learning_curves.csv")
    cell = next(row for row in final if row["experiment"] == "figure4")
    found = raw_records(small.root, cell)
    own = [row for row in table if all(row[k] == cell[k] for k in ("method", "experiment"))]
    own = [row for row in own if all(row[k] == cell[k] for k in ("reward", "sampler", "agents"))]
    assert [int(row["episode"]) for row in own] == found[0]["evaluation"]["episode"]
    for k, row in enumerate(own):
        values = [r["evaluation"]["mean"]["successful_steps"][k] for r in found]
        assert float(row["iqm"]) == pytest.approx(plain_iqm(values), rel=1e-5, abs=1e-12)
        assert row["curve"] == "A"


def test_table1_maps_curves_to_settings(small, built):
    table = read(small.out / "tables/table1.csv")
    assert [(r["curve"], r["reward"], r["sampler"]) for r in table] == [
        ("A", "group-goal", "uniform"),
        ("B", "group-goal", "prioritized"),
        ("C", "summed-individual", "uniform"),
        ("D", "summed-individual", "prioritized"),
    ]
    assert {(r["agents"], r["runs"], r["expected"]) for r in table} == {("2 3", "12", "12")}


def test_a_diverged_run_is_counted_and_not_averaged(copy):
    key = "figure4/iql/group-goal-uniform/n2/seed1"
    path = Places(copy.root / "small").record(key)
    record = json.loads(path.read_text())
    record |= {"status": "diverged", "reason": "NaN", "final": None, "absolute": None}
    path.write_text(records.sealed(record))
    tables.build(copy.load(), copy.out)
    row = next(
        row
        for row in read(copy.out / "tables/final.csv")
        if (row["method"], row["reward"], row["sampler"], row["agents"])
        == ("iql", "group-goal", "uniform", "2")
    )
    assert (row["runs"], row["expected"], row["diverged"], row["missing"]) == ("5", "6", "1", "0")
    scores = [
        statistics.fmean(r["absolute"]["raw"]["successful_steps"])
        for r in raw_records(copy.root, row)
        if r["absolute"]
    ]
    assert float(row["iqm"]) == pytest.approx(plain_iqm(scores), rel=1e-5)
    (problem,) = read(copy.out / "tables/problems.csv")
    assert problem == {"run": key, "kind": "diverged", "reason": "NaN"}
    standings = {row["method"]: row for row in read(copy.out / "tables/methods.csv")}
    assert (standings["iql"]["rank_first"], standings["iql"]["left_out"]) == ("", "1 diverged")
    for name in ("final", "table1", "methods", "costs"):
        assert (
            "Incomplete: 101 of 102 runs (1 diverged)"
            in (copy.out / f"tables/{name}.tex").read_text()
        )


def test_diverged_runs_are_counted_in_every_table_and_figure_they_would_have_entered(copy):
    """All of one cell's, and one of another's."""
    cell = sorted((copy.out / "runs/figure4/ps-maddpg/group-goal-prioritized/n2").glob("*.json"))
    other = copy.out / "runs/figure4/ps-maddpg/group-goal-uniform/n3/seed1.json"
    for path in (*cell, other):
        record = json.loads(path.read_text())
        record |= {"status": "diverged", "reason": "NaN", "final": None, "absolute": None}
        path.write_text(records.sealed(record))
    written = build_all(copy.load(), copy.out)
    for name in ("table1", "costs", "methods", "learning_curves"):
        assert "diverged" in written[f"tables/{name}.csv"].decode()
    for name in ("diversity", "layers", "learning_curves", "costs", "claims"):
        table = read(copy.out / f"tables/{name}.csv")
        lost = [row for row in table if row["left_out"] == "6 diverged"]
        assert name == "costs" or lost, name
        assert all((row["runs"], row["expected"]) == ("0", "6") for row in lost)
    standing = next(r for r in read(copy.out / "tables/methods.csv") if r["method"] == "ps-maddpg")
    assert "diverged" in standing["left_out"] and standing["runs"] < standing["expected"]
    page = written["leaderboard/index.html"].decode()
    assert "7 diverged" in page and "0/6" in page
    for name in ("figures/figure4.svg", "figures/methods.svg", "figures/profiles.svg"):
        assert name in written  # what they say is tested in test_figures.py


def test_no_text_is_a_formula_in_a_spreadsheet():
    hostile = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"]
    text = formats.to_csv([{"text": value, "number": -1.5} for value in hostile])
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    assert "'=1+1" in text and "'@A1" in text
    assert all(row["text"].startswith("'") and row["number"] == "-1.5" for row in found)


def test_tex_tables_are_whole(small, built):
    for name in ("final", "table1", "methods", "improvements", "costs"):
        text = built[f"tables/{name}.tex"].decode()
        rows = len(read(small.out / f"tables/{name}.csv"))
        assert text.startswith(r"\begin{tabular}")
        assert text.endswith("\\end{tabular}\n")
        assert text.count(r"\\") == rows + 1
        assert "Incomplete" not in text


def test_tex_is_escaped():
    assert formats.tex(r"a_b & 5% #1 {x} $y$ \z ~ ^") == (
        r"a\_b \& 5\% \#1 \{x\} \$y\$ \textbackslash{}z \textasciitilde{} \textasciicircum{}"
    )


def test_numbers_in_csv_are_finite_and_plain(final):
    for row in final:
        for name in ("iqm", "mean", "normalised"):
            assert row[name] == "" or math.isfinite(float(row[name]))


def test_tables_of_the_grid_as_it_was_are_removed(copy):
    folder = copy.out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("scaling.csv", "gone.tex", "notes.txt"):
        (folder / name).write_text("")
    built = tables.build(copy.load(), copy.out)
    assert {path.name for path in folder.iterdir()} == {"notes.txt", *(p.name for p in built)}


def test_an_empty_table_is_an_empty_file_or_a_header():
    assert formats.to_csv([]) == ""
    assert formats.to_csv([], ["run", "kind"]) == "run,kind\n"
    assert formats.to_tex([], "a notice") == ""


def test_diagnostics_are_those_of_the_records(small, built, final):
    diverse = read(small.out / "tables/diversity.csv")
    assert len(diverse) == len([row for row in final if row["experiment"] != "references"])
    for row in diverse:
        found = [r["diagnostics"] for r in raw_records(small.root, row)]
        expected = plain_iqm([d["diversity"] for d in found])
        assert float(row["diversity"]) == pytest.approx(expected, rel=1e-5)
        assert int(row["runs"]) == len(found)
    layers = read(small.out / "tables/layers.csv")
    assert len(layers) == 2 * len(diverse)
    for row in layers:
        own = [
            r["diagnostics"]["layers"][int(row["layer"]) - 1] for r in raw_records(small.root, row)
        ]
        norms = [value for layer in own for value in layer["norm"]]
        assert float(row["norm"]) == pytest.approx(statistics.median(norms), rel=1e-5)
        assert float(row["largest_max"]) == pytest.approx(max(norms), rel=1e-5)
        assert int(row["sets"]) == len(own[0]["norm"])


def test_records_without_diagnostics_have_no_such_tables(copy):
    for path in (copy.out / "runs").rglob("*.json"):
        path.write_text(records.sealed(json.loads(path.read_text()) | {"diagnostics": None}))
    build_all(copy.load(), copy.out)
    assert not (copy.out / "tables/diversity.csv").exists()
    assert not (copy.out / "tables/layers.csv").exists()
