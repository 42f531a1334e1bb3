"""A saved policy acts as it was recorded, and elsewhere."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from small import FAST, TINY, grid, write

from bench import records
from bench.cli import main
from bench.evaluate import evaluate
from bench.policies import find_policy, load_policy
from bench.random import Random


def test_an_unreadable_policy_is_one_line(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = Path(str(trained).replace("/runs/", "/policies/")).with_suffix(".safetensors")
    for content in (b"", b"nonsense" * 100, sound.read_bytes()[:200]):
        path = tmp_path / "policy.safetensors"
        path.write_bytes(content)
        assert main(["evaluate", str(path)]) == 1
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1 and str(path) in error


def test_the_record_that_names_a_policy_is_read_and_has_to_be_its_runs(
    tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs" / "seed0.json"
    policy = tmp_path / "policies" / "seed0.safetensors"
    for path in (run, policy):
        path.parent.mkdir()
    policy.write_bytes(find_policy(trained).read_bytes())
    sound = records.read(trained)
    other = sound.config.model_copy(update={"seed": 7})
    old = sound.model_copy(update={"behaviour": {**sound.behaviour, "loop": "bench.train:train@0"}})
    another = sound.model_copy(update={"config": other, "config_hash": other.digest})
    unsound = {
        "": "truncated",
        trained.read_text()[:500]: "truncated",
        trained.read_text().replace('"score"', '"scored"'): "checksum",
        records.to_json(another): "made with seed = 7 (its policy 0)",
    }
    for content, words in unsound.items():
        run.write_text(content)
        for command in ("evaluate", "watch"):
            assert main([command, str(run)]) == 1
            error = capsys.readouterr().err
            assert len(error.splitlines()) == 1 and str(run) in error and words in error
    run.write_text(records.to_json(old))
    assert main(["evaluate", str(run), "--episodes=2"]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "made by loop bench.train:train@0; now" in said.err
    assert "2 greedy episodes" in said.out


def test_a_saved_policy_evaluates_as_recorded(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = records.read(trained)
    for which, assessment in (("best", record.absolute), ("final", record.final)):
        config, task, algorithm = load_policy(find_policy(trained), which)
        random = Random.from_seeds([config.seed]).fold("assessment")
        raw = evaluate(task, algorithm, random, config.absolute_episodes)
        assert assessment is not None
        assert {name: records.rounded(v[0].tolist()) for name, v in raw.items()} == assessment.raw
    assert main(["evaluate", str(trained), "--episodes=5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 5


def test_a_policy_is_evaluated_on_other_options_than_it_was_trained_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [flag for flag in FAST if "dynamics" not in flag]
    assert main(["train", "--task=roles", *flags, f"--results={tmp_path}"]) == 0
    (path,) = tmp_path.rglob("runs/**/*.json")
    means = []
    for split in ("seen", "held-out"):
        capsys.readouterr()
        asked = ["--episodes=50", f"--task-option=split={split}", "--json"]
        assert main(["evaluate", str(path), *asked]) == 0
        means.append(json.loads(capsys.readouterr().out)["mean"]["least_distance"])
    assert means[0] != means[1]
    assert main(["evaluate", str(path), "--task-option=splitt=seen"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "did you mean 'split'" in error


def test_a_policy_without_an_order_acts_in_a_team_of_another_size(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*FAST, "--method=deep-set-maddpg-attention", "--episodes=40", "--sampler=hindsight"]
    assert main(["train", *flags, f"--results={tmp_path}"]) == 0
    (path,) = tmp_path.rglob("runs/**/*.json")
    means = []
    for agents in (1, 2, 3, 7):
        capsys.readouterr()
        assert main(["evaluate", str(path), f"--agents={agents}", "--json", "--episodes=20"]) == 0
        means.append(json.loads(capsys.readouterr().out)["mean"]["least_distance"])
    assert sorted(means) == means  # a sum over ever more targets
    assert main(["evaluate", str(trained), "--agents=3"]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and "weights for 2 agents only" in error
    assert main(["evaluate", str(trained), "--agents=2", "--episodes=2"]) == 0


def test_what_it_says_of_a_record_without_a_policy_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {name: value for name, value in TINY.items() if name != "agents"}
    (tmp_path / "config").mkdir()
    write(tmp_path, grid(settings=settings)).rename(tmp_path / "config" / "g.yaml")
    monkeypatch.chdir(tmp_path)
    run = "runs/e/ps-maddpg/group-goal-uniform/n2/seed0"
    assert main(["train", "--grid=config/g.yaml", f"--run={run.removeprefix('runs/')}"]) == 0
    for policy in tmp_path.rglob("*.safetensors"):
        policy.unlink()
    capsys.readouterr()
    assert main(["evaluate", f"results/g/{run}.json"]) == 1
    error = capsys.readouterr().err
    command = shlex.split(error.rpartition("train the run anew: hypercoop ")[2])
    assert error.count("\n") == 1 and main(command) == 0
    assert main(["evaluate", f"results/local/g/{run}.json", "--episodes=2"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "policies/seed0.safetensors"]) == 1
    assert capsys.readouterr().err.endswith("train the run anew with --force\n")


def test_a_controller_has_no_policy(capsys: pytest.CaptureFixture[str]) -> None:
    demo = Path(__file__).parents[2] / "results" / "demo" / "runs"
    assert main(["watch", str(demo / "references/oracle/group-goal-uniform/n2/seed0.json")]) == 2
    assert capsys.readouterr().err.endswith("'oracle' learns nothing and saves no policy\n")


def test_watch_draws(trained: Path, tmp_path: Path) -> None:
    assert main(["watch", str(trained), f"--out={tmp_path}", "--episodes=1"]) == 0
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".gif"}
