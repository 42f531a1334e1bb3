"""How learning went, on runs whose course is known, and how it should have begun."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import synthetic
from evidence import pick, record, texts, with_outcomes

from bench.records import Training
from bench.report import discovery, draw_evidence, mechanism, teams
from bench.report.aggregate import Reference, Row, rows
from bench.report.load import load

EPISODES = [100, 200, 300, 400]


@pytest.fixture
def course(table) -> Row:
    """Three runs: one that succeeds and learns, one that only succeeds, one that does neither."""
    row = dataclasses.replace(pick(table, "figure4"), reference=Reference(0.0, 20.0))

    def run(place, success, buffer, batch, curve):
        series = {"any_success": success, mechanism.BUFFER: buffer, mechanism.BATCH: batch}
        training = Training(episode=EPISODES, mean=series)
        outcome = row.cell.outcomes[place]
        episode = np.array([0, *EPISODES])
        return dataclasses.replace(
            outcome, training=training, episode=episode, curve=np.array(curve)
        )

    return with_outcomes(
        row,
        [
            run(0, [0, 0.1, 1, 1], [0, 0.2, 0.4, 0.8], [0, 0.3, 0.6, 0.6], [0, 0, 1, 1, 10]),
            run(1, [0.1, 0, 0, 0], [0.1] * 4, [0.2] * 4, [0, 0, 9.99, 0, 0]),
            run(2, [0, 0, 0, 0], [0.0] * 4, [0.0] * 4, [0] * 5),
        ],
    )


def test_the_course_of_a_run_by_hand(course):
    found = mechanism.courses(course)
    assert found.first_success.tolist() == [200, 100, math.inf]
    assert found.reached.tolist() == [400, math.inf, math.inf]
    assert found.between[0] == 200
    assert np.isnan(found.between[1:]).all()
    np.testing.assert_allclose(found.buffer[0], [0, 0.1, 0.3, 0.6])
    np.testing.assert_allclose(found.enrichment[0], [np.nan, 3, 2, 1])
    np.testing.assert_allclose(found.enrichment[1], 2)
    assert np.isnan(found.enrichment[2]).all()
    # Before the first run has learned: its first three intervals.
    np.testing.assert_allclose(found.before_learning(found.batch), [0.3, 0.2, 0])


def test_the_course_of_a_cell_counts_what_never_happens(course):
    (entry,) = mechanism.cells([course])
    assert (entry["succeeded"], entry["reached"], entry["runs"]) == (2, 1, 3)
    assert entry["first_success"] == 200  # of 100, 200 and never
    assert entry["reached_at"] is None  # the median run never does
    assert entry["between"] == 200
    assert entry["enrichment"] == pytest.approx(((0.3 / (0.4 / 3)) + 2) / 2)
    assert entry["enrichment_lo"] is None  # of two runs
    own = mechanism.runs([course])
    assert [run["first_success"] for run in own] == [200, 100, None]
    assert [run["reached_at"] for run in own] == [400, None, None]


def test_a_run_that_has_learned_by_the_first_interval_has_a_time_before_all_the_same(course):
    outcome = dataclasses.replace(course.cell.outcomes[1], curve=np.array([20.0] * 5))
    found = mechanism.courses(with_outcomes(course, [outcome]))
    assert found.reached.tolist() == [0]
    np.testing.assert_allclose(found.before_learning(found.batch), [0.2])


def test_runs_that_cannot_be_followed_are_in_neither_table(course):
    config = course.cell.config.model_copy(update={"curriculum": "radius"})
    moved = dataclasses.replace(course.cell, config=config)
    table = [
        dataclasses.replace(course, reference=Reference(0.0, None)),
        dataclasses.replace(course, cell=moved),
    ]
    for build in (mechanism.cells, mechanism.runs):
        assert build(table) == []
        assert build([course, *table]) == build([course])


def test_contrasts_take_a_setting_once(table):
    assert list(mechanism.contrasts(table)) == [
        (experiment, N) for experiment in ("figure4", "first-order") for N in (2, 3)
    ]


def test_enrichment_is_drawn_as_the_median_of_the_runs(course, table):
    uniform = pick(table, "figure4", sampler="uniform")
    first, second, third = course.cell.outcomes
    course = with_outcomes(course, [first, second, second, third])
    figure = draw_evidence.enrichment({("figure4", 2): {"A": uniform, "B": course}})
    thick = next(line for line in figure.axes[0].lines if line.get_label() == "B: prioritized")
    np.testing.assert_allclose(thick.get_ydata(), [2, 2, 2, 2])


def test_a_panel_says_whether_runs_or_rewards_are_lacking(course):
    barren = with_outcomes(course, course.cell.outcomes[2:])
    empty = with_outcomes(course, [])
    figure = draw_evidence.enrichment(
        {("a", 2): {"A": barren, "B": barren}, ("b", 2): {"A": empty, "B": empty}}
    )
    assert {"nothing rewarded", "no runs"} <= set(texts(figure))


def test_a_cell_without_runs_is_counted(course):
    lost = with_outcomes(course, [])
    for build in (mechanism.cells, teams.teamwork):
        entries = build([course, lost])
        assert [entry["runs"] for entry in entries] == [3, 0]
        assert [entry["expected"] for entry in entries] == [5, 5]
        assert entries[1].keys() < entries[0].keys(), "which the CSV leaves empty"
        assert build([lost]) == []


def test_rates_are_those_of_the_records(why, table):
    entry = next(
        entry
        for entry in discovery.discovery(table)
        if (entry["dynamics"], entry["radius"], entry["agents"]) == ("first-order", 0.1, 2)
    )
    assert entry["predicted"] == discovery.discovery_rate(2, 0.1)
    raw = record(why, "references.first-order/random/group-goal-uniform/n2/seed0")
    steps = raw["absolute"]["raw"]["successful_steps"]
    assert (entry["random_successes"], entry["random_steps"]) == (sum(steps), len(steps) * 30)
    # The first interval of the first experiment in this world; `repeated` is not counted.
    runs = [
        record(why, f"first-order/ps-maddpg/group-goal-{sampler}/n2/seed{seed}")["training"]
        for sampler in ("uniform", "prioritized")
        for seed in range(5)
    ]
    episodes = runs[0]["episode"][0]
    successes = sum(run["mean"]["successful_steps"][0] * episodes for run in runs)
    assert entry["training_steps"] == 10 * episodes * 30
    assert entry["training_rate"] == pytest.approx(successes / entry["training_steps"])


def test_steps_after_a_success_that_ends_the_episode_are_not_found_by_chance(tmp_path):
    asked = {"question": "?", "methods": ["random"], "agents": [2], "seeds": [0]}
    ended = {**asked, "settings": {"task_options": {"end": "success"}}}
    grid = synthetic.write_grid(tmp_path, experiments={"a": ended, "b": asked})
    synthetic.write_records(grid, tmp_path)
    (entry,) = discovery.discovery(rows(load(grid, tmp_path)))
    assert entry["random_steps"] == 20 * 30, "those of b alone"


def test_nothing_is_predicted_where_not_all_is_drawn_uniformly(table):
    predicted = {
        (entry["targets"], entry["start"]): entry["predicted"] is not None
        for entry in discovery.discovery(table)
        if entry["agents"] == 3
    }
    assert predicted == {
        ("redrawn", "uniform"): True,
        ("fixed", "uniform"): False,
        ("redrawn", "centre"): False,
    }
