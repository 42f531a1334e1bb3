"""Wrong grids: refused when they are read, in one line that says what is right."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import grid, write

from bench.config import behaviour, resolve
from bench.errors import RequestError
from bench.fleet import Fleet
from bench.grid import expand, load_grid
from bench.validation import read_yaml

BAD: list[tuple[dict[str, Any], str]] = [
    ({"methods": ["nope"]}, "unknown method 'nope'"),
    ({"rewards": ["group-gaol"]}, "did you mean 'group-goal'"),
    ({"samplers": ["lifo"]}, "unknown sampler"),
    ({"agents": [0]}, "greater than 0"),
    ({"seeds": []}, "at least 1"),
    ({"seed": [1]}, "unknown key 'experiments.e.seed'; did you mean 'seeds'"),
    ({"exclude": [{"were": {}, "why": ""}]}, "did you mean 'where'"),
    ({"settings": {"sampler": "prioritized"}}, "e.settings sets sampler, which is an axis"),
    ({"variants": {"v": {"agents": 4}}}, "e.variants.v sets agents, which is an axis"),
    ({"settings": {"seed": 3}}, "list it as the experiment's `seeds`"),
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
    ({"exclude": [{"where": {"agents": 2}, "why": ""}]}, "its exclusions leave no cell"),
    ({"settings": {"task_options": [1]}}, "must map names to values"),
    ({"settings": {"task_options": None}}, "must map names to values"),
    ({"variants": {"a.b": {}}}, "variants"),
    ({"variants": {"a": {}, "b": {"gamma": 0.95}}}, "variant b: these are the runs of variant a"),
    (
        {"samplers": ["uniform"], "variants": {"v": {"per_alpha": 0.3}}},
        "per_alpha is for sampler prioritized or hindsight-prioritized and changes nothing",
    ),
    (
        {"samplers": ["uniform"], "variants": {"v": {"curriculum_stages": 3}}},
        "curriculum_stages changes nothing without a curriculum",
    ),
    ({"methods": ["hyper-maddpg-grouped"], "agents": [1]}, "choose groups: 1 or fewer"),
    (
        {"settings": {"task": "specialisation"}, "rewards": ["team"]},
        "'ps-maddpg' acts by continuous ones; choose a discrete method (iql, ",
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
    ({"seeds": [0, 0]}, "seeds = [0, 0]: lists 0 twice"),
    ({"seeds": [True]}, "whole number"),
    ({"seeds": [0.5]}, "seeds.0 = 0.5: must be a whole number"),
    ({"question": None}, "experiments.e.question = None: must be text"),
    ({"tuned": "perhaps"}, "experiments.e.tuned = 'perhaps': must be true or false"),
    ({"variants": {"a.b": {}}}, "e.variants.a.b = 'a.b': must be of letters, digits and _ -, with"),
    ({"seeds": "0..4"}, "seeds = '0..4': must be a list, such as [1, 2]"),
    (
        {"settings": {"task_options": {"collisions": True, "dynamics": "first-order"}}},
        "collisions need dynamics: mpe",
    ),
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


PLACES: list[tuple[dict[str, Any], str]] = [
    ({"defaults": {"agnets": 2}}, ": defaults: unknown key 'agnets'; did you mean 'agents'"),
    ({"defaults": {"gamma": 2}}, ": defaults: gamma = 2: "),
    ({"settings": {"epsiodes": 9}}, ": e.settings: unknown key 'epsiodes'; did you mean 'epi"),
    ({"variants": {"near": {}, "far": {"gama": 1}}}, ": e.variants.far: unknown key 'gama'"),
    ({"variants": {"near": {}, "far": {"gamma": 2}}}, ": e.variants.far: gamma = 2: "),
    # What is wrong in its cells only.
    (
        {"variants": {"near": {}, "far": {"task_options": {"raduis": 1}}}},
        ", experiment e, variant far: task_options of coop-nav: unknown key 'raduis'",
    ),
    ({"settings": {"episodes": 150}}, ", experiment e: episodes (150) must be a multiple"),
]


@pytest.mark.parametrize(("change", "words"), PLACES)
def test_what_is_wrong_is_said_of_its_file_and_place(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    values = grid(**{name: part for name, part in change.items() if name != "defaults"})
    path = write(tmp_path, values | {"defaults": change.get("defaults", {})})
    with pytest.raises(RequestError) as caught:
        expand(load_grid(path))
    assert str(caught.value).startswith(f"{path}{words}")


def test_layers_may_need_each_other(tmp_path: Path) -> None:
    settings = {"episodes": 150, "evaluations": 2}
    values = grid(settings=settings, variants={"v": {"parallel": 50}})
    assert expand(load_grid(write(tmp_path, values)))


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
        ("a: [", "is not YAML: expected the node content, but found '<stream end>', line 1"),
        ("[1, 2]", "must map names to values"),
        ("", "is empty"),
        ("\x00", "is not YAML: unacceptable character #x0000: special characters are not allowed$"),
        ("name: ../x\ntitle: t\n", "name = '../x': must be of lower-case letters"),
        (
            "name: My x\ntitle: t\n",
            "name = 'My x': must be of lower-case letters, digits and -, with",
        ),
        ("name: speed\ntitle: t\nexperiments: {}\n", "results/speed is the harness's own"),
    ],
)
def test_what_is_no_grid_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=rf"grid\.yaml.*{words}"):
        load_grid(path)


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


@pytest.mark.parametrize(
    ("scheme", "options", "words"),
    [
        ("joined:Joined", {"embedding": -1}, "embedding = -1: "),
        ("joined:Joined", {"conditioning": "eight"}, "conditioning = 'eight': "),
        ("widened:Widened", {"of": 3}, "of = 3: "),
        ("widened:Widened", {"match": "both"}, "match = 'both': "),
        ("shared:Shared", {"agent_id": "no"}, "agent_id = 'no': "),
    ],
)
def test_options_of_schemes_that_share_are_checked(
    scheme: str,
    options: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entry = {
        "summary": "",
        "algorithm": "baselines.algorithms.iql:IQL",
        "scheme": f"baselines.sharing.{scheme}",
        "scheme_options": options,
        "actions": "discrete",
    }
    path = tmp_path / "methods.yaml"
    path.write_text(json.dumps({"wrong": entry}))
    monkeypatch.setenv("HYPERCOOP_METHODS", str(path))
    with pytest.raises(RequestError, match=rf"method 'wrong': scheme_options: .*{words}"):
        resolve({"method": "wrong"})


@pytest.mark.parametrize("broken", ["mine.py", "__init__.py"])
def test_a_module_that_is_not_python_is_refused_in_one_line(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / f"broken_{broken[:4]}"
    package.mkdir()
    for name in ("__init__.py", "mine.py"):
        (package / name).write_text("def (" if name == broken else "VERSION = 1\n")
    entry = {"summary": "", "algorithm": f"{package.name}.mine:Algorithm", "actions": "discrete"}
    path = tmp_path / "methods.yaml"
    path.write_text(json.dumps({"mine": entry}))
    monkeypatch.setenv("HYPERCOOP_METHODS", str(path))
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RequestError, match=rf"cannot (read|import|find) '{package.name}"):
        behaviour(resolve({"method": "mine"}))


@pytest.mark.parametrize(
    "settings", [{"seed": 3}, {"agents": 5}, {"task_options": {"radius": 0.5}}, {"method": "iql"}]
)
def test_a_method_does_not_set_what_a_run_is_asked_for(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "greedy_lab.py").write_text(
        "from bench.methods import load_methods\n"
        f"METHOD = load_methods()['iql'].model_copy(update={{'settings': {settings!r}}})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "greedy_lab", raising=False)
    importlib.invalidate_caches()
    with pytest.raises(RequestError, match=f"settings: {next(iter(settings))} is for the run"):
        resolve({"method": "greedy_lab:METHOD"})


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        ("def __init__(self, sizes): pass", "TypeError: .*check-method"),
        (
            "def __init__(self, sizes, agents): self.shared = Shared(sizes, agents)\n"
            "    def init(self, random): return self.shared.init(random)\n"
            "    def weights(self, p):\n"
            "        return [(w.double(), b.double()) for w, b in self.shared.weights(p)]",
            "its layers must be float32",
        ),
    ],
)
def test_a_scheme_from_outside_that_fails_is_one_line(
    scheme: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "failing_lab.py").write_text(
        "from baselines.sharing.shared import Shared\n"
        "VERSION = 1\n"
        "METHOD = {'summary': '', 'algorithm': 'baselines.algorithms.iql:IQL',\n"
        "          'scheme': 'failing_lab:Scheme', 'actions': 'discrete'}\n"
        f"class Scheme:\n    {scheme}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "failing_lab", raising=False)
    importlib.invalidate_caches()
    config = resolve({"method": "failing_lab:METHOD", "agents": 2})
    with pytest.raises(RequestError, match=words):
        Fleet([config], torch.device("cpu"))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"actions": "discrete"}, "its algorithm asks for a parameter scheme: give scheme: MODULE"),
        ({}, "Q-learning needs actions: discrete; say so in the method's entry"),
    ],
)
def test_an_entry_that_lacks_what_its_algorithm_needs_is_named(
    entry: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"lacking": {"summary": "", "algorithm": "baselines.algorithms.iql:IQL", **entry}}
    (tmp_path / "methods.yaml").write_text(json.dumps(table))
    monkeypatch.setenv("HYPERCOOP_METHODS", str(tmp_path / "methods.yaml"))
    with pytest.raises(RequestError, match=f"^method 'lacking': {words}"):
        Fleet([resolve({"method": "lacking", "agents": 2})], torch.device("cpu"))


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
        f"{path}, experiment e: method 'meta-dqn': agents = 6 with 5 moves each have 5^6 joint "
        "moves, and one network may value 3,125; choose fewer agents, or a method that values each "
        "agent's moves apart, such as vdn, qmix or iql"
    )
    assert options == (
        "grid: method 'wrong': algorithm_options: gradient = joint needs a critic that sees all "
        "actions; choose own"
    )
