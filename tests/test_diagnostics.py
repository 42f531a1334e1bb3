"""Diagnostics: the measure against loops and known policies, and their place in the record."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small import tiny
from torch import Tensor

from baselines.algorithms.learned import Learned
from bench import records
from bench.config import RunConfig, resolve
from bench.diagnostics import dead_units, diagnose, diversity, in_turn, transitions
from bench.fleet import Fleet
from bench.interfaces import Graded, Layered, Spec, Task
from bench.methods import method_entry
from bench.records import Diagnostics, Record
from bench.tasks import make_task
from bench.team import make_spec
from bench.train import train

CPU = torch.device("cpu")


def fleet(seeds: int = 1, **values: object) -> Fleet:
    return Fleet([tiny(seed=seed, **values) for seed in range(seeds)], CPU)


def of(one: Fleet) -> list[Diagnostics]:
    found = [each for each in diagnose(one.task, one.spec, one.algorithm) if each is not None]
    assert len(found) == len(one.configs)
    return found


def asked(task: Task, spec: Spec) -> Tensor:
    return in_turn(transitions(task, spec, task.reward))


@pytest.mark.parametrize("agents", [2, 3, 5])
def test_diversity_equals_the_loop(agents: int) -> None:
    continuous = torch.rand(20, agents, 3) * 2 - 1
    moves = torch.randint(3, (20, agents))
    pairs = list(itertools.combinations(range(agents), 2))
    total = sum(float((a[i] - a[j]).norm()) for a in continuous.double() for i, j in pairs)
    assert diversity(continuous, discrete=False) == pytest.approx(total / 20 / len(pairs))
    one_hot = torch.nn.functional.one_hot(moves, 3)
    unlike = sum(bool(m[i] != m[j]) for m in moves for i, j in pairs)
    assert diversity(one_hot, discrete=True) == pytest.approx(unlike / 20 / len(pairs))
    order = torch.randperm(agents)
    assert diversity(continuous[:, order], discrete=False) == pytest.approx(
        diversity(continuous, discrete=False)
    )


def test_known_teams() -> None:
    apart = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert diversity(apart, discrete=False) == 2
    assert diversity(apart[:, [0, 0, 0]], discrete=False) == 0
    assert diversity(torch.eye(4)[None], discrete=True) == 1
    assert diversity(apart[:, :1], discrete=False) == 0, "a single agent"


class Fixed:
    """Agent i acts by i times the first number that it sees."""

    def act(self, observation: Tensor, noise: float = 0.0, random: object = None) -> Tensor:
        factor = torch.arange(observation.shape[2]).view(-1, 1)
        return (observation[..., :1] * factor).expand(*observation.shape[:3], 2)


def test_all_agents_are_asked_about_the_same_observations() -> None:
    """Then the mean distance is the mean of |x| times sqrt 2 times the mean of j - i."""
    task = make_task(tiny(agents=3, task_options={"dynamics": "mpe"}), "continuous")
    spec = make_spec(tiny(agents=3), task, 1, CPU)
    (found,) = diagnose(task, spec, Fixed())  # type: ignore[arg-type]
    assert found is not None
    seen = asked(task, spec)[..., 0].abs().double().mean()
    assert seen > 0
    assert found.diversity == pytest.approx(float(seen) * 2**0.5 * 4 / 3, rel=1e-5)
    assert found.layers == []


def test_the_observations_are_those_of_the_task_and_vary() -> None:
    a, b = (asked(f.task, f.spec) for f in (fleet(2), fleet(1, method="iql", hidden=[8])))
    assert a.shape == (2, 16 * 30, a.shape[-1])
    assert torch.equal(a[0], a[1]), "whatever the seed"
    assert a.shape == (2, *b.shape[1:])
    assert len(a[0].unique(dim=0)) == len(a[0])


@pytest.mark.parametrize(("agent_id", "alike"), [(False, True), (True, False)])
def test_sharing_without_ids_makes_agents_alike(agent_id: bool, alike: bool) -> None:
    entry = {
        **method_entry("ps-maddpg").model_dump(),
        "scheme": "baselines.sharing.shared:Shared",
        "scheme_options": {"agent_id": agent_id},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "shared.actor", SimpleNamespace(METHOD=entry))
        (found,) = of(fleet(method="shared.actor:METHOD"))
    assert (found.diversity == 0) == alike
    assert [len(layer.norm) for layer in found.layers] == [1, 1, 1]
    assert [len(layer.bias) for layer in found.layers] == [2 if agent_id else 1, 1, 1]


@pytest.mark.parametrize("method", ["iql", "maddpg", "ps-maddpg", "hyper-maddpg"])
def test_layers_are_those_that_act(method: str) -> None:
    one = fleet(2, method=method, agents=3)
    assert isinstance(one.algorithm, Layered)
    for replica, found in enumerate(of(one)):
        for layer, (W, b) in zip(found.layers, one.algorithm.layers(), strict=True):
            assert layer.shape == tuple(W.shape[2:])
            for agent, matrix in enumerate(W[replica].detach().double()):
                assert layer.norm[agent] == pytest.approx(float(matrix.square().sum() ** 0.5))
                gram = torch.linalg.eigvalsh(matrix @ matrix.T)
                assert layer.largest[agent] == pytest.approx(float(gram[-1] ** 0.5), rel=1e-5)
            biases = b[replica].detach().flatten(1).norm(dim=1).tolist()
            assert layer.bias == pytest.approx(biases, abs=1e-6)


def test_transitions_are_of_episodes_of_random_actions() -> None:
    one = fleet(2, agents=3)
    batch = transitions(one.task, one.spec, one.reward)
    assert batch.observation.shape == (2, 16 * 30, 3, one.spec.observation_size)
    assert torch.equal(batch.observation[:, 16:], batch.next_observation[:, :-16]), "in a row"
    assert torch.equal(in_turn(batch)[:, 16:32], batch.observation[:, 16:32, 1]), "in turn"
    assert batch.action.std() > 0.5


METHODS = [
    *("iql", "iddpg", "ps-maddpg", "hyper-iql", "hyper-maddpg-full", "hyper-maddpg-sparse"),
    *("vdn", "qmix", "meta-ddpg", "meta-dqn", "ps-maddpg-gumbel", "deep-set-maddpg"),
]


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_the_next_step(method: str) -> None:
    """The norm recorded is what an update reports; by layers it follows from the chain rule."""
    one = fleet(2, method=method, agents=3, task_options={"dynamics": "mpe"})
    assert isinstance(one.algorithm, Graded)
    batch = transitions(one.task, one.spec, one.reward)
    before = {name: value.clone() for name, value in one.algorithm.state().items()}
    whole, by_layer = one.algorithm.gradients(batch)
    found = of(one)
    for name, value in one.algorithm.state().items():
        assert torch.equal(value, before[name]), f"{name} was changed"
    for replica in range(2):
        for layer, slope in zip(found[replica].layers, by_layer, strict=True):
            expected = [float(matrix.norm()) for matrix in slope[replica]]
            assert layer.gradient == pytest.approx(expected, rel=1e-5)
    # The critics come first in an update, and the actors' gradient follows from them: a learning
    # rate of 0 keeps them as they are.
    assert isinstance(one.algorithm, Learned)
    for learner in one.algorithm._learners().values():
        learner._lr = 0.0
    _, metrics = one.algorithm.update(batch)
    reported = metrics.get("actor_gradient_norm", metrics["critic_gradient_norm"])
    assert [each.gradient for each in found] == pytest.approx(reported.tolist(), rel=1e-4)
    assert whole.flatten(1).norm(dim=1).tolist() == pytest.approx(reported.tolist(), rel=1e-4)


def test_gradients_by_generated_weights_without_a_graph() -> None:
    """The negative control's hypernetwork gets none, and its weights would have had one."""
    (found,) = of(fleet(method="hyper-maddpg-no-grad", task_options={"dynamics": "mpe"}))
    assert min(found.layers[-1].gradient) > 0
    assert len(found.layers[-1].gradient) == 2


def test_dead_units_by_hand() -> None:
    """Of four units one never wakes, one wakes for the second agent alone, and one at times."""
    weight = torch.tensor([[1.0, -1.0, 1.0, 1.0]]).expand(2, 1, 4)
    bias = torch.tensor([[[0.0, -1.0, -2.0, -0.75]], [[0.0, -1.0, 0.0, -0.75]]])
    x = torch.tensor([[0.5], [1.0]]).expand(2, 2, 1)
    last = torch.ones(2, 4, 1), torch.zeros(2, 1, 1)
    assert dead_units([(weight, bias), last], x) == [[0.5, 0.25], []]
    assert dead_units([(weight[:1], bias[:1]), last], x) == [[0.5], []]
    unlike = torch.stack([x[0], x[0] + 2])
    assert dead_units([(weight[:1], bias[:1]), last], unlike) == [[0.5, 0.25], []]


def other(name: str, **scheme_options: object) -> Fleet:
    """A fleet of one, of a method with other options of its scheme."""
    entry = method_entry(name)
    entry = entry.model_copy(update={"scheme_options": {**entry.scheme_options, **scheme_options}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "other.one", SimpleNamespace(METHOD=entry))
        return fleet(method="other.one:METHOD", agents=3)


def test_rows_are_alike_where_no_agent_has_had_them_generated() -> None:
    # Four blocks in a layer of 16 rows, of which three agents have one each.
    for rho in (0.5, 1.0):
        (found,) = of(other("hyper-maddpg-sparse", live=0.01, block=4, rho=rho))
        assert {layer.alike for layer in found.layers[1:]} <= {0.25, 0.5, 0.75}
    (found,) = of(fleet(method="hyper-maddpg-full", agents=3))
    assert [layer.alike for layer in found.layers] == [0, 0, 0]
    (found,) = of(fleet(method="ps-maddpg", agents=3))
    assert [layer.alike for layer in found.layers] == [1, 1, 0]


def test_a_replica_is_diagnosed_the_same_alone_and_in_a_fleet() -> None:
    together = of(fleet(3, method="hyper-maddpg"))
    for seed in range(3):
        assert of(Fleet([tiny(seed=seed, method="hyper-maddpg")], CPU)) == [together[seed]]


def test_a_broken_replica_has_none() -> None:
    one = fleet(2)
    with torch.no_grad():
        one.algorithm.policy["actor"][1] = float("nan")
    sound, broken = diagnose(one.task, one.spec, one.algorithm)
    assert sound is not None
    assert broken is None


def run(config: RunConfig) -> Record:
    return train([config], CPU)[0].record


def test_the_record_has_those_of_the_last_policy(tmp_path: Path) -> None:
    record = run(tiny(episodes=40, evaluations=3))
    assert record.diagnostics is not None
    assert record.diagnostics.distance == "euclidean"
    path = tmp_path / "seed0.json"
    records.write(path, record)
    assert records.read(path) == record
    values = json.loads(path.read_text())
    del values["diagnostics"]
    path.write_text(records.sealed(values))
    assert records.read(path).diagnostics is None, "as in records made before"
    values["diagnostics"] = record.diagnostics.model_dump(mode="json")
    del values["diagnostics"]["gradient"]
    for layer in values["diagnostics"]["layers"]:
        del layer["gradient"], layer["alike"], layer["dead"]
    path.write_text(records.sealed(values))
    old = records.read(path).diagnostics
    assert old is not None
    assert old.gradient is None, "as in records made before gradients were measured"


def test_a_controller_and_a_game() -> None:
    assert run(tiny(method="random", sampler="uniform")).diagnostics is None
    base = tiny().model_dump(exclude={"task_options", "reward", "method", "sampler"})
    game = {"task": "specialisation", "method": "iql", "agents": 4, "episodes": 200}
    diagnostics = run(resolve(base, game)).diagnostics
    assert diagnostics is not None
    assert diagnostics.distance == "disagreement"
    assert 0.5 < diagnostics.diversity <= 1, "agents paid for it specialise"
    assert diagnostics.observations == 16 * 10


def test_observations_of_a_foreign_environment() -> None:
    values = {
        "task": "pettingzoo:mpe2.simple_spread_v3",
        "agents": 3,
        "method": "iddpg",
        "task_options": {"N": 3, "max_cycles": 5, "continuous_actions": True},
    }
    config = resolve(values)
    task = make_task(config, "continuous")
    spec = make_spec(config, task, 2, CPU)
    assert asked(task, spec).shape == (2, 16 * 5, task.observation_size)
