"""A hostile world: odd paths and links, full disks, others at work, clocks and locales."""

from __future__ import annotations

import contextlib
import locale
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from small import FAST, tiny

from bench import cli, files, records
from bench.errors import WorldError
from bench.grid import Run
from bench.places import Places
from bench.records import Record
from bench.runner import Job, train_runs
from bench.train import train

ROOT = Path(__file__).parents[1]


def run_in(folder: Path, **values: Any) -> tuple[Run, Places]:
    return Run("train", tiny(**values)), Places(folder)


def test_paths_with_spaces_and_letters_of_any_script(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "ré sültß 結果 'q'"
    assert cli.main(["train", *FAST, f"--results={folder}"]) == 0
    (path,) = folder.rglob("seed0.json")
    assert records.deterministic(records.read(path)) == records.deterministic(record)
    grid = folder / "my grid ü.yaml"
    grid.write_text((ROOT / "config" / "demo.yaml").read_text())
    (folder / "demo").symlink_to(ROOT / "results" / "demo")
    assert cli.main(["doctor", str(folder / "demo"), f"--grid={grid}"]) == 0


def test_links_are_replaced_and_not_followed(tmp_path: Path, record: Record) -> None:
    """A link in a record's, policy's, lock's or checkpoint's place must not be written through."""
    run, places = run_in(tmp_path / "results")
    target = tmp_path / "precious"
    target.write_text("precious")
    checkpoint = places.checkpoint([run.key])
    for path in (
        places.policy(run.key),
        checkpoint.with_name(f"{checkpoint.name}.next"),
        checkpoint,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    dangling = places.record(run.key)
    dangling.parent.mkdir(parents=True)
    dangling.symlink_to(tmp_path / "nowhere")
    train_runs([run], Job(places, checkpoint_seconds=0.0))
    assert target.read_text() == "precious" and not (tmp_path / "nowhere").exists()
    assert not places.record(run.key).is_symlink() and not places.policy(run.key).is_symlink()
    lock = checkpoint.with_suffix(".lock")
    lock.unlink()
    lock.symlink_to(target)
    with pytest.raises(WorldError, match="cannot lock"):
        train_runs([run], Job(places))
    assert target.read_text() == "precious"


@pytest.mark.parametrize("command", ["tables", "figures", "leaderboard", "train"])
def test_a_folder_that_cannot_be_written_is_one_line(
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    results = tmp_path / "results"
    results.mkdir()
    (results / "demo").symlink_to(ROOT / "results" / "demo")
    monkeypatch.setattr(files.tempfile, "mkstemp", refuse)
    more = FAST if command == "train" else [f"--grid={ROOT / 'config' / 'demo.yaml'}"]
    assert cli.main([command, *more, f"--results={results}"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Read-only file system" in error


def test_a_clock_that_goes_backwards_changes_nothing(
    tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**9, 0, -1000))
    monkeypatch.setattr(time, "time", lambda: next(clock))
    monkeypatch.setattr(time, "time_ns", lambda: next(clock) * 10**9)
    run, places = run_in(tmp_path)
    (found,) = train_runs([run], Job(places, checkpoint_seconds=0.0))
    assert records.deterministic(found) == records.deterministic(record)
    path = places.record(run.key)
    os.utime(path, (0, 0))
    before = path.read_bytes()
    train_runs([run], Job(places))
    assert path.read_bytes() == before, "a file's date decides nothing"


def test_two_that_train_one_run_at_once_leave_one_record(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    run, places = run_in(tmp_path)
    found: list[Record] = []

    def work() -> None:
        found.extend(train_runs([run], Job(places, checkpoint_seconds=0.0)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [records.deterministic(each) for each in found] == [records.deterministic(record)] * 2
    assert found[0].provenance == found[1].provenance, "trained once"
    assert "waiting: another process trains this run" in capsys.readouterr().err


def test_a_differing_record_that_came_meanwhile_stays_and_so_does_its_policy(
    tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where locks do not work and another CPU type was faster."""
    run, places = run_in(tmp_path)
    assert record.absolute is not None
    raw = {name: [x + 1 for x in values] for name, values in record.absolute.raw.items()}
    other = record.model_copy(update={"absolute": record.absolute.model_copy(update={"raw": raw})})
    real = train

    def meanwhile(*arguments: Any) -> Any:
        outcomes = real(*arguments)
        records.write(places.record(run.key), other)
        places.policy(run.key).write_bytes(b"theirs")
        return outcomes

    monkeypatch.setattr("bench.train.train", meanwhile)
    with pytest.raises(WorldError, match="it stays"):
        train_runs([run], Job(places))
    assert records.read(places.record(run.key)) == other
    assert places.policy(run.key).read_bytes() == b"theirs"


def comma_locale() -> str | None:
    """Find a locale with a decimal comma on this machine, if it has one."""
    before = locale.setlocale(locale.LC_NUMERIC)
    try:
        for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "nl_NL.UTF-8", "pl_PL.UTF-8"):
            with contextlib.suppress(locale.Error):
                locale.setlocale(locale.LC_NUMERIC, name)
                return name
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
    return None


COMMAS = """
import locale, sys
from bench.cli import main
if sys.argv[1]:
    locale.setlocale(locale.LC_ALL, sys.argv[1])
else:  # no such locale here: what Python asks for when it formats by one
    locale.localeconv = lambda: {**dict(decimal_point=",", thousands_sep=".", grouping=[3, 0])}
sys.exit(main(sys.argv[2:]))
"""


def test_a_decimal_comma_changes_no_byte(tmp_path: Path) -> None:
    grid = f"--grid={ROOT / 'config' / 'demo.yaml'}"
    written = []
    for name in ("plain", "comma"):
        results = tmp_path / name
        results.mkdir()
        (results / "demo").mkdir()
        (results / "demo" / "runs").symlink_to(ROOT / "results" / "demo" / "runs")
        start = ["-m", "bench.cli"] if name == "plain" else ["-c", COMMAS, comma_locale() or ""]
        for command in ("tables", "leaderboard"):
            arguments = [sys.executable, *start, command, grid, f"--results={results}"]
            environment = {**os.environ, "LC_ALL": comma_locale() or "C.UTF-8"}
            subprocess.run(arguments, check=True, capture_output=True, env=environment)
        files = (p for p in results.rglob("*") if p.is_file() and "runs" not in p.parts)
        written.append({p.relative_to(results): p.read_bytes() for p in files})
    assert written[0] == written[1] and len(written[0]) > 10


def test_a_terminal_that_knows_ascii_only_is_no_reason_to_fail() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-m", "bench.cli", "doctor", "nö where", "--grid=ü.yaml"]
    done = subprocess.run(command, capture_output=True, env=environment)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
