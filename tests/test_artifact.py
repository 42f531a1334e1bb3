"""The numbers of ARTIFACT.md are those of the records; the citation and the checklist are sound.

`python tests/test_artifact.py` writes the numbers anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ARTIFACT = ROOT / "ARTIFACT.md"
NUMBER = re.compile(r"(-?[\d,]+(?:\.\d+)?)<!--= (\S+) (\S+) -->")
"""A number, and in a comment that is not shown: a file or a function, and what of it."""


def records(folder: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (ROOT / folder).rglob("*.json")]
    assert found, folder
    return found


def cpu_minutes(folder: str) -> int:
    return round(sum(r["provenance"]["cpu_seconds"] for r in records(folder)) / 60)


def memory(folder: str) -> int:
    return max(r["provenance"]["peak_memory_mb"] for r in records(folder))


def simple_spread_return(folder: str) -> float:
    """Return the mean over runs and episodes on mpe2's summed scale, -(N G + C) / 2."""
    returns = []
    for record in records(folder):
        raw, agents = record["final"]["raw"], record["config"]["agents"]
        pairs = zip(raw["least_distance"], raw["collisions"], strict=True)
        returns += [-(agents * distance + collisions) / 2 for distance, collisions in pairs]
    return sum(returns) / len(returns)


def scores(folder: str) -> list[float]:
    """Return the runs' scores: of the best policy, the mean over its episodes."""
    raw = [record["absolute"]["raw"][record["score"]] for record in records(folder)]
    return [sum(episodes) / len(episodes) for episodes in raw]


COMPUTED: dict[str, Callable[[str], int | float]] = {
    "minutes": cpu_minutes,
    "records": lambda folder: len(records(folder)),
    "memory": memory,
    "return": simple_spread_return,
    "least": lambda folder: min(scores(folder)),
    "most": lambda folder: max(scores(folder)),
}


def value(source: str, what: str) -> int | float:
    """Look a number up: keys separated by dots, a list's item by its index or its name."""
    if source in COMPUTED:
        return COMPUTED[source](what)
    found = json.loads((ROOT / source).read_text())
    for key in what.split("."):
        if isinstance(found, list) and not key.isdigit():
            found = next(item for item in found if key in (item.get("letter"), item.get("method")))
        else:
            found = found[int(key) if isinstance(found, list) else key]
    return found


def shown(number: int | float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:.4g}"


def rewritten(text: str) -> str:
    return NUMBER.sub(lambda m: f"{shown(value(m[2], m[3]))}<!--= {m[2]} {m[3]} -->", text)


def test_its_numbers_are_those_of_the_records() -> None:
    text = ARTIFACT.read_text()
    assert text.count("<!--=") == len(NUMBER.findall(text)) > 10
    assert text == rewritten(text), "write them anew with `python tests/test_artifact.py`"


def test_its_numbers_keep_its_own_tolerances() -> None:
    curves = {
        c["letter"]: c
        for c in json.loads((ROOT / "results/demo/values.json").read_text())["teams"][0]["curves"]
    }
    assert curves["B"]["outcome"] == "learned", "claim 2"
    assert curves["A"]["outcome"] != "nothing", "claim 3"
    assert simple_spread_return("results/simple-spread/runs") >= -36, "claim 4"


@pytest.mark.parametrize("page", ["ARTIFACT.md", "docs/checklist.md", "docs/clusters.md"])
def test_what_it_points_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    named = re.findall(r"(?:tests|config|containers|bench|profiles|docs)/[\w./-]*\w", text)
    for path in (*((ROOT / page).parent / link for link in links), *(ROOT / n for n in named)):
        assert path.exists(), path


def test_every_item_of_the_checklist_is_answered() -> None:
    rows = [
        line.split("|")[1:-1]
        for line in (ROOT / "docs/checklist.md").read_text().splitlines()
        if line.startswith("|")
    ]
    answers = [row[1].strip() for row in rows if row[1].strip() not in ("Answer", "---")]
    assert len(answers) >= 20
    assert set(answers) <= {"yes", "partly", "no", "not applicable"}


def test_the_citation_is_the_packages() -> None:
    """The required keys of CITATION.cff 1.2.0, and the same version everywhere."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"] and citation["title"] and citation["authors"]
    for author in citation["authors"]:
        assert author.get("name") or author.get("family-names")
    project = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{citation["version"]}"' in project
    assert f'license = "{citation["license"]}"' in project


if __name__ == "__main__":
    ARTIFACT.write_text(rewritten(ARTIFACT.read_text()))
