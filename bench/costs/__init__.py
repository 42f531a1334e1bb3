"""What named methods cost, counted without training and without numbers."""

from __future__ import annotations

from typing import Any

import torch

from bench import registry
from bench.config import resolve
from bench.fleet import Fleet
from bench.methods import method_entry


def world(method: str) -> dict[str, Any]:
    """Return the task that a method is counted on: coop-nav, or roles, which has the same sizes.

    Raises:
        RequestError: if there is no such method.
    """
    if method_entry(method).wants_features:
        return {"task": registry.with_features()[0]}
    return {"task": "coop-nav", "task_options": {"dynamics": "first-order"}}


def costs(method: str, agents: Any, hidden: Any) -> dict[str, int]:
    """Count a method on cooperative navigation, with the settings that it has by default.

    Args:
        method: its name.
        agents: N.
        hidden: widths of the hidden layers.

    Returns:
        The counts of :class:`bench.records.Cost`; `generated_parameters`, what a hypernetwork puts
        out for the whole team; and `flops_per_action`, of one joint action of the team.

    Raises:
        RequestError: if there is no such method, or it cannot have these sizes.
    """
    samplers = method_entry(method).samplers
    sampler = "uniform" if "uniform" in samplers else samplers[0]
    sizes = {"agents": agents, "hidden": hidden, "sampler": sampler, "buffer": 1}
    config = resolve({"method": method, **world(method), **sizes}, where="methods")
    try:
        fleet = Fleet([config], torch.device("meta"))  # where numbers take no memory
    except RuntimeError:  # a method that looks at them gets some
        fleet = Fleet([config], torch.device("cpu"))
    counted = fleet.cost().model_dump()
    return {
        **counted,
        "generated_parameters": counted["peak_parameters"] - 2 * counted["trained_parameters"],
        "flops_per_action": fleet.flops_per_action(),
    }
