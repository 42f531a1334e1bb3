"""The ablation: what it measures, that a change is one, and its quick form from end to end."""

from __future__ import annotations

import csv
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import yaml

from baselines.hypernet.options import BELONGS
from bench.grid import expand, fleets, load_grid
from bench.methods import load_methods
from bench.places import Places
from bench.report import draw_ablation, figures, leaderboard, tables
from bench.report.ablation import changes, difference, early_drop
from bench.report.aggregate import rows
from bench.report.load import load
from bench.runner import Job, train_runs

GRID = Path(__file__).parents[2] / "config" / "hypernet.yaml"
QUICK = {
    **{"episodes": 12, "parallel": 4, "steps_per_update": 8, "batch": 8, "hidden": [8, 8]},
    **{"buffer": 900, "evaluations": 4, "evaluation_episodes": 4, "absolute_episodes": 4},
    "task_options": {"radius": 0.3, "horizon": 5},
}
"""Of every method of the grid, a fraction of a second."""
KINDS = {
    "conditioning": {"conditioning", "hidden", "rho"},
    "generator": {"generator", "branches", "rho"},
    "target": {"target", "alpha"},
    "initialisation": {"initialisation", "rho"},
    "stabiliser": {
        *("bound", "decay", "l1", "warmup", "clip", "residual_after", "replay", "replay_by")
    },
}
"""What an experiment's methods may change."""
TWOFOLD = {
    "hyper-maddpg-linear": "a linear code makes sense of one-hot IDs alone, and without a base",
    "hyper-maddpg-zero-factor": "a low-rank generator, and what it starts from",
    "hyper-maddpg-shrunk": "two penalties that do one thing",
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The ablation, every method of it, in its quick form: trained, and its results read."""
    folder = tmp_path_factory.mktemp("quick")
    whole = yaml.safe_load(GRID.read_text())
    whole["name"], whole["defaults"] = "hypernet-quick", {**whole["defaults"], **QUICK}
    for experiment in whole["experiments"].values():
        experiment["seeds"] = [0]
    path = folder / "hypernet-quick.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    runs = expand(load_grid(path))
    for keys in fleets(runs, 1):
        train_runs([runs[key] for key in keys], Job(Places(folder / "hypernet-quick")))
    return load(path, folder)


def test_the_quick_form_is_trained_and_reported(quick, tmp_path) -> None:
    assert quick.complete
    for module in (tables, figures, leaderboard):
        assert all(path.exists() for path in module.build(quick, tmp_path))
    written = list(csv.DictReader((tmp_path / "tables/ablation.csv").open()))
    expected = [run.config.method for run in quick.expected.values()]
    assert [row["method"] for row in written] == expected[2:], "all but the references"
    assert written[0]["kind"] == "default"
    assert written[0]["iqm_change"] == written[0]["early_drop_change"] == "", "the default's own"
    for row, outcome in zip(written, list(quick.outcomes.values())[2:], strict=True):
        for name in ("iqm", "early_drop"):
            if row is not written[0]:
                change = float(row[name]) - float(written[0][name])
                assert float(row[f"{name}_change"]) == pytest.approx(change, abs=1e-4)
        assert float(row["iqm"]) == pytest.approx(outcome.score, rel=1e-5)
        assert float(row["early_drop"]) == pytest.approx(early_drop(outcome), rel=1e-5)
        assert int(row["trained_parameters"]) == outcome.cost.trained_parameters
        assert int(row["flops_per_update"]) == outcome.cost.flops_per_update
    assert (tmp_path / "figures/ablation.svg").exists()
    assert not (tmp_path / "figures/profiles.svg").exists()


def test_every_record_has_gradients_and_dead_units(quick) -> None:
    for outcome in list(quick.outcomes.values())[2:]:
        found = outcome.diagnostics
        assert found is not None
        assert found.gradient is not None and found.gradient > 0
        for layer in found.layers:
            assert len(layer.gradient) == len(layer.norm)
            assert layer.alike is not None
        assert [len(layer.dead) > 0 for layer in found.layers] == [True, True, False]
    table = tables.diagnosed.layers(rows(quick))
    assert all(row["gradient"] is not None and row["alike"] is not None for row in table)


def test_the_figure_has_a_line_per_method_in_both_panels(quick) -> None:
    found = changes(rows(quick))
    figure = draw_ablation.ablation(found)
    score, drop = figure.axes
    names = [label.get_text() for label in score.get_yticklabels()]
    assert names == [change.row.cell.config.method for change in found]
    for ax, values in (
        (score, [c.row.cell.scores for c in found]),
        (drop, [c.drops for c in found]),
    ):
        dots = [line.get_xdata() for line in ax.lines if line.get_marker() == "o"]
        np.testing.assert_allclose(np.array(dots), np.array(values))
    kinds = {change.kind for change in found}
    assert kinds <= {text.get_text() for text in drop.texts}


def test_a_grid_without_a_default_is_no_ablation(results) -> None:
    assert changes(rows(results)) == []


def test_the_early_drop_is_the_largest_fall_in_the_first_fifth(results) -> None:
    outcome = next(iter(results.outcomes.values()))

    def of(*curve: float, episodes: int = 100) -> float:
        episode = np.linspace(0, episodes, len(curve))
        return early_drop(dataclasses.replace(outcome, curve=np.array(curve), episode=episode))

    rest = [0.0] * 16
    assert of(0, 5, 1, 3, 2, *rest) == 4, "not what falls later"
    assert of(0, 1, 2, 3, 4, *rest, 0) == 0
    assert of(3, 1, 5, 4, 2, *rest) == 3
    generator = np.random.default_rng(0)
    for _ in range(20):
        curve = generator.normal(size=31)
        pairs = itertools.combinations(curve[:7], 2)  # 6 of 30 intervals
        assert of(*curve) == max(0.0, *(before - after for before, after in pairs))


def test_each_change_is_one_change() -> None:
    methods, grid = load_methods(), load_grid(GRID)
    (default,) = grid.experiments["default"].methods
    origin = methods[default]
    for kind, allowed in KINDS.items():
        for name in grid.experiments[kind].methods:
            entry = methods[name]
            assert (entry.algorithm, entry.scheme) == (origin.algorithm, origin.scheme)
            options = {**dict.fromkeys(origin.scheme_options), **entry.scheme_options}
            changed = {
                k for k in options if entry.scheme_options.get(k) != origin.scheme_options.get(k)
            }
            changed -= {k for k in changed if k in BELONGS and BELONGS[k][0] in changed}
            assert changed <= allowed, name
            assert len(changed - {"replay_by"}) == 1 or name in TWOFOLD, name
    used = [name for experiment in grid.experiments.values() for name in experiment.methods]
    hypernets = {name for name, entry in methods.items() if name.startswith("hyper-maddpg")}
    assert hypernets - set(used) == {"hyper-maddpg-n"}, "of another algorithm"
    assert len(used) == len(set(used))


def test_what_is_compared_differs_in_the_actors_parameters_only() -> None:
    """The same critic, steps and updates for every hypernetwork and control."""
    methods, grid = load_methods(), load_grid(GRID)
    (default,) = grid.experiments["default"].methods
    for name, experiment in grid.experiments.items():
        assert not experiment.tuned
        assert not (experiment.settings and name != "references")
        for method in experiment.methods if name != "references" else ():
            entry = methods[method]
            assert entry.algorithm == methods[default].algorithm, method
            assert entry.algorithm_options == methods[default].algorithm_options, method
            assert not entry.settings or method == "hyper-maddpg-clipped", method


def test_differences_are_said_in_the_tables_own_words() -> None:
    methods = load_methods()
    origin = methods["hyper-maddpg-full"]
    assert difference(origin, origin) == ""
    assert difference(methods["hyper-maddpg-chunked"], origin) == "generator: chunked"
    assert difference(methods["hyper-maddpg-core"], origin) == "generator: core, rank: 8"
    assert difference(methods["hyper-maddpg"], origin) == "target: head"
    assert difference(methods["wide-maddpg"], origin) == "scheme: Widened"
