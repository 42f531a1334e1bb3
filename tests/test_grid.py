"""Configurations and grids: merged in the stated order, and expanded in full."""

from __future__ import annotations

import importlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from counting import calls, cpu_seconds
from small import grid, write

from bench import registry, versions
from bench.config import RunConfig, behaviour, outside_digest, resolve
from bench.errors import RequestError
from bench.grid import Experiment, Grid, expand, load_grid
from bench.methods import MethodEntry, load_methods
from bench.report.discovery import discovery_rate

ROOT = Path(__file__).parents[1]


def test_the_paper_grid_is_complete() -> None:
    runs = expand(load_grid(ROOT / "config" / "paper.yaml"))

    def cells(experiment: str) -> set[tuple[str, str, str, int, int]]:
        own = [run.config for run in runs.values() if run.experiment == experiment]
        return {(c.method, c.reward, c.sampler, c.agents, c.seed) for c in own}

    rewards, samplers = ["group-goal", "summed-individual"], ["uniform", "prioritized"]
    for experiment, agents in {
        "figure4": [2, 3, 4],
        "first-order": [2, 3, 4],
        "iso-discovery-3": [3],
        "iso-discovery-4": [4],
    }.items():
        axes = (["ps-maddpg"], rewards, samplers, agents, range(10))
        assert cells(experiment) == set(itertools.product(*axes))
    methods = {method for method, *_ in cells("methods")}
    assert cells("methods") == set(
        itertools.product(methods, rewards, samplers, [2, 3, 4], range(5))
    )


def test_every_world_of_the_paper_has_its_ends_of_the_scale() -> None:
    runs = expand(load_grid(ROOT / "config" / "paper.yaml")).values()

    def worlds(references: bool) -> set[tuple[int, str]]:
        return {
            (run.config.agents, str(sorted(run.config.task_options.items())))
            for run in runs
            if run.experiment.startswith("references") == references
        }

    assert worlds(references=False) <= worlds(references=True)


def test_the_iso_discovery_radii_make_discovery_as_likely_as_for_two_agents() -> None:
    experiments = load_grid(ROOT / "config" / "paper.yaml").experiments
    rate = discovery_rate(2, 0.1)
    for agents in (3, 4):
        radius = experiments[f"iso-discovery-{agents}"].settings["task_options"]["radius"]
        assert discovery_rate(agents, radius) == pytest.approx(rate, rel=5e-3)


def test_the_documented_defaults() -> None:
    """Those of the source, and what is not said there: see the table of settings in the paper."""
    config = RunConfig()
    assert (config.batch, config.buffer, config.hidden) == (1024, 1_000_000, [64, 64])
    assert (config.gamma, config.tau, config.steps_per_update) == (0.95, 0.01, 100)
    assert (config.per_alpha, config.per_beta) == (0.6, 0.4)


def test_later_layers_win_and_task_options_merge(tmp_path: Path) -> None:
    values = grid(
        settings={"batch": 32, "task_options": {"radius": 0.2}},
        variants={"a": {}, "b": {"task_options": {"radius": 0.3}, "gamma": 0.5}},
    )
    values["defaults"] = {"batch": 16, "tau": 0.5, "task_options": {"dynamics": "first-order"}}
    runs = expand(load_grid(write(tmp_path, values)))
    a = runs["e.a/ps-maddpg/group-goal-uniform/n2/seed0"].config
    b = runs["e.b/ps-maddpg/group-goal-uniform/n2/seed1"].config
    assert (a.batch, a.tau, a.gamma) == (32, 0.5, 0.95)
    full = {"dynamics": "first-order", "horizon": 30, "targets": "redrawn", "collisions": False}
    assert a.task_options == {**full, "radius": 0.2}
    assert b.task_options == {**full, "radius": 0.3}
    assert resolve({}).digest == resolve({"task_options": {"radius": 0.1}}).digest
    assert (b.gamma, b.seed) == (0.5, 1)


def test_an_axis_left_out_is_what_training_takes(tmp_path: Path) -> None:
    asked = {"question": "?", "methods": ["ps-maddpg", "oracle"], "agents": [2], "seeds": [0]}
    game = {**asked, "methods": ["iql"], "settings": {"task": "specialisation"}}
    values = {"name": "g", "title": "t", "experiments": {"e": asked, "game": game}}
    runs = expand(load_grid(write(tmp_path, values)))
    assert list(runs) == [
        "e/ps-maddpg/group-goal-prioritized/n2/seed0",
        "e/oracle/group-goal-uniform/n2/seed0",
        "game/iql/individual-prioritized/n2/seed0",
    ]
    for run in runs.values():
        same = {"method": run.config.method, "task": run.config.task, "agents": 2}
        assert run.config == resolve(same)


def test_a_methods_settings_are_defaults() -> None:
    assert resolve({"method": "iql"}).noise_start == 1.0
    assert resolve({"method": "iql"}, {"noise_start": 0.7}).noise_start == 0.7
    assert resolve({"method": "maddpg"}).noise_start != 1.0


def test_exclusions_leave_out_what_matches_and_nothing_else(tmp_path: Path) -> None:
    values = grid(
        rewards=["group-goal", "distance"],
        exclude=[{"where": {"reward": "distance", "seed": 1}, "why": "for the test"}],
    )
    keys = list(expand(load_grid(write(tmp_path, values))))
    assert len(keys) == 3
    assert not any("distance" in key and "seed1" in key for key in keys)


def test_every_method_names_parts_that_exist_and_declare_a_version() -> None:
    for name, entry in load_methods().items():
        task = "roles" if entry.wants_features else "coop-nav"
        config = resolve({"method": name, "task": task, "sampler": "uniform"})
        for part, version in behaviour(config).items():
            path, number = re.fullmatch(r"(\S+)@(\d+)( {.*})?", version).groups()[:2]  # type: ignore[union-attr]
            assert int(number) >= 1, part
            registry.load(path)
    tasks = [
        path for entry in registry.TASKS.values() for path in (entry.path, *entry.rewards.values())
    ]
    for path in (*tasks, *registry.SAMPLERS.values()):
        assert versions.version(path) >= 1
        assert callable(registry.load(path))


def test_an_option_may_have_a_higher_version_than_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'VERSION = 2\nOPTION_VERSIONS = {"warm": 3, "kind=b": 4}\n'
    (tmp_path / "versioned.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    expectations = {"{}": 2, '{"kind": "a"}': 2, '{"warm": 9}': 3, '{"kind": "b", "warm": 1}': 4}
    for options, expected in expectations.items():
        assert versions.version("versioned:Scheme", json.loads(options)) == expected


def test_a_class_has_a_higher_version_when_one_that_it_derives_from_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by way of a class beside it, and of a module that declares no version."""
    modules = {
        "__init__": "",
        "grand": "VERSION = 3\nclass Root: ...\n",
        "between": "from lineage import grand\nclass Mid(grand.Root): 0\nclass Between(Mid): 0\n",
        "last": "from lineage.between import Between as Old\nVERSION = 2\nclass Last(Old): ...\n",
        "alone": "VERSION = 2\nclass Alone: ...\n",
    }
    (tmp_path / "lineage").mkdir()
    for name, text in modules.items():
        (tmp_path / f"lineage/{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert versions.version("lineage.last:Last") == 4, "1, 2 more of the root, and 1 of its own"
    assert versions.version("lineage.alone:Alone") == 2


def test_a_raised_version_of_q_learning_reaches_what_is_built_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declared = versions._declared
    raised = {"baselines.algorithms.iql": {"VERSION": 2}, "bench.replay.uniform": {"VERSION": 3}}
    monkeypatch.setattr(versions, "_declared", lambda name: raised.get(name, declared(name)))
    for name in ("decomposition:QMIX", "decomposition:VDN", "meta:MetaDQN"):
        assert versions.version(f"baselines.algorithms.{name}") == 2, name
    assert versions.version("baselines.algorithms.meta:MetaDDPG") == 1
    assert versions.version("bench.replay.hindsight:Hindsight") == 3
    assert versions.version("bench.replay.hindsight:HindsightPrioritized") == 1


def test_sources_from_outside_are_hashed_a_package_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    sparse = "VERSION = 1\ndef paid(task, before, after): ...\n"
    for folder in ("their_rewards", "their_package"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "sparse.py").write_text(sparse)
        (tmp_path / folder / "other.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "their_rewards")
    (tmp_path / "their_package/__init__.py").write_text("")
    for reward, folder, whole in (
        ("sparse:paid", "their_rewards", False),
        ("their_package.sparse:paid", "their_package", True),
    ):
        config = resolve({"method": "iql", "reward": reward})
        digests = [outside_digest([config])]
        for file in ("other.py", "sparse.py"):
            path = tmp_path / folder / file
            path.write_text(path.read_text() + "# changed\n")
            digests.append(outside_digest([config]))
        assert digests[0]
        assert (digests[1] != digests[0]) is whole
        assert digests[2] not in digests[:2]
    assert outside_digest([resolve({"method": "iql"})]) == ""


def test_a_method_from_outside_needs_no_change_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_lab.py").write_text("")
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(
        "from bench.methods import MethodEntry\n"
        "METHOD = MethodEntry(summary='s', algorithm='baselines.algorithms.iql:IQL',\n"
        "    scheme='baselines.sharing.shared:Shared', actions='discrete')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = resolve({"method": "theirs.mine:METHOD"})
    assert behaviour(config)["scheme"] == "baselines.sharing.shared:Shared@1"
    assert outside_digest([config]) == "", "only its entry is from outside"
    (package / "mine.py").write_text(
        (package / "mine.py")
        .read_text()
        .replace("actions=", "scheme_options={'agent_id': False}, actions=")
    )
    monkeypatch.delitem(sys.modules, "theirs.mine")
    importlib.invalidate_caches()
    assert behaviour(config)["scheme"].endswith('@1 {"agent_id": false}'), "options are behaviour"
    with pytest.raises(RequestError, match="cannot import"):
        resolve({"method": "theirs.mine:OTHER"})


def test_the_schemas_are_those_of_the_code() -> None:
    """Written by `python tests/test_grid.py`."""
    for name, model in SCHEMAS.items():
        text = (ROOT / "config" / "schema" / f"{name}.schema.json").read_text()
        assert json.loads(text) == model.model_json_schema(), name


def test_planning_imports_no_torch() -> None:
    code = (
        "import sys; from pathlib import Path; from bench.grid import expand, load_grid;"
        "from bench.config import behaviour;"
        "[behaviour(r.config) for r in expand(load_grid(Path('config/paper.yaml'))).values()];"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def plan(axis: str, size: int) -> Callable[[], object]:
    """Return the planning, as the Snakefile does it, of 100 x `size` runs along an axis."""
    experiment = {
        "question": "?",
        "methods": ["iql", "iddpg", "maddpg", "ps-maddpg", "hyper-maddpg"],
        "rewards": ["group-goal", "distance"],
        "samplers": ["uniform", "prioritized"],
        "agents": [1, 2, 3, 4, 5],
        "seeds": list(range(size)) if axis == "seeds" else [0],
        "variants": {f"v{i}": {"batch": 32 + i} for i in range(size if axis == "variants" else 0)},
    }
    names = [f"e{i}" for i in range(size if axis == "experiments" else 1)]
    checked = Grid(name="g", title="t", experiments=dict.fromkeys(names, Experiment(**experiment)))

    def planned() -> None:
        fingerprints = [run.fingerprint for run in expand(checked).values()]
        assert len(fingerprints) == 100 * size

    return planned


@pytest.mark.parametrize("axis", ["seeds", "variants", "experiments"])
def test_ten_times_the_runs_take_ten_times_the_planning(axis: str) -> None:
    """Counted in calls; and in CPU time, up to noise, for what C does inside a call."""
    few, many = plan(axis, 5), plan(axis, 50)
    few()  # the method table and the versions are read once
    assert calls(few) < 500 * 2000  # nothing is read or parsed once a run
    assert calls(many) <= 10.5 * calls(few)
    assert min(cpu_seconds(many) for _ in range(3)) < 30 * min(cpu_seconds(few) for _ in range(9))


SCHEMAS = {"grid": Grid, "run": RunConfig, "method": MethodEntry}


if __name__ == "__main__":
    for name, model in SCHEMAS.items():
        path = ROOT / "config" / "schema" / f"{name}.schema.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(model.model_json_schema(), indent=2) + "\n")


def test_what_an_experiment_chooses_is_what_it_sets_beside_the_defaults() -> None:
    grid = load_grid(Path("config/beyond.yaml"))
    assert grid.chosen("recipe") == {}
    assert grid.chosen("sampler") == {"curriculum": "radius"}
    assert grid.chosen("curricula.reverse") == {"curriculum": "reverse"}
    assert grid.chosen("retuned-mpe") == {"action_penalty": 1e-3}, "the world has its own column"
    tuned = load_grid(Path("config/paper.yaml"))
    assert tuned.chosen("methods")["tuned"] is True
