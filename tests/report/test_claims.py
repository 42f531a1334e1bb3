"""The claims ledger: each rule against rows whose verdict is known."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from bench import report
from bench.errors import RequestError
from bench.grid import expand, load_grid
from bench.records import Episode, Teamwork
from bench.report import claims
from bench.report.aggregate import Cell, Reference, Row
from bench.report.claims import Case, Claim, Thresholds, glance, lazy_agents, ledger, load_rules
from bench.report.curves import CURVES
from bench.report.load import Outcome, Problem
from bench.report.outcomes import judge as judge_curve
from bench.stats import estimate

ROOT = Path(__file__).parents[2]
LINES = Thresholds(learned=0.5, nothing=0.05, lazy=0.5, replans=0.05)
NO_EPISODE = Episode(targets=[], positions=[], switches=[])


def team(replaceable: list[float], switches: float = 0.0, redirected: float = 0.0) -> Teamwork:
    agents = len(replaceable)
    return Teamwork(
        episodes=1,
        idle=[0.0] * agents,
        replaceable=replaceable,
        lost=[0.0] * agents,
        switches=[switches, 0.0],
        switches_frozen=[0.0, 0.0],
        redirected=[redirected] * agents,
        example=NO_EPISODE,
    )


@pytest.fixture
def make_row(results: Any) -> Any:
    """Return what makes a row of given scores, teams and curves, its oracle at 20."""
    from bench.report.aggregate import rows

    template = rows(results)[4]

    def make(
        scores: list[float],
        teams: list[Teamwork] | None = None,
        areas: list[float] | None = None,
        last: list[float] | None = None,
        parameters: int = 100,
    ) -> Row:
        first: Outcome = template.cell.outcomes[0]
        outcomes = tuple(
            dataclasses.replace(
                first,
                score=score,
                last=last[i] if last else score,
                teamwork=teams[i] if teams else None,
                curve=np.full(5, areas[i] if areas else score),
            )
            for i, score in enumerate(scores)
        )
        cell: Cell = dataclasses.replace(template.cell, outcomes=outcomes)
        assert template.cost is not None
        return dataclasses.replace(
            template,
            cell=cell,
            reference=Reference(0.1, 20),
            score=estimate([np.array(scores)]) if scores else None,
            cost=template.cost.model_copy(update={"trained_parameters": parameters}),
        )

    return make


def claim(test: str, **values: Any) -> Claim:
    shared = {"claim": "?", "experiments": ["figure4"], "curves": ["B"], "agents": [2]}
    return Claim(test=test, **{**shared, **values})  # type: ignore[arg-type]


def judge(asked: Claim, row: Row, than: Row | None = None) -> str:
    return claims._judge(Case(asked, row, than, LINES))[0]


@pytest.mark.parametrize(
    ("scores", "learns", "fails", "nothing"),
    [
        ([12.0] * 6, "supported", "refuted", "refuted"),
        ([10.0] * 6, "supported", "refuted", "refuted"),  # on the line counts as above it
        ([5.0] * 6, "refuted", "supported", "refuted"),
        ([0.5] * 6, "refuted", "supported", "open"),  # little, but not by chance
        ([0.1] * 6, "refuted", "supported", "supported"),
        ([0.0, 0.0, 0.0, 20.0, 20.0, 20.0], "open", "open", "open"),
        ([12.0] * 4, "open", "open", "open"),  # too few for an interval
        ([], "open", "open", "open"),
    ],
)
def test_scores(make_row: Any, scores: list[float], learns: str, fails: str, nothing: str) -> None:
    row = make_row(scores)
    found = [judge(claim(test), row) for test in ("learns", "fails", "nothing")]
    assert found == [learns, fails, nothing]


def test_a_diverged_run_leaves_no_verdict(make_row: Any) -> None:
    row = make_row([12.0] * 6)
    lost = (Problem("a run", "diverged", "NaN"),)
    row = dataclasses.replace(row, cell=dataclasses.replace(row.cell, problems=lost))
    assert judge(claim("learns"), row) == "open"


def test_a_cell_that_lost_all_of_its_runs_is_not_called_one_without_runs(make_row: Any) -> None:
    row = make_row([])
    assert claims._judge(Case(claim("learns"), row, None, LINES))[1] == "no runs"
    lost = tuple(Problem(f"run {i}", kind, "?") for i, kind in enumerate(["missing", "diverged"]))
    row = dataclasses.replace(row, cell=dataclasses.replace(row.cell, problems=lost))
    verdict, ground = claims._judge(Case(claim("learns"), row, None, LINES))
    assert (verdict, ground) == ("open", "no usable runs (1 missing, 1 diverged)")
    assert judge_curve("A", row).outcome == "no usable runs"
    entry = {"claim": "?", "experiment": "e", "curve": "A", "agents": 2, "verdict": verdict}
    (line,) = glance([{**entry, "ground": ground, "runs": 0, "expected": 2}])
    assert line["N = 2"] == ground


def test_without_an_oracle_nothing_is_judged(make_row: Any) -> None:
    row = dataclasses.replace(make_row([12.0] * 6), reference=Reference(0.1, None))
    for test in ("learns", "fails", "nothing", "lazy", "replans"):
        assert judge(claim(test), row) == "open"


@pytest.mark.parametrize(
    ("replaceable", "count"),
    [([0.1, 0.9], 1), ([0.5, 0.1, 0.6], 2), ([0.9, 0.9], 0), ([0.1, 0.2], 0)],
)
def test_an_agent_is_lazy_only_where_another_is_not(replaceable: list[float], count: int) -> None:
    assert lazy_agents(replaceable, 0.5) == count


def test_failure_through_lazy_agents(make_row: Any) -> None:
    lazy, busy = team([0.9, 0.1]), team([0.1, 0.1])
    asked = claim("lazy")
    assert judge(asked, make_row([3.0] * 6, [lazy] * 6)) == "supported"
    assert judge(asked, make_row([3.0] * 6, [busy] * 6)) == "refuted"
    assert judge(asked, make_row([3.0] * 6, [lazy] * 3 + [busy] * 3)) == "open"
    assert judge(asked, make_row([3.0] * 6)) == "open"  # not measured
    none_works = team([0.9, 0.9])
    assert judge(asked, make_row([3.0] * 6, [none_works] * 6)) == "open"
    assert judge(asked, make_row([3.0] * 6, [busy] * 5 + [none_works])) == "open"
    assert judge(asked, make_row([15.0] * 6, [lazy] * 6)) == "refuted"  # it did not fail


def test_replanning_is_judged_on_runs_that_learned(make_row: Any) -> None:
    turns, stays = team([0.1, 0.1], 0.3, 0.2), team([0.1, 0.1], 0.3, 0.0)
    blind = turns.model_copy(update={"switches_frozen": turns.switches})
    asked = claim("replans")
    assert judge(asked, make_row([15.0] * 6, [turns] * 6)) == "supported"
    assert judge(asked, make_row([15.0] * 6, [stays] * 6)) == "refuted"
    # As many switches beside frozen team-mates: they are not what agents turn for.
    assert judge(asked, make_row([15.0] * 6, [blind] * 6)) == "open"
    # Of eight runs the three that learned nothing have no say; four that did are too few.
    assert judge(asked, make_row([15.0] * 5 + [0.0] * 3, [turns] * 5 + [stays] * 3)) == "supported"
    assert judge(asked, make_row([15.0] * 4 + [0.0] * 4, [turns] * 8)) == "open"
    # What is measured is the last policy, so it is that one which has to have learned.
    fell = [15.0] * 5 + [0.0] * 3
    teams = [turns] * 5 + [stays] * 3
    assert judge(asked, make_row([15.0] * 8, teams, last=fell)) == "supported"


def test_what_is_counted_and_what_comes_sooner(make_row: Any) -> None:
    few, many = make_row([1.0] * 6, parameters=10), make_row([1.0] * 6, parameters=20)
    asked = claim("fewer", quantity="trained_parameters", than="maddpg")
    assert judge(asked, few, many) == "supported"
    assert judge(asked, many, few) == judge(asked, few, few) == "refuted"
    assert judge(asked, few, None) == "open"
    early = make_row([15.0] * 6, areas=[5, 6, 7, 5, 6, 7])
    late = make_row([15.0] * 6, areas=[1, 2, 3, 1, 2, 3])
    asked = claim("sooner", than="maddpg")
    assert judge(asked, early, late) == "supported"
    assert judge(asked, late, early) == "refuted"
    assert judge(asked, early, early) == "open"
    slow, hopeless = make_row([0.1] * 6, areas=[1] * 6), make_row([0.0] * 6, areas=[0] * 6)
    assert judge(asked, slow, hopeless) == "open"
    lost = (Problem("a run", "diverged", "NaN"),)
    lucky = dataclasses.replace(late, cell=dataclasses.replace(late.cell, problems=lost))
    verdict, ground = claims._judge(Case(asked, early, lucky, LINES))
    assert verdict == "open" and "runs of maddpg diverged" in ground
    assert judge(asked, early, hopeless) == "supported"
    assert judge(asked, hopeless, early) == "refuted"


def test_the_ledger_asks_only_where_the_grid_has_cells_and_names_the_records(
    tmp_path: Path,
) -> None:
    from bench.report.aggregate import rows
    from bench.report.load import load

    grid = synthetic.write_grid(tmp_path)
    paths = synthetic.write_records(grid, tmp_path)
    entries = ledger(rows(load(grid, tmp_path)))
    assert {(e["id"], e["agents"]) for e in entries} == {
        ("prioritized-learns", 2),
        ("prioritized-learns", 3),
        ("uniform-nothing", 2),
        ("uniform-nothing", 3),
        ("replanning", 2),
        ("replanning", 3),
    }
    lines = glance(entries)
    assert [line["experiment"] for line in lines] == ["figure4"] * 3
    assert glance([{**entries[0], "runs": 5}])[0]["N = 2"] == f"{entries[0]['verdict']} (5/6)"
    for line in lines:
        for N in (2, 3):
            (entry,) = (e for e in entries if (e["claim"], e["agents"]) == (line["claim"], N))
            assert line[f"N = {N}"] == entry["verdict"]
    for entry in entries:
        below = [key for key in paths if key.startswith(f"{entry['records']}/")]
        assert len(below) == entry["runs"] == 6


def test_a_claim_compares_with_a_cell_that_has_runs_and_differs_in_the_method_alone(
    tmp_path: Path,
) -> None:
    from bench.report.aggregate import rows
    from bench.report.load import load

    asked = {"question": "?", "samplers": ["prioritized"], "agents": [2], "seeds": [0, 1, 2]}
    experiments = {
        "references": synthetic.GRID["experiments"]["references"],
        "other": {**asked, "methods": ["maddpg"], "settings": {"gamma": 0.9}},
        "first-order": {**asked, "methods": ["ps-maddpg"]},
        "vanilla": {**asked, "methods": ["maddpg"]},
        "methods": {**asked, "methods": ["maddpg"]},
    }
    grid = synthetic.write_grid(tmp_path, experiments=experiments)
    synthetic.write_records(grid, tmp_path, there=lambda key: not key.startswith("methods/"))
    entries = {e["id"]: e for e in ledger(rows(load(grid, tmp_path)))}
    assert entries["sharing-parameters"]["verdict"] == "supported"
    (tmp_path / "small" / "runs" / "vanilla").rename(tmp_path / "elsewhere")
    entries = {e["id"]: e for e in ledger(rows(load(grid, tmp_path)))}
    assert entries["sharing-parameters"]["ground"] == "no runs of maddpg"


def test_the_claims_can_be_asked_of_the_paper_grid() -> None:
    runs = expand(load_grid(ROOT / "config" / "paper.yaml")).values()

    def cells(method: str, experiment: str, curve: str) -> dict[int, str]:
        """What is asked, but for method and seed, by number of agents."""
        return {
            run.config.agents: run.config.model_copy(update={"method": "", "seed": 0}).digest
            for run in runs
            if run.config.method == method
            and run.experiment == experiment
            and (run.config.reward, run.config.sampler) == CURVES[curve]
        }

    for name, asked in load_rules().claims.items():
        for experiment, curve in itertools.product(asked.experiments, asked.curves):
            assert any(
                run.experiment == experiment and run.config.agents in asked.agents for run in runs
            ), f"{name}: {experiment}"
            if asked.than is not None:
                other = cells(asked.than, "vanilla", curve)
                assert cells(asked.method, experiment, curve) == other, f"{name}: {asked.than}"


def test_a_wrong_claim_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "claims.yaml"
    text = (ROOT / "config" / "claims.yaml").read_text()
    path.write_text(text.replace("    test: learns\n", "    test: learns\n    than: maddpg\n"))
    monkeypatch.setenv("HYPERCOOP_CLAIMS", str(path))
    assert report.claims_file() == path
    with pytest.raises(RequestError, match=r"prioritized-learns.*fewer and sooner"):
        load_rules()
