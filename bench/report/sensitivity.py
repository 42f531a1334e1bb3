"""One change at a time from the default: what it does to the source's curve B."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

from bench import stats
from bench.config import RunConfig
from bench.report.aggregate import Row, counted, normalised_scores, world
from bench.report.curves import FIGURE4, METHOD, letter
from bench.report.differences import Verdict, judge
from bench.report.formats import Table, Value, interval
from bench.report.outcomes import exact_p, learned, least_p
from bench.stats import Estimate

EXPERIMENTS = ("first-order", "sensitivity")
"""The experiments whose variants differ from Figure 4 in one setting."""
CURVE = "B"
"""What is varied: the group goal with prioritized replay."""


@dataclass(frozen=True, eq=False)
class Change:
    """A row and the one setting in which it differs from the default."""

    row: Row
    setting: str | None
    """Its name; none for the default itself."""
    value: Value
    default: Value
    baseline: Row
    """The default's row at the same number of agents."""

    @property
    def label(self) -> str:
        """Name the change, the default in brackets: ``radius 0.2 (0.1)``."""
        if self.setting is None:
            return "default"
        return f"{self.setting} {_plain(self.value)} ({_plain(self.default)})"

    @functools.cached_property
    def effect(self) -> Estimate | None:
        """IQM of its normalised scores less that of the default's; none for the default itself.

        Normalised, since a change of the world changes what the oracle scores.
        """
        if self.setting is None or not (self.row.normalised and self.baseline.normalised):
            return None
        own, other = (normalised_scores(row) for row in (self.row, self.baseline))
        return stats.difference([own], [other])

    @property
    def verdict(self) -> Verdict | None:
        """See :func:`bench.report.differences.judge`; `open` where neither beats random actions.

        The worlds differ, and so do random actions' scores: of two that are 0 one may be the lower.
        """
        verdict = judge(self.effect, self.row, self.baseline)
        beat = [_beats_random(row) for row in (self.row, self.baseline)]
        return verdict if verdict is None or any(beat) else "open"

    @property
    def exact_p(self) -> float | None:
        """See :func:`bench.report.outcomes.exact_p`; none for the default itself."""
        return None if self.setting is None else exact_p(self.row, self.baseline)

    @property
    def least_p(self) -> float | None:
        """See :func:`bench.report.outcomes.least_p`; none for the default itself."""
        return None if self.setting is None else least_p(self.row, self.baseline)


def _beats_random(row: Row) -> bool:
    score, random = row.score, row.reference.random
    return score is not None and random is not None and score.side(random) == "above"


def changes(table: list[Row]) -> dict[int, list[Change]]:
    """Return the default and every change of one setting, by number of agents.

    A row that differs from the default in no setting or in several is not among them.
    """
    rows = [row for row in table if row.cell.config.method == METHOD and letter(row) == CURVE]
    found: dict[int, list[Change]] = {}
    for row in rows:
        if row.cell.experiment == FIGURE4:
            found.setdefault(row.cell.config.agents, []).append(Change(row, None, None, None, row))
    for row in rows:
        defaults = found.get(row.cell.config.agents)
        if defaults and row.cell.experiment.partition(".")[0] in EXPERIMENTS:
            baseline = defaults[0].row
            differing = _differing(row.cell.config, baseline.cell.config)
            if len(differing) == 1:
                ((name, (value, default)),) = differing.items()
                defaults.append(Change(row, name, value, default, baseline))
    return {agents: listed for agents, listed in found.items() if len(listed) > 1}


def _differing(own: RunConfig, other: RunConfig) -> Mapping[str, tuple[Value, Value]]:
    """Return the settings that differ, the world's options among them: own value and other's."""
    ours, theirs = _flat(own), _flat(other)
    return {name: (ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]}


def _flat(config: RunConfig) -> dict[str, Value]:
    settings = {k: v for k, v in config.model_dump().items() if k not in ("seed", "task_options")}
    flat: dict[str, Value] = {**settings, **world(config).task_options}
    return flat


def sensitivity(table: list[Row]) -> Table:
    """Report what each change does, by number of agents; the default first."""
    return [
        {
            "agents": agents,
            "setting": change.setting,
            "value": change.value,
            "default": change.default,
            **counted([change.row.cell]),
            **interval("iqm", change.row.score),
            **interval("normalised", change.row.normalised),
            **interval("effect", change.effect),
            "oracle": change.row.reference.oracle,
            "random": change.row.reference.random,
            "verdict": change.verdict,
            "learned": learned(change.row),
            "learned_p": change.exact_p,
            "learned_p_least": change.least_p,
        }
        for agents, listed in changes(table).items()
        for change in listed
    ]


def _plain(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
