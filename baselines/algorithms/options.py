"""The options of each algorithm, apart from the algorithms so that a grid is checked without torch.

Here too is what an algorithm asks of the world: see `bench.registry.options_model`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from bench import registry
from bench.errors import RequestError
from bench.validation import Strict

if TYPE_CHECKING:
    from bench.config import RunConfig

LISTED = ("local", "per-agent", "one")
"""Critics that know agents and targets by their places."""

MOST_OUTPUTS = 3125
"""Joint moves that one network may value: those of 5 agents with 5 moves each."""


class ActorCriticOptions(Strict):
    """Options of :class:`baselines.algorithms.actor_critic.ActorCritic`."""

    critic: Literal["local", "per-agent", "one", "deep-set", "attention", "exchangeable"] = "one"
    """`local` gives agent i a critic Q_i(o_i, a_i) (independent DDPG); `per-agent` a critic
    Q_i(o, a) of all observations and actions, on its own reward (vanilla MADDPG); `one` is a single
    Q(o, a) for the team, on the mean reward (parameter-shared MADDPG).  The others are such, too,
    and do not tell the agents apart: a mean of embeddings, of what agents become by attending to
    each other, or of the cells of a table of agents by targets."""
    gradient: Literal["own", "joint"] = "own"
    """`own` differentiates agent i's value through its own action only, the others being the stored
    ones (Lowe et al. 2017, eq. 6); `joint` puts every agent's current action into the critic and
    differentiates through all of them at once."""
    twin: bool = False
    """Two of each critic, whose smaller value is the target (clipped double Q; Fujimoto et al.
    2018); actors follow the first."""

    actors_see: Literal["as-listed", "nearest-first", "attention", "exchangeable"] = "as-listed"
    """What the actors' network is fed: the observation; with what it lists in the order of its
    distance; or what attention to it, or a table of agents by targets, makes of it."""
    critics_see: Literal["as-listed", "nearest-first"] = "as-listed"
    """What critics are fed of the observations."""
    reward_range: tuple[float, float] | None = None
    """The least and the largest reward there is: target values are then kept to the returns that
    are possible, reward / (1 - gamma)."""

    @property
    def of_sets(self) -> bool:
        """Whether the critic does not tell the agents apart."""
        return self.critic not in LISTED

    @model_validator(mode="after")
    def _sensible(self) -> ActorCriticOptions:
        if self.of_sets and self.gradient == "own":
            raise ValueError(f"critic = {self.critic} needs gradient = joint")
        if self.critic == "exchangeable" and self.critics_see != "as-listed":
            raise ValueError("critic = exchangeable needs targets as listed")
        if self.gradient == "joint" and self.critic == "local":
            raise ValueError("gradient = joint needs a critic that sees all actions; choose own")
        return self

    def check_run(self, config: RunConfig) -> None:
        """Refuse runs whose returns leave the range, or whose roles nobody could tell apart.

        Raises:
            RequestError: saying why, and what to choose instead.
        """
        if self.reward_range is not None:
            least, largest = self.reward_range
            if config.gamma == 1:
                raise RequestError(
                    "gamma = 1: returns have no bound, and reward_range asks for one; choose less"
                )
            found = registry.reward_range(config.reward, config.agents)
            if found is None or not least <= found[0] <= found[1] <= largest:
                known = f"from {found[0]:g} to {found[1]:g}" if found else "of unknown range"
                raise RequestError(
                    f"reward '{config.reward}' is {known}, and "
                    f"reward_range keeps target values to rewards from {least:g} to {largest:g}; "
                    "choose reward group-goal, or a method without reward_range such as "
                    "deep-set-maddpg-unbounded"
                )
        unordered = {self.actors_see, self.critics_see, self.critic} - {"as-listed", *LISTED}
        if unordered and registry.task_entry(config.task).features:
            raise RequestError(
                f"{' and '.join(sorted(unordered))} cannot tell whose colour a target has, by its "
                f"place in the list, which task '{config.task}' asks for; choose task coop-nav, or "
                "a method that sees agents and targets as listed, such as id-maddpg"
            )


class MetaDQNOptions(Strict):
    """:class:`baselines.algorithms.meta.MetaDQN` has no options, and a largest team."""

    def check_world(self, agents: int, moves: int) -> None:
        """Refuse a team with more joint moves than a network can value one by one.

        Raises:
            RequestError: saying how many there are, and what to choose instead.
        """
        # The power of a huge team would take for ever.
        if agents > 64 or moves**agents > MOST_OUTPUTS:
            raise RequestError(
                f"agents = {agents} with {moves} moves each have {moves}^{agents} joint moves, and "
                f"one network may value {MOST_OUTPUTS:,}; choose fewer agents, or a method that "
                "values each agent's moves apart, such as vdn, qmix or iql"
            )
