"""Comparison with other people's code: equal work, and equal mathematics where it is ours."""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mpe2 import simple_spread_v3
from torch import nn

from bench import speed
from bench.cli import main
from bench.compilation import has_compiler
from bench.config import RunConfig
from bench.errors import RequestError, WorldError
from bench.interfaces import Batch
from bench.speed import suite
from bench.speed.peers import Side, compare, find_peers, naive, table
from bench.speed.peers.against import FOLDER, PARALLEL, RULES
from bench.speed.workload import make_fleet, reference

OURS = ["ours", "ours, compiled"] if has_compiler() else ["ours"]


def small(**values: Any) -> RunConfig:
    """A workload of a second: groups of 300 environment steps and 3 updates."""
    return reference(
        **RULES, episodes=60, parallel=10, batch=32, buffer=3_000, evaluations=2, **values
    )


def test_a_peer_does_the_work_that_we_do() -> None:
    ((peer, side),) = find_peers(["naive"])
    ours, *others = compare(peer.kind, side, small(), 600, 1)
    assert [row["peer"] for row in (ours, *others)] == [*OURS, "naive"]
    for row in (ours, *others):
        assert (row["env_steps"], row["updates"]) == (600, 6)
        assert row["start_up_cpu_s"] > 0 and row["cpu_s"] > 0
        # 1,800 steps in all, 300 of which warmed up.
        full = row["start_up_cpu_s"] + row["cpu_s"] * 1500 / 600
        assert row["cpu_s_full_workload"] == pytest.approx(full, rel=1e-3)
        assert row["ratio_to_ours"] == pytest.approx(row["cpu_s"] / ours["cpu_s"], rel=1e-3)


def fake(folder: Path, body: str) -> Side:
    """A peer whose `run` is given."""
    path = folder / "fake.py"
    path.write_text(f"def run(workload, mark):\n    mark()\n    {body}\n")
    return Side("fake", "nothing", str(path), sys.executable, {})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return {'env_steps': 600, 'updates': 5}", "fake did 5 updates, not 6"),
        ("return {'env_steps': 599, 'updates': 6}", "fake did 599 env_steps, not 600"),
        ("raise ValueError('no luck')", "fake failed: ValueError: no luck"),
    ],
)
def test_a_peer_that_does_other_work_is_not_compared(
    tmp_path: Path, body: str, reason: str
) -> None:
    with pytest.raises(WorldError, match=reason):
        fake(tmp_path, body).run({"env_steps": 600, "updates": 6})


def test_cpu_time_is_of_all_threads_and_children_on_one_thread(tmp_path: Path) -> None:
    body = (
        "import os, subprocess, sys, torch; "
        "affinity = getattr(os, 'sched_getaffinity', lambda process: [0]); "
        "subprocess.run([sys.executable, '-c', 'sum(range(10**7))']); "
        "return {'threads': torch.get_num_threads(), 'cores': len(affinity(0))}"
    )
    told = fake(tmp_path, body).run({})
    assert told["threads"] == 1
    assert told["cores"] == 1
    assert told["cpu_s"] > 0.05


def test_stepping_is_compared_on_whole_groups_of_episodes() -> None:
    peer = Side("peer", "step", "ours_stepping.py", sys.executable, {"whole": False})
    rows = compare("stepping", peer, small(), PARALLEL * 30, 1)
    assert [row["what"] for row in rows] == ["step, observe, reward", "step", "step"]
    for row in rows:
        assert row["env_steps"] == PARALLEL * 30
        assert row["joint_steps_per_cpu_s"] == pytest.approx(
            row["env_steps"] / row["cpu_s"], rel=1e-2
        )


@pytest.mark.parametrize("name", [name for name in table.PEERS if name != "naive"])
def test_installed_peers_do_their_work(name: str) -> None:
    """$HYPERCOOP_PEERS lists NAME=PYTHON of the peers that are installed here."""
    installed = dict(pair.split("=") for pair in os.environ.get("HYPERCOOP_PEERS", "").split())
    given = f"{name}={installed[name]}" if name in installed else name
    try:
        ((peer, side),) = find_peers([given])
    except RequestError as error:
        pytest.skip(str(error))
    env_steps = 600 if peer.kind == "training" else PARALLEL * 30
    rows = compare(peer.kind, side, small(), env_steps, 1)
    assert rows[-1]["peer"] == name
    assert rows[-1]["ratio_to_ours"] > 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("benchmark", "--against benchmark: no such peer; did you mean 'benchmarl'?"),
        ("naive=/nowhere/python", "--against naive=/nowhere/python: no Python to run"),
        ("absent", "has no no_such_module; install absent by magic; then give --against absent="),
        (f"absent={sys.executable}", "has no no_such_module; install absent by magic"),
    ],
)
def test_a_peer_that_is_not_there_is_one_line(
    given: str, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = table.Peer("absent.py", "", "training", 1, ("sys", "no_such_module"), "by magic")
    monkeypatch.setattr("bench.speed.peers.against.PEERS", {**table.PEERS, "absent": absent})
    assert main(["speed", "--quick", "--against", given]) == 2
    told = capsys.readouterr().err
    assert reason in told
    assert told.count("\n") == 1


def test_the_suite_adds_a_section_and_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"section": "host"}, {"section": "growth", "axis": "agents"}]
    monkeypatch.setattr(suite, "_measure", lambda plan, device: list(rows))
    monkeypatch.setattr("bench.speed.report.drawn", lambda *arguments: {})
    monkeypatch.setattr("bench.speed.peers.against.reference", lambda **values: small())
    peer = table.Peer("naive.py", "a script", "training", 600, (), "")
    monkeypatch.setattr("bench.speed.peers.against.PEERS", {"naive": peer})
    measured = speed.run(True, tmp_path, ["naive"])
    assert [row["peer"] for row in measured if row["section"] == "against"] == [*OURS, "naive"]
    text = speed.show(measured)
    assert "\nagainst\n" in text and max(map(len, text.splitlines())) < 160
    assert len((tmp_path / "against.csv").read_text().splitlines()) == 2 + len(OURS)


def test_every_peer_is_a_file() -> None:
    assert all((FOLDER / peer.file).is_file() for peer in table.PEERS.values())


# -- the naive script does what we do --------------------------------------------------------------


def linear(layer: nn.Linear, weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Copy W [in, out] and b [1, out] into a layer of torch's."""
    layer.weight.data.copy_(weight.T)
    layer.bias.data.copy_(bias[0])


def layers(critic: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in critic if isinstance(layer, nn.Linear)]


def same_weights(learner: naive.Learner, algorithm: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pair every parameter of ours, transposed, with the script's."""
    pairs = []
    for target, actor, critic in (
        (False, learner.actor, learner.critic),
        (True, learner.target_actor, learner.target_critic),
    ):
        own_actor, own_critic = (
            part.target if target else part.online.views
            for part in (algorithm._actor, algorithm._critics.learner)
        )
        trunk = layers(actor.trunk)
        heads = list(actor.heads)
        for name, group in [("0", trunk[:1]), ("1", trunk[1:]), ("2", heads)]:
            for i, layer in enumerate(group):
                pairs.append((own_actor[f"W{name}"][0, i].T, layer.weight))
                pairs.append((own_actor[f"b{name}"][0, i, 0], layer.bias))
        for i, layer in enumerate(layers(critic.layers)):
            pairs.append((own_critic[f"W{i}"][0, 0].T, layer.weight))
            pairs.append((own_critic[f"b{i}"][0, 0, 0], layer.bias))
    return pairs


def test_the_script_learns_what_we_learn() -> None:
    """From the same weights and batches: TD errors, gradient norms and all weights stay equal."""
    config = small(action_penalty=0.1, grad_clip=0.05)
    algorithm: Any = make_fleet(config).algorithm
    learner = naive.Learner(config.model_dump(), 14, 2)
    with torch.no_grad():
        for ours, theirs in same_weights(learner, algorithm):
            theirs.copy_(ours)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        seen, following = torch.randn(2, 1, 32, 3, 14, generator=generator)
        action = torch.rand(1, 32, 3, 2, generator=generator) * 2 - 1
        reward = torch.randn(1, 32, 3, generator=generator)
        weight = torch.rand(1, 32, generator=generator)
        errors, metrics = algorithm.update(Batch(seen, action, reward, following, None, weight))
        batch = naive.Batch(seen[0], action[0], reward[0].mean(-1), following[0], weight[0])
        found, critic_norm, actor_norm = learner.update(batch)
        torch.testing.assert_close(found, errors[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            critic_norm, metrics["critic_gradient_norm"][0], rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(
            actor_norm, metrics["actor_gradient_norm"][0], rtol=1e-4, atol=1e-6
        )
        acted = torch.from_numpy(learner.act(seen[0, 0].numpy()))
        torch.testing.assert_close(acted, algorithm.act(seen)[0, 0], rtol=1e-4, atol=1e-5)
    for ours, theirs in same_weights(learner, algorithm):
        torch.testing.assert_close(theirs.detach(), ours.detach(), rtol=1e-3, atol=1e-5)


def test_the_script_plays_our_game() -> None:
    """One episode in mpe2 as the script steps it: our observations, transitions and rewards."""
    task = make_fleet(small()).task
    env = simple_spread_v3.parallel_env(N=3, max_cycles=30, continuous_actions=True)
    told, _ = env.reset(seed=0)
    draws = np.random.default_rng(0)
    world = env.unwrapped.world
    parts = [[agent.state.p_pos for agent in world.agents], np.zeros((3, 2))]
    parts.append([landmark.state.p_pos for landmark in world.landmarks])
    state = torch.tensor(np.concatenate([np.ravel(part) for part in parts])).view(1, 1, -1)
    for _ in range(30):
        observed = torch.from_numpy(naive.stack(told, 14))
        torch.testing.assert_close(observed, task.observe(state)[0, 0].float(), atol=1e-5, rtol=0)
        action = draws.uniform(-1, 1, (3, 2)).astype(np.float32)
        told, rewards, _, _, _ = env.step(dict(zip(env.agents, naive.forces(action), strict=True)))
        after = task.step(state, torch.from_numpy(action).double().view(1, 1, 3, 2))
        reward = torch.tensor(list(rewards.values()), dtype=torch.float64)
        torch.testing.assert_close(task.reward(state, after)[0, 0], reward, atol=1e-5, rtol=0)
        state = after


def test_the_script_replays_in_proportion_to_priorities() -> None:
    config = small().model_dump() | {"buffer": 5, "per_alpha": 0.5, "agents": 1}
    replay = naive.Replay(config, 1, 1)
    for i in range(7):  # the ring of 5 wraps
        replay.add(np.full((1, 1), i), np.zeros((1, 1)), float(i), np.full((1, 1), i + 1))
    assert replay.reward.tolist() == [5, 6, 2, 3, 4]
    priorities = np.array([4.0, 1.0, 9.0, 16.0, 0.25])
    replay.set_priorities(np.arange(5), priorities)
    share = np.sqrt(priorities) / np.sqrt(priorities).sum()
    at, batch = replay.sample(np.random.default_rng(0), 100_000, beta=0.4)
    assert np.bincount(at, minlength=5) / len(at) == pytest.approx(share, abs=0.01)
    expected = (share[at] / share.min()) ** -0.4
    np.testing.assert_allclose(batch.weight.numpy(), expected, rtol=1e-5)
    assert batch.reward.tolist() == replay.reward[at].tolist()
    before = copy.copy(replay.largest)
    replay.add(np.zeros((1, 1)), np.zeros((1, 1)), 0.0, np.zeros((1, 1)))
    assert before == 16 and replay.tree[replay.leaves + 2] == 4
    assert replay.tree[1] == pytest.approx(replay.tree[replay.leaves :].sum())
