"""Tuning: the choice by hand, on seeds of its own, and what experiments take of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
import yaml

from bench.config import resolve
from bench.errors import RequestError
from bench.grid import Grid, expand, load_grid, untuned
from bench.methods import load_methods, methods_file
from bench.report.aggregate import rows
from bench.report.load import load
from bench.report.tuning import EXPERIMENTS, chosen, tuning

CONFIG = Path(__file__).parents[2] / "config"
GRIDS = [
    *sorted(set(CONFIG.glob("*.yaml")) - {CONFIG / "methods.yaml", CONFIG / "claims.yaml"}),
]


@pytest.fixture
def tuned(tmp_path):
    """Two methods with three settings on two seeds."""
    tried = {"default": {}, "rate": {"actor_lr": 0.001}, "updates": {"steps_per_update": 50}}
    experiment = {
        **{"question": "Which?", "methods": ["iql", "ps-maddpg"], "agents": [2]},
        **{"seeds": [1000, 1001], "variants": tried},
    }
    grid = synthetic.write_grid(tmp_path, experiments={"tuning": experiment})
    return grid, tmp_path, synthetic.write_records(grid, tmp_path)


def test_the_setting_with_the_highest_mean_is_chosen(tuned):
    grid, root, _ = tuned
    results = load(grid, root)
    scores = {}
    for outcome in results.outcomes.values():
        c = outcome.config
        setting = c.actor_lr, c.steps_per_update
        scores.setdefault((c.method, setting), []).append(outcome.score)
    means = {key: sum(found) / len(found) for key, found in scores.items()}
    for method, values in chosen(rows(results)).items():
        of_method = {setting: mean for (name, setting), mean in means.items() if name == method}
        assert set(values) == {"actor_lr", "steps_per_update"}, "what was tried, and nothing else"
        best = max(of_method, key=of_method.get)
        assert (values["actor_lr"], values["steps_per_update"]) == best
    marked = [(row["method"], row["mean"]) for row in tuning(rows(results)) if row["chosen"]]
    assert len(marked) == 2
    for method, mean in marked:
        assert mean == pytest.approx(max(m for (name, _), m in means.items() if name == method))


def test_a_method_with_a_missing_run_has_no_choice(tuned):
    grid, root, paths = tuned
    paths["tuning.rate/iql/group-goal-prioritized/n2/seed1001"].unlink()
    table = rows(load(grid, root))
    assert set(chosen(table)) == {"ps-maddpg"}
    assert {row["method"] for row in tuning(table) if row["chosen"]} == {"ps-maddpg"}


def test_tuning_seeds_are_no_grids_reporting_seeds():
    for path in GRIDS:
        seeds = {run.config.seed for run in expand(load_grid(path)).values()}
        assert (min(seeds) >= 1000) if path.stem == "tuning" else (max(seeds) < 1000), path.name


def test_every_method_of_the_comparison_is_tuned_with_the_same_budget():
    every = expand(load_grid(CONFIG / "tuning.yaml"))
    runs = [run for key, run in every.items() if key.partition(".")[0] == EXPERIMENTS[0]]
    compared = load_grid(CONFIG / "paper.yaml").experiments["methods"]
    tried: dict[str, set[tuple[object, ...]]] = {}
    for run in runs:
        tried.setdefault(run.config.method, set()).add(run.config.digest)
    assert compared.tuned and set(compared.methods) <= set(tried)
    assert len({len(settings) for settings in tried.values()}) == 1
    assert len(runs) == sum(len(settings) for settings in tried.values()), "two settings are one"


def test_the_method_table_holds_what_the_committed_search_chose():
    root = CONFIG.parent / "results"
    found = chosen(rows(load(CONFIG / "tuning.yaml", root)))
    for name, entry in load_methods().items():
        assert entry.tuned == found.get(name, {}), name


def test_the_recipe_has_what_the_committed_search_chose():
    table = rows(load(CONFIG / "tuning.yaml", CONFIG.parent / "results"))
    ((method, values),) = chosen(table, "tuning-recipe").items()
    beyond = load_grid(CONFIG / "beyond.yaml")
    runs = [run for key, run in expand(beyond).items() if key.startswith("recipe/")]
    assert runs
    for run in runs:
        assert run.config.method == method
        assert {name: getattr(run.config, name) for name in values} == values


def test_only_an_experiment_that_says_so_takes_tuned_values(tmp_path, monkeypatch):
    table = yaml.safe_load(methods_file().read_text())
    table["iql"]["tuned"] = {"actor_lr": 0.5}
    table["vdn"].pop("tuned", None)
    path = tmp_path / "methods.yaml"
    path.write_text(yaml.safe_dump(table))
    monkeypatch.setenv("HYPERCOOP_METHODS", str(path))
    asked = {"method": "iql"}
    assert resolve(asked).actor_lr == 3e-3
    assert resolve(asked, tuned=True).actor_lr == 0.5
    assert resolve(asked, tuned=True).noise_end == resolve(asked).noise_end
    assert resolve(asked, {"actor_lr": 0.25}, tuned=True).actor_lr == 0.25
    table["iql"]["tuned"] = {"rate": 0.5}
    cell = {"question": "?", "methods": ["iql", "vdn"], "agents": [2], "seeds": [0]}
    experiments = {"a": {**cell, "tuned": True}, "b": cell}
    grid = Grid.model_validate({"name": "g", "title": "t", "experiments": experiments})
    assert untuned(grid) == {"a": ["vdn"]}
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(table))
    monkeypatch.setenv("HYPERCOOP_METHODS", str(wrong))
    with pytest.raises(RequestError, match="unknown key 'rate'"):
        resolve(asked, tuned=True)
