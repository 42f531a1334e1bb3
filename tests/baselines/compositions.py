"""Hypernetworks and algorithms that several tests go through."""

from __future__ import annotations

from typing import Any

ALGORITHMS: dict[str, dict[str, Any]] = {
    "iql": {"algorithm": "baselines.algorithms.iql:IQL", "actions": "discrete"},
    **{
        critic: {
            "algorithm": "baselines.algorithms.actor_critic:ActorCritic",
            "algorithm_options": {"critic": critic},
        }
        for critic in ("local", "per-agent", "one")
    },
}
MORE_ALGORITHMS: dict[str, dict[str, Any]] = {
    "vdn": {"algorithm": "baselines.algorithms.decomposition:VDN", "actions": "discrete"},
    "qmix": {"algorithm": "baselines.algorithms.decomposition:QMIX", "actions": "discrete"},
    "meta-dqn": {"algorithm": "baselines.algorithms.meta:MetaDQN", "actions": "discrete"},
    "meta-ddpg": {"algorithm": "baselines.algorithms.meta:MetaDDPG"},
    "gumbel": {**ALGORITHMS["one"], "actions": "discrete"},
    "joint": {
        "algorithm": "baselines.algorithms.actor_critic:ActorCritic",
        "algorithm_options": {"critic": "per-agent", "gradient": "joint"},
    },
    "twin": {
        "algorithm": "baselines.algorithms.actor_critic:ActorCritic",
        "algorithm_options": {"critic": "local", "twin": True},
    },
}
"""Algorithms that treat their acting network as one of those does."""
GENERATORS: dict[str, dict[str, Any]] = {
    "dense": {},
    "chunked": {"generator": "chunked", "chunk": 32},
    "grouped": {"generator": "grouped"},
    "low-rank": {"generator": "low-rank", "rank": 2},
    "zero factor": {"generator": "low-rank", "rank": 2, "rho": 0.0},
    "core": {"generator": "core", "rank": 3},
    "sparse": {"generator": "sparse"},
    "modules": {"branches": "modules"},
}
STABILISERS: dict[str, dict[str, Any]] = {
    "none": {},
    "spectral": {"bound": "spectral", "largest": 0.5},
    "smooth": {"bound": "smooth", "largest": 0.5},
    "shrinkage": {"decay": 0.1, "l1": 1e-4},
    "warm-up": {"warmup": 10},
    "clip": {"clip": 1e6},  # so wide that finite differences hold
    "two phases": {"residual_after": 1},
    "replay": {"replay": 2, "replay_every": 1},
}
