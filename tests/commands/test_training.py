"""Training by the command line: what is done stays done, and what is not is made."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import pytest
import torch
import yaml
from small import FAST, tiny

from bench import checkpoint, progress, records, runner, train
from bench.checkpoint import Checkpoint
from bench.cli import main
from bench.files import write_atomic
from bench.fleet import Fleet
from bench.places import Places, locked
from bench.records import Record


def places_and_keys(results: Path) -> tuple[Places, list[str]]:
    """Return where the runs of `hypercoop train` lie, and those that have a record."""
    runs = results / "local" / "runs"
    keys = [path.relative_to(runs).with_suffix("").as_posix() for path in runs.rglob("*.json")]
    return Places(results / "local"), sorted(keys)


def test_what_is_trained_is_not_trained_again(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamp = trained.stat().st_mtime_ns
    results = next(p for p in trained.parents if p.name == "local").parent
    assert main(["train", *FAST, f"--results={results}", "--json"]) == 0
    said = capsys.readouterr()
    (row,) = json.loads(said.out)
    assert row["status"] == "complete" and Path(row["record"]) == trained
    assert "seed0: not trained, its record is up to date" in said.err
    assert trained.stat().st_mtime_ns == stamp


def test_checkpoints_that_outlived_their_run_are_removed(tmp_path: Path) -> None:
    """Those of a process that was killed between writing its records and ending."""
    flags = [*FAST, "--replicas=2", f"--results={tmp_path}"]
    assert main(["train", *flags]) == 0
    lock = next(tmp_path.rglob("checkpoints/**/seed1.lock"))
    places, keys = places_and_keys(tmp_path)
    fleets = [places.checkpoint(fleet) for fleet in (keys, keys[:1], keys[1:])]
    names = [f"{path.name}{ending}" for path in fleets for ending in ("", ".before", ".next")]
    for name in (*names, "seed10.safetensors"):
        lock.with_name(name).touch()
        lock.with_name(f".tmp-probe-{name}").touch()
    assert main(["train", *flags]) == 0
    left = {path.name for path in lock.parent.iterdir()}
    others = {"seed10.safetensors", ".tmp-probe-seed10.safetensors"}
    assert left == {"seed0.lock", "seed1.lock", *others}


def test_what_a_process_killed_while_it_tried_the_disk_leaves_is_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def write_and_die(path: Path, content: bytes) -> None:
        write_atomic(path, content)
        raise Killed

    flags = [*FAST, f"--results={tmp_path}"]
    monkeypatch.setattr(runner, "write_atomic", write_and_die)
    with pytest.raises(Killed):
        main(["train", *flags])
    assert list(tmp_path.rglob(".tmp-probe-*")) and not list(tmp_path.rglob("*.json"))
    monkeypatch.undo()
    assert main(["train", *flags]) == 0
    assert main(["verify", str(tmp_path), "--sample=1"]) == 0


def test_a_checkpoint_of_a_fleet_with_other_runs_stays_until_all_are_done(tmp_path: Path) -> None:
    flags = [*FAST, f"--results={tmp_path}"]
    assert main(["train", *flags]) == 0
    places, (first, *_) = places_and_keys(tmp_path)
    second, third = (first.replace("seed0", name) for name in ("seed1", "seed2"))
    path = places.checkpoint([first, second])
    assert path != places.checkpoint([first, third]), "fleets that begin alike share no file"
    config = records.read(places.record(first)).config
    configs = [config, config.model_copy(update={"seed": 1})]
    fleet = Checkpoint(path, configs, keys=[first, second])
    for group in (1, 2):
        fleet.write({"x": torch.zeros(1)}, {"group": group})
    path.unlink()  # so that only the one before is there
    damaged = path.with_name("seed0-x9-01234567.safetensors")
    damaged.write_bytes(b"of whom it is cannot be told")
    assert main(["train", *flags]) == 0
    assert main(["train", *flags, "--force"]) == 0
    before = path.with_name(f"{path.name}.before")
    assert before.exists()
    assert main(["train", *flags, "--seed=1"]) == 0
    assert not before.exists() and damaged.exists(), "both runs are done, each by itself"


def test_of_an_early_fleet_the_runs_that_are_done_are_not_trained_again(tmp_path: Path) -> None:
    flags = [*FAST, f"--results={tmp_path}"]
    for seed in (0, 1):
        assert main(["train", *flags, f"--seed={seed}"]) == 0
    places, (first, second) = places_and_keys(tmp_path)
    third = first.replace("seed0", "seed2")
    config = records.read(places.record(first)).config
    configs = [config.model_copy(update={"seed": seed}) for seed in range(3)]
    keys = [first, second, third]
    path = places.checkpoint(keys)
    going = train.Trainer(
        Fleet(configs, torch.device("cpu")), Checkpoint(path, configs, 0.0, keys), ()
    )
    going.episodes()
    going.save_if_due()
    assert path.exists()
    stamps = [places.record(key).stat().st_mtime_ns for key in (first, second)]
    seen: list[int] = []
    whole = train.Trainer.episodes

    def noted(trainer: train.Trainer) -> None:
        seen.append(len(trainer._fleet.configs))
        whole(trainer)

    with pytest.MonkeyPatch.context() as context:
        context.setattr(train.Trainer, "episodes", noted)
        assert main(["train", *flags, "--replicas=3"]) == 0
    assert set(seen) == {1}, "one run from its start is less than three from nearly theirs"
    assert [places.record(key).stat().st_mtime_ns for key in (first, second)] == stamps
    assert not path.exists()


def test_what_is_trained_is_written_before_a_mirror_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(progress.Lines, "close", refuse)
    assert main(["train", *FAST, f"--results={tmp_path}"]) == 1
    assert len(list(tmp_path.rglob("runs/**/seed0.json"))) == 1
    assert len(list(tmp_path.rglob("policies/**/seed0.safetensors"))) == 1


def test_a_truncated_record_is_trained_again(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = json.loads(trained.read_text())
    trained.write_text(trained.read_text()[:500])
    results = next(p for p in trained.parents if p.name == "local").parent
    assert main(["train", *FAST, f"--results={results}"]) == 0
    assert str(trained) in capsys.readouterr().err
    again = json.loads(trained.read_text())
    assert {k: v for k, v in again.items() if k != "provenance"} == {
        k: v for k, v in sound.items() if k != "provenance"
    }


def test_another_configuration_does_not_overwrite_a_finished_run(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = next(p for p in trained.parents if p.name == "local").parent
    before = trained.read_bytes()
    assert main(["train", *FAST, "--gamma=0.9", f"--results={results}"]) == 2
    assert "gamma = 0.95" in capsys.readouterr().err
    assert trained.read_bytes() == before


def test_another_configuration_does_not_end_a_run_that_has_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(trainer: train.Trainer) -> None:
        save(trainer)
        if trainer._group == 3:
            raise KeyboardInterrupt

    save, flags = train.Trainer.save_if_due, [*FAST, f"--results={tmp_path}"]
    with monkeypatch.context() as context:
        context.setattr(train.Trainer, "save_if_due", killed)
        assert main(["train", *flags, "--checkpoint-seconds=0"]) == 130
    (begun,) = tmp_path.rglob("seed0.safetensors")
    before = begun.read_bytes()
    capsys.readouterr()
    assert main(["train", *flags, "--gamma=0.9"]) == 2
    assert f"{begun} is of a run with other settings that has not ended" in capsys.readouterr().err
    assert begun.read_bytes() == before
    assert main(["train", *flags, "--gamma=0.9", "--force"]) == 0
    assert not begun.exists()


def test_what_has_begun_alone_or_in_a_fleet_is_ended_by_no_other_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*FAST, f"--results={tmp_path}"]
    assert main(["train", *flags]) == 0
    places, (first,) = places_and_keys(tmp_path)
    second = first.replace("seed0", "seed1")
    config = records.read(places.record(first)).config
    configs = [config, config.model_copy(update={"seed": 1})]
    places.record(first).unlink()
    alone = Checkpoint(places.checkpoint([first]), configs[:1], keys=[first])
    both = Checkpoint(places.checkpoint([first, second]), configs, keys=[first, second])
    other = [*flags, "--gamma=0.9"]
    for begun, asked in ((alone, ["--replicas=2"]), (both, [])):
        begun.write({"x": torch.zeros(1)}, {"group": 1})
        assert main(["train", *other, *asked]) == 2
        assert "with other settings that has not ended" in capsys.readouterr().err
        assert begun.usable()
        begun.delete()


def test_a_fleet_that_is_being_trained_again_keeps_its_checkpoint(tmp_path: Path) -> None:
    flags = [*FAST, f"--results={tmp_path}"]
    assert main(["train", *flags, "--replicas=2"]) == 0
    places, keys = places_and_keys(tmp_path)
    config = records.read(places.record(keys[0])).config
    configs = [config, config.model_copy(update={"seed": 1})]
    again = Checkpoint(places.checkpoint(keys), configs, keys=keys)
    again.write({"x": torch.zeros(1)}, {"group": 1})
    with locked(places.lock(keys[0])):
        assert main(["train", *flags, "--seed=1"]) == 0
        assert again.usable(), "who holds the lock may be writing it"
    assert main(["train", *flags, "--seed=1"]) == 0
    assert not again.usable()


def test_of_a_fleet_only_the_missing_replicas_are_trained(tmp_path: Path) -> None:
    assert main(["train", *FAST, "--replicas=3", f"--results={tmp_path}"]) == 0
    paths = sorted((tmp_path / "local" / "runs").rglob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in paths]
    sound = json.loads(paths[1].read_text())
    paths[1].unlink()
    assert main(["train", *FAST, "--replicas=3", f"--results={tmp_path}"]) == 0
    again = json.loads(paths[1].read_text())
    del sound["provenance"], again["provenance"]
    assert again == sound
    assert [paths[n].stat().st_mtime_ns for n in (0, 2)] == [stamps[0], stamps[2]]


@pytest.mark.parametrize("done", [0, 1], ids=["whole", "in part"])
def test_a_fleet_killed_while_it_wrote_its_records_goes_on(
    done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of three records is not there, and the checkpoint is the whole fleet's."""
    if done:  # before, so that only the others were its fleet
        assert main(["train", *FAST, f"--results={tmp_path}"]) == 0

    def killed(path: Path, record: Record, *, replace: bool) -> None:
        if "seed2" in path.name:
            raise KeyboardInterrupt
        records.write(path, record, replace=replace)

    flags = [*FAST, "--replicas=3", f"--results={tmp_path}", "--checkpoint-seconds=0"]
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    with monkeypatch.context() as context:
        context.setattr(runner, "write", killed)
        assert main(["train", *flags]) == 130
    paths = sorted((tmp_path / "local" / "runs").rglob("*.json"))
    (left,) = (tmp_path / "local" / "checkpoints").rglob(f"*-x{3 - done}-*.safetensors")
    assert len(paths) == 2
    stamps = [path.stat().st_mtime_ns for path in paths]
    begun: list[int] = []
    whole = train.Trainer.episodes
    monkeypatch.setattr(
        train.Trainer, "episodes", lambda run: (begun.append(run._group), whole(run))[1]
    )
    assert main(["train", *flags]) == 0
    assert begun and begun[0] > 0, "from the checkpoint"
    assert [path.stat().st_mtime_ns for path in paths] == stamps
    assert len(list((tmp_path / "local" / "runs").rglob("*.json"))) == 3
    assert not left.exists()


def test_replicas_write_a_record_each(tmp_path: Path) -> None:
    assert main(["train", *FAST, "--replicas=3", f"--results={tmp_path}"]) == 0
    names = sorted(path.name for path in tmp_path.rglob("*.json"))
    assert names == ["seed0.json", "seed1.json", "seed2.json"]


def test_any_pettingzoo_environment_trains(tmp_path: Path) -> None:
    flags = [
        *("--task=pettingzoo:mpe2.simple_spread_v3", "--reward=environment", "--agents=3"),
        *("--task-option=N=3", "--task-option=max_cycles=10"),
        *("--task-option=continuous_actions=true", "--method=maddpg", "--sampler=uniform"),
        *("--episodes=20", "--parallel=5", "--steps-per-update=10", "--batch=8"),
        *("--hidden=[16]", "--evaluations=2", "--evaluation-episodes=2", "--absolute-episodes=3"),
    ]
    assert main(["train", *flags, f"--results={tmp_path}"]) == 0
    (path,) = tmp_path.rglob("runs/**/*.json")
    record = json.loads(path.read_text())
    assert record["score"] == "return"
    assert record["horizon"] == 10
    assert all(value < 0 for value in record["absolute"]["raw"]["return"])
    (trained,) = record["training"]["mean"]["return"]
    before = record["evaluation"]["mean"]["return"][0]
    assert trained < before / 2, "both are the sum over agents, not their mean"


def test_wandb_mirrors_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(["train", *FAST, f"--results={tmp_path}", "--wandb"]) == 0
    assert list((tmp_path / "local" / "wandb").rglob("*.wandb"))


def test_force_replaces_a_record_that_another_cpu_made(tmp_path: Path) -> None:
    """It differs by rounding, and would otherwise be in the way when the training is over."""
    flags = ["train", *FAST, f"--results={tmp_path}"]
    assert main(flags) == 0
    (path,) = tmp_path.rglob("seed0.json")
    made = records.read(path)
    cost = made.cost.model_copy(update={"flops_per_update": 1})
    path.unlink()
    records.write(path, made.model_copy(update={"cost": cost}))
    assert main(flags) == 0
    assert records.read(path).cost == cost
    assert main([*flags, "--force"]) == 0
    assert records.deterministic(records.read(path)) == records.deterministic(made)


def test_flags_are_not_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--lr=0.1"]) == 2
    assert "unrecognized arguments: --lr=0.1" in capsys.readouterr().err


def test_an_unknown_flag_is_told_its_nearest_and_where_to_look(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", "--epsiodes", "100"]) == 2
    said = capsys.readouterr().err
    assert "--epsiodes 100; did you mean '--episodes'? (see 'hypercoop train --help')" in said
    assert main(["--quiet", "tasks"]) == 2
    assert "(see 'hypercoop --help')" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"hypercoop {importlib.metadata.version('hypercoop')}\n"


def test_a_run_that_is_not_in_the_grid_is_told_its_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    key = "sensitivity.radius-0_2/ps-maddpg/group-goal-prioritized/n2/sed0"
    assert main(["train", "--grid=config/paper.yaml", f"--run={key}"]) == 2
    assert f"nearest: {key.replace('sed0', 'seed0')}, " in capsys.readouterr().err


def test_a_checkpoint_made_by_code_from_outside_dies_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "mine.py"
    text = (Path(__file__).parents[2] / "baselines" / "sharing" / "shared.py").read_text()
    module.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    kind = {"algorithm": "baselines.algorithms.iql:IQL", "scheme": "mine:Shared"}
    table = tmp_path / "methods.yaml"
    table.write_text(yaml.safe_dump({"own": {"summary": "Mine", "actions": "discrete", **kind}}))
    monkeypatch.setenv("HYPERCOOP_METHODS", str(table))
    config = tiny(method="own")
    Checkpoint(tmp_path / "c", [config]).write({}, {})
    assert Checkpoint(tmp_path / "c", [config]).usable()
    module.write_text(text + "# changed")
    assert not Checkpoint(tmp_path / "c", [config]).usable()
