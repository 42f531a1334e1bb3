"""Whatever is read, only sound things get in, and what does not is one line about it.

Inputs that once got through, or broke something, are kept as examples.
"""

from __future__ import annotations

import contextlib
import copy
import json
import locale
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small import TINY, tiny

from bench import cli, files, records
from bench.config import RunConfig, resolve
from bench.errors import RequestError, WorldError
from bench.grid import Grid, Run, expand, load_grid
from bench.policies import load_policy
from bench.records import Record
from bench.runner import Places, train_runs
from bench.train import train

ROOT = Path(__file__).parents[1]
FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([2**31, 2**63, 10**400, -1, 0, 1e308, float("nan"), float("inf"), True]),
)
LEAVES = st.one_of(NUMBERS, st.none(), st.text(max_size=20), st.just([]), st.just({}))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NAMES = ["../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "a\0b", "=1+1", "<b>", "", "ä", "a b"]
FAST = [
    *("--dynamics=first-order", "--radius=0.3", "--hidden=[16, 16]"),
    *(
        f"--{k.replace('_', '-')}={v}"
        for k, v in TINY.items()
        if k not in ("task_options", "hidden")
    ),
]


def one_line(error: Exception) -> None:
    text = " ".join(str(error).split())
    assert text and len(text) < 5_000


# -- configurations ------------------------------------------------------------------------------


@FUZZ
@given(st.dictionaries(st.sampled_from([*RunConfig.model_fields, "nonsense"]), VALUES, max_size=4))
@example({"task_options": {"radius": float("nan")}})
@example({"agents": 10**400})
@example({"hidden": [10**400]})
@example({"method": "pathlib:../x"})
@example({"task": "pettingzoo:../x"})
@example({"task": ":"})
def test_a_fuzzed_configuration_is_sound_or_refused_in_one_line(values: dict[str, Any]) -> None:
    try:
        config = resolve(values, where="fuzz")
    except RequestError as error:
        one_line(error)
    else:
        assert RunConfig.model_validate(json.loads(config.model_dump_json())) == config
        parts = Run("x", config).key.split("/")
        assert len(parts) == 5 and not {"", ".", ".."} & set(parts)


@FUZZ
@given(st.lists(st.tuples(st.integers(0, 30), VALUES), min_size=1, max_size=3))
def test_a_fuzzed_grid_is_sound_or_refused_in_one_line(changes: list[tuple[int, Any]]) -> None:
    values = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
    for place, value in changes:
        change_at(values, place, value)
    try:
        expand(Grid.model_validate(values))
    except (RequestError, ValueError) as error:
        one_line(error)


def change_at(values: Any, place: int, value: Any) -> None:
    """Put a value in place of the n-th one, counted through all nested values."""
    spots: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        pairs = inner.items() if isinstance(inner, dict) else enumerate(inner)
        for key, item in list(pairs):
            spots.append((inner, key))
            if isinstance(item, dict | list):
                walk(item)

    walk(values)
    holder, key = spots[place * 7919 % len(spots)]
    holder[key] = value


YAMLS = {
    "deep": b"[" * 100_000,
    "aliases": b"a0: &a0 [x, x]\n"
    + b"".join(
        b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
    ),
    "no date": b"name: 2001-99-99\n",
    "long number": b"name: " + b"9" * 10_000,
    "not UTF-8": b"\xff\xfe\x00name",
    "nothing": b"",
    "python": b"!!python/object/apply:os.system ['touch hacked']\n",
    "two keys": b"{[1]: 2}",
}


@pytest.mark.parametrize("kind", YAMLS)
def test_a_file_that_is_no_grid_is_refused_in_one_line(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grid.yaml"
    path.write_bytes(YAMLS[kind])
    assert cli.main(["tables", f"--grid={path}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and len(error) < 5_000 and "grid.yaml" in error
    assert not Path("hacked").exists()


def test_a_grid_of_too_many_cells_is_refused_before_it_is_expanded() -> None:
    grid = load_grid(ROOT / "config" / "quick.yaml")
    many = {"seeds": list(range(10_000)), "agents": list(range(1, 1_000))}
    name, experiment = next(iter(grid.experiments.items()))
    large = grid.model_copy(update={"experiments": {name: experiment.model_copy(update=many)}})
    with pytest.raises(RequestError, match="cells, more than 1,000,000"):
        expand(large)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("field", ["method", "reward", "sampler", "task"])
def test_a_name_is_never_a_path(field: str, name: str) -> None:
    with pytest.raises(RequestError):
        resolve({field: name}, where="test")


@pytest.mark.parametrize("name", NAMES)
def test_a_grids_names_are_never_paths(name: str) -> None:
    values = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
    for changed in (
        {"name": name},
        {"experiments": {name: next(iter(values["experiments"].values()))}},
    ):
        with pytest.raises(ValueError, match=r"match pattern|at least"):
            Grid.model_validate({**values, **changed})


@pytest.mark.parametrize("value", ["2001-99-99", "[" * 5_000, "9" * 5_000, "nan", ".inf", "\x00"])
def test_a_hostile_option_is_one_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", f"--agents={value}"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and len(error) < 5_000


# -- records and policies ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def record() -> Record:
    return train([tiny()], torch.device("cpu"))[0].record


@FUZZ
@given(place=st.integers(0, 2_000), value=VALUES, checked=st.booleans())
@example(place=0, value=10**400, checked=True)
def test_a_fuzzed_record_is_sound_or_refused_in_one_line(
    place: int, value: Any, checked: bool, record: Record, tmp_path: Path
) -> None:
    """With a checksum of a first schema's, none, or with the right one for what it holds."""
    values = json.loads(records.to_json(record))
    change_at(values, place, value)
    path = tmp_path / "seed0.json"
    text = ""
    if checked and isinstance(values.get("provenance"), dict):
        with contextlib.suppress(ValueError, TypeError):  # a NaN cannot be written
            text = records.sealed(values)
    if not text:
        values["schema_version"] = 1
        if isinstance(values.get("provenance"), dict):
            values["provenance"].pop("checksum", None)
        text = json.dumps(values)
    path.write_text(text)
    try:
        found = records.read(path)
    except WorldError as error:
        one_line(error)
        said = str(error)
    else:
        said = str(path)
        json.loads(records.to_json(found))
    assert str(path) in said


BYTES = {
    "deep": b"[" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "long number": b'{"horizon": ' + b"9" * 10_000 + b"}",
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"schema_version": 2}'.encode("utf-16"),
    "with a mark": b"\xef\xbb\xbf{}",
    "zeros": b"\0" * 4096,
    "null": b"null",
    "infinite": b'{"schema_version": 1e999, "provenance": {"checksum": "x"}}',
    "a list as version": b'{"schema_version": [], "provenance": {}}',
    "half a character": b'{"score": "\\ud800", "provenance": {}, "schema_version": 1}',
}


@pytest.mark.parametrize("kind", BYTES)
def test_bytes_that_are_no_record_are_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "seed0.json"
    path.write_bytes(BYTES[kind])
    with pytest.raises(WorldError, match=r"seed0\.json") as caught:
        records.read(path)
    one_line(caught.value)


def test_what_is_larger_than_any_record_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 10 << 20)
    path = tmp_path / "seed0.json"
    with path.open("wb") as file:
        file.truncate(11 << 20)
    with pytest.raises(WorldError, match="larger than 10 MiB"):
        records.read(path)


CONTRADICTIONS: dict[str, Any] = {
    "fewer points": lambda v: shorten(v["evaluation"]),
    "points out of order": lambda v: v["evaluation"]["episode"].reverse(),
    "points without steps": lambda v: v["evaluation"]["env_steps"].pop(),
    "more than a float holds": lambda v: v["absolute"]["raw"].update(return_=[1e300]),
    "a negative count": lambda v: v["cost"].update(trained_parameters=-1),
    "a count beyond 64 bits": lambda v: v["cost"].update(flops_per_update=10**30),
    "an unknown key in a block that may be missing": lambda v: v["absolute"].update({"": None}),
    "no horizon": lambda v: v.update(horizon=0),
    "no episode": lambda v: v["final"]["raw"].update({v["score"]: []}),
}


def shorten(curve: dict[str, Any]) -> None:
    for part in (curve, curve["mean"], curve["std"]):
        for name, values in part.items():
            if isinstance(values, list):
                part[name] = values[:-1]


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_a_record_whose_numbers_cannot_be_is_refused(
    kind: str, record: Record, tmp_path: Path
) -> None:
    values = json.loads(records.to_json(record))
    CONTRADICTIONS[kind](values)
    path = tmp_path / "seed0.json"
    path.write_text(records.sealed(values))
    with pytest.raises(WorldError, match=r"seed0\.json"):
        records.read(path)


def test_no_pickle_is_ever_loaded() -> None:
    """Neither by us, nor by what torch, numpy and pandas would do with one."""
    words = ("import pickle", "torch.load(", "allow_pickle", "read_pickle", "joblib", "np.load(")
    for package in ("bench", "baselines"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not [word for word in words if word in text], path


def test_a_pickle_in_a_policys_place_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "seed0.safetensors"
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(WorldError, match="unreadable"):
        load_policy(path)


# -- the world -----------------------------------------------------------------------------------


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
    checkpoint = places.checkpoint([run])
    for path in (places.policy(run), checkpoint.with_name(f"{checkpoint.name}.next"), checkpoint):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    dangling = places.record(run)
    dangling.parent.mkdir(parents=True)
    dangling.symlink_to(tmp_path / "nowhere")
    train_runs([run], places, checkpoint_seconds=0.0)
    assert target.read_text() == "precious" and not (tmp_path / "nowhere").exists()
    assert not places.record(run).is_symlink() and not places.policy(run).is_symlink()
    lock = checkpoint.with_suffix(".lock")
    lock.unlink()
    lock.symlink_to(target)
    with pytest.raises(WorldError, match="cannot lock"):
        train_runs([run], places)
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
    (found,) = train_runs([run], places, checkpoint_seconds=0.0)
    assert records.deterministic(found) == records.deterministic(record)
    path = places.record(run)
    os.utime(path, (0, 0))
    before = path.read_bytes()
    train_runs([run], places)
    assert path.read_bytes() == before, "a file's date decides nothing"


def test_two_that_train_one_run_at_once_leave_one_record(
    tmp_path: Path, record: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    run, places = run_in(tmp_path)
    found: list[Record] = []

    def work() -> None:
        found.extend(train_runs([run], places, checkpoint_seconds=0.0))

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
        records.write(places.record(run), other)
        places.policy(run).write_bytes(b"theirs")
        return outcomes

    monkeypatch.setattr("bench.train.train", meanwhile)
    with pytest.raises(WorldError, match="it stays"):
        train_runs([run], places)
    assert records.read(places.record(run)) == other
    assert places.policy(run).read_bytes() == b"theirs"


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


def test_changing_a_copy_does_not_change_the_original(record: Record) -> None:
    values = json.loads(records.to_json(record))
    before = copy.deepcopy(values)
    records.sealed(values)
    assert values == before
