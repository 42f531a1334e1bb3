"""The figures and tables of why, on records whose answers are known."""

from __future__ import annotations

import dataclasses
import itertools
import json

import pytest
import synthetic
from evidence import EXPERIMENTS, pick, read, texts, with_outcomes
from synthetic import build_all
from test_paper import query

from bench import records
from bench.report import distance, draw_evidence, sensitivity
from bench.report.aggregate import Reference, rows
from bench.report.load import load
from bench.stats import Estimate


@pytest.fixture(scope="module")
def everything(why, found) -> dict[str, bytes]:
    return build_all(found, why.out)


# -- the distance reward ---------------------------------------------------------------------------


def test_returns_are_told_as_distances(table):
    pursuers = [
        with_outcomes(row, [dataclasses.replace(o, returns=r) for o in row.cell.outcomes])
        for row, r in zip(distance.pursued(table), (-60, -135, -66, -180, -64, -144), strict=True)
    ]
    found = {(r["method"], r["agents"]): r for r in distance.distance(pursuers)}
    assert found["gatherer", 2]["mean_distance"] == pytest.approx(0.5)
    assert found["gatherer", 3]["mean_distance"] == pytest.approx(0.5)
    assert found["oracle", 3]["mean_distance"] == pytest.approx(180 / 270)
    assert found["oracle", 2]["successful_steps"] > 15 > found["gatherer", 2]["successful_steps"]
    near, solved = draw_evidence.distance(pursuers).axes
    assert sorted(bar.get_height() for bar in near.patches) == pytest.approx(
        sorted(r["mean_distance"] for r in found.values())
    )
    assert len(solved.patches) == 6


def test_what_each_reward_teaches_is_told_of_one_configuration(table):
    """Not of the world of `figure4`, nor twice."""
    found = {(r["reward"], r["agents"]): r for r in distance.rewards(table)}
    assert len(found) == len(distance.rewards(table)) == 6
    for (reward, agents), entry in found.items():
        experiment = "rewards" if reward == "distance" else "first-order"
        row = pick(table, experiment, agents, reward)
        assert (entry["experiment"], entry["runs"]) == (experiment, 5)
        assert entry["normalised"] == row.normalised.point


def test_controllers_alone_are_taught_nothing(table):
    assert distance.rewards([row for row in table if row.cell.reference]) == []


# -- sensitivity -----------------------------------------------------------------------------------


def test_changes_are_of_one_setting(table):
    found = sensitivity.changes(table)
    assert list(found) == [2, 3]
    for listed in found.values():
        assert [change.label for change in listed] == [
            "default",
            "dynamics first-order (mpe)",
            "gamma 0.99 (0.95)",
            "radius 0.2 (0.1)",
        ]


@pytest.mark.parametrize(
    ("shift", "kept", "verdict"),
    [(100, 5, "higher"), (-100, 5, "lower"), (0, 5, "open"), (100, 4, None), (0, 0, None)],
)
def test_a_change_counts_if_its_difference_is_apart_from_zero(table, shift, kept, verdict):
    default = pick(table, "figure4")
    outcomes = [
        dataclasses.replace(outcome, score=outcome.score + shift)
        for outcome in default.cell.outcomes[:kept]
    ]
    cell = dataclasses.replace(default.cell, outcomes=tuple(outcomes))
    normalised = default.normalised if kept else None
    changed = dataclasses.replace(default, cell=cell, normalised=normalised)
    change = sensitivity.Change(changed, "gamma", 0.99, 0.95, default)
    assert change.verdict == verdict
    if kept:
        spread = default.reference.oracle - default.reference.random
        assert change.effect.point == pytest.approx(shift / spread, abs=1e-9 if kept == 5 else 9)
    assert sensitivity.Change(default, None, None, None, default).verdict is None


def test_of_two_that_do_no_better_than_random_actions_neither_is_the_lower(table):
    """Their worlds' random actions score differently, so that on their scales two zeros differ."""
    default = pick(table, "figure4")
    still = [dataclasses.replace(outcome, score=0.0) for outcome in default.cell.outcomes]
    cell = dataclasses.replace(default.cell, outcomes=tuple(still))
    zero, lucky = (
        dataclasses.replace(
            default, cell=cell, score=Estimate(0, 0, 0), reference=Reference(random, 20)
        )
        for random in (0.0, 0.01)
    )
    change = sensitivity.Change(lucky, "radius", 0.15, 0.1, zero)
    assert change.effect.hi < 0
    assert change.verdict == "open"
    assert change.exact_p == 1


def test_sensitivity_marks_what_is_missing(why, tmp_path):
    synthetic.write_records(why.grid, tmp_path)
    runs = tmp_path / "small/runs/sensitivity.wide/ps-maddpg/group-goal-prioritized"
    for path in (runs / "n3").glob("*.json"):
        path.unlink()
    (runs / "n2/seed0.json").unlink()
    table = rows(load(why.grid, tmp_path))
    figure = draw_evidence.sensitivity(sensitivity.changes(table))
    shown = texts(figure)
    assert "no runs" in shown
    assert "4/5" in shown
    assert any("Incomplete: 34 of 40 runs (6 missing)" in text for text in shown)
    entries = {(e["agents"], e["value"]): e for e in sensitivity.sensitivity(table)}
    assert entries[3, 0.2]["normalised"] is None
    assert entries[2, 0.2]["normalised_lo"] is None  # four runs have no interval
    assert entries[2, 0.99]["verdict"] in ("higher", "lower", "open")


# -- all of it -------------------------------------------------------------------------------------

LABELS = {"discovery", "enrichment", "courses", "figure5", "switches", "pursuit", "changes"}


def test_the_paper_shows_and_cites_all_of_it(why, everything):
    labels = {figure.get("label", "").strip("<>") for figure in query(why.out, "figure")}
    assert LABELS | {"measured", "changed"} <= labels
    cited = {ref["target"].strip("<>") for ref in query(why.out, "ref")}
    assert labels <= cited


def test_records_from_before_have_a_paper_without_it(tmp_path):
    """No teamwork, no training series, no distance reward, nothing varied."""
    experiments = {name: EXPERIMENTS[name] for name in ("references", "figure4")}
    grid = synthetic.write_grid(tmp_path, experiments=experiments)
    for path in synthetic.write_records(grid, tmp_path).values():
        old = json.loads(path.read_text()) | {"teamwork": None}
        old["training"]["mean"] = {}
        path.write_text(records.sealed(old))
    out = tmp_path / "small"
    built = build_all(load(grid, tmp_path), out)
    assert not {f"figures/{name}.svg" for name in (*LABELS, "distance", "sensitivity")} & {*built}
    for name in ("mechanism", "mechanism_runs", "teamwork", "switches", "figure5", "sensitivity"):
        assert f"tables/{name}.csv" not in built


def test_every_step_of_a_table_is_finite(why, everything):
    for name in ("mechanism", "mechanism_runs", "discovery", "teamwork", "switches", "distance"):
        entries = read(why.out / f"tables/{name}.csv")
        assert entries
        numbers = itertools.chain.from_iterable(entry.values() for entry in entries)
        assert not {"nan", "inf", "-inf"} & set(numbers)
