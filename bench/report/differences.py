"""What one choice is worth: pairs of cells that differ in it and in nothing else.

Described, not tested: nothing was written down of these before the runs, and no interval is
corrected for their number.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bench import stats
from bench.report.aggregate import Row, by_configuration, counted, known_by
from bench.report.curves import CURVES, METHOD, letter
from bench.report.formats import Table, Value, interval
from bench.report.outcomes import exact_p, learned, sooner
from bench.stats import Estimate

Kind = Literal["priorities", "goal", "method"]
Verdict = Literal["higher", "lower", "open"]
VERDICTS: Mapping[stats.Side, Verdict] = {"above": "higher", "about": "open", "below": "lower"}


@dataclass(frozen=True, eq=False)
class Difference:
    """A cell beside another."""

    kind: Kind
    """`priorities`: curve B beside A.  `goal`: curve B beside D.  `method`: the source's beside
    another."""
    row: Row
    than: Row

    @functools.cached_property
    def effect(self) -> Estimate | None:
        """IQM of the one less that of the other; none without a run on both sides."""
        if not (self.row.cell.outcomes and self.than.cell.outcomes):
            return None
        return stats.difference([self.row.cell.scores], [self.than.cell.scores])

    @property
    def verdict(self) -> Verdict | None:
        """See :func:`judge`."""
        return judge(self.effect, self.row, self.than)


def judge(effect: Estimate | None, *rows: Row) -> Verdict | None:
    """Say where the interval of a difference between rows lies.

    Returns:
        `higher` above zero, `lower` below it, `open` about it; none without an interval, and where
        a run diverged.
    """
    side = None if effect is None else effect.side()
    if side is None or any(row.cell.count("diverged") for row in rows):
        return None
    return VERDICTS[side]


def pairs(table: list[Row]) -> list[Difference]:
    """Find every pair, the kinds in order; of several cells of one configuration the fullest."""
    known = by_configuration(table)
    contestants = [row for row in known.values() if letter(row) and not row.cell.reference]
    others = dict.fromkeys(row.cell.config.method for row in contestants)
    found: list[Difference] = []
    without: tuple[tuple[Kind, str], ...] = (("priorities", "A"), ("goal", "D"))
    for kind, curve in without:
        reward, sampler = CURVES[curve]
        for row in contestants:
            than = known.get(known_by(row.cell.config, reward=reward, sampler=sampler))
            if letter(row) == "B" and than is not None:
                found.append(Difference(kind, row, than))
    for row in contestants:
        for other in others if row.cell.config.method == METHOD else ():
            than = known.get(known_by(row.cell.config, method=other))
            if other != METHOD and than is not None:
                found.append(Difference("method", row, than))
    return found


def differences(table: list[Row]) -> Table:
    """Report every pair.

    `sooner` is the probability that a run of the one learns sooner than a run of the other.
    """
    return [_entry(pair) for pair in pairs(table)]


def _entry(pair: Difference) -> dict[str, Value]:
    return {
        "kind": pair.kind,
        "agents": pair.row.cell.config.agents,
        **_side("", pair.row),
        **_side("than_", pair.than),
        **interval("effect", pair.effect),
        "verdict": pair.verdict,
        **interval("sooner", sooner(pair.row, pair.than)),
        "learned_p": exact_p(pair.row, pair.than),
    }


def _side(prefix: str, row: Row) -> dict[str, Value]:
    described: dict[str, Value] = {
        "experiment": row.cell.experiment,
        "method": row.cell.config.method,
        "curve": letter(row),
        **counted([row.cell]),
        **interval("iqm", row.score),
        "learned": learned(row),
    }
    return {f"{prefix}{name}": value for name, value in described.items()}
