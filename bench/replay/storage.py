"""Replay storage: raw states, each stored once, per replica.

An episode of T steps fills a slot of T + 1 states and T actions, so the next state of a transition
is the next row of its slot.  Rewards and observations are recomputed from the states when they are
sampled.  Transition i is step i % T of slot i // T.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.random import Random


class Replay:
    """A ring of episode slots for R replicas in lockstep.

    E parallel episodes fill E neighbouring slots step by step; each transition can be sampled as
    soon as it is stored.  When the ring is full, the oldest E slots are given up whole.

    Args:
        replicas: R.
        capacity: transitions to hold per replica; rounded down to whole groups of E episodes, but
            at least one group.
        episodes: E.
        horizon: T.
        state_size: S.
        action_shape: (N, A).
        device: where to store.
        terminates: whether episodes can end before the horizon.
    """

    def __init__(
        self,
        replicas: int,
        capacity: int,
        episodes: int,
        horizon: int,
        state_size: int,
        action_shape: tuple[int, int],
        device: torch.device,
        terminates: bool,
    ) -> None:
        self.episodes, self.horizon, self.device = episodes, horizon, device
        self.slots = max(capacity // (episodes * horizon), 1) * episodes
        self.capacity = self.slots * horizon
        self._states = torch.zeros(
            replicas, self.slots, horizon + 1, state_size, device=device, dtype=torch.float32
        )
        self._actions = torch.zeros(
            replicas, self.slots, horizon, *action_shape, device=device, dtype=torch.float32
        )
        # Steps of each slot that were taken before the episode ended; only kept where it matters.
        self._lengths = (
            torch.zeros(replicas, self.slots, dtype=torch.int64, device=device)
            if terminates
            else None
        )
        self.first = -episodes
        self.step = horizon
        self.filled = 0

    def begin(self, state: Tensor) -> None:
        """Start E new episodes at `state` [R, E, S], giving up the oldest if the ring is full.

        Raises:
            ValueError: if the running episodes have not ended.
        """
        if self.step < self.horizon:
            raise ValueError("the running episodes have not ended")
        self.first = (self.first + self.episodes) % self.slots
        self.filled = min(self.filled + self.episodes, self.slots)
        self.step = 0
        self._states[:, self.running_slots, 0] = state
        if self._lengths is not None:
            self._lengths[:, self.running_slots] = 0

    def add(self, action: Tensor, next_state: Tensor, alive: Tensor | None = None) -> slice:
        """Store one step of the running episodes.

        Args:
            action: [R, E, N, A].
            next_state: [R, E, S].
            alive: [R, E] bool, false where the episode had ended before this step.

        Returns:
            The E indices of the new transitions, the same in every replica.

        Raises:
            ValueError: if the running episodes have ended.
        """
        if self.step >= self.horizon:
            raise ValueError("the running episodes have ended: begin new ones")
        self._actions[:, self.running_slots, self.step] = action
        self._states[:, self.running_slots, self.step + 1] = next_state
        if self._lengths is not None and alive is not None:
            self._lengths[:, self.running_slots] += alive
        first, last = self.running.start + self.step, self.running.stop
        self.step += 1
        return slice(first, last, self.horizon)

    @property
    def running_slots(self) -> slice:
        """The slots of the running, or just ended, episodes."""
        return slice(self.first, self.first + self.episodes)

    @property
    def running(self) -> slice:
        """The transitions of the running, or just ended, episodes."""
        return slice(self.first * self.horizon, (self.first + self.episodes) * self.horizon)

    def running_states(self) -> Tensor:
        """Return the states of the running episodes: [R, E, T + 1, S]."""
        return self._states[:, self.running_slots]

    @property
    def nbytes(self) -> int:
        """The bytes of the whole ring."""
        kept = (self._states, self._actions, self._lengths)
        return sum(tensor.nbytes for tensor in kept if tensor is not None)

    def __len__(self) -> int:
        """Count the transitions of a replica (early endings not subtracted)."""
        return (self.filled - self.episodes) * self.horizon + self.episodes * self.step

    def lived(self) -> Tensor | int:
        """Count the transitions that can be drawn, [R], or of every replica alike."""
        return len(self) if self._lengths is None else self._lengths.sum(1)

    def uniform(self, random: Random, batch: int, replicas: slice = slice(None)) -> Tensor:
        """Draw [R, B] transitions uniformly, with replacement, of all that are stored."""
        if self._lengths is not None:
            lengths = self._lengths[replicas]
            ends = lengths.cumsum(1)
            drawn = (random.uniform(batch) * ends[:, -1:]).long()
            slot = torch.searchsorted(ends, drawn, right=True)
            start = (ends - lengths).gather(1, slot)
            return slot * self.horizon + (drawn - start)
        ended = (self.filled - self.episodes) * self.horizon
        drawn = (random.uniform(batch) * len(self)).long()
        # Draws below `ended` walk the slots that are not running; the rest the running ones.
        skip = (drawn >= self.first * self.horizon) * (self.episodes * self.horizon)
        late = drawn - ended
        running = (self.first + late // self.step) * self.horizon + late % self.step
        return torch.where(late < 0, drawn + skip, running)

    def transitions(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read transitions [R, B]: states [R, B, S], actions [R, B, N, A] and next states."""
        at = indices + indices.div(self.horizon, rounding_mode="floor")
        # Two neighbouring states are one row, twice as wide, of overlapping ones.
        replicas, *_, size = self._states.shape
        count = self._states[0].numel() // size - 1
        stride = self._states.stride()
        pairs = self._states.as_strided((replicas, count, 2 * size), (stride[0], size, 1))
        state, next_state = rows(pairs, at).split(size, -1)
        return state, rows(self._actions.flatten(1, 2), indices), next_state

    def length(self, slot: Tensor, replicas: slice = slice(None)) -> Tensor:
        """Count the steps that are stored of the episodes in slots [R, B]."""
        if self._lengths is not None:
            return self._lengths[replicas].gather(1, slot)
        running = (slot >= self.first) & (slot < self.first + self.episodes)
        return torch.where(running, self.step, self.horizon)

    def later(self, indices: Tensor, chance: Tensor, replicas: slice = slice(None)) -> Tensor:
        """Read a state of the same episode that was reached by a transition or after it.

        Args:
            indices: [R, B] of transitions.
            chance: [R, B] in [0, 1): 0 for the transition's next state, 1 - for the last stored.
            replicas: whose.

        Returns:
            [R, B, S].
        """
        slot, step = indices.div(self.horizon, rounding_mode="floor"), indices % self.horizon
        after = step + 1 + ((self.length(slot, replicas) - step) * chance).long()
        return rows(self._states[replicas].flatten(1, 2), slot * (self.horizon + 1) + after)

    def state(self) -> Mapping[str, Tensor]:
        """Return the filled part of the ring.  Only between episodes."""
        kept = {
            "position": torch.tensor([self.first, self.step, self.filled]),
            "states": self._states[:, : self.filled],
            "actions": self._actions[:, : self.filled],
        }
        if self._lengths is not None:
            kept["lengths"] = self._lengths[:, : self.filled]
        return kept

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        self.first, self.step, self.filled = (int(x) for x in state["position"])
        self._states[:, : self.filled] = state["states"]
        self._actions[:, : self.filled] = state["actions"]
        if self._lengths is not None:
            self._lengths[:, : self.filled] = state["lengths"]


def rows(table: Tensor, index: Tensor) -> Tensor:
    """Pick rows [R, B] of a table [R, K, ...]: on a CPU one replica after the other is faster."""
    if table.device.type != "cpu":
        replica = torch.arange(len(table), device=table.device)[:, None]
        return table[replica, index]
    picked = table.new_empty(*index.shape, *table.shape[2:])
    for own, at, out in zip(table, index, picked, strict=True):
        torch.index_select(own, 0, at, out=out)
    return picked
