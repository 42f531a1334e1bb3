"""What the README says in numbers is what the records say.  Run as a script, this writes it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.methods import load_methods
from bench.report.curves import FIGURE4
from bench.report.recipe import NAME
from bench.tasks.games import Specialisation, individual
from bench.tasks.options import GameOptions

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def table(rows: Iterable[Sequence[str]]) -> str:
    header, *rest = rows
    lines = [header, ["---"] * len(header), *rest]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def values() -> dict[str, Any]:
    """Return the numbers of the paper."""
    found: dict[str, Any] = json.loads((ROOT / "results" / "paper" / "values.json").read_text())
    return found


def curves() -> str:
    """Return as a table how many runs of every curve learned, and their score."""
    found = values()
    named = [f"{c['letter']}: {c['reward']}, {c['sampler']}" for c in found["curves"]]
    rows = [["Experiment", "N", *named, "oracle"]]
    for experiment in ({"name": FIGURE4, "teams": found["teams"]}, *found["others"]):
        for team in experiment["teams"]:
            by_letter = {curve["letter"]: curve for curve in team["curves"]}
            cells = [learned(by_letter.get(c["letter"])) for c in found["curves"]]
            rows.append(
                [f"`{experiment['name']}`", str(team["agents"]), *cells, f"{team['oracle']:.1f}"]
            )
    return table(rows)


def learned(curve: dict[str, Any] | None) -> str:
    """Write the runs of a curve that learned, of those there are, and the IQM of their scores."""
    if curve is None or curve["iqm"] is None:
        return "–"
    return f"{curve['learned']}/{curve['runs']} ({curve['iqm']:.1f})"


MARKS = {"supported": "✓", "refuted": "✗", "open": "○"}


def claims() -> str:
    """Return the claims' verdicts of the paper grid: a row a claim and curve."""
    lines = values()["verdicts"]
    names = [FIGURE4, *(other["name"] for other in values()["others"])]
    asked = [
        (name, count)
        for name in (*names, *sorted({line["experiment"] for line in lines} - set(names)))
        for count in sorted(key for key in lines[0] if key.startswith("N = "))
        if any(line["experiment"] == name and line[count] for line in lines)
    ]
    rows = [["Claim", "Curve", *(f"{name}, {count}" for name, count in asked)]]
    found = {(line["claim"], line["curve"], line["experiment"]): line for line in lines}
    last = ""
    for claim, curve in dict.fromkeys((line["claim"], line["curve"]) for line in lines):
        verdicts = [found.get((claim, curve, name), {}).get(count, "") for name, count in asked]
        rows.append([claim if claim != last else "", curve, *map(marked, verdicts)])
        last = claim
    return table(rows)


def marked(verdict: str) -> str:
    word, _, count = verdict.partition(" ")
    return f"{MARKS.get(word, word)} {count}".strip() or "–"


def compared() -> str:
    """Return the comparison of methods: a row a method, a column a setting that has runs."""
    final = read(ROOT / "results" / "paper", "final")
    cells = [r for r in final if r["experiment"] == "methods" and r["iqm"]]
    named = ("reward", "sampler", "agents")
    settings = list(dict.fromkeys(tuple(r[n] for n in named) for r in cells))
    scores: dict[str, dict[tuple[str, ...], str]] = {}
    for r in sorted(cells, key=lambda r: -float(r["iqm"])):
        runs = "" if r["runs"] == r["expected"] else f" ({r['runs']}/{r['expected']})"
        score = number(r["iqm"]) + bracket(r) + runs
        scores.setdefault(f"`{r['method']}`", {})[tuple(r[n] for n in named)] = score
    for r in final:
        if (
            r["experiment"].startswith("references")
            and r["task_options"] == cells[0]["task_options"]
        ):
            for setting in settings:
                if setting[-1] == r["agents"]:
                    scores.setdefault(f"*{r['method']}*", {})[setting] = number(r["iqm"])
    rows = [["Method", *(f"{reward}, {sampler}, N = {N}" for reward, sampler, N in settings)]]
    for name, own in scores.items():
        rows.append([name, *(own.get(setting, "–") for setting in settings)])
    return table(rows)


def taught() -> str:
    """Return what a learner gets from each reward: a row a reward, a column a number of agents."""
    found = read(ROOT / "results" / "paper", "rewards")
    rewards = dict.fromkeys(r["reward"] for r in found)
    teams = dict.fromkeys(r["agents"] for r in found)
    cells = {(r["reward"], r["agents"]): number(r["iqm"]) + bracket(r) for r in found}
    rows = [[f"`{reward}`", *(cells[reward, agents] for agents in teams)] for reward in rewards]
    return table([["Reward", *(f"N = {agents}" for agents in teams)], *rows])


def weights() -> str:
    """Return what the ablation of hypernetworks, and the game of specialisation, say of sharing."""
    folder = ROOT / "results" / "hypernet"
    changes = read(folder, "ablation")
    generated = [r for r in changes if r["kind"] not in ("default", "control")]
    lower = [r for r in generated if float(r["iqm_change_hi"]) < 0]
    better = sum(float(r["iqm_change_lo"]) > 0 for r in generated)
    shown = [r for r in changes if r["kind"] in ("default", "control")]
    shown.sort(key=lambda r: -float(r["iqm"]))
    rows = [["Method", "what it is", "IQM [95%]"]]
    for r in shown:
        rows.append(
            [f"`{r['method']}`", load_methods()[r["method"]].summary, number(r["iqm"]) + bracket(r)]
        )
    told = (
        f"Of the {len(generated)} other hypernetworks of that ablation {better} score higher than "
        f"`{changes[0]['method']}` and {len(lower)} lower, by intervals of the difference that are "
        "not corrected for their number.\n"
    )
    told += "".join(f"The lower: `{r['method']}`, {number(r['iqm'])}{bracket(r)}.\n" for r in lower)
    played = [r for r in read(ROOT / "results" / "specialisation", "final") if r["iqm"]]
    teams = sorted({int(r["agents"]) for r in played})
    game = [["Method", *(f"N = {N}" for N in teams)]]
    curves = read(ROOT / "results" / "specialisation", "learning_curves")
    named = ("experiment", "method", "agents")
    untrained = {tuple(r[n] for n in named): r["iqm"] for r in curves if r["episode"] == "0"}
    players: dict[str, dict[int, str]] = {}
    for r in played:
        variant = f" ({r['experiment'].replace('.', ': ')})" if "." in r["experiment"] else ""
        start = untrained[tuple(r[n] for n in named)]
        score = f"{float(r['iqm']):.2f} ({float(start):.2f})"
        players.setdefault(f"`{r['method']}`{variant}", {})[int(r["agents"])] = score
    for name, scores in players.items():
        game.append([name, *(scores.get(N, "–") for N in teams)])
    bounds = (
        Specialisation(N, individual, GameOptions()).sharing_bound(stochastic=True) for N in teams
    )
    game.append(["*moves drawn uniformly*", *(f"{bound:.2f}" for bound in bounds)])
    return f"{table(rows)}\n{told}\n{table(game)}"


def beyond(folder: Path = ROOT / "results" / "beyond") -> str:
    """Return how far the recipe goes as a table, what is decisive of it, and its pictures."""
    if not (folder / "tables" / "scaling.csv").exists():
        return "No runs yet.\n"
    lines = [row for row in read(folder, "scaling") if row["name"] == NAME or row["target"]]
    rows = [["N", "runs", "oracle", "recipe, IQM [95%]", "of the oracle [95%]", "target", ""]]
    for row in lines:
        rows.append(
            [
                row["agents"] + kind(row["name"]),
                f"{row['runs']}/{row['expected']}",
                number(row["oracle"]),
                number(row["iqm"]) + bracket(row),
                percent(row["share"], 1) + between(row),
                percent(row["target"]),
                row["verdict"] or unjudged(row),
            ]
        )
    removed = [row for row in read(folder, "comparisons") if row["kind"] == "removed"]
    decisive = [row["what"] for row in removed if row["verdict"] == "decisive"]
    named = dict.fromkeys(what.partition(" (")[0] for what in decisive)  # whatever takes its place
    judged = sum(row["verdict"] != "" for row in removed)
    so_far = f"removals judged so far: {judged} of {len(removed)}"
    found = f"Decisive: {', '.join(named) or 'none'} ({so_far}).\n"
    added = [row for row in read(folder, "comparisons") if row["kind"] == "added" and row["iqm"]]
    if added:
        alone = ", ".join(f"{row['what']} {number(row['iqm'])}{bracket(row)}" for row in added)
        base = f"`{added[0]['than_method']}`, which scores {number(added[0]['than_iqm'])} at N = "
        found += f"Added alone to {base}{added[0]['agents']}: {alone}.\n"
    found += without_hindsight(read(folder, "scaling"))
    found += priorities(read(folder, "comparisons"))
    pictures = "".join(
        f"\n![{text}](results/beyond/figures/{name})\n"
        for name, text in PICTURES.items()
        if (folder / "figures" / name).exists()
    )
    return f"{table(rows)}\n{found}{pictures}"


def without_hindsight(lines: list[dict[str, str]]) -> str:
    """Say what curricula reach in its place, a sentence each."""
    cells: dict[tuple[str, str], list[str]] = {}
    for row in lines:
        if row.get("curriculum", "none") != "none" and row["iqm"]:
            score = f"{number(row['iqm'])}{bracket(row)} at N = {row['agents']}"
            cells.setdefault((row["curriculum"], row["sampler"]), []).append(score)
    return "".join(
        f"Without hindsight, by the {curriculum} curriculum and {sampler} replay: "
        f"{', '.join(found)}.\n"
        for (curriculum, sampler), found in cells.items()
    )


def priorities(compared: list[dict[str, str]]) -> str:
    """Say in how many pairs of cells the priorities of replay make a difference, and in which."""
    judged = [row for row in compared if row["kind"] == "replay" and row["verdict"]]
    if not judged:
        return ""
    told = [
        f"{row['sampler']} at N = {row['agents']}, {row['curriculum']} curriculum: "
        f"{float(row['effect']):+.2f} "
        f"[{float(row['effect_lo']):.2f}, {float(row['effect_hi']):.2f}]"
        for row in judged
        if row["verdict"] != "open"
    ]
    which = f" ({'; '.join(told)})" if told else ""
    return (
        f"Priorities of replay: of {len(judged)} pairs of cells that differ in nothing else, "
        f"intervals, uncorrected, tell {len(told)} apart{which}.\n"
    )


PICTURES = {
    "scaling.png": "Success against the number of agents",
    "episode.gif": "An episode of the recipe, chosen by rule",
    "episode.png": "The same in six frames",
}


def unjudged(row: dict[str, str]) -> str:
    """Say why a line has no verdict."""
    if "diverged" in row["left_out"]:
        return "some diverged"
    if row["runs"] == "0":
        return "no runs yet"
    if not row["target"]:
        return "no target"
    return "too few runs" if row["oracle"] else "no oracle"


def kind(name: str) -> str:
    return "" if name == NAME else f" ({name.removeprefix(f'{NAME}, ')})"


def read(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "tables" / f"{name}.csv").open()))


def number(text: str) -> str:
    return f"{float(text):.1f}" if text else "–"


def bracket(row: dict[str, str]) -> str:
    return f" [{number(row['iqm_lo'])}, {number(row['iqm_hi'])}]" if row["iqm_lo"] else ""


def between(row: dict[str, str]) -> str:
    lo, hi = row.get("share_lo"), row.get("share_hi")
    return f" [{percent(lo, 1)}, {percent(hi, 1)}]" if lo and hi else ""


def percent(text: str, digits: int = 0) -> str:
    return f"{float(text):.{digits}%}" if text else "–"


PARTS: dict[str, Callable[[], str]] = {
    "curves": curves,
    "claims": claims,
    "taught": taught,
    "compared": compared,
    "beyond": beyond,
    "weights": weights,
}


def marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: written by tests/test_readme.py -->\n", f"<!-- /{name} -->\n"


@pytest.mark.parametrize("name", PARTS)
def test_what_the_readme_says_is_what_the_records_say(name: str) -> None:
    start, end = marks(name)
    assert README.read_text().partition(start)[2].partition(end)[0] == PARTS[name]()


def test_a_recipe_without_runs_says_so(tmp_path: Path) -> None:
    assert beyond(tmp_path) == "No runs yet.\n"
    tables = tmp_path / "tables"
    tables.mkdir()
    names = "name,agents,runs,expected,left_out,oracle,iqm,iqm_lo,iqm_hi,share,target,verdict\n"
    rows = [
        "recipe,2,5,10,5 missing,20.4,19.52,19,20.1,0.957,0.95,reached",
        "recipe,3,9,10,1 diverged,20,18,,,0.9,0.93,",
        "recipe,4,0,10,10 missing,18,,,,,0.9,",
        "recipe,6,1,1,,,17,,,,0.87,",
        "recipe,8,1,1,,20,17,,,0.85,,",
        "recipe,12,1,5,4 missing,20,17,,,0.85,0.6,",
        "bound,3,1,1,,19,18,,,0.9,,",
    ]
    (tables / "scaling.csv").write_text(names + "\n".join(rows) + "\n")
    (tables / "comparisons.csv").write_text("kind,what,verdict\nremoved,noise,\n")
    text = beyond(tmp_path)
    assert "| 2 | 5/10 | 20.4 | 19.5 [19.0, 20.1] | 95.7% | 95% | reached |\n" in text
    assert "| 3 | 9/10 | 20.0 | 18.0 | 90.0% | 93% | some diverged |" in text
    assert "| 4 | 0/10 | 18.0 | – | – | 90% | no runs yet |" in text
    assert "| 6 | 1/1 | – | 17.0 | – | 87% | no oracle |" in text
    assert "| 8 | 1/1 | 20.0 | 17.0 | 85.0% | – | no target |" in text
    assert "| 12 | 1/5 | 20.0 | 17.0 | 85.0% | 60% | too few runs |" in text
    assert text.endswith("\n\nDecisive: none (removals judged so far: 0 of 1).\n")


if __name__ == "__main__":
    text = README.read_text()
    for name, part in PARTS.items():
        start, end = marks(name)
        before, _, rest = text.partition(start)
        text = before + start + part() + end + rest.partition(end)[2]
    README.write_text(text)
