"""The choices of the schemes that share or store weights, checked without torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import StrictBool

from baselines.hypernet.options import Conditioning
from bench.validation import Positive, Strict


class SharedOptions(Strict):
    """Options of :class:`baselines.sharing.shared.Shared`."""

    agent_id: StrictBool = True
    """Whether the network sees the agent's ID."""


class JoinedOptions(Strict):
    """Options of :class:`baselines.sharing.joined.Joined`."""

    conditioning: Conditioning = "learned"
    """What is known of an agent, as of a hypernetwork."""
    embedding: Positive = 8
    """Width of a learned one."""


class WidenedOptions(Strict):
    """Options of :class:`baselines.sharing.widened.Widened`."""

    match: Literal["parameters", "flops"] = "parameters"
    """What of the hypernetwork is matched: numbers trained, or operations of an update."""
    agent_id: StrictBool = True
    """Whether the network sees the agent's ID."""
    of: dict[str, Any] = {}
    """The options of the hypernetwork."""
