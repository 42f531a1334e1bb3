"""The options of each task, apart from the tasks so that a grid can be checked without torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bench.validation import Positive, Rate, Strict


class CoopNavOptions(Strict):
    """Task options of coop-nav; see :class:`bench.tasks.coop_nav.CoopNav`."""

    added_later: ClassVar[frozenset[str]] = frozenset({"start", "end"})
    """Options that came after the first records: at their defaults they are left out of the
    configuration, so that old records stay good."""

    dynamics: Literal["mpe", "first-order"] = "mpe"
    """`mpe` is a damped double integrator; in `first-order` a step moves an agent by 0.1 a (its
    velocity stays 0), with walls at +-1."""
    radius: Rate = 0.1
    """Cover radius; the side of the square is 2."""
    horizon: Positive = 30
    """Steps T in an episode."""
    targets: Literal["redrawn", "fixed"] = "redrawn"
    """`redrawn` each episode, or `fixed` evenly on a circle of radius 0.5."""
    collisions: bool = False
    """Agents push each other, as in mpe2 (mpe dynamics only)."""
    start: Literal["uniform", "centre"] = "uniform"
    """Agents start anywhere in the square (`uniform`) or within 0.1 of its middle (`centre`)."""
    end: Literal["time", "success"] = "time"
    """`time`: an episode goes on to its horizon, whose values bootstrap.  `success`: the first
    successful step ends it: no future follows, nothing moves, and nothing is paid any more."""

    @model_validator(mode="after")
    def _sensible(self) -> CoopNavOptions:
        if self.collisions and self.dynamics == "first-order":
            raise ValueError("collisions need dynamics: mpe")
        return self

    def moves(self, agents: int) -> int:
        """Return how many moves an agent has that acts by moves."""
        return 5


class RolesOptions(CoopNavOptions):
    """Task options of roles: those of coop-nav and a split; see :class:`bench.tasks.roles.Roles`.

    Masses act on accelerations, so the dynamics are mpe's.
    """

    dynamics: Literal["mpe"] = "mpe"
    """`mpe`, a damped double integrator."""
    split: Literal["seen", "held-out"] = "seen"
    """Which role assignment the team has: the one to train on, or one whose roles are all new."""


class GameOptions(Strict):
    """Task options of specialisation and synchronisation; see :mod:`bench.tasks.games`."""

    horizon: Positive = 10
    """Steps T in an episode."""

    def moves(self, agents: int) -> int:
        """Return how many moves an agent has."""
        return agents


class ClimbingOptions(Strict):
    """The task climbing has no options; see :class:`bench.tasks.one_shot.Climbing`."""

    horizon: ClassVar[int] = 1
    """Steps T in an episode."""

    def moves(self, agents: int) -> int:
        """Return how many moves an agent has."""
        return 3


class PenaltyOptions(ClimbingOptions):
    """Task options of penalty; see :class:`bench.tasks.one_shot.Penalty`."""

    penalty: Annotated[float, Field(le=0, allow_inf_nan=False)] = -100.0
    """What both agents are paid for opposite moves, at most 0."""
