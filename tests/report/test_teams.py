"""Who does the work, and its example: on teams whose work is known."""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np
import pytest
import torch
from evidence import pick, record, with_outcomes

from bench.report import draw_evidence, filmstrip, mechanism, teams
from bench.tasks.assignment import all_matched


def plain_iqm(numbers):
    ordered = sorted(numbers)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def test_teamwork_is_that_of_the_records(why, table):
    row = next(
        r
        for r in teams.teamwork(table)
        if (r["experiment"], r["curve"], r["agents"]) == ("figure4", "B", 3)
    )
    blocks = [
        record(why, f"figure4/ps-maddpg/group-goal-prioritized/n3/seed{seed}")["teamwork"]
        for seed in range(5)
    ]
    for name in ("idle", "lost", "redirected"):
        expected = plain_iqm([statistics.fmean(block[name]) for block in blocks])
        assert row[name] == pytest.approx(expected)
    for name in ("switches", "switches_frozen"):
        expected = plain_iqm([sum(block[name]) for block in blocks])
        assert row[name] == pytest.approx(expected)
    assert row["all_replaceable"] == 0
    assert row["lazy"] == 1  # one of the three is replaceable nearly always
    assert row["moment"] == 5  # all switch in the fifth step
    assert row["switches_lo"] is not None
    assert (row["runs"], row["expected"]) == (5, 5)


def test_runs_without_a_measurement_are_counted(table):
    row = pick(table, "figure4")
    (first, *others) = row.cell.outcomes
    partly = with_outcomes(row, [dataclasses.replace(first, teamwork=None), *others])
    (entry,) = teams.teamwork([partly])
    assert (entry["runs"], entry["expected"]) == (4, 5)
    assert entry["switches_lo"] is None
    assert teams.teamwork([with_outcomes(row, [dataclasses.replace(first, teamwork=None)])]) == []


def test_a_team_all_of_whose_agents_are_replaceable_is_told_and_has_no_lazy_agent(table):
    row = pick(table, "figure4")
    (first, *others) = row.cell.outcomes
    nobody = first.teamwork.model_copy(update={"replaceable": [0.9, 0.5]})
    changed = with_outcomes(row, [dataclasses.replace(first, teamwork=nobody), *others])
    ((before,), (after,)) = (teams.teamwork([each]) for each in (row, changed))
    assert after["all_replaceable"] == before["all_replaceable"] + 1
    assert teams.lazy_agents(nobody.replaceable, 0.5) == 0


def test_a_team_that_never_switches_has_no_moment(table):
    row = pick(table, "figure4")
    still = [
        dataclasses.replace(o, teamwork=o.teamwork.model_copy(update={"switches": [0.0] * 30}))
        for o in row.cell.outcomes
    ]
    (entry,) = teams.teamwork([with_outcomes(row, still)])
    assert entry["switches"] == 0
    assert entry["moment"] is None
    assert entry["moment_frozen"] == 5


def test_the_example_is_chosen_by_the_rule(table):
    example = teams.example(table)
    cells = [pick(table, experiment) for experiment in ("figure4", "first-order")]
    best = max(cells, key=lambda row: row.normalised.point)
    assert example.row is best
    assert example.outcome.score == sorted(best.cell.scores)[2]
    # At N = 3 no cell reaches half of the oracle's score.
    assert teams.example([row for row in table if row.cell.config.agents == 3]) is None


def test_successes_of_the_example_are_matchings(table):
    example = teams.example(table)
    generator = np.random.default_rng(0)
    for N in (2, 3, 4):
        targets = generator.uniform(-0.2, 0.2, (N, 2))
        paths = generator.uniform(-0.2, 0.2, (200, N, 2))
        paths[0] = targets
        episode = example.teamwork.example.model_copy(
            update={"targets": targets.tolist(), "positions": paths.tolist()}
        )
        teamwork = example.teamwork.model_copy(update={"example": episode})
        reached = filmstrip.successes(dataclasses.replace(example, teamwork=teamwork))
        apart = np.linalg.norm(paths[:, :, None] - targets, axis=-1)
        expected = all_matched(torch.tensor(apart <= 0.1)).numpy()
        assert not reached[0]
        np.testing.assert_array_equal(reached[1:], expected[1:])
        assert expected[0]
        assert N == 4 or 1 < expected.sum() < 200


def test_the_filmstrip_shows_what_happens(table):
    """The synthetic team switches in step 5 and arrives in step 10."""
    example = teams.example(table)
    assert filmstrip.frames(example) == [0, 3, 6, 8, 11, 30]
    figure = filmstrip.filmstrip(example)
    diamonds = [sum(line.get_marker() == "D" for line in ax.lines) for ax in figure.axes]
    assert diamonds == [0, 0, 1, 1, 1, 1]
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "step 0"
    assert titles[-2:] == ["step 11: all covered", "step 30: all covered"]
    (described,) = filmstrip.described(example)
    assert (described["switches"], described["seed"]) == (1, example.outcome.config.seed)
    assert described["successful_steps"] == 21


def test_without_a_success_the_frames_span_the_episode(table):
    example = teams.example(table)
    away = example.teamwork.example.model_copy(
        update={"targets": [[0.0, 0.99]] * 2, "switches": []}
    )
    nowhere = dataclasses.replace(
        example, teamwork=example.teamwork.model_copy(update={"example": away})
    )
    assert filmstrip.frames(nowhere) == [0, 6, 12, 18, 24, 30]


def test_where_no_switches_are_drawn_the_figure_says_why(table):
    contrasts = mechanism.contrasts(table)
    untouched, lost, blind, *_ = contrasts
    empty = dataclasses.replace(contrasts[lost]["B"].cell, outcomes=[], problems=[])
    contrasts[lost]["B"] = dataclasses.replace(contrasts[lost]["B"], cell=empty)
    unknown = dataclasses.replace(contrasts[blind]["B"].reference, oracle=None)
    contrasts[blind]["B"] = dataclasses.replace(contrasts[blind]["B"], reference=unknown)
    figure = draw_evidence.switches(contrasts)
    (note,) = (text.get_text() for ax in figure.axes if not ax.get_title() for text in ax.texts)
    lines = note.splitlines()
    for at, why in ((lost, empty.why_empty + " of B"), (blind, "no record of the oracle")):
        place = lines.index(f"{at[0]}, N = {at[1]}")
        assert lines[place - 1] == f"{why}:"
    assert f"{untouched[0]}, N = {untouched[1]}" in {ax.get_title() for ax in figure.axes}


def test_switches_are_drawn_of_runs_that_learned_only(table):
    figure = draw_evidence.switches(mechanism.contrasts(table))
    panels = {ax.get_title(): [text.get_text() for text in ax.texts] for ax in figure.axes}
    notes = panels.pop("")
    assert "figure4, N = 3" not in panels
    assert notes[0].splitlines()[:2] == ["no run of B learned:", "figure4, N = 3"]
    learned = teams.learned_teams(pick(table, "figure4"))
    assert f"{len(learned)} of 5 runs" in panels["figure4, N = 2"]
    drawn = next(ax for ax in figure.axes if ax.get_title() == "figure4, N = 2").lines
    together = next(line for line in drawn if line.get_label() == "with team-mates")
    expected = plain_iqm([team.switches[4] for team in learned])
    assert together.get_ydata()[4] == pytest.approx(expected)
    assert together.get_xdata()[4] == 5
