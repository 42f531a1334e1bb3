"""What a run ends in: its last and its best policy, assessed, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from bench.config import behaviour
from bench.diagnostics import diagnose
from bench.evaluate import evaluate
from bench.fleet import Fleet
from bench.history import History
from bench.provenance import Stopwatch, provenance
from bench.records import Assessment, Record, rounded
from bench.tasks.coop_nav import CoopNav
from bench.team import Team
from bench.teamwork import teamwork


@dataclass(frozen=True)
class Outcome:
    """What a run leaves behind."""

    record: Record
    policy: Mapping[str, Tensor]
    """`best.*` and `final.*`, each [...] without the replica axis; empty for controllers."""


def outcomes(
    fleet: Fleet,
    history: History,
    kept: Mapping[str, Tensor],
    watch: Stopwatch,
    made_by: Mapping[str, Any],
    hosts: Sequence[Mapping[str, str]],
) -> list[Outcome]:
    """Assess the last and the best policies, and make each replica's record.

    Args:
        fleet: as it is after training; afterwards it acts by its best policies.
        history: its curves.
        kept: the best policies, each tensor [R, ...]; empty for controllers.
        watch: its seconds so far.
        made_by: the code that trained it; see :func:`bench.provenance.origin`.
        hosts: where it was trained.
    """
    config = fleet.config
    random = fleet.random.fold("assessment")

    def assess(team: Team) -> Mapping[str, Tensor]:
        return evaluate(team.task, team.algorithm, random, config.absolute_episodes, team.reward)

    final = {name: tensor.clone() for name, tensor in fleet.algorithm.policy.items()}
    last = assess(fleet)
    parts = fleet.task, fleet.spec, fleet.algorithm, fleet.reward
    diagnostics = diagnose(*parts) if final else None
    teams = None
    if isinstance(fleet.task, CoopNav):
        teams = teamwork(fleet.task, fleet.algorithm, random.fold("teamwork"))
    best = last
    if final:
        fleet.algorithm.load_policy(kept)
        best = assess(fleet)
    transfer = {agents: assess(fleet.resized(agents)) for agents in config.transfer_agents}
    cost = fleet.cost()
    facts = provenance(fleet.device, len(fleet.configs), watch, made_by, hosts)
    found = []
    for replica, own in enumerate(fleet.configs):
        reason, best_at = history.failed[replica], history.best_episode[replica]
        assessed = (last, best, *transfer.values())
        if reason is None and not all(_finite(raw, replica) for raw in assessed):
            reason = "a NaN or infinity when it was assessed"
        sound = reason is None
        record = Record(
            config=own,
            config_hash=own.digest,
            behaviour=behaviour(own),
            status="complete" if sound else "diverged",
            reason=reason,
            score=fleet.task.score,
            horizon=fleet.task.horizon,
            evaluation=history.curve(replica),
            training=history.training_curve(replica),
            final=_assessment(last, replica, history.episode[-1]) if sound else None,
            absolute=_assessment(best, replica, best_at) if sound else None,
            transfer=(
                {N: _assessment(raw, replica, best_at) for N, raw in transfer.items()}
                if transfer and sound
                else None
            ),
            cost=cost,
            diagnostics=diagnostics[replica] if diagnostics and sound else None,
            teamwork=teams[replica] if teams and sound else None,
            provenance=facts,
        )
        policies = {"best": kept, "final": final}
        policy = {f"{k}.{n}": t[replica].cpu() for k, p in policies.items() for n, t in p.items()}
        found.append(Outcome(record, policy))
    return found


def _finite(raw: Mapping[str, Tensor], replica: int) -> bool:
    """Whether a replica's assessment holds numbers only."""
    return all(bool(values[replica].isfinite().all()) for values in raw.values())


def _assessment(raw: Mapping[str, Tensor], replica: int, episode: int) -> Assessment:
    values = {name: rounded(tensor[replica].tolist()) for name, tensor in raw.items()}
    return Assessment(episode=episode, raw=values)
