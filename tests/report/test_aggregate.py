"""Cells, references, ranks and standings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import synthetic

from bench import records
from bench.places import Places
from bench.report.aggregate import cells, rows, world
from bench.report.load import load
from bench.report.standings import boards, overall


def test_cells_differ_in_more_than_the_seed(results):
    found = cells(results)
    assert sum(cell.expected for cell in found) == len(results.expected)
    assert len(found) == 4 + 2 * 2 * 2 * 2 + 1
    assert {cell.expected for cell in found if cell.experiment == "figure4"} == {6}
    assert found[-1].experiment == "sensitivity.wide"


def test_a_default_written_out_is_the_same_world(results):
    config = next(iter(results.expected.values())).config
    explicit = config.model_copy(update={"task_options": {"radius": 0.1, "dynamics": "mpe"}})
    other = config.model_copy(update={"task_options": {"radius": 0.2}})
    assert world(explicit) == world(config) != world(other)


def test_normalised_scores_use_the_references_of_the_same_world(results):
    table = rows(results)
    ends = {
        (row.cell.config.method, row.cell.config.agents): row.mean
        for row in table
        if row.cell.reference
    }
    for row in table:
        if row.cell.experiment == "sensitivity.wide":
            assert row.reference.oracle is None
            assert row.normalised is None
        else:
            N = row.cell.config.agents
            random, oracle = ends["random", N], ends["oracle", N]
            expected = (row.score.point - random) / (oracle - random)
            assert row.normalised.point == pytest.approx(expected)


def test_boards_rank_contestants_only_and_best_first(results):
    found = boards(rows(results))
    assert len(found) == 8 + 1
    for board in found.values():
        points = [row.score.point for row, _ in board]
        assert points == sorted(points, reverse=True)
        assert not any(row.cell.reference for row, _ in board)
    first = next(iter(found.values()))
    assert [(row.cell.config.method, rank) for row, rank in first] == [
        ("ps-maddpg", (1, 1)),
        ("iql", (2, 2)),
    ]


def test_overall_pools_the_common_settings(results):
    found = overall(results)
    assert (len(found.compared), found.common) == (8, 8)
    assert [standing.method for standing in found.standings] == ["ps-maddpg", "iql"]
    assert [standing.runs for standing in found.standings] == [48, 48]
    ((better, worse, probability),) = found.improvements
    assert (better, worse) == ("ps-maddpg", "iql")
    by_hand = np.mean(
        [
            np.mean([[a > b for b in theirs] for a in ours])
            for ours, theirs in zip(*(s.strata for s in found.standings), strict=True)
        ]
    )
    assert probability.point == pytest.approx(by_hand)


def test_methods_are_compared_as_tuned_where_they_are_tuned(tmp_path):
    experiments = dict(synthetic.GRID["experiments"])
    asked = {**experiments["figure4"], "question": "As tuned?", "seeds": [0, 1], "tuned": True}
    grid = synthetic.write_grid(tmp_path, experiments={**experiments, "methods": asked})
    synthetic.write_records(grid, tmp_path)
    assert [standing.runs for standing in overall(load(grid, tmp_path)).standings] == [16, 16]


def test_a_cell_without_runs_has_no_rank_and_leaves_its_setting_out(copy):
    for seed in range(6):
        key = f"figure4/iql/group-goal-uniform/n2/seed{seed}"
        Places(copy.root / "small").record(key).unlink()
    results = copy.load()
    board = next(iter(boards(rows(results)).values()))
    assert [(row.cell.config.method, rank) for row, rank in board] == [
        ("ps-maddpg", (1, 1)),
        ("iql", None),
    ]
    assert (len(overall(results).compared), overall(results).common) == (7, 8)


def test_of_a_setting_those_seeds_enter_that_every_method_has(copy):
    place = Places(copy.root / "small").record
    place("figure4/iql/group-goal-uniform/n2/seed1").unlink()
    ours, theirs = overall(copy.load()).standings
    assert [len(s.strata[0]) for s in (ours, theirs)] == [5, 5]
    assert [(s.runs, s.expected) for s in (ours, theirs)] == [(47, 48)] * 2
    assert (ours.left_out, theirs.left_out) == ("1 unmatched", "1 missing")


def test_a_setting_of_few_seeds_takes_no_interval_from_the_others(copy):
    place = Places(copy.root / "small").record
    for seed in (1, 4):
        place(f"figure4/iql/group-goal-uniform/n2/seed{seed}").unlink()
    found = overall(copy.load())
    assert (len(found.compared), found.common) == (7, 8)
    assert all(standing.score.lo is not None for standing in found.standings)
    assert found.standings[0].left_out == "6 unmatched"
    assert found.standings[1].left_out == "2 missing, 4 unmatched"


def test_a_method_with_a_diverged_run_has_no_rank_however_well_the_others_did(copy):
    path = Places(copy.root / "small").record("figure4/ps-maddpg/group-goal-uniform/n2/seed1")
    record = json.loads(path.read_text())
    record |= {"status": "diverged", "reason": "NaN", "final": None, "absolute": None}
    path.write_text(records.sealed(record))
    board = next(iter(boards(rows(copy.load())).values()))
    assert [(row.cell.config.method, rank) for row, rank in board] == [
        ("iql", (1, 1)),
        ("ps-maddpg", None),
    ]
    found = overall(copy.load())
    assert len(found.compared) == found.common == 8
    assert [(s.method, s.rank) for s in found.standings] == [("iql", (1, 1)), ("ps-maddpg", None)]


def test_a_controller_without_its_record_is_no_contestant(tmp_path):
    experiments = dict(synthetic.GRID["experiments"])
    asked = {"question": "Another end?", "methods": ["gatherer", "oracle"], "agents": [2]}
    asked["seeds"] = [0]
    grid = synthetic.write_grid(tmp_path, experiments={**experiments, "distance": asked})
    paths = synthetic.write_records(grid, tmp_path)
    paths["distance/gatherer/group-goal-uniform/n2/seed0"].unlink()
    found = overall(load(grid, tmp_path))
    assert [standing.method for standing in found.standings] == ["ps-maddpg", "iql"]
    assert (len(found.compared), found.common) == (8, 8)


def test_without_references_there_are_no_standings(tmp_path):
    experiments = {"figure4": synthetic.GRID["experiments"]["figure4"]}
    grid = synthetic.write_grid(tmp_path, experiments=experiments)
    synthetic.write_records(grid, tmp_path)
    assert overall(load(grid, tmp_path)).standings == []
