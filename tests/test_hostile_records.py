"""Records and policies that are not sound are refused, each in one line that names it.

Inputs that once got through, or broke something, are kept as examples.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzz import FUZZ, VALUES, change_at, one_line
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from bench import records
from bench.errors import WorldError
from bench.outcome import Outcome
from bench.policies import load_policy, save_policy
from bench.records import Record

ROOT = Path(__file__).parents[1]


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


POLICIES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "another shape, which would be repeated": (lambda t: t.flatten()[:1], "does not fit"),
    "a NaN": (lambda t: t * torch.nan, "NaN or infinity"),
}


@pytest.mark.parametrize("kind", POLICIES)
def test_a_policy_of_other_numbers_than_its_method_has_is_refused(
    kind: str, outcome: Outcome, tmp_path: Path
) -> None:
    change, words = POLICIES[kind]
    path = tmp_path / "seed0.safetensors"
    save_policy(path, outcome.record.config, outcome.policy)
    load_policy(path)
    changed = {name: change(tensor) for name, tensor in outcome.policy.items()}
    save_policy(path, outcome.record.config, changed)
    with pytest.raises(WorldError, match=rf"seed0\.safetensors .*{words}"):
        load_policy(path)


def test_a_policy_with_a_bottomless_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "seed0.safetensors"
    save_file({"best.x": torch.zeros(1)}, path, {"config": "[" * 200_000})
    with pytest.raises(WorldError, match="unreadable"):
        load_policy(path)


def test_changing_a_copy_does_not_change_the_original(record: Record) -> None:
    values = json.loads(records.to_json(record))
    before = copy.deepcopy(values)
    records.sealed(values)
    assert values == before
