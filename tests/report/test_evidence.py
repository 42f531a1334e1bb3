"""The figures and tables of why, on records whose answers are known."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import statistics

import numpy as np
import pytest
import synthetic
import torch
from synthetic import CONTROLLERS, Small, build_all
from test_paper import query

from bench import records
from bench.records import Training
from bench.report import (
    discovery,
    distance,
    draw_evidence,
    filmstrip,
    mechanism,
    sensitivity,
    teams,
    values,
)
from bench.report.aggregate import Reference, Row, rows
from bench.report.load import Results, load, record_path
from bench.stats import Estimate
from bench.tasks.assignment import all_matched

FIRST_ORDER = {"task_options": {"dynamics": "first-order"}}
CURVES = {
    "methods": ["ps-maddpg"],
    "rewards": ["group-goal", "summed-individual"],
    "samplers": ["uniform", "prioritized"],
    "agents": [2, 3],
    "seeds": [0, 1, 2, 3, 4],
}
EXPERIMENTS = {
    "references": {
        **synthetic.GRID["experiments"]["references"],
        "variants": {
            "mpe": {},
            "first-order": FIRST_ORDER,
            "wide": {"task_options": {"radius": 0.2}},
            "fixed": {"task_options": {"targets": "fixed"}},
            "centre": {"task_options": {"start": "centre"}},
        },
    },
    "figure4": {"question": "What learns?", **CURVES},
    "first-order": {"question": "And without inertia?", "settings": FIRST_ORDER, **CURVES},
    "repeated": {"question": "The same, once more.", "settings": FIRST_ORDER, **CURVES},
    "distance": {
        "question": "What is the flaw?",
        "methods": ["gatherer", "oracle"],
        "rewards": ["distance"],
        "agents": [2, 3],
        "seeds": [0],
        "settings": FIRST_ORDER,
    },
    "sensitivity": {
        "question": "What decides?",
        "methods": ["ps-maddpg"],
        "samplers": ["prioritized"],
        "agents": [2, 3],
        "seeds": [0, 1, 2, 3, 4],
        "variants": {
            "wide": {"task_options": {"radius": 0.2}},
            "gamma-0_99": {"gamma": 0.99},
            "two-at-once": {"gamma": 0.99, "task_options": {"radius": 0.2}},
        },
    },
}


@pytest.fixture(scope="module")
def why(tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("why")
    grid = synthetic.write_grid(folder, experiments=EXPERIMENTS)
    synthetic.write_records(grid, folder)
    return Small(grid, folder)


@pytest.fixture(scope="module")
def found(why) -> Results:
    return why.load()


@pytest.fixture(scope="module")
def table(found) -> list[Row]:
    return rows(found)


@pytest.fixture(scope="module")
def everything(why, found) -> dict[str, bytes]:
    return build_all(found, why.out)


def pick(table, experiment, agents=2, reward="group-goal", sampler="prioritized", method=None):
    return next(
        row
        for row in table
        if row.cell.experiment == experiment
        and (row.cell.config.agents, row.cell.config.reward) == (agents, reward)
        and (row.cell.config.sampler == sampler or row.cell.config.method in CONTROLLERS)
        and row.cell.config.method == (method or row.cell.config.method)
    )


def with_outcomes(row, outcomes):
    return dataclasses.replace(row, cell=dataclasses.replace(row.cell, outcomes=tuple(outcomes)))


def record(why, key):
    return json.loads(record_path(why.root, "small", key).read_text())


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]


# -- the mechanism ---------------------------------------------------------------------------------

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
    assert found.learned.tolist() == [400, math.inf, math.inf]
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
    assert (entry["succeeded"], entry["learned"], entry["runs"]) == (2, 1, 3)
    assert entry["first_success"] == 200  # of 100, 200 and never
    assert entry["learned_at"] is None  # the median run never does
    assert entry["between"] == 200
    assert entry["enrichment"] == pytest.approx(((0.3 / (0.4 / 3)) + 2) / 2)
    assert entry["enrichment_lo"] is None  # of two runs
    own = mechanism.runs([course])
    assert [run["first_success"] for run in own] == [200, 100, None]
    assert [run["learned_at"] for run in own] == [400, None, None]


def test_a_run_that_has_learned_by_the_first_interval_has_a_time_before_all_the_same(course):
    outcome = dataclasses.replace(course.cell.outcomes[1], curve=np.array([20.0] * 5))
    found = mechanism.courses(with_outcomes(course, [outcome]))
    assert found.learned.tolist() == [0]
    np.testing.assert_allclose(found.before_learning(found.batch), [0.2])


def test_without_an_oracle_nobody_is_said_to_have_learned(course):
    (entry,) = mechanism.cells([dataclasses.replace(course, reference=Reference(0.0, None))])
    assert (entry["learned"], entry["learned_at"], entry["between"]) == (0, None, None)


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
        assert entries[0].keys() == entries[1].keys()
        assert build([lost]) == []


# -- discovery -------------------------------------------------------------------------------------


def test_rates_are_those_of_the_records(why, table):
    entry = next(
        entry
        for entry in discovery.discovery(table)
        if (entry["dynamics"], entry["radius"], entry["agents"]) == ("first-order", 0.1, 2)
    )
    assert entry["predicted"] == values.discovery_rate(2, 0.1)
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


# -- teamwork --------------------------------------------------------------------------------------


def plain_iqm(numbers):
    ordered = sorted(numbers)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def test_teamwork_is_that_of_the_records(why, everything):
    table = read(why.out / "tables/teamwork.csv")
    row = next(
        r for r in table if (r["experiment"], r["curve"], r["agents"]) == ("figure4", "B", "3")
    )
    blocks = [
        record(why, f"figure4/ps-maddpg/group-goal-prioritized/n3/seed{seed}")["teamwork"]
        for seed in range(5)
    ]
    for name in ("idle", "lost", "redirected"):
        expected = plain_iqm([statistics.fmean(block[name]) for block in blocks])
        assert float(row[name]) == pytest.approx(expected, rel=1e-5)
    for name in ("switches", "switches_frozen"):
        expected = plain_iqm([sum(block[name]) for block in blocks])
        assert float(row[name]) == pytest.approx(expected, rel=1e-5)
    assert float(row["lazy"]) == 1  # one of the three is replaceable nearly always
    assert float(row["moment"]) == 5  # all switch in the fifth step
    assert row["switches_lo"] != ""
    assert (row["runs"], row["expected"]) == ("5", "5")


def test_runs_without_a_measurement_are_counted(table):
    row = pick(table, "figure4")
    (first, *others) = row.cell.outcomes
    partly = with_outcomes(row, [dataclasses.replace(first, teamwork=None), *others])
    (entry,) = teams.teamwork([partly])
    assert (entry["runs"], entry["expected"]) == (4, 5)
    assert entry["switches_lo"] is None
    assert teams.teamwork([with_outcomes(row, [dataclasses.replace(first, teamwork=None)])]) == []


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


def test_switches_are_drawn_of_runs_that_learned_only(table):
    figure = draw_evidence.switches(mechanism.contrasts(table))
    panels = {ax.get_title(): [text.get_text() for text in ax.texts] for ax in figure.axes}
    assert "no run learned" in panels["figure4, N = 3"]
    learned = teams.learned(pick(table, "figure4"))
    assert f"{len(learned)} of 5 runs" in panels["figure4, N = 2"]
    drawn = next(ax for ax in figure.axes if ax.get_title() == "figure4, N = 2").lines
    together = next(line for line in drawn if line.get_label() == "with team-mates")
    expected = plain_iqm([outcome.teamwork.switches[4] for outcome in learned])
    assert together.get_ydata()[4] == pytest.approx(expected)
    assert together.get_xdata()[4] == 5


# -- the distance reward ---------------------------------------------------------------------------


def test_returns_are_told_as_distances(table):
    pursuers = [
        with_outcomes(row, [dataclasses.replace(o, returns=r) for o in row.cell.outcomes])
        for row, r in zip(distance.pursued(table), (-60, -135, -66, -180), strict=True)
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
    assert len(solved.patches) == 4


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
    ("own", "verdict"),
    [
        (Estimate(0.7, 0.61, 0.8), "higher"),
        (Estimate(0.7, 0.6, 0.8), "overlaps"),
        (Estimate(0.3, 0.2, 0.39), "lower"),
        (Estimate(0.9, None, None), None),
        (None, None),
    ],
)
def test_a_change_counts_if_the_intervals_are_apart(table, own, verdict):
    row = pick(table, "figure4")
    default = dataclasses.replace(row, normalised=Estimate(0.5, 0.4, 0.6))
    changed = dataclasses.replace(row, normalised=own)
    assert sensitivity.Change(changed, "gamma", 0.99, 0.95, default).verdict == verdict
    assert sensitivity.Change(default, None, None, None, default).verdict is None


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
    assert entries[2, 0.99]["verdict"] in ("higher", "lower", "overlaps")


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
        assert built[f"tables/{name}.csv"] == b""


def test_every_step_of_a_table_is_finite(why, everything):
    for name in ("mechanism", "mechanism_runs", "discovery", "teamwork", "switches", "distance"):
        entries = read(why.out / f"tables/{name}.csv")
        assert entries
        numbers = itertools.chain.from_iterable(entry.values() for entry in entries)
        assert not {"nan", "inf", "-inf"} & set(numbers)
