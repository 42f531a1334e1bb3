"""Every number in the paper's prose: ``values.json`` for the paper, ``values.tex`` for LaTeX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import resampling, stats
from bench.errors import RequestError
from bench.files import write_all
from bench.methods import method_entry
from bench.report.aggregate import Row, rows, world
from bench.report.claims import glance, ledger, load_rules
from bench.report.curves import CURVES, FIGURE4, experiments, panels
from bench.report.discovery import cover_probability, discovery_rate
from bench.report.draw_learning import fits_a_page
from bench.report.formats import tex
from bench.report.load import KINDS, Results, gathered
from bench.report.outcomes import Curve, judge, learned, share_learned
from bench.report.standings import overall
from bench.stats import Estimate

LISTED = 12
"""Lines of problems in the paper; ``tables/problems.csv`` has them all."""


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""LaTeX allows no digit in a macro's name."""


def build(results: Results, out_dir: Path) -> list[Path]:
    """Write ``values.json``, ``values.tex`` and ``claims.json`` in ``out_dir``.

    Returns:
        The paths written.

    Raises:
        RequestError: if the grid has no curve of Figure 4 to write about.
        WorldError: if the disk refuses.
    """
    found = values(results)
    texts = {
        "values.json": json.dumps(found, indent=1, sort_keys=True) + "\n",
        "values.tex": macros(found),
        "claims.json": json.dumps(found["claims"], indent=1) + "\n",
    }
    return write_all(out_dir, {name: text.encode() for name, text in texts.items()})


def values(results: Results) -> dict[str, Any]:
    """Compute what the paper says: single ``numbers`` by name, and lists for its tables.

    Raises:
        RequestError: if the grid has not the experiment that the paper is about.
    """
    table = rows(results)
    methods = panels(table)
    if not methods:
        raise RequestError(
            f"grid {results.grid.name} has no experiment '{FIGURE4}' with the rewards and samplers "
            "of the source paper's Figure 4, which the paper reports"
        )
    method, by_agents = next(iter(methods.items()))
    example = next(iter(next(iter(by_agents.values())).values()))
    if example.cell.config.task != "coop-nav":
        raise RequestError(
            f"grid {results.grid.name}: experiment '{FIGURE4}' has task "
            f"{example.cell.config.task}, and the paper reports coop-nav"
        )
    standings = overall(results)
    others = [name for name in experiments(table) if name != FIGURE4]
    asked = results.grid.experiments
    return {
        "numbers": {
            **_grid_numbers(results, example),
            "method": method,
            "common-settings": standings.common,
        },
        "compared": [
            {
                "reward": s.reward,
                "sampler": s.sampler,
                "agents": s.world.agents,
                "dynamics": s.world.task_options["dynamics"],
            }
            for s in standings.compared
        ],
        "complete": results.complete,
        "kinds": {kind: sum(p.kind == kind for p in results.problems) for kind in KINDS},
        "problems": list(gathered(results.problems))[:LISTED],
        "unlisted": sum(list(gathered(results.problems).values())[LISTED:]),
        "learning": fits_a_page(table),
        "curves": [{"letter": k, "reward": r, "sampler": s} for k, (r, s) in CURVES.items()],
        "teams": _teams(by_agents),
        "others": [
            {
                "name": name,
                "question": " ".join(asked[name.partition(".")[0]].question.split()),
                "teams": _teams(next(iter(panels(table, name).values()))),
            }
            for name in others
        ],
        "tuned": [
            name
            for name, e in results.grid.experiments.items()
            if e.tuned and all(method_entry(method).tuned for method in e.methods)
        ],
        "amended": load_rules().amendments,
        "claims": ledger(table),
        "verdicts": glance(ledger(table)),
        "methods": {
            row.cell.config.method: method_entry(row.cell.config.method).summary
            for row in table
            if not row.cell.reference
        },
    }


def _grid_numbers(results: Results, example: Row) -> dict[str, str | int | float]:
    """Settings of the grid, as the runs of Figure 4 have them."""
    c = example.cell.config
    options = world(c).task_options
    horizon = options["horizon"]
    return {
        "grid": results.grid.name,
        "title": results.grid.title,
        "runs-expected": len(results.expected),
        "runs-used": len(results.outcomes),
        "runs-left-out": len(results.problems),
        "seeds": example.cell.expected,
        "task": c.task,
        "dynamics": options["dynamics"],
        "radius": options["radius"],
        "horizon": horizon,
        "targets": options["targets"],
        "end": options["end"],
        "episodes": c.episodes,
        "env-steps": c.episodes * horizon,
        "updates": c.episodes * horizon // c.steps_per_update,
        "steps-per-update": c.steps_per_update,
        "parallel": c.parallel,
        "batch": c.batch,
        "buffer": c.buffer,
        "hidden": " × ".join(map(str, c.hidden)),
        "actor-lr": c.actor_lr,
        "critic-lr": c.critic_lr,
        "gamma": c.gamma,
        "tau": c.tau,
        "noise-start": c.noise_start,
        "noise-end": c.noise_end,
        "grad-clip": c.grad_clip,
        "action-penalty": c.action_penalty,
        "per-alpha": c.per_alpha,
        "per-beta": c.per_beta,
        "evaluations": c.evaluations,
        "evaluation-episodes": c.evaluation_episodes,
        "absolute-episodes": c.absolute_episodes,
        "listed-runs": resampling.LISTED,
        "replicates": stats.REPLICATES,
        "curve-replicates": stats.CURVE_REPLICATES,
        "min-seeds": stats.MIN_SEEDS,
        "least-coverage": round(100 * stats.least_coverage(stats.MIN_SEEDS)),
        "least-coverage-twice": round(100 * stats.least_coverage(2 * stats.MIN_SEEDS)),
        "learned-share": load_rules().thresholds.learned,
        "lazy-share": load_rules().thresholds.lazy,
        "replans-least": load_rules().thresholds.replans,
        "floor-share": load_rules().thresholds.nothing,
        "cover-probability": float(f"{cover_probability(options['radius']):.6g}"),
    }


def _teams(by_agents: dict[int, dict[str, Row]]) -> list[dict[str, Any]]:
    return [
        _team(N, [judge(k, row) for k, row in panel.items()], next(iter(panel.values())))
        for N, panel in by_agents.items()
    ]


def _team(agents: int, curves: list[Curve], example: Row) -> dict[str, Any]:
    """What the paper says of one number of agents."""
    c = example.cell.config
    options = world(c).task_options
    rate = discovery_rate(agents, options["radius"])
    reference = example.reference
    return {
        "agents": agents,
        "radius": options["radius"],
        "dynamics": options["dynamics"],
        "seeds": example.cell.expected,
        "rate": _short(rate),
        "expected-successes": _short(rate * c.episodes * options["horizon"]),
        "oracle": _short(reference.oracle),
        "random": _short(reference.random),
        "curves": [
            {
                "letter": curve.letter,
                "runs": len(curve.row.cell.outcomes),
                "expected": curve.row.cell.expected,
                **_estimate(curve.row.score),
                "normalised": _estimate(curve.row.normalised)["iqm"],
                "any-success": _short(curve.row.any_success),
                **_learned(curve.row),
                "above-random": curve.above_random,
                "outcome": curve.outcome,
            }
            for curve in curves
        ],
    }


def _learned(row: Row) -> dict[str, int | float | None]:
    """How many runs learned, and the exact interval of their share."""
    ends = _estimate(share_learned(row))
    return {"learned": learned(row), "learned-lo": ends["lo"], "learned-hi": ends["hi"]}


def _estimate(found: Estimate | None) -> dict[str, float | None]:
    if found is None:
        return {"iqm": None, "lo": None, "hi": None}
    return {"iqm": _short(found.point), "lo": _short(found.lo), "hi": _short(found.hi)}


def _short(value: float | None) -> float | None:
    """Round to 6 significant digits: the last bits of a sum are not for print."""
    return None if value is None else float(f"{value:.6g}")


def macros(found: dict[str, Any]) -> str:
    r"""Write the numbers as LaTeX macros: ``runs-used`` is ``\hcRunsUsed``.

    Those of a number of agents and of a curve have both in their names, in words:
    ``\hcNTwoOracle``, ``\hcNTwoAIqm``.
    """
    every = dict(found["numbers"])
    for team in found["teams"]:
        name = "n-" + "-".join(DIGITS[int(digit)] for digit in str(team["agents"]))
        every |= {f"{name}-{key}": team[key] for key in ("oracle", "random", "expected-successes")}
        for curve in team["curves"]:
            every |= {f"{name}-{curve['letter']}-{key}": curve[key] for key in ("iqm", "lo", "hi")}
    lines = ["% Numbers of the paper: \\input this file, then write e.g. \\hcRunsUsed.\n"]
    for name, value in every.items():
        camel = "".join(part.capitalize() for part in name.split("-"))
        text = "--" if value is None else tex(str(value))
        lines.append(f"\\newcommand{{\\hc{camel}}}{{{text}}}\n")
    return "".join(lines)
