"""Configurations and grids: merged in the stated order, expanded in full, refused in one line."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from counting import calls, cpu_seconds

from bench import registry
from bench.config import RunConfig, behaviour, resolve
from bench.errors import RequestError
from bench.grid import Experiment, Grid, expand, load_grid
from bench.methods import MethodEntry, load_methods
from bench.report.values import discovery_rate
from bench.validation import read_yaml

ROOT = Path(__file__).parents[1]


def grid(**values: Any) -> dict[str, Any]:
    experiment = {"question": "?", "methods": ["ps-maddpg"], "agents": [2], "seeds": [0, 1]}
    return {"name": "g", "title": "t", "experiments": {"e": {**experiment, **values}}}


def write(folder: Path, values: Any) -> Path:
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


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


BAD: list[tuple[dict[str, Any], str]] = [
    ({"methods": ["nope"]}, "unknown method 'nope'"),
    ({"rewards": ["group-gaol"]}, "did you mean 'group-goal'"),
    ({"samplers": ["lifo"]}, "unknown sampler"),
    ({"agents": [0]}, "greater than 0"),
    ({"seeds": []}, "at least 1"),
    ({"seed": [1]}, "unknown key 'experiments.e.seed'; did you mean 'seeds'"),
    ({"exclude": [{"were": {}, "why": ""}]}, "did you mean 'where'"),
    ({"settings": {"epsiodes": 5}}, "did you mean 'episodes'"),
    ({"settings": {"episodes": 150}}, "multiple of parallel"),
    ({"settings": {"gamma": 1.5}}, "less than or equal to 1"),
    ({"settings": {"actor_lr": float("nan")}}, "actor_lr"),
    ({"settings": {"task_options": {"raduis": 1}}}, "did you mean 'radius'"),
    ({"settings": {"task_options": {"dynamics": "second-order"}}}, "'mpe' or 'first-order'"),
    ({"methods": ["oracle"], "samplers": ["prioritized"]}, "does not support sampler"),
    ({"exclude": [{"where": {"colour": 1}, "why": ""}]}, "unknown axis 'colour'"),
    ({"exclude": [{"where": {"batch": 64}, "why": ""}]}, "unknown axis 'batch'"),
    ({"exclude": [{"where": {"agents": "2"}, "why": ""}]}, "no cell matches"),
    ({"exclude": [{"where": {}, "why": ""}]}, "at least 1"),
    ({"settings": {"task_options": [1]}}, "must map names to values"),
    ({"settings": {"task_options": None}}, "must map names to values"),
    ({"variants": {"a.b": {}}}, "variants"),
    ({"methods": ["hyper-maddpg-grouped"], "agents": [1]}, "choose groups: 1 or fewer"),
    (
        {"settings": {"task": "specialisation"}, "rewards": ["team"]},
        "'ps-maddpg' acts by continuous ones; choose iql or",
    ),
    ({"methods": ["deep-set-maddpg"], "rewards": ["mpe-dense"]}, "choose reward group-goal"),
    (
        {"methods": ["nearest-maddpg"], "rewards": ["summed-individual"], "agents": [4]},
        "'summed-individual' is from 0 to 4, and reward_range keeps target values to",
    ),
    ({"methods": ["deep-set-maddpg"], "settings": {"gamma": 1.0}}, "gamma = 1: returns have no"),
    *(
        ({"methods": [name], "settings": {"task": "roles", "task_options": {}}}, "as listed")
        for name in ("deep-set-maddpg", "nearest-maddpg", "exchangeable-maddpg")
    ),
    ({"seeds": [0, 0]}, "share the key"),
    (
        {
            **{"methods": ["iql"], "rewards": ["team"], "samplers": ["hindsight"]},
            "settings": {"task": "climbing", "task_options": {}},
        },
        "'climbing' has no goals to change; choose uniform or prioritized",
    ),
    ({"settings": {"evaluations": 5000}}, "at most"),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_a_wrong_grid_is_refused_in_one_line_that_says_what_is_right(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError) as caught:
        expand(load_grid(write(tmp_path, grid(**change))))
    assert words in str(caught.value)
    assert "grid" in str(caught.value)


def test_a_method_that_wants_features_is_refused_on_a_task_without(tmp_path: Path) -> None:
    words = "hyper-maddpg-roles' is conditioned on features .* 'coop-nav' .*; choose task roles"
    with pytest.raises(RequestError, match=words):
        expand(load_grid(write(tmp_path, grid(methods=["hyper-maddpg-roles"]))))
    roles = {"task": "roles", "task_options": {}}
    assert expand(load_grid(write(tmp_path, grid(methods=["hyper-maddpg-roles"], settings=roles))))


def test_a_key_that_is_there_twice_is_refused_by_its_line(tmp_path: Path) -> None:
    """YAML's own reader would take the second and say nothing; `<<` may still be overruled."""
    path = write(tmp_path, grid())
    text = path.read_text()
    path.write_text(f"{text}\ndefaults: {{batch: 16}}\ndefaults: {{batch: 32}}\n")
    with pytest.raises(RequestError, match=r"key 'defaults' is there twice.* line \d+") as caught:
        load_grid(path)
    assert "\n" not in str(caught.value)
    path.write_text("z: &z {x: 1, y: 2}\nin: {a: &a {<<: *z, x: 3}}\nb: {<<: *a, y: 4}\n")
    found = read_yaml(path)
    assert found["in"]["a"] == {"x": 3, "y": 2} and found["b"] == {"x": 3, "y": 4}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("[1, 2]", "must map names to values"),
        ("", "is empty"),
        ("\x00", "is not YAML"),
        ("name: ../x\ntitle: t\n", "name"),
    ],
)
def test_what_is_no_grid_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=rf"grid\.yaml.*{words}"):
        load_grid(path)


def test_every_method_names_parts_that_exist_and_declare_a_version() -> None:
    for name, entry in load_methods().items():
        task = "roles" if entry.wants_features else "coop-nav"
        config = resolve({"method": name, "task": task, "sampler": "uniform"})
        for part, version in behaviour(config).items():
            path, number = re.fullmatch(r"(\S+)@(\d+)( {.*})?", version).groups()[:2]  # type: ignore[union-attr]
            assert int(number) >= 1, part
            registry.load(path)
    tables = [registry.TASKS, registry.SAMPLERS, *registry.REWARDS.values()]
    for path in itertools.chain.from_iterable(table.values() for table in tables):
        assert registry.version(path) >= 1
        assert callable(registry.load(path))


def test_an_option_may_have_a_higher_version_than_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'VERSION = 2\nOPTION_VERSIONS = {"warm": 3, "kind=b": 4}\n'
    (tmp_path / "versioned.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    versions = {"{}": 2, '{"kind": "a"}': 2, '{"warm": 9}': 3, '{"kind": "b", "warm": 1}': 4}
    for options, expected in versions.items():
        assert registry.version("versioned:Scheme", json.loads(options)) == expected


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


def test_a_schemes_options_are_checked_when_a_grid_is_read_without_torch(tmp_path: Path) -> None:
    methods = tmp_path / "methods.yaml"
    entry = {
        "summary": "",
        "algorithm": "baselines.algorithms.iql:IQL",
        "scheme": "baselines.hypernet.scheme:Hypernet",
        "actions": "discrete",
    }
    wrong = {"wrong": {**entry, "scheme_options": {"rank": 3}}}
    methods.write_text(json.dumps({"right": entry, **wrong}))
    code = (
        "import sys\n"
        "from bench.config import resolve\n"
        "from bench.errors import RequestError\n"
        "resolve({'method': 'right'}, where='grid')\n"
        "try:\n    resolve({'method': 'wrong'}, where='grid')\n"
        "except RequestError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = {**os.environ, "HYPERCOOP_METHODS": str(methods)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "grid: method 'wrong': scheme_options: rank does nothing here; "
        "choose generator: low-rank or core\n"
    )


def test_too_many_joint_moves_are_refused_when_a_grid_is_read_without_torch(tmp_path: Path) -> None:
    """So are an algorithm's options."""
    path = write(tmp_path, grid(methods=["meta-dqn"], agents=[5, 6]))
    methods = tmp_path / "methods.yaml"
    wrong = {
        "summary": "",
        "algorithm": "baselines.algorithms.actor_critic:ActorCritic",
        "algorithm_options": {"critic": "local", "gradient": "joint"},
        "scheme": "baselines.sharing.heads:Heads",
    }
    methods.write_text(json.dumps({"wrong": wrong}))
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from bench.config import resolve\n"
        "from bench.grid import expand, load_grid\n"
        "from bench.errors import RequestError\n"
        f"try:\n    expand(load_grid(Path({str(path)!r})))\n"
        "except RequestError as error:\n    print(error)\n"
        "resolve({'task': 'climbing', 'method': 'meta-dqn', 'agents': 2})\n"
        f"os.environ['HYPERCOOP_METHODS'] = {str(methods)!r}\n"
        "try:\n    resolve({'method': 'wrong'}, where='grid')\n"
        "except RequestError as error:\n    print(error)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outputs, options = done.stdout.splitlines()
    assert outputs == (
        "grid g, experiment e: method 'meta-dqn': agents = 6 with 5 moves each have 5^6 = 15,625 "
        "joint moves, and one network may value 3,125; choose at most 5 agents, or a method that "
        "values each agent's moves apart, such as vdn, qmix or iql"
    )
    assert options == (
        "grid: method 'wrong': algorithm_options: gradient = joint needs a critic that sees all "
        "actions; choose own"
    )


if __name__ == "__main__":
    for name, model in SCHEMAS.items():
        path = ROOT / "config" / "schema" / f"{name}.schema.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(model.model_json_schema(), indent=2) + "\n")
