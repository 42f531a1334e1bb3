"""The rules behind the paper's words, and the formula behind its only analytic number."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import synthetic
from evidence import with_outcomes
from scipy.integrate import quad

from bench.errors import RequestError
from bench.report import discovery, outcomes, values
from bench.report.aggregate import Reference, rows
from bench.report.curves import panels
from bench.report.load import Problem, load
from bench.stats import Estimate


@pytest.mark.parametrize("radius", [0.01, 0.1, 0.5, 1.3, 2.0])
def test_cover_probability_is_the_integral(radius):
    """Over the shift (x, y) of two points, whose density is (2 - |x|)(2 - |y|) / 16."""

    def over_disc(r):
        angle = quad(lambda a: (2 - r * abs(math.cos(a))) * (2 - r * abs(math.sin(a))), 0, math.tau)
        return r * angle[0] / 16

    assert discovery.cover_probability(radius) == pytest.approx(
        quad(over_disc, 0, radius)[0], rel=1e-6
    )


def test_cover_probability_is_what_sampling_finds():
    generator = np.random.default_rng(0)
    a, b = generator.uniform(-1, 1, (2, 400_000, 2))
    share = np.mean(np.linalg.norm(a - b, axis=1) <= 0.1)
    assert discovery.cover_probability(0.1) == pytest.approx(share, rel=0.05)
    assert discovery.cover_probability(0.1) == pytest.approx(0.00752, abs=5e-6)


def test_discovery_rate_is_what_sampling_finds():
    generator = np.random.default_rng(1)
    agents, targets = generator.uniform(-1, 1, (2, 1_000_000, 2, 2))
    near = np.linalg.norm(agents[:, :, None] - targets[:, None], axis=-1) <= 0.2
    success = (near[:, 0, 0] & near[:, 1, 1]) | (near[:, 0, 1] & near[:, 1, 0])
    assert discovery.discovery_rate(2, 0.2) == pytest.approx(success.mean(), rel=0.05)


def test_cover_probability_ends_at_the_side():
    with pytest.raises(ValueError, match="must lie in"):
        discovery.cover_probability(2.1)


@pytest.mark.parametrize(
    ("score", "outcome", "above"),
    [
        (Estimate(12, 10, 14), "learned", True),
        (Estimate(12, 9, 14), "open", True),
        (Estimate(5, 4, 6), "partial", True),
        (Estimate(0, 0, 0), "nothing", False),
        (Estimate(0.5, 0.4, 0.6), "partial", True),  # little, and more than random actions do
        (Estimate(3, 0.1, 7), "open", False),
        (Estimate(12, None, None), "few seeds", None),
        (None, "no runs", None),
    ],
)
def test_judgement(results, score, outcome, above):
    row = dataclasses.replace(rows(results)[4], score=score, reference=Reference(0.1, 20))
    if score is None:
        row = with_outcomes(row, [])
    curve = outcomes.judge("A", row)
    assert (curve.outcome, curve.above_random) == (outcome, above)


def test_the_runs_that_learned_are_counted_and_a_diverged_one_leaves_the_outcome_open(results):
    row = dataclasses.replace(rows(results)[4], score=Estimate(12, 11, 14))
    scores = sorted(row.cell.scores)
    row = dataclasses.replace(row, reference=Reference(0.1, 2 * scores[2]))
    assert outcomes.learned(row) == len(scores) - 2
    share = outcomes.share_learned(row)
    assert share is not None and share.point == (len(scores) - 2) / len(scores)
    lost = (Problem("a run", "diverged", "NaN"),)
    row = dataclasses.replace(row, cell=dataclasses.replace(row.cell, problems=lost))
    assert outcomes.judge("A", row).outcome == "open"


def test_without_an_oracle_nothing_is_judged(results):
    row = dataclasses.replace(rows(results)[4], reference=Reference(0.1, None))
    assert outcomes.judge("A", row).outcome == "no oracle"


def test_values_are_those_of_the_tables(results):
    found = values.values(results)
    assert found["complete"]
    assert found["numbers"]["runs-used"] == found["numbers"]["runs-expected"] == 102
    assert found["numbers"]["env-steps"] == 600 * 30
    table = panels(rows(results))["ps-maddpg"]
    for team in found["teams"]:
        for curve in team["curves"]:
            row = table[team["agents"]][curve["letter"]]
            assert curve["iqm"] == pytest.approx(row.score.point, rel=1e-5)
            assert curve["runs"] == 6
    assert list(found["methods"]) == ["iql", "ps-maddpg"] and all(found["methods"].values())


def test_macros_have_names_that_latex_takes(results):
    text = values.macros(values.values(results))
    names = re.findall(r"^\\newcommand\{\\(\w+)\}\{.+\}$", text, flags=re.M)
    assert len(names) == len(set(names)) == text.count("newcommand")
    assert all(name.isalpha() for name in names)
    assert {"hcRunsUsed", "hcNTwoOracle", "hcNThreeDIqm"} <= set(names)


def test_a_grid_without_figure4_has_no_paper(tmp_path):
    experiments = {"other": synthetic.GRID["experiments"]["sensitivity"]}
    grid = synthetic.write_grid(tmp_path, experiments=experiments)
    synthetic.write_records(grid, tmp_path)
    with pytest.raises(RequestError, match="has no experiment 'figure4'"):
        values.values(load(grid, tmp_path))
