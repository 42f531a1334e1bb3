"""Tables: one CSV each for programs and plotting, and of some a booktabs .tex for papers."""

from __future__ import annotations

import json
from pathlib import Path

from bench import stats
from bench.files import write_all
from bench.methods import method_entry
from bench.report import diagnosed, filmstrip, mechanism, recipe_tables, teams
from bench.report.ablation import ablation
from bench.report.aggregate import Row, counted, identity, rows
from bench.report.claims import ledger
from bench.report.curves import CURVES, letter, panels
from bench.report.differences import differences
from bench.report.discovery import discovery
from bench.report.distance import distance, rewards
from bench.report.formats import Table, Value, interval, shown, shown_rank, to_csv, to_tex
from bench.report.load import KINDS, Results
from bench.report.outcomes import share_learned
from bench.report.sensitivity import sensitivity
from bench.report.standings import Overall, overall
from bench.report.tuning import tuning


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write every table below ``out_dir/tables`` that has something to say of the grid.

    Returns:
        The paths written.

    Raises:
        WorldError: if the disk refuses.
    """
    table, standings = rows(results), overall(results)
    notice = results.notice()
    files = {
        "table1.csv": to_csv(table1(table)),
        "table1.tex": to_tex(table1(table), notice),
        "final.csv": to_csv([_final(row) for row in table]),
        "final.tex": to_tex([_final_tex(row) for row in table], notice),
        "costs.csv": to_csv(costs(table)),
        "costs.tex": to_tex([_shown(entry) for entry in costs(table)], notice),
        "mechanism.csv": to_csv(mechanism.cells(table)),
        "mechanism_runs.csv": to_csv(mechanism.runs(table)),
        "discovery.csv": to_csv(discovery(table)),
        "teamwork.csv": to_csv(teams.teamwork(table)),
        "switches.csv": to_csv(teams.switches(table)),
        "figure5.csv": to_csv(filmstrip.described(teams.example(table))),
        "distance.csv": to_csv(distance(table)),
        "rewards.csv": to_csv(rewards(table)),
        "differences.csv": to_csv(differences(table)),
        "sensitivity.csv": to_csv(sensitivity(table)),
        "tuning.csv": to_csv(tuning(table)),
        "diversity.csv": to_csv(diagnosed.diversity(table)),
        "layers.csv": to_csv(diagnosed.layers(table)),
        "ablation.csv": to_csv(ablation(table)),
        **{
            name: to_csv(found) for name, found in recipe_tables.tables(results.grid, table).items()
        },
        "claims.csv": to_csv(ledger(table)),
        "methods.csv": to_csv(methods(standings)),
        "methods.tex": to_tex(_methods_tex(standings), notice),
        "improvements.csv": to_csv(improvements(standings)),
        "improvements.tex": to_tex(_improvements_tex(standings), notice),
        "learning_curves.csv": to_csv(learning_curves(table)),
        "problems.csv": to_csv(
            [{"run": p.key, "kind": p.kind, "reason": p.reason} for p in results.problems],
            ["run", "kind", "reason"],
        ),
    }
    written = {name: text.encode() for name, text in files.items() if text}
    return write_all(out_dir / "tables", written, owned=(".csv", ".tex"))


def table1(table: list[Row]) -> Table:
    """Table 1: what the curves of Figure 4 are, and how many runs each has over all N.

    Nothing of a grid without that figure.
    """
    by_agents = next(iter(panels(table).values()), {})
    if not by_agents:
        return []
    entries: Table = []
    for curve, (reward, sampler) in CURVES.items():
        drawn = {N: panel[curve].cell for N, panel in by_agents.items() if curve in panel}
        entries.append(
            {
                "curve": curve,
                "reward": reward,
                "sampler": sampler,
                "agents": " ".join(map(str, drawn)),
                **counted(drawn.values()),
            }
        )
    return entries


def _final(row: Row) -> dict[str, Value]:
    c, cell = row.cell.config, row.cell
    return {
        "experiment": cell.experiment,
        "task": c.task,
        "task_options": cell.setting.world.options,
        "method": c.method,
        "reward": c.reward,
        "sampler": c.sampler,
        "agents": c.agents,
        "episodes": c.episodes,
        "settings": json.dumps(cell.settings),
        "runs": len(cell.outcomes),
        "expected": cell.expected,
        **{kind: cell.count(kind) for kind in KINDS},
        "metric": cell.outcomes[0].metric if cell.outcomes else None,
        **interval("iqm", row.score),
        **interval("last", row.last),
        "mean": row.mean,
        "std": row.std,
        "any_success": row.any_success,
        "covered": row.covered,
        **interval("normalised", row.normalised),
        **interval("share_learned", share_learned(row)),
        **_cost(row),
    }


def _cost(row: Row) -> dict[str, Value]:
    """Counted costs, a run's updates, and seconds.

    The last is the only number here that two equal runs need not share.
    """
    cost = row.cost
    return {
        "trained_parameters": cost.trained_parameters if cost else None,
        "inference_parameters": cost.inference_parameters if cost else None,
        "peak_parameters": cost.peak_parameters if cost else None,
        "flops_per_update": cost.flops_per_update if cost else None,
        "updates": int(row.cell.outcomes[0].updates[-1]) if row.cell.outcomes else None,
        "cpu_seconds": row.cpu_seconds,
    }


def costs(table: list[Row]) -> Table:
    """What each method costs at each number of agents, in the first cell that has a record.

    CPU seconds, and the runs counted, are those of that cell, whose experiment, reward and sampler
    are named: seconds of unlike cells do not compare.  The references, which do not learn, are
    left out.
    """
    entries: dict[tuple[str, int], dict[str, Value]] = {}
    contestants = [
        row for row in table if not row.cell.reference and "." not in row.cell.experiment
    ]
    for row in sorted(contestants, key=lambda row: row.cost is None):
        c = row.cell.config
        measured = {"experiment": row.cell.experiment, "reward": c.reward, "sampler": c.sampler}
        named = {"method": c.method, "agents": c.agents, **measured, **counted([row.cell])}
        entries.setdefault((c.method, c.agents), {**named, **_cost(row)})
    methods = list(dict.fromkeys(row.cell.config.method for row in contestants))
    return [
        entries[key] for key in sorted(entries, key=lambda key: (methods.index(key[0]), key[1]))
    ]


def methods(standings: Overall) -> Table:
    """The methods over all common settings."""
    return [
        {
            "method": s.method,
            "actions": method_entry(s.method).actions,
            "rank_first": s.rank[0] if s.rank else None,
            "rank_last": s.rank[1] if s.rank else None,
            **interval("normalised", s.score),
            "settings": len(standings.compared),
            "common_settings": standings.common,
            "runs": s.runs,
            "expected": s.expected,
            "left_out": s.left_out,
        }
        for s in standings.standings
    ]


def improvements(standings: Overall) -> Table:
    """Probability that a run of the first method beats one of the second."""
    behind: dict[str, dict[str, Value]] = {
        s.method: {"runs": s.runs, "expected": s.expected, "left_out": s.left_out}
        for s in standings.standings
    }
    return [
        {
            "method": a,
            "over": b,
            **interval("probability", p),
            **behind[a],
            **{f"over_{name}": value for name, value in behind[b].items()},
        }
        for a, b, p in standings.improvements
    ]


def learning_curves(table: list[Row]) -> Table:
    """What the learning curves are drawn from: IQM and band at every evaluation.

    A cell without any run has one entry, which says so.
    """
    entries: Table = []
    for row in table:
        cell = row.cell
        if cell.reference:
            continue
        named = {**identity(row), "curve": letter(row), **counted([cell])}
        if not cell.outcomes:
            entries.append({**named})
            continue
        point, lo, hi = stats.curve_band(cell.curves)
        first = cell.outcomes[0]
        for k in range(len(point)):
            entries.append(
                {
                    **named,
                    "episode": int(first.episode[k]),
                    "updates": int(first.updates[k]),
                    "iqm": float(point[k]),
                    "iqm_lo": None if lo is None else float(lo[k]),
                    "iqm_hi": None if hi is None else float(hi[k]),
                }
            )
    return entries


# -- for LaTeX -------------------------------------------------------------------------------------


def _final_tex(row: Row) -> dict[str, Value]:
    c = row.cell.config
    return {
        "experiment": row.cell.experiment,
        "method": c.method,
        "reward": c.reward,
        "sampler": c.sampler,
        "$N$": c.agents,
        "runs": row.cell.label(),
        "IQM [95%]": shown(row.score),
        "normalised [95%]": shown(row.normalised),
        "any success": None if row.any_success is None else f"{row.any_success:.3f}",
    }


def _methods_tex(standings: Overall) -> Table:
    return [
        {
            "method": s.method,
            "rank": shown_rank(s.rank),
            "normalised IQM [95%]": shown(s.score),
            "runs": f"{s.runs}/{s.expected}",
        }
        for s in standings.standings
    ]


def _improvements_tex(standings: Overall) -> Table:
    return [
        {"method": a, "over": b, "probability [95%]": shown(p)}
        for a, b, p in standings.improvements
    ]


def _shown(entry: dict[str, Value]) -> dict[str, Value]:
    return {
        name.replace("_", " "): f"{value:,}" if isinstance(value, int) else value
        for name, value in entry.items()
    }
