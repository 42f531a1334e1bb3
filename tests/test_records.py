"""Records: what is written is read back, and what is not sound is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import provenance, records
from bench.errors import WorldError
from bench.files import write_atomic
from bench.provenance import NOT_TRAINING
from bench.records import Record

ROOT = Path(__file__).parents[1]


def test_a_record_survives_the_disk(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "seed0.json"
    records.write(path, record)
    assert records.read(path) == record
    assert path.read_text() == records.to_json(record)
    assert [p.name for p in path.parent.iterdir()] == ["seed0.json"]
    assert path.stat().st_size < 30_000


def test_what_is_in_it(record: Record) -> None:
    assert record.evaluation.episode == [0, 20, 40, 60]
    assert record.evaluation.env_steps == [0, 600, 1200, 1800]
    assert record.evaluation.updates == [0, 30, 60, 90]
    assert set(record.evaluation.mean) == {
        *("successful_steps", "any_success", "covered", "return", "least_distance", "collisions"),
    }
    assert {"rewarded_share_buffer", "rewarded_share_batch", "td_error"} <= set(
        record.training.mean
    )
    assert set(record.behaviour) == {"loop", "task", "reward", "sampler", "algorithm", "scheme"}
    assert {
        "commit",
        "dirty",
        "code_digest",
        "outside_digest",
        "packages",
        "cpu",
        "cpu_seconds",
        "peak_memory_mb",
    } <= set(record.provenance)


def test_training_imports_nothing_whose_change_would_leave_a_checkpoint_as_it_is() -> None:
    """And what it imports besides has a say: a change there, and no checkpoint fits."""
    code = (
        "import sys, bench.fleet, bench.policies, bench.runner, bench.train\n"
        "print(*(sys.modules[m].__file__ for m in sys.modules if m.startswith('bench.')))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts = {part for path in ran.stdout.split() for part in Path(path).parts[-3:]}
    assert {"train.py", "runner.py", "random.py"} <= parts
    assert not NOT_TRAINING & parts


DAMAGE: list[tuple[str, Any]] = [
    ("truncated", lambda text: text[: len(text) // 2]),
    ("empty", lambda text: ""),
    ("not JSON", lambda text: "PK\x03\x04"),
    ("a list", lambda text: "[]"),
    ("NaN", lambda text: text.replace('"horizon": 30', '"horizon": NaN')),
    ("edited", lambda text: text.replace('"gamma": 0.95', '"gamma": 0.96')),
    ("an unknown key", lambda text: text.replace('"horizon"', '"horizont"')),
    ("another schema", lambda text: text.replace('"schema_version": 2', '"schema_version": 99')),
]


@pytest.mark.parametrize(("kind", "damage"), DAMAGE)
def test_an_unsound_record_is_named_in_one_line(
    kind: str, damage: Any, record: Record, tmp_path: Path
) -> None:
    path = tmp_path / "seed0.json"
    path.write_text(damage(records.to_json(record)))
    with pytest.raises(WorldError) as caught:
        records.read(path)
    assert str(path) in str(caught.value)


def test_any_changed_byte_of_a_value_is_found(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "seed0.json"
    text = records.to_json(record)
    for old, new in (('"threads": 1', '"threads": 2'), ('"horizon": 30', '"horizon": 31')):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(WorldError, match="checksum does not match"):
            records.read(path)
    path.write_text(text.replace('"checksum"', '"chequesum"'))
    with pytest.raises(WorldError, match="it has no checksum"):
        records.read(path)


def test_a_record_of_the_first_schema_is_read_as_one_of_the_current(
    record: Record, tmp_path: Path
) -> None:
    """Its numbers are those of a committed record, which had no checksum."""
    path = tmp_path / "seed0.json"
    values = {**json.loads(records.to_json(record)), "schema_version": 1}
    del values["provenance"]["checksum"]
    path.write_text(json.dumps(values))
    assert records.read(path) == record
    old = min((ROOT / "results" / "specialisation" / "runs" / "schemes").rglob("*.json"))
    assert json.loads(old.read_text())["schema_version"] == 1
    assert records.read(old).schema_version == records.SCHEMA


def test_a_record_is_written_once(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "seed0.json"
    records.write(path, record)
    first = path.read_bytes()
    again = record.model_copy(update={"provenance": {"host": "another"}})
    records.write(path, again)
    assert path.read_bytes() == first
    with pytest.raises(WorldError, match=r"is there already and differs .* it stays"):
        records.write(path, record.model_copy(update={"horizon": 29}))
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["seed0.json"]


def test_where_there_are_no_links_it_is_written_once_too(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    test_a_record_is_written_once(record, tmp_path)


@pytest.mark.parametrize("part", ["evaluation", "training", "final", "absolute"])
def test_a_part_that_contradicts_itself_is_refused(
    part: str, record: Record, tmp_path: Path
) -> None:
    values = json.loads(records.to_json(record))
    series = values[part]["raw" if part in ("final", "absolute") else "mean"]
    series["return"] = [] if part in ("final", "absolute") else series["return"][:-1]
    path = tmp_path / "seed0.json"
    path.write_text(records.sealed(values))
    with pytest.raises(WorldError):
        records.read(path)


def test_a_failed_write_leaves_what_was_there(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seed0.txt"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WorldError, match="No space left"):
        write_atomic(path, b"after")
    assert path.read_text() == "before"
    with pytest.raises(WorldError, match="No space left"):
        records.write(tmp_path / "seed0.json", record)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_replaced_record_is_no_change_of_the_code(tmp_path: Path) -> None:
    """What is made after it, in the same checkout, is not called dirty."""

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    def dirty() -> bool | None:
        provenance.commit.cache_clear()
        return provenance.commit(tmp_path)[1]

    paths = tmp_path / "bench.py", tmp_path / "results" / "run.json"
    git("init")
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("before")
    git("add", ".")
    git("commit", "-m", "before")
    assert dirty() is False
    for path, expected in zip(reversed(paths), (False, True), strict=True):
        path.write_text("after")
        assert dirty() is expected
