"""What one choice is worth: every pair is found, differs in that choice only, and is told right."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import synthetic

from bench import stats
from bench.report import outcomes
from bench.report.aggregate import Reference, Row, rows
from bench.report.differences import Difference, differences, pairs
from bench.report.load import Problem
from bench.resampling import iqm

CHANGES = {"priorities": {"sampler"}, "goal": {"reward"}, "method": {"method"}}


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> list[Row]:
    """Four curves of the source's method and of vanilla MADDPG, at N = 2 and 3."""
    experiments = copy.deepcopy(synthetic.GRID["experiments"])
    experiments["figure4"]["methods"] = ["maddpg", "ps-maddpg"]
    folder = tmp_path_factory.mktemp("pairs")
    grid = synthetic.write_grid(folder, experiments=experiments)
    synthetic.write_records(grid, folder)
    return rows(synthetic.Small(grid, folder).load())


def test_pairs_differ_in_one_choice_and_none_is_left_out(table) -> None:
    found = pairs(table)
    for pair in found:
        own, other = pair.row.cell.config, pair.than.cell.config
        differing = {k for k, v in own.model_dump().items() if v != getattr(other, k)}
        assert differing == CHANGES[pair.kind]
    counts = {kind: sum(pair.kind == kind for pair in found) for kind in CHANGES}
    assert counts == {"priorities": 4, "goal": 4, "method": 8}, "2 methods, 2 N; 4 curves, 2 N"
    assert {pair.row.cell.config.method for pair in found if pair.kind == "method"} == {"ps-maddpg"}


def test_an_effect_is_the_difference_of_the_two_and_its_verdict_is_its_interval(table) -> None:
    found = pairs(table)
    assert {pair.verdict for pair in found} > {"open"}
    for pair in found:
        ours, theirs = pair.row.cell.scores, pair.than.cell.scores
        assert pair.effect is not None and pair.effect.lo is not None and pair.effect.hi is not None
        assert pair.effect.point == pytest.approx(iqm(ours) - iqm(theirs))
        if ours.min() > theirs.max():
            assert pair.verdict == "higher"
        if np.array_equal(ours, theirs):
            assert pair.verdict == "open"


def test_the_runs_that_learned_are_compared_by_their_counts(table) -> None:
    for pair, entry in zip(pairs(table), differences(table), strict=True):
        counts = [
            (int((row.cell.scores >= row.reference.oracle / 2).sum()), len(row.cell.scores))
            for row in (pair.row, pair.than)
        ]
        assert [entry["learned"], entry["than_learned"]] == [count for count, _ in counts]
        assert entry["learned_p"] == stats.exact_p(*counts[0], *counts[1])
    assert {entry["learned_p"] for entry in differences(table)} > {1.0}
    diverged = (Problem("a run", "diverged", "NaN"),)
    cell = dataclasses.replace(pair.than.cell, problems=diverged)
    with_one = dataclasses.replace(pair.than, cell=cell)
    found = outcomes.learned(pair.row), 6, outcomes.learned(with_one), 7
    assert outcomes.exact_p(pair.row, with_one) == stats.exact_p(*found), "it did not learn"
    assert outcomes.share_learned(with_one) == stats.share(found[2], 7)
    lost = dataclasses.replace(pair.than, reference=Reference(0.0, None))
    assert outcomes.exact_p(pair.row, lost) is None
    assert outcomes.least_p(pair.row, lost) is None


def test_the_sooner_one_has_the_larger_area_under_its_learning_curve(table) -> None:
    for pair, entry in zip(pairs(table), differences(table), strict=True):
        ours, theirs = (row.cell.curves.mean(1) for row in (pair.row, pair.than))
        wins = [(a > b) + (a == b) / 2 for a in ours for b in theirs]
        assert entry["sooner"] == pytest.approx(np.mean(wins))
    diverged = dataclasses.replace(pair.than.cell, problems=(Problem("a run", "diverged", "NaN"),))
    assert outcomes.sooner(pair.row, dataclasses.replace(pair.than, cell=diverged)) is None


def test_the_least_p_is_that_of_the_most_unlike_counts(table) -> None:
    pair = pairs(table)[0]
    runs, others = len(pair.row.cell.scores), len(pair.than.cell.scores)
    count = outcomes.learned(pair.than)
    every = [stats.exact_p(could, runs, count, others) for could in range(runs + 1)]
    assert outcomes.least_p(pair.row, pair.than) == min(every)


def test_a_pair_with_few_runs_or_a_diverged_one_has_no_verdict(table) -> None:
    for pair in pairs(table):
        few = dataclasses.replace(pair.row.cell, outcomes=pair.row.cell.outcomes[:2])
        lost = dataclasses.replace(pair.than.cell, problems=(Problem("a run", "diverged", "NaN"),))
        none = dataclasses.replace(pair.row.cell, outcomes=())
        for row, than in (
            (dataclasses.replace(pair.row, cell=few), pair.than),
            (pair.row, dataclasses.replace(pair.than, cell=lost)),
            (dataclasses.replace(pair.row, cell=none), pair.than),
        ):
            assert Difference(pair.kind, row, than).verdict is None
    told = differences(table)
    assert {entry["runs"] for entry in told} == {6}
