"""RO-Crate metadata: what its specification requires, and that it tells the truth of the folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import synthetic

from bench.report import code_digest, crate


@pytest.fixture
def folder(copy):
    """A results folder with all reports but the paper, and its crate."""
    results = copy.load()
    synthetic.build_all(results, copy.out)
    (copy.out / "logs").mkdir(exist_ok=True)
    (copy.out / "logs" / "paper.json").write_text("{}")
    crate.build(results, copy.out)
    return copy.out


def test_reports_are_stale_once_what_decides_their_look_is_another(monkeypatch):
    read, seen = Path.read_bytes, set()
    monkeypatch.setattr(Path, "read_bytes", lambda path: (seen.add(path.name), read(path))[1])
    code_digest("config/quick.yaml")
    assert {"stats.py", "resampling.py", "scene.py", "grid.py"} <= seen
    assert {"tables.py", "leaderboard.html"} <= seen
    assert {"methods.yaml", "claims.yaml", "CITATION.cff", "quick.yaml"} <= seen


def graph(folder) -> dict[str, dict[str, Any]]:
    """Return the crate's entities by their identifiers."""
    content = json.loads((folder / crate.NAME).read_text())
    assert content["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    entities = content["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def test_it_has_what_the_specification_requires(folder) -> None:
    found = graph(folder)
    about = found["ro-crate-metadata.json"]
    assert about["@type"] == "CreativeWork"
    assert about["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    root = found[about["about"]["@id"]]
    assert root["@id"] == "./" and root["@type"] == "Dataset"
    for required in ("name", "description", "datePublished", "license"):
        assert root[required]
    for entity in found.values():
        assert entity["@type"]
        for value in entity.values():
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, dict) and not one["@id"].startswith("https://w3id.org/ro/"):
                    assert one["@id"] in found, "it refers to what it does not describe"


def test_every_built_file_is_a_part_with_its_size_and_hash_and_nothing_else(folder) -> None:
    found = graph(folder)
    listed = {part["@id"] for part in found["./"]["hasPart"]} - {"runs/"}
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != crate.NAME
    }
    assert listed == {name for name in there if not name.startswith(("runs/", "logs/"))}
    assert listed
    for name in listed:
        content = (folder / name).read_bytes()
        assert found[name]["contentSize"] == str(len(content))
        assert found[name]["sha256"] == hashlib.sha256(content).hexdigest()


def test_runs_left_out_are_said_and_commits_are_named(folder, copy) -> None:
    before = graph(folder)
    assert "Incomplete" not in before["./"]["description"]
    path = next((folder / "runs").rglob("seed0.json"))
    commit = json.loads(path.read_text())["provenance"].get("commit") or "unknown"
    assert commit in before["#training"]["description"]
    path.unlink()
    crate.build(copy.load(), folder)
    after = graph(folder)
    assert "1 missing" in after["./"]["description"]
    assert after["runs/"]["sha256"] != before["runs/"]["sha256"]
    assert after["runs/"]["name"] != before["runs/"]["name"]
