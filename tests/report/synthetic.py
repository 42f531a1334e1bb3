"""Run records of made-up training: what a sweep would leave behind, in milliseconds."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml

from bench import records
from bench.config import RunConfig, behaviour
from bench.grid import Run, expand, load_grid
from bench.places import Places
from bench.report import figures, leaderboard, paper, tables
from bench.report.load import Results, load

Regime = Literal["zero", "learned"]
METRICS = ["successful_steps", "covered", "any_success", "least_distance", "collisions", "return"]
HORIZON = 30
ORACLE = {1: 22.0, 2: 20.2, 3: 19.1, 4: 18.3, 6: 17.2, 8: 16.4, 12: 15.0, 16: 14.0}

GRID = {
    "name": "small",
    "title": "A small grid",
    "defaults": {"episodes": 600, "evaluations": 5, "absolute_episodes": 20},
    "experiments": {
        "references": {
            "question": "What are the ends of the scale?",
            "methods": ["oracle", "random"],
            "agents": [2, 3],
            "seeds": [0],
        },
        "figure4": {
            "question": "What learns?",
            "methods": ["iql", "ps-maddpg"],
            "rewards": ["group-goal", "summed-individual"],
            "samplers": ["uniform", "prioritized"],
            "agents": [2, 3],
            "seeds": [0, 1, 2, 3, 4, 5],
        },
        "sensitivity": {
            "question": "Does the radius decide?",
            "methods": ["ps-maddpg"],
            "samplers": ["uniform"],
            "agents": [3],
            "seeds": [0, 1],
            "variants": {"wide": {"task_options": {"radius": 0.2}}},
        },
    },
}


def write_grid(folder: Path, **changes: object) -> Path:
    """Write the small grid, or a change of it, and return its path."""
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**GRID, **changes}))
    return path


def write_shortened(grid: Path, folder: Path, seeds: int) -> Path:
    """Write a grid with the first few of its seeds, and return its path."""
    whole = yaml.safe_load(grid.read_text())
    for experiment in whole["experiments"].values():
        experiment["seeds"] = experiment["seeds"][:seeds]
    path = folder / grid.name
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def write_records(
    grid_path: Path,
    root: Path,
    regime: Regime = "learned",
    there: Callable[[str], bool] = lambda key: True,
) -> dict[str, Path]:
    """Write a sound record for every run of a grid that is there; return their paths by key."""
    grid = load_grid(grid_path)
    paths = {}
    for key, run in expand(grid).items():
        if not there(key):
            continue
        paths[key] = Places(root / grid.name).record(key)
        paths[key].parent.mkdir(parents=True, exist_ok=True)
        paths[key].write_text(records.to_json(make(key, run, regime)))
    return paths


def make(key: str, run: Run, regime: Regime = "learned") -> records.Record:
    """Make a sound record, the same one for the same key."""
    config = run.config
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    level = _level(config, regime, generator)
    points = np.linspace(0, config.episodes, config.evaluations).astype(int)
    rise = 1 / (1 + np.exp(-12 * (points / config.episodes - generator.uniform(0.3, 0.7))))
    if config.method in CONTROLLERS:
        rise = np.ones(config.evaluations)
    curve = np.clip(level * rise + (level > 0.1) * generator.normal(0, 0.5, len(rise)), 0, HORIZON)
    episodes = config.absolute_episodes
    raw = (
        np.clip(generator.normal(level, 4, episodes), 0, HORIZON)
        if level > 0.1
        else (generator.random(episodes) < level).astype(float)
    )
    series = {name: records.rounded((curve / (i + 1)).tolist()) for i, name in enumerate(METRICS)}
    assessed = {name: records.rounded((raw / (i + 1)).tolist()) for i, name in enumerate(METRICS)}
    assessed["any_success"] = (raw > 0).astype(float).tolist()
    assessment = records.Assessment(episode=config.episodes, raw=assessed)
    own = config.agents if config.method in ("maddpg", "iddpg", "iql") else 1
    own *= config.method not in CONTROLLERS
    updates = (points * HORIZON // config.steps_per_update).tolist()
    return records.Record(
        config=config,
        config_hash=config.digest,
        behaviour=behaviour(config),
        status="complete",
        score="successful_steps",
        horizon=HORIZON,
        evaluation=records.Curve(
            episode=points.tolist(),
            env_steps=(points * HORIZON).tolist(),
            updates=updates,
            mean=series,
            std=series,
        ),
        training=_training(config, points, curve) if own else NO_TRAINING,
        final=assessment,
        absolute=assessment,
        transfer=dict.fromkeys(config.transfer_agents, assessment) or None,
        cost=records.Cost(
            trained_parameters=10_018 * own,
            inference_parameters=4_994 * own,
            peak_parameters=20_036 * own,
            flops_per_update=123_456_789 * own,
        ),
        diagnostics=None if not own else _diagnostics(config, generator),
        teamwork=_teamwork(config, level, generator),
        provenance={"cpu_seconds": round(float(generator.uniform(30, 60)), 2)},
    )


NO_TRAINING = records.Training(episode=[], mean={})


def _training(config: RunConfig, points: np.ndarray, curve: np.ndarray) -> records.Training:
    """Rewarded as often as the curve says; prioritized batches hold three times the share."""
    share = (curve / HORIZON)[1:] / 2
    enrichment = {"prioritized": 3.0}.get(config.sampler, 1.0)
    series = {
        "any_success": np.minimum(curve[1:], 1),
        "successful_steps": curve[1:],
        "rewarded_share_buffer": share,
        "rewarded_share_batch": np.minimum(share * enrichment, 1),
    }
    return records.Training(
        episode=points[1:].tolist(),
        mean={name: records.rounded(values.tolist()) for name, values in series.items()},
    )


def _teamwork(config: RunConfig, level: float, generator: np.random.Generator) -> records.Teamwork:
    """All walk to a target of their own in 10 steps; the last agent first walks to agent 0's."""
    N, steps = config.agents, np.minimum(np.arange(HORIZON + 1), 10)[:, None, None] / 10
    start, targets = generator.uniform(-1, 1, (2, N, 2))
    paths = start + (targets - start) * steps
    paths[:5, -1] = start[-1] + (targets[0] - start[-1]) * steps[:5, 0]
    switches = (np.arange(HORIZON) == 4) * generator.uniform(0.1, 0.3)
    idle = generator.uniform(0, 0.2, N)
    return records.Teamwork(
        episodes=128,
        idle=records.rounded(idle.tolist()),
        replaceable=[0.1] * (N - 1) + [0.9],
        lost=records.rounded((level / HORIZON * (1 - idle)).tolist()),
        switches=records.rounded(switches.tolist()),
        switches_frozen=records.rounded((switches / 2).tolist()),
        redirected=records.rounded((idle / 2).tolist()),
        example=records.Episode(
            targets=targets.tolist(), positions=paths.tolist(), switches=[(4, N - 1)]
        ),
    )


def _diagnostics(config: RunConfig, generator: np.random.Generator) -> records.Diagnostics:
    norms = records.rounded(generator.uniform(5, 15, config.agents).tolist())
    return records.Diagnostics(
        observations=480,
        distance="disagreement" if config.method == "iql" else "euclidean",
        diversity=float(f"{generator.uniform(0, 1):.6g}"),
        layers=[
            records.Layer(shape=(14, 64), norm=norms[:1], largest=norms[:1], bias=norms[:1]),
            records.Layer(shape=(64, 2), norm=norms, largest=norms, bias=norms),
        ],
    )


CONTROLLERS = ("oracle", "oracle-discrete", "random", "numbered", "numbered-discrete", "gatherer")


def _level(config: RunConfig, regime: Regime, generator: np.random.Generator) -> float:
    """Successful steps that the run's best policy gets."""
    if config.method == "oracle":
        return ORACLE[config.agents]
    if config.method == "random":
        return {2: 0.004}.get(config.agents, 0.0)
    if config.method == "gatherer":
        return 0.02
    if regime == "zero":
        return 0.0
    level = {1: 16.0, 2: 14.0, 3: 6.0, 4: 0.0}.get(config.agents, 9.0)
    if config.sampler.startswith("hindsight"):
        apart = ("-plain-actor", "-plain-view", "-unbounded", "-heads", "-unshared")
        share = 1 - 0.25 * sum(config.method.endswith(ending) for ending in apart)
        known = config.method.startswith("deep-set")
        return known * share * ORACLE[config.agents] * float(generator.uniform(0.85, 1))
    level *= {"uniform": 0.6}.get(config.sampler, 1.0)
    level *= {"group-goal": 1.0}.get(config.reward, 0.85)
    level *= {"maddpg": 0.7, "iql": 0.3}.get(config.method, 1.0)
    return level * float(generator.uniform(0.75, 1.15))


@dataclass(frozen=True)
class Small:
    grid: Path
    root: Path

    @property
    def out(self) -> Path:
        return self.root / "small"

    def load(self) -> Results:
        return load(self.grid, self.root)


def build_all(results: Results, out: Path) -> dict[str, bytes]:
    """Build every report; return the bytes by path below ``out``."""
    paths = [
        path
        for module in (tables, figures, leaderboard, paper)
        for path in module.build(results, out)
    ]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}
