"""Reference controllers: scripted policies whose scores are the ends of a task's scale.

They have the acting half of :class:`bench.interfaces.Algorithm`, so that the harness evaluates and
draws them as it does any method, and nothing to learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import torch
from torch import Tensor

from bench import registry
from bench.errors import RequestError
from bench.interfaces import Batch, SchemeFactory, Spec
from bench.random import Random as Source
from bench.tasks.assignment import bottleneck
from bench.tasks.coop_nav import ACCELERATION, DAMPING, DT, MOVES
from bench.tasks.options import CoopNavOptions, RolesOptions
from bench.tasks.roles import cast
from bench.validation import validate

VERSION = 1


class _Controller:
    """What every controller shares: nothing is trained, nothing is stored.

    Args:
        spec: what a method is told of the world.
        make_scheme: unused; there are no weights.
        random: unused; nothing is initialised.
    """

    trains = False
    policy: Mapping[str, Tensor] = {}

    def __init__(self, spec: Spec, make_scheme: SchemeFactory | None, random: Source) -> None:
        self.spec = spec

    def update(self, batch: Batch) -> NoReturn:
        """Refuse: a controller does not learn."""
        raise NotImplementedError(f"{type(self).__name__} does not learn")

    def state(self) -> Mapping[str, Tensor]:
        """Return no tensors."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore nothing."""

    def load_policy(self, policy: Mapping[str, Tensor]) -> None:
        """Restore nothing."""

    def parameter_counts(self) -> tuple[int, int, int]:
        """Count none."""
        return 0, 0, 0


class Random(_Controller):
    """Acts uniformly in [-1, 1]^A, or by a uniformly drawn move: the lower end of the scale."""

    def act(self, observation: Tensor, noise: float = 0.0, random: Source | None = None) -> Tensor:
        """Draw actions [R, E, N, A], whatever is observed.

        Args:
            observation: [R, E, N, O], of which only the shape is used.
            noise: unused; acting is nothing but noise.
            random: source with a key per replica.

        Raises:
            ValueError: without a source.
        """
        if random is None:
            raise ValueError("the random controller needs a random source to act")
        episodes, agents, actions = observation.shape[1], self.spec.agents, self.spec.action_size
        if self.spec.discrete:
            move = (random.uniform(episodes, agents) * actions).long()
            return torch.nn.functional.one_hot(move, actions).to(observation)
        return (random.uniform(episodes, agents, actions) * 2 - 1).to(observation)


class Oracle(_Controller):
    """Solves coop-nav and roles from the observations of all agents: the upper end of the scale.

    The agents are assigned to the targets so that the longest way is least, a way being its larger
    component, since the axes are actuated independently; then each axis is driven in the least
    time.  It knows the dynamics, not the radius.  Against the bound that agents which need not
    brake would reach (N = 2, 3, 4; radius 0.1) it is exact with first-order dynamics, at 21.4,
    21.5 and 21.8 of 30 steps, and within 0.02 with mpe's, at 22.4, 22.4 and 22.6.  Agents that
    collide are not steered round each other.

    The dynamics are linear, so an agent that accelerates g times as fast is coop-nav's agent in a
    plane shrunk by g: roles are assigned, colour by colour, and driven there.

    By discrete moves, which go along one axis a step, a way is the sum of its components, and the
    longer one is driven first.  That takes an agent into any disc round its target in the least
    moves; at N = 2 with first-order dynamics it scores 17.5.

    Raises:
        RequestError: for another task, or for discrete actions but in coop-nav with first-order
            dynamics.
    """

    def __init__(self, spec: Spec, make_scheme: SchemeFactory | None, random: Source) -> None:
        super().__init__(spec, make_scheme, random)
        config, everyone = spec.config, torch.arange(spec.agents, device=spec.device)
        task = registry.family(config.task)
        if task not in ("coop-nav", "roles"):
            raise RequestError(
                f"the oracle knows only the tasks coop-nav and roles, not '{config.task}'; "
                "the controller 'random' plays any task"
            )
        self._first_order = False
        if task == "roles":
            team = cast(
                spec.agents, validate(RolesOptions, config.task_options, "task_options").split
            )
            self._gain = team.gain.to(spec.device)
            sides = team.colour.to(spec.device), team.target_colour.to(spec.device)
            self._groups = [
                tuple(everyone[side == colour] for side in sides)
                for colour in team.colour.unique().tolist()
            ]
        else:
            options = validate(CoopNavOptions, config.task_options, "task_options of coop-nav")
            self._first_order = options.dynamics == "first-order"
            self._gain = torch.ones(spec.agents, 1, device=spec.device)
            self._groups = [(everyone, everyone)]
        if spec.discrete and not self._first_order:
            raise RequestError(
                "by discrete moves the oracle knows only coop-nav with task_options "
                "{dynamics: first-order}: use it with actions: continuous"
            )
        speeds, distances = _braking()
        self._speeds = torch.tensor(speeds, device=spec.device)
        self._distances = torch.tensor(distances, device=spec.device)

    def act(self, observation: Tensor, noise: float = 0.0, random: Source | None = None) -> Tensor:
        """Steer every agent to its target: [R, E, N, O] -> [R, E, N, A].

        `noise` and `random` are unused: the controller is deterministic.
        """
        N = self.spec.agents
        velocity = observation[..., :2] / self._gain
        gaps = observation[..., 4 : 4 + 2 * N].unflatten(-1, (N, 2)) / self._gain.unsqueeze(-1)
        ways = gaps.abs()
        target = self._assign(ways.sum(-1) if self.spec.discrete else ways.amax(-1))
        chosen = target[..., None, None].expand(*target.shape, 1, 2)
        gap = gaps.gather(-2, chosen).squeeze(-2)
        if self.spec.discrete:
            return _move_along(gap)
        if self._first_order:
            return (gap / DT).clamp(-1, 1)
        # The velocity moves the agent before the action changes it: what is left is for the next.
        wanted = self._fastest(gap - DT * velocity)
        return ((wanted - (1 - DAMPING) * velocity) / (DT * ACCELERATION)).clamp(-1, 1)

    def _assign(self, ways: Tensor) -> Tensor:
        """Return the target of each agent, given how far it is to each: [..., N, N] -> [..., N]."""
        target = torch.empty(ways.shape[:-1], dtype=torch.int64, device=ways.device)
        for agents, targets in self._groups:
            target[..., agents] = targets[bottleneck(ways[..., agents.unsqueeze(-1), targets])]
        return target

    def _fastest(self, gap: Tensor) -> Tensor:
        """Return the velocity from which full braking stops exactly at `gap`: D inverted."""
        distance = gap.abs()
        upper = torch.bucketize(distance, self._distances[1:-1]) + 1
        low, high = self._distances[upper - 1], self._distances[upper]
        slow, fast = self._speeds[upper - 1], self._speeds[upper]
        return gap.sign() * (slow + (distance - low) * (fast - slow) / (high - low))


def _move_along(gap: Tensor) -> Tensor:
    """Return the one-hot move along the longer component, or none within half a step of it.

    [..., 2] -> [..., 5], in the order of coop-nav's `MOVES`.
    """
    length, axis = gap.abs().max(-1, keepdim=True)
    forwards = gap.gather(-1, axis) > 0
    move = torch.where(length > DT / 2, 1 + 2 * axis + forwards, 0)
    return torch.nn.functional.one_hot(move.squeeze(-1), len(MOVES)).to(gap)


def _braking() -> tuple[list[float], list[float]]:
    """Return the knots of D(v), how far an agent of velocity v goes if it brakes from now on.

    A step goes DT v and leaves at best (1 - DAMPING) v - DT ACCELERATION, or 0; so D is linear
    between the speeds from which a whole number of steps stops exactly.
    """
    step = DT * ACCELERATION
    speeds, distances = [0.0], [0.0]
    while speeds[-1] < step / DAMPING:  # the terminal speed
        speeds.append((speeds[-1] + step) / (1 - DAMPING))
        distances.append(distances[-1] + DT * speeds[-1])
    return speeds, distances


class Numbered(Oracle):
    """Drives as the oracle, but each agent to the target of its own number, wherever that lies.

    What a team of coop-nav scores in which everyone has a role and nobody ever changes it.

    Raises:
        RequestError: for another task, and where the oracle refuses.
    """

    def __init__(self, spec: Spec, make_scheme: SchemeFactory | None, random: Source) -> None:
        super().__init__(spec, make_scheme, random)
        if registry.family(spec.config.task) != "coop-nav":
            raise RequestError("the controller 'numbered' knows only the task coop-nav")

    def _assign(self, ways: Tensor) -> Tensor:
        return torch.arange(self.spec.agents, device=ways.device).expand(ways.shape[:-1])


class Gatherer(_Controller):
    """Maximises coop-nav's `distance` reward on the state: every agent heads for one point.

    That reward's optimum is the targets' geometric median, found by Weiszfeld's iteration (1937).
    Axis by axis an agent goes as fast as first-order dynamics allow; under mpe's it overshoots.

    Raises:
        RequestError: for another task than coop-nav, other dynamics, or discrete actions.
    """

    def __init__(self, spec: Spec, make_scheme: SchemeFactory | None, random: Source) -> None:
        super().__init__(spec, make_scheme, random)
        dynamics = spec.config.task_options.get("dynamics")
        if spec.config.task != "coop-nav" or dynamics != "first-order" or spec.discrete:
            raise RequestError(
                "the controller 'gatherer' knows only coop-nav with continuous actions and "
                "task_options {dynamics: first-order}"
            )

    def act(self, observation: Tensor, noise: float = 0.0, random: Source | None = None) -> Tensor:
        """Head for the geometric median: [R, E, N, O] -> [R, E, N, 2]; the rest is unused."""
        N = self.spec.agents
        gaps = observation[..., 4 : 4 + 2 * N].unflatten(-1, (N, 2))
        return (geometric_median(gaps) / DT).clamp(-1, 1)


def geometric_median(points: Tensor, iterations: int = 30) -> Tensor:
    """Return the point of least total distance to N points: [..., N, 2] -> [..., 2]."""
    centre = points.mean(-2)
    for _ in range(iterations):
        apart = torch.linalg.vector_norm(points - centre.unsqueeze(-2), dim=-1, keepdim=True)
        weight = 1 / apart.clamp(min=1e-6)
        centre = (weight * points).sum(-2) / weight.sum(-2)
    return centre
