"""Parameter-shared MADDPG as a good research script has it: one file, one environment at a time.

The losses, networks and settings are those of our `ps-maddpg`, with torch's own modules, optimiser
and gradients, prioritized replay in numpy, and mpe2's simple_spread, whose rules are coop-nav's
with collisions and the reward `mpe-dense`.  A test holds its updates to ours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from mpe2 import simple_spread_v3
from torch import Tensor, nn

Array = npt.NDArray[Any]


class Batch(NamedTuple):
    """B transitions: observations [B, N, O], actions [B, N, A], rewards and weights [B]."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    weight: Tensor


class Actor(nn.Module):
    """A trunk for all agents, and a head for each: [B, N, O] to logits [B, N, A]."""

    def __init__(self, agents: int, seen: int, hidden: list[int], action: int) -> None:
        super().__init__()
        first, second = hidden
        self.trunk = nn.Sequential(
            nn.Linear(seen, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(second, action) for _ in range(agents))

    def forward(self, observation: Tensor) -> Tensor:
        """Apply the trunk to all agents at once."""
        features = self.trunk(observation).unbind(1)
        return torch.stack([head(x) for head, x in zip(self.heads, features, strict=True)], 1)


class Critic(nn.Module):
    """Q(o, a) of all observations [..., N, O] and actions [..., N, A]: [...]."""

    def __init__(self, agents: int, seen: int, hidden: list[int], action: int) -> None:
        super().__init__()
        first, second = hidden
        self.layers = nn.Sequential(
            *(nn.Linear(agents * (seen + action), first), nn.ReLU()),
            *(nn.Linear(first, second), nn.ReLU(), nn.Linear(second, 1)),
        )

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Judge a joint action."""
        return self.layers(torch.cat([observation.flatten(-2), action.flatten(-2)], -1)).squeeze(-1)


class Learner:
    """Actor, critic, their targets and optimisers."""

    def __init__(self, config: dict[str, Any], seen: int, action: int) -> None:
        self.config, sizes = config, (config["agents"], seen, config["hidden"], action)
        self.actor, self.critic = Actor(*sizes), Critic(*sizes)
        self.target_actor, self.target_critic = (
            copy.deepcopy(self.actor),
            copy.deepcopy(self.critic),
        )
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), config["actor_lr"])
        self.critic_adam = torch.optim.Adam(self.critic.parameters(), config["critic_lr"])
        # [N, N, 1]: in copy i of the joint action, whose action is the current actor's.
        self.own = torch.eye(config["agents"], dtype=torch.bool).unsqueeze(-1)

    @torch.no_grad()
    def act(self, observation: Array) -> Array:
        """Map [N, O] to actions [N, A]."""
        return torch.tanh(self.actor(torch.from_numpy(observation).unsqueeze(0)))[0].numpy()

    def update(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Learn from a batch; return |TD errors| [B] and both gradient norms before clipping."""
        observation, action = batch.observation, batch.action
        with torch.no_grad():
            next_action = torch.tanh(self.target_actor(batch.next_observation))
            next_value = self.target_critic(batch.next_observation, next_action)
            target = batch.reward + self.config["gamma"] * next_value
        td = self.critic(observation, action) - target
        critic_norm = self._descend(
            self.critic, self.critic_adam, (batch.weight * td.square()).mean()
        )
        logits = self.actor(observation)
        current = torch.tanh(logits).unsqueeze(1)
        joint = torch.where(self.own, current, action.unsqueeze(1))  # [B, N, N, A]
        self.critic.requires_grad_(False)
        value = self.critic(observation.unsqueeze(1).expand(-1, joint.shape[1], -1, -1), joint)
        self.critic.requires_grad_(True)
        penalty = self.config["action_penalty"] * logits.square().mean((0, 2)).sum()
        actor_norm = self._descend(self.actor, self.actor_adam, penalty - value.mean(0).sum())
        with torch.no_grad():
            self._track(self.target_critic, self.critic)
            self._track(self.target_actor, self.actor)
        return td.detach().abs(), critic_norm, actor_norm

    def _descend(self, network: nn.Module, adam: torch.optim.Adam, loss: Tensor) -> Tensor:
        adam.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.config["grad_clip"])
        adam.step()
        return norm

    def _track(self, target: nn.Module, online: nn.Module) -> None:
        for old, new in zip(target.parameters(), online.parameters(), strict=True):
            old.lerp_(new, self.config["tau"])


class Replay:
    """Proportional prioritized replay in numpy: a ring of transitions, a binary tree of sums."""

    def __init__(self, config: dict[str, Any], seen: int, action: int) -> None:
        capacity, agents = config["buffer"], config["agents"]
        self.observation = np.zeros((capacity, agents, seen), np.float32)
        self.action = np.zeros((capacity, agents, action), np.float32)
        self.reward = np.zeros(capacity, np.float32)
        self.next_observation = np.zeros((capacity, agents, seen), np.float32)
        self.leaves = 1 << (capacity - 1).bit_length()
        self.tree = np.zeros(2 * self.leaves)
        self.alpha, self.largest, self.stored = config["per_alpha"], 1.0, 0

    def add(self, observation: Array, action: Array, reward: float, following: Array) -> None:
        """Store a transition with the largest priority seen."""
        at = self.stored % len(self.reward)
        self.observation[at], self.action[at] = observation, action
        self.reward[at], self.next_observation[at] = reward, following
        self.stored += 1
        node = at + self.leaves
        self.tree[node] = self.largest**self.alpha
        while node > 1:
            node //= 2
            self.tree[node] = self.tree[2 * node] + self.tree[2 * node + 1]

    def sample(self, random: np.random.Generator, batch: int, beta: float) -> tuple[Array, Batch]:
        """Draw in proportion to the priorities: indices, and transitions with their weights."""
        node, mark = np.ones(batch, np.int64), random.random(batch) * self.tree[1]
        while node[0] < self.leaves:
            left = self.tree[2 * node]
            right = mark >= left
            mark -= right * left
            node = 2 * node + right
        at = np.minimum(node - self.leaves, min(self.stored, len(self.reward)) - 1)
        priority = self.tree[at + self.leaves]
        parts = (self.observation, self.action, self.reward, self.next_observation)
        weight = ((priority / priority.min()) ** -beta).astype(np.float32)
        return at, Batch(*(torch.from_numpy(x) for x in (*(part[at] for part in parts), weight)))

    def set_priorities(self, at: Array, priority: Array | float) -> None:
        """Set priorities, and all the sums above them."""
        node = at + self.leaves
        self.tree[node] = priority**self.alpha
        self.largest = max(self.largest, float(np.max(priority)))
        while node[0] > 1:
            node = node // 2
            self.tree[node] = self.tree[2 * node] + self.tree[2 * node + 1]


def run(workload: dict[str, Any], mark: Callable[[], None]) -> dict[str, float]:
    """Train for `warm_env_steps`, then for `env_steps`; count the latter."""
    torch.set_num_threads(1)
    config, warm = workload["config"], workload["warm_env_steps"]
    N, horizon = config["agents"], config["task_options"]["horizon"]
    seen, size = 4 + 2 * N + 2 * (N - 1), 2  # without what silent agents say, which is always 0
    torch.manual_seed(config["seed"])
    random = np.random.default_rng(config["seed"])
    env = simple_spread_v3.parallel_env(N=N, max_cycles=horizon, continuous_actions=True)
    learner, replay = Learner(config, seen, size), Replay(config, seen, size)
    total, updates = config["episodes"] * horizon, 0
    for step in range(warm + workload["env_steps"]):
        if step == warm:
            mark()
            updates = 0
        if step % horizon == 0:
            told, _ = env.reset(seed=config["seed"] if step == 0 else None)
            observation = stack(told, seen)
        done = step / total
        noise = config["noise_start"] + done * (config["noise_end"] - config["noise_start"])
        action = learner.act(observation) + noise * random.standard_normal((N, size), np.float32)
        action = action.clip(-1, 1)
        told, rewards, _, _, _ = env.step(dict(zip(env.agents, forces(action), strict=True)))
        following = stack(told, seen)
        replay.add(observation, action, sum(rewards.values()) / N, following)
        observation = following
        if (step + 1) % config["steps_per_update"] == 0:
            beta = config["per_beta"] + (1 - config["per_beta"]) * done
            at, batch = replay.sample(random, config["batch"], beta)
            errors, _, _ = learner.update(batch)
            replay.set_priorities(at, errors.numpy() + 1e-6)
            updates += 1
    return {"env_steps": step + 1 - warm, "updates": updates}


def stack(told: dict[str, Array], seen: int) -> Array:
    """Stack the agents' observations to [N, O]."""
    return np.stack(list(told.values()))[:, :seen].astype(np.float32)


def forces(action: Array) -> Array:
    """Write actions [N, 2] as mpe2 has them, [N, 5]: nothing, left, right, down, up in [0, 1]."""
    right, up = action[:, :1], action[:, 1:]
    parts = [0 * right, -right, right, -up, up]
    return np.concatenate(parts, 1).clip(0, 1)
