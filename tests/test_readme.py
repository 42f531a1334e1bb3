"""What the README says in numbers is what the records say.  Run as a script, this writes it."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
START, END = "<!-- claims: written by tests/test_readme.py -->\n", "<!-- /claims -->\n"


def claims() -> str:
    """Return the claims' verdicts of the paper grid as a table."""
    lines = json.loads((ROOT / "results" / "paper" / "values.json").read_text())["verdicts"]
    counts = sorted(name for name in lines[0] if name.startswith("N = "))
    header = ["Claim", "Experiment", "Curve", *counts]
    rows, last = [header, ["---"] * len(header)], None
    for line in lines:
        verdicts = [line[name] for name in counts]
        named = ["" if line["claim"] == last else line["claim"], f"`{line['experiment']}`"]
        rows.append([*named, line["curve"], *verdicts])
        last = line["claim"]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def test_the_claims_in_the_readme_are_those_of_the_records() -> None:
    text = README.read_text()
    assert text.partition(START)[2].partition(END)[0] == claims()


if __name__ == "__main__":
    before, _, rest = README.read_text().partition(START)
    README.write_text(before + START + claims() + END + rest.partition(END)[2])
