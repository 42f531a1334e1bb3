"""The peers that there are: what each is given to do, and how to install it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

APART = "in an environment of its own: python3 -m venv peers; peers/bin/pip install"


@dataclass(frozen=True)
class Peer:
    """Somebody else's code that can do our work.

    Args:
        file: the file of this folder that does it.
        what: what is measured, in a few words.
        kind: whether it trains or only steps environments.
        env_steps: environment steps of a measurement: some seconds of the peer.
        needs: the modules that it imports.
        install: how to get them, to be read after "install it".
        changes: values of the run configuration, on both sides.
        options: what the file is told beyond the workload.
    """

    file: str
    what: str
    kind: Literal["training", "stepping"]
    env_steps: int
    needs: tuple[str, ...]
    install: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


_BENCHMARL = (
    f"{APART} torch==2.13.0 torchvision==0.28.0 av==13.1.0 benchmarl==1.5.2 torchrl==0.11.1 "
    "tensordict==0.11.0 vmas==1.5.2 mpe2 pettingzoo"
)

PEERS: Mapping[str, Peer] = {
    "naive": Peer(
        file="naive.py",
        what="1 mpe2 environment, prioritized replay",
        kind="training",
        env_steps=30_000,
        needs=("torch", "mpe2"),
        install="with hypercoop itself",
    ),
    "benchmarl": Peer(
        file="benchmarl_maddpg.py",
        what="100 VMAS environments, uniform replay",
        kind="training",
        env_steps=60_000,
        needs=("benchmarl", "vmas", "mpe2"),
        install=_BENCHMARL,
        changes={"sampler": "uniform"},
        options={"world": "vmas"},
    ),
    "benchmarl-pettingzoo": Peer(
        file="benchmarl_maddpg.py",
        what="1 mpe2 environment, uniform replay",
        kind="training",
        env_steps=9_000,
        needs=("benchmarl", "vmas", "mpe2"),
        install=_BENCHMARL,
        changes={"sampler": "uniform"},
        options={"world": "mpe2"},
    ),
    "vmas": Peer(
        file="vmas_stepping.py",
        what="step, observe, reward",
        kind="stepping",
        env_steps=3_072_000,
        needs=("vmas",),
        install=f"{APART} torch==2.13.0 vmas==1.5.2",
    ),
    "jaxmarl": Peer(
        file="jaxmarl_stepping.py",
        what="step, observe, reward",
        kind="stepping",
        env_steps=3_072_000,
        needs=("jax", "jaxmarl"),
        install=f"{APART} jaxmarl==0.2.0 jax==0.10.2",
    ),
}
