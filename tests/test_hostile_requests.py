"""Whatever is asked for, only sound things get in, and what is not is one line about it.

Inputs that once got through, or broke something, are kept as examples.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzz import FUZZ, VALUES, change_at, one_line
from hypothesis import example, given
from hypothesis import strategies as st

from bench import cli
from bench.config import RunConfig, resolve
from bench.errors import RequestError
from bench.grid import Grid, Run, expand, load_grid

ROOT = Path(__file__).parents[1]
NAMES = ["../../etc/passwd", "/etc/passwd", "a/b", "..", ".", "a\0b", "=1+1", "<b>", "", "ä", "a b"]


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
