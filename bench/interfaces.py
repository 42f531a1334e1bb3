"""The three interfaces between harness and methods, and what passes through them.

Shape legend, used in every docstring: R replicas, E parallel episodes, N agents, B batch, T steps
in an episode, S state, O observation, A action, H hidden, P parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.random import Random


class Task(Protocol):
    """Batched episodes as pure functions of a state tensor [R, E, S].

    Actions are vectors: continuous ones in [-1, 1]^A, discrete ones one-hot over A moves, so one
    storage and one critic serve both.  Rewards and observations are functions of states and are
    never stored.
    """

    agents: int
    horizon: int
    state_size: int
    observation_size: int
    action_size: int
    discrete: bool
    score: str
    """The primary metric: higher is better."""

    def reset(self, random: Random, episodes: int) -> Tensor:
        """Draw initial states [R, E, S]."""
        ...

    def step(self, state: Tensor, action: Tensor) -> Tensor:
        """Advance [R, E, S] by the joint action [R, E, N, A] to [R, E, S]."""
        ...

    def observe(self, state: Tensor) -> Tensor:
        """Return what each agent sees: [R, E, N, O]."""
        ...

    def reward(self, state: Tensor, next_state: Tensor) -> Tensor:
        """Return the reward of every agent for transitions [..., S]: [..., N]."""
        ...

    def terminated(self, state: Tensor) -> Tensor | None:
        """Return [R, E] bool, true where no future follows; None if the task never terminates.

        The end of the horizon is a time limit, not a termination: values bootstrap through it.
        """
        ...

    def metrics(self, state: Tensor) -> Mapping[str, Tensor]:
        """Return what is counted of states [..., S] that were stepped into, each [...]."""
        ...

    def episode_metrics(self, sums: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Turn the sums of `metrics` over an episode, each [R, E], into what is reported."""
        ...


@runtime_checkable
class GoalTask(Task, Protocol):
    """A task with what it may have besides, so that a stored episode can be about another goal."""

    def achieved(self, state: Tensor, chance: Tensor) -> Tensor:
        """Return a goal that states [..., S] meet, as numbers [..., X] that each may err a little.

        Where there are several, chance [..., N], uniform in [0, 1), says which.
        """
        ...

    def with_goal(self, state: Tensor, goal: Tensor) -> Tensor:
        """Return states [..., S] with the goal [..., X] in place of theirs."""
        ...

    def approach(self, state: Tensor, left: Tensor) -> Tensor:
        """Return states [..., S] whose agents have only a share of their way to the goal left.

        The shares `left` [..., N] are in [0, 1]; at 1 an agent is where it was, to the bit.
        """
        ...


@runtime_checkable
class Exchangeable(Protocol):
    """What a task may have besides, if its agents and targets may differ in their places only."""

    exchangeable: bool
    """Whether they do."""

    def reorder(self, state: Tensor, agents: Tensor, targets: Tensor) -> Tensor:
        """List agents and targets of states [..., S] in other orders, each [..., N]."""
        ...


@dataclass(frozen=True)
class Batch:
    """Transitions for one update."""

    observation: Tensor
    """[R, B, N, O]"""
    action: Tensor
    """[R, B, N, A]"""
    reward: Tensor
    """[R, B, N]"""
    next_observation: Tensor
    """[R, B, N, O]"""
    terminated: Tensor | None
    """[R, B] bool; None if the task never terminates."""
    weight: Tensor
    """[R, B] importance weights."""


@dataclass(frozen=True)
class Spec:
    """What a method is told of the world."""

    config: RunConfig
    replicas: int
    agents: int
    observation_size: int
    action_size: int
    discrete: bool
    device: torch.device
    features: Tensor | None = None
    """[N, F] what the task says of its agents' roles, the same in every episode; None if nothing.
    It comes from the task's attribute `features`, if it has one, and lies on the CPU, where it can
    be looked at, whatever the run's device."""
    updates: int = 1
    """How many updates training has."""
    entities: Sequence[tuple[int, int]] | None = None
    """What an observation lists after what is the agent's own: the number and the width of each
    kind of entity, whose first two numbers are its relative position; None if nothing.  It comes
    from the task's attribute `entities`, if it has one."""


class Algorithm(Protocol):
    """Acts and learns for the whole fleet; never touches the buffer, the environment or the disk.

    Built as ``Algorithm(spec, make_scheme, random, **algorithm_options)``.
    """

    policy: Mapping[str, Tensor]
    """What acting greedily needs, by name, each [R, ...]; empty for scripted controllers."""

    trains: bool
    """False for scripted controllers: the loop then only evaluates."""

    def act(self, observation: Tensor, noise: float = 0.0, random: Random | None = None) -> Tensor:
        """Map [R, E, N, O] to actions [R, E, N, A]: greedy if noise is 0."""
        ...

    def update(self, batch: Batch) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Learn from one batch; return unweighted TD errors [R, B] and metrics, each [R]."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Return every tensor that learning depends on, by name: what a checkpoint holds."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        ...

    def load_policy(self, policy: Mapping[str, Tensor]) -> None:
        """Restore what acting needs."""
        ...

    def parameter_counts(self) -> tuple[int, int, int]:
        """Count trained, inference and peak parameters of one replica."""
        ...


Weights = Sequence[tuple[Tensor, Tensor]]
"""A network's layers: W [R, G, in, out] and b [R, G, 1, out], each with G = 1 (all agents share)
or G = N (one set per agent)."""


@runtime_checkable
class Layered(Protocol):
    """What an algorithm may have besides, so that its acting network is checked and diagnosed."""

    scheme: ParameterScheme
    """The parameter scheme of the acting network, whose parameters are the policy."""

    def layers(self) -> Weights:
        """Return the layers of the acting network: ReLUs between them, none after the last."""
        ...


@runtime_checkable
class Graded(Protocol):
    """What an algorithm with layers may have besides: what they see, and the gradients they get."""

    def fed(self, observation: Tensor) -> Tensor:
        """Return what the layers are applied to: [R, N, B, O] -> [R, N or 1, B, in]."""
        ...

    def gradients(self, batch: Batch) -> tuple[Tensor, Sequence[Tensor]]:
        """Differentiate the acting network's loss on a batch, and change nothing.

        Returns:
            The gradient by all that is trained of it, [R, ...], and that by each layer's W, of its
            shape; neither clipped.
        """
        ...


@runtime_checkable
class Scored(Protocol):
    """What an algorithm may have besides: an ear for how well its policy does."""

    def scored(self, score: Tensor) -> None:
        """Hear of the team's mean return [R] in the E training episodes that have just ended."""
        ...


@runtime_checkable
class Centralised(Protocol):
    """What an algorithm may say: the team acts as one agent, which sees what all of them see."""

    centralised: Literal[True]


class ParameterScheme(Protocol):
    """Where the weights of a network for N agents come from.

    Built as ``Scheme(sizes, agents, **scheme_options)`` with the layer sizes [in, H, ..., out]; one
    that takes an argument `features` is given those of the spec, and one that takes `batch` the
    run's.  A scheme may also have

    - a method `settle`, as in `Settle`, and keep what that counts among its parameters;
    - a method `memory(parameters)` that returns a `Memory`, or None;
    - a method `alone`, as in `Generating`;
    - a set `exempt` of names of parameters that the checks of gradients leave out, as they are
      counted, have an estimated gradient, or are trained later.
    """

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the trained parameters by name, each [R, ...]."""
        ...

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the layers of the one target network, a differentiable function."""
        ...


@runtime_checkable
class Generating(Protocol):
    """A scheme that generates weights: of all agents at once, or of one alone."""

    def weights(self, parameters: Mapping[str, Tensor]) -> Weights:
        """Return the layers of all agents."""
        ...

    def alone(
        self, parameters: Mapping[str, Tensor], agent: int
    ) -> tuple[ParameterScheme, Mapping[str, Tensor]]:
        """Return the scheme of an agent that has no team-mates, and its part of the parameters."""
        ...


class Settle(Protocol):
    """A scheme's say in training, heard after every step of its parameters' optimiser."""

    def __call__(self, parameters: Mapping[str, Tensor], lr: float | Tensor) -> None:
        """Change the parameters in place, given the step's learning rate, on their device."""
        ...


class Memory(Protocol):
    """What a scheme remembers of its training besides its parameters."""

    def loss(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return a scalar to be added to the loss, a sum over replicas."""
        ...

    def scored(self, score: Tensor) -> None:
        """Hear of the policy's score [R]: higher is better."""
        ...

    def hear(self, parameters: Mapping[str, Tensor]) -> None:
        """Hear of a step, without a look at a number."""
        ...

    def state(self) -> Mapping[str, Tensor]:
        """Return every tensor that it consists of; a checkpoint is loaded by writing into them."""
        ...


class SchemeFactory(Protocol):
    """Makes a parameter scheme for a network of given sizes."""

    def __call__(self, sizes: Sequence[int], agents: int) -> ParameterScheme:
        """Return the scheme for layer sizes [in, H, ..., out] and N agents."""
        ...
