"""Tasks and rewards of wrong shapes or types are refused with one line, before anything trains."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bench import registry
from bench.cli import main
from bench.config import resolve
from bench.errors import RequestError
from bench.tasks import make_task
from bench.tasks.probe import check_task

REWARDS = """
import torch
VERSION = 1
def sound(task, state, next_state):
    return next_state.new_ones(*next_state.shape[:-1], task.agents)
def team(task, state, next_state):
    return next_state.new_ones(next_state.shape[:-1])
def whole(task, state, next_state):
    return sound(task, state, next_state).long()
def numbers(task, state, next_state):
    return [1.0] * task.agents
def two(state, next_state):
    return next_state
def flat(task, state, next_state):
    return next_state.new_ones(*next_state.shape[:2], task.agents)
"""


@pytest.fixture
def rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lab"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "rewards.py").write_text(REWARDS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("team", r"the reward is float32 \[1, 2\]: must be float32 \[1, 2, 3\]"),
        ("whole", r"the reward is int64 \[1, 2, 3\]: must be float32 \[1, 2, 3\]"),
        ("numbers", r"the reward is a list: must be float32 \[1, 2, 3\]"),
        (
            "flat",
            r"the reward of two steps at once is float32 \[1, 2, 3\]: "
            r"must be float32 \[1, 2, 2, 3\]",
        ),
        ("two", r"TypeError: two\(\) takes 2 positional arguments but 3 were given"),
    ],
)
@pytest.mark.usefixtures("rewards")
def test_a_reward_from_outside_is_held_to_its_shape(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = resolve({"method": "ps-maddpg", "agents": 3, "reward": f"lab.rewards:{name}"})
    named = f"task 'coop-nav' with reward 'lab.rewards:{name}': {words}"
    with pytest.raises(RequestError, match=named):
        make_task(config, "continuous")
    asked = ["--agents", "3", "--reward", f"lab.rewards:{name}", "--results", str(tmp_path)]
    assert main(["train", "--method", "ps-maddpg", *asked]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.usefixtures("rewards")
def test_a_sound_reward_from_outside_is_taken() -> None:
    config = resolve({"method": "ps-maddpg", "agents": 3, "reward": "lab.rewards:sound"})
    task = make_task(config, "continuous")
    state = torch.zeros(4, 5, task.state_size)
    assert torch.equal(task.reward(state, state), torch.ones(4, 5, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"horizon": 30.0}, r"horizon = 30.0: must be of type int"),
        ({"score": None}, r"score = None: must be of type str"),
        ({"score": "wins"}, r"score = 'wins' is none of its episode metrics \["),
        ({"observation_size": 1}, r"the observation is float32 \[1, 2, 2, .*\]: must be"),
        ({"step": lambda state, action: state[0]}, r"the state of step is float32 \[2, "),
        ({"reset": lambda random, episodes: torch.zeros(1)}, r"the state of reset is float32"),
        (
            {"terminated": lambda state: torch.zeros(1, 2)},
            r"what terminated returns is float32 \[1, 2\]: must be bool \[1, 2\]",
        ),
        ({"metrics": lambda state: {"x": state}}, r"metric 'x' is float32 \[1, 2, "),
        (
            {"metrics": lambda state: {"x": torch.zeros(1, 2)}},
            r"metric 'x' of two steps at once is float32 \[1, 2\]: must be float32 \[1, 2, 2\]",
        ),
    ],
)
def test_a_task_is_held_to_its_interface(change: dict[str, object], words: str) -> None:
    task = make_task(resolve({"method": "ps-maddpg", "agents": 2}), "continuous")
    names = [name for name in dir(task) if not name.startswith("_")]
    other = SimpleNamespace(**{**{name: getattr(task, name) for name in names}, **change})
    with pytest.raises(RequestError, match=f"mine: {words}"):
        check_task(other, "mine")


@pytest.mark.parametrize("task", sorted(set(registry.TASKS) - {"pettingzoo"}))
def test_every_task_of_ours_keeps_its_shapes_whatever_its_reward(task: str) -> None:
    method = "iql" if registry.TASKS[task].discrete else "ps-maddpg"
    for reward in registry.TASKS[task].rewards:
        config = resolve({"task": task, "method": method, "agents": 2, "reward": reward})
        make_task(config, "discrete" if registry.TASKS[task].discrete else "continuous")
