"""Two processes that train one run at once wait for each other, or are refused without locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.records import read

ROOT = Path(__file__).parents[1]
TRAIN = """
import sys
if sys.argv.pop() == "lockless":
    import errno, fcntl
    def flock(*words):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
from bench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def start(folder: Path, system: str) -> subprocess.Popen[str]:
    words = (
        *("train", "--agents", "2", "--episodes", "400", "--parallel", "20", "--batch", "16"),
        *("--hidden", "[16, 16]", "--evaluations", "3", "--absolute-episodes", "8"),
        *("--checkpoint-seconds", "0", "--sampler", "uniform"),
    )
    command = [sys.executable, "-c", TRAIN, *words, "--results", str(folder), system]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def made(folder: Path) -> dict[str, object]:
    (path,) = (folder / "local" / "runs").rglob("*.json")
    return read(path).model_dump(exclude={"provenance"})


def test_two_writers_of_one_run_leave_one_sound_record(tmp_path: Path) -> None:
    two = [start(tmp_path / "shared", "locking") for _ in range(2)]
    said = [process.communicate()[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    assert "waiting" in "".join(said)
    start(tmp_path / "alone", "locking").communicate()
    assert made(tmp_path / "shared") == made(tmp_path / "alone")
    left = [p for p in (tmp_path / "shared").rglob("*") if p.is_file() and "tmp" in p.name]
    assert not left


def test_without_locks_nothing_is_trained(tmp_path: Path) -> None:
    process = start(tmp_path, "lockless")
    said = process.communicate()[1]
    assert process.returncode == 1
    assert "cannot lock" in said and "flock" in said and "Traceback" not in said
    assert not list(tmp_path.rglob("*.json"))
