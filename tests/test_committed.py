"""Committed records are sound, and are what their grids ask for now."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from bench.grid import load_grid
from bench.places import Places
from bench.records import read
from bench.report import crate, figures, leaderboard, paper, tables
from bench.report.load import load
from bench.tasks.games import Specialisation, individual
from bench.tasks.options import GameOptions

ROOT = Path(__file__).parents[1]
GRIDS = [
    path
    for path in sorted((ROOT / "config").glob("*.yaml"))
    if path.name not in ("methods.yaml", "claims.yaml")
    and (ROOT / "results" / load_grid(path).name / "runs").exists()
]


@pytest.mark.parametrize("grid", GRIDS, ids=lambda path: path.stem)
def test_committed_records_are_neither_damaged_nor_stale(grid: Path) -> None:
    problems = load(grid, ROOT / "results").problems
    assert not [str(problem) for problem in problems if problem.kind != "missing"]


def test_maddpg_reaches_the_published_return_on_simple_spread() -> None:
    """-36 or better over five seeds, on mpe2's summed scale, -(N G + C) / 2.

    Published: -33.4 +- some.
    """
    results = load(ROOT / "config" / "simple-spread.yaml", ROOT / "results")
    records = list((ROOT / "results" / "simple-spread" / "runs").rglob("*.json"))
    assert not results.problems and len(records) == 5
    returns = []
    for record in records:
        final = read(record).final
        assert final is not None
        pairs = zip(final.raw["least_distance"], final.raw["collisions"], strict=True)
        returns += [-(3 * distance + collisions) / 2 for distance, collisions in pairs]
    assert sum(returns) / len(returns) >= -36


def test_the_score_in_a_game_without_chance_is_the_last_policys() -> None:
    """The best one's, on episodes that are all alike, is what it was chosen for."""
    results = load(ROOT / "config" / "specialisation.yaml", ROOT / "results")
    better = 0
    for key, outcome in results.outcomes.items():
        record = read(Places(ROOT / "results" / "specialisation").record(key))
        assert record.final is not None
        assert record.absolute is not None
        rewards = record.absolute.raw["mean_reward"]
        assert {*rewards} == {rewards[0]}
        assert outcome.score == outcome.last == pytest.approx(record.final.raw["mean_reward"][0])
        better += rewards[0] > outcome.score
    assert better > 0


def test_who_shares_a_policy_without_ids_cannot_specialise_and_the_hypernetwork_does() -> None:
    """Ten seeds of each: one deterministic policy for all earns its bound and no more, and every
    run of a hypernetwork ends above what agents earn that draw their moves uniformly."""
    results = load(ROOT / "config" / "specialisation.yaml", ROOT / "results")
    assert results.complete
    scores: dict[tuple[int, str], list[float]] = {}
    for key, outcome in results.outcomes.items():
        if key.startswith("schemes/"):
            cell = outcome.config.agents, outcome.config.method
            scores.setdefault(cell, []).append(outcome.score)
    assert {len(found) for found in scores.values()} == {10}
    for (agents, method), found in scores.items():
        game = Specialisation(agents, individual, GameOptions())
        if method == "shared-iql":
            assert max(found) <= game.sharing_bound(stochastic=False) + 1e-6
        if method == "hyper-iql-orthogonal":
            assert min(found) > game.sharing_bound(stochastic=True)


@pytest.mark.parametrize(
    "name", ["beyond", "demo", "hypernet", "paper", "specialisation", "tuning"]
)
def test_committed_metadata_names_committed_files(name: str) -> None:
    """Whoever builds a report anew and forgets what names its hash is told."""
    folder = ROOT / "results" / name
    graph = json.loads((folder / crate.NAME).read_text())["@graph"]
    named = {e["@id"]: e["sha256"] for e in graph if e["@type"] == "File"}
    found = {name: sha256((folder / name).read_bytes()).hexdigest() for name in named}
    assert found == named
    (runs,) = (entity["name"] for entity in graph if entity["@id"] == "runs/")
    assert runs.startswith(f"{len(list((folder / 'runs').rglob('*.json')))} of ")


def test_the_committed_paper_follows_from_what_lies_beside_it() -> None:
    grid = load_grid(ROOT / "config" / "paper.yaml")
    folder = ROOT / "results" / grid.name
    assert paper.compile_pdf(folder, grid.sections) == (folder / "paper.pdf").read_bytes()


def test_the_demos_reports_follow_from_its_records_to_the_byte(tmp_path: Path) -> None:
    results = load(ROOT / "config" / "demo.yaml", ROOT / "results")
    committed = ROOT / "results" / "demo"
    for build in (tables.build, figures.build, leaderboard.build, paper.build):
        build(results, tmp_path / "demo")
    built = [path for path in (tmp_path / "demo").rglob("*") if path.is_file()]
    assert len(built) > 30
    for path in built:
        name = path.relative_to(tmp_path / "demo")
        assert path.read_bytes() == (committed / name).read_bytes(), name
