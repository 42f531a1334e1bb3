"""Two processes that train one run at once, on file systems with and without locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("system", ["locking", "lockless"])
def test_two_writers_of_one_run_leave_one_sound_record(system: str, tmp_path: Path) -> None:
    words = (
        *("train", "--agents", "2", "--episodes", "400", "--parallel", "20", "--batch", "16"),
        *("--hidden", "[16, 16]", "--evaluations", "3", "--absolute-episodes", "8"),
        *("--checkpoint-seconds", "0", "--sampler", "uniform"),
    )

    def start(folder: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TRAIN, *words, "--results", str(tmp_path / folder), system]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    two = [start("shared"), start("shared")]
    said = [process.communicate()[1] for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    assert ("no lock" if system == "lockless" else "waiting") in "".join(said)
    one = start("alone")
    one.communicate()

    def made(folder: str) -> dict[str, object]:
        (path,) = (tmp_path / folder / "local" / "runs").rglob("*.json")
        return read(path).model_dump(exclude={"provenance"})

    assert made("shared") == made("alone")
    left = [p for p in (tmp_path / "shared").rglob("*") if p.is_file() and "tmp" in p.name]
    assert not left
