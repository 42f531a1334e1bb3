"""Surviving: checkpoints, and runs cut off at any moment that go on to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from small import METHODS, TINY, tiny

from bench import checkpoint, provenance, records
from bench.checkpoint import Checkpoint
from bench.config import RunConfig
from bench.fleet import Fleet
from bench.outcome import Outcome
from bench.train import Trainer, train


def run(config: RunConfig, checkpoint: Checkpoint | None = None) -> Outcome:
    return train([config], torch.device("cpu"), checkpoint)[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sampler", ["uniform", "prioritized"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    method: str, sampler: str, tmp_path: Path
) -> None:
    """Cut off after every group of episodes in turn, each time from the checkpoint before."""
    config = tiny(method=method, sampler=sampler)
    whole = run(config)
    for _ in range(config.episodes // config.parallel):
        kept = Checkpoint(tmp_path / "run.safetensors", [config], interval=0.0)  # due at once
        going = Trainer(Fleet([config], torch.device("cpu")), kept, ())
        if going.done:
            break
        going.evaluate_if_due()
        going.episodes()
        going.save_if_due()
    last = Checkpoint(tmp_path / "run.safetensors", [config])
    resumed = run(config, last)
    assert records.deterministic(resumed.record) == records.deterministic(whole.record)
    assert all(torch.equal(resumed.policy[name], value) for name, value in whole.policy.items())


def test_a_killed_process_goes_on_to_the_same_record(tmp_path: Path) -> None:
    values = {**TINY, "episodes": 600, "task_options": None, "hidden": "[16, 16]"}
    flags = [f"--{k.replace('_', '-')}={v}" for k, v in values.items() if v is not None]
    command = [
        *(sys.executable, "-m", "bench.cli", "train", "--dynamics=first-order", "--radius=0.3"),
        *("--checkpoint-seconds=0", *flags),
    ]
    outputs = []
    for name, kills in (("whole", 0), ("killed", 3)):
        folder = tmp_path / name
        for _ in range(kills):
            process = subprocess.Popen([*command, f"--results={folder}"], stderr=subprocess.DEVNULL)
            checkpoints = folder / "local" / "checkpoints"
            before = {p: p.stat().st_mtime_ns for p in checkpoints.rglob("*.safetensors")}
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                now = {p: p.stat().st_mtime_ns for p in checkpoints.glob("**/*.safetensors")}
                if now and now != before:
                    break
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
        subprocess.run([*command, f"--results={folder}"], check=True, capture_output=True)
        (path,) = (folder / "local" / "runs").rglob("*.json")
        outputs.append(records.deterministic(records.read(path)))
        assert not list((folder / "local" / "checkpoints").rglob("*.safetensors"))
    assert outputs[0] == outputs[1]


def checkpointed(path: Path, config: RunConfig, groups: int) -> None:
    """Leave the checkpoints of a run that was cut off after so many groups of episodes."""
    going = Trainer(Fleet([config], torch.device("cpu")), None, ())
    for _ in range(groups):
        going.evaluate_if_due()
        going.episodes()
        going._checkpoint = Checkpoint(path, [config], interval=0.0)  # due at once
        going.save_if_due()


def test_a_damaged_checkpoint_is_named_and_the_one_before_or_none_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, path = tiny(), tmp_path / "run.safetensors"
    checkpointed(path, config, 3)
    sound, before = path.read_bytes(), path.with_name(f"{path.name}.before").read_bytes()
    flipped = bytearray(sound)
    flipped[-1000] ^= 1
    whole = records.deterministic(run(config).record)
    for damage in (bytes(flipped), sound[:-100], sound[:50], b"", b"\xff" * 200):
        path.write_bytes(damage)
        path.with_name(f"{path.name}.before").write_bytes(before)
        kept = Checkpoint(path, [config], interval=0.0).read()
        error = capsys.readouterr().err
        assert f"checkpoint {path} is left out" in error and "from the checkpoint before" in error
        assert kept is not None and kept[1]["group"] == 2
        resumed = run(config, Checkpoint(path, [config])).record
        assert records.deterministic(resumed) == whole
    for damaged in (path, path.with_name(f"{path.name}.before")):
        damaged.write_bytes(sound[:-1])
    assert Checkpoint(path, [config]).read() is None
    assert capsys.readouterr().err.count("left out") == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["configuration", "code", "torch", "format"])
def test_a_checkpoint_of_something_else_is_named_and_left_out(
    other: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = tiny(), tmp_path / "run.safetensors"
    checkpointed(path, config, 1)
    change: dict[str, tuple[object, str, object]] = {
        "configuration": (checkpoint, "SHARE", checkpoint.SHARE),
        "code": (checkpoint, "code_digest", lambda: "x"),
        "torch": (torch, "__version__", "2.99.0"),
        "format": (checkpoint, "FORMAT", "0"),
    }
    where, name, value = change[other]
    monkeypatch.setattr(where, name, value)
    wanted = tiny(seed=1) if other == "configuration" else config
    assert Checkpoint(path, [wanted]).read() is None
    error = capsys.readouterr().err
    assert "it belongs to another configuration, behaviour version, code or torch" in error
    assert "starting afresh" in error


def test_checkpoints_take_less_than_their_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a made-up clock, with a disk that takes ever longer, as the replay fills."""
    clock = {"now": 0.0, "written": 0.0}
    kept = 0

    def slow(*_: object) -> None:
        cost = min(0.3 + 0.1 * kept, 1.0)
        clock["now"] += cost
        clock["written"] += cost

    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(checkpoint, "save_file", slow)
    monkeypatch.setattr(checkpoint, "sync_folder", slow)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "replace", lambda *_: None)
    path = tmp_path / "run.safetensors"
    (tmp_path / "run.safetensors.next").touch()
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    going = Checkpoint(path, [tiny()])
    while clock["now"] < 3600:
        clock["now"] += 0.5
        if going.due():
            going.write({}, {})
            kept += 1
            assert clock["now"] < 30 or clock["written"] <= checkpoint.SHARE * clock["now"]
    assert kept > 30


def test_a_run_that_moved_names_its_hosts(tmp_path: Path) -> None:
    config = tiny()
    checkpoint = Checkpoint(tmp_path / "c", [config], interval=0)
    going = Trainer(Fleet([config], torch.device("cpu")), checkpoint, ())
    going.evaluate_if_due()
    going.episodes()
    going._hosts = [{"cpu": "another", "device": "cpu"}]
    going.save_if_due()
    made = run(config, Checkpoint(tmp_path / "c", [config])).record.provenance
    assert made["cpu"] == f"another then {provenance.cpu()}"
    assert str(made["device"]).startswith("cpu")
