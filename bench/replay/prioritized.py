"""Proportional prioritized replay (Schaul et al. 2016) on a shallow sum tree."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.config import RunConfig
from bench.random import Random
from bench.replay.storage import Replay, rows

VERSION = 1

BLOCK = 32
"""Leaves per block of the sum tree."""
PRIORITY_FLOOR = 1e-6
"""Added to |TD error|, so that no transition is lost for good."""


class SumTree:
    """Leaves [R, K] >= 0, to be drawn in proportion to their values.

    Two levels instead of twenty: the leaves, and the sums of blocks of 32.  A draw takes one
    cumulative sum over the block sums (some 30,000 for a million leaves) and one within the block;
    an update re-adds the blocks it touched, so no rounding error builds up.
    """

    def __init__(self, replicas: int, leaves: int, device: torch.device) -> None:
        blocks = -(-leaves // BLOCK)
        self.leaves = torch.zeros(replicas, blocks * BLOCK, device=device)
        self._sums = torch.zeros(replicas, blocks, dtype=torch.float64, device=device)

    @property
    def _blocks(self) -> Tensor:
        return self.leaves.unflatten(1, (-1, BLOCK))

    def set(self, indices: Tensor, values: Tensor) -> None:
        """Set leaves [R, B] to values [R, B]; of duplicates, which must agree, any."""
        self.leaves.scatter_(1, indices, values)
        touched = indices // BLOCK
        sums = rows(self._blocks, touched).sum(-1, dtype=torch.float64)
        self._sums.scatter_(1, touched, sums)

    def fill(self, span: slice, values: Tensor | float) -> None:
        """Set the leaves of a span to one value, or [R, 1 or span's length]."""
        self.leaves[:, span] = values
        touched = slice(span.start // BLOCK, -(-span.stop // BLOCK))
        self._sums[:, touched] = self._blocks[:, touched].sum(-1, dtype=torch.float64)

    def load(self, leaves: Tensor) -> None:
        """Take over leaves [R, K]; the sums follow."""
        self.leaves.copy_(leaves)
        self._sums.copy_(self._blocks.sum(-1, dtype=torch.float64))

    def sample(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Draw leaves in proportion to their values.

        Args:
            uniform: [R, B] float64 in [0, 1).

        Returns:
            Indices [R, B] and their values [R, B], never a leaf of value 0.
        """
        ends = self._sums.cumsum(1)
        # Kept strictly below the sum at both levels, so that rounding cannot pick an empty leaf.
        mark = uniform * (ends[:, -1:] * (1 - 1e-12))
        block = torch.searchsorted(ends, mark, right=True)
        into = mark - (ends.gather(1, block) - self._sums.gather(1, block))
        within = rows(self._blocks, block).cumsum(-1, dtype=torch.float64)
        mark = torch.minimum(into, within[..., -1] * (1 - 1e-12)).clamp_(min=0)
        leaf = torch.searchsorted(within, mark.unsqueeze(-1), right=True).squeeze(-1)
        indices = torch.add(leaf, block, alpha=BLOCK)
        return indices, self.leaves.gather(1, indices)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Raise to a power: torch's own rounds differently at the end of a tensor than within it."""
    return base.log().mul_(exponent).exp_()


class Prioritized:
    """P(i) = p_i^alpha / sum, p = |TD error| + 1e-6, weights (M P)^-beta over their largest.

    M counts the stored transitions; beta rises linearly from `per_beta` to 1 over training.  The
    weights' largest is the batch's.  New transitions get the largest priority seen so far, 1 at
    least, so each is likely to be replayed once.  TD errors are the *unweighted* ones.
    """

    def __init__(self, replay: Replay, config: RunConfig, replicas: slice) -> None:
        self._batch, count = config.batch, replicas.stop - replicas.start
        self._alpha, self._beta = config.per_alpha, config.per_beta
        self._tree = SumTree(count, replay.capacity, replay.device)
        self._largest = torch.ones(count, 1, device=replay.device)
        self._errors: Tensor | None = None
        if config.augmentation != "none":
            self._tell_apart(replay)

    def _tell_apart(self, replay: Replay) -> None:
        """Expect a transition that is drawn twice to have two TD errors: the larger one counts."""
        self._errors = torch.zeros(len(self._largest), replay.capacity, device=replay.device)

    def extend(self, new: slice, alive: Tensor | None) -> None:
        """Give new transitions the largest priority, those of ended episodes none."""
        values = _power(self._largest, self._alpha)
        self._tree.fill(new, values if alive is None else values * alive)

    def evict(self, old: slice) -> None:
        """Take the priority of old transitions away."""
        self._tree.fill(old, 0.0)

    def sample(self, random: Random, progress: float) -> tuple[Tensor, Tensor]:
        """Draw indices [R, B] in proportion to the priorities, and importance weights [R, B]."""
        indices, values = self._tree.sample(random.uniform(self._batch))
        beta = self._beta + (1 - self._beta) * progress
        # (M P)^-beta over its largest: M and the sum of priorities cancel.
        weights = _power(values / values.amin(1, keepdim=True), -beta)
        return indices, weights

    def update(self, indices: Tensor, td_errors: Tensor) -> None:
        """Set the priorities of sampled transitions from their TD errors [R, B].

        A diverged replica's TD errors are not numbers; they count as 0, so that its fleet goes on.
        """
        if self._errors is not None:
            self._errors.scatter_(1, indices, 0.0)
            self._errors.scatter_reduce_(1, indices, td_errors.abs(), "amax")
            td_errors = self._errors.gather(1, indices)
        priorities = td_errors.abs().nan_to_num(0.0, 0.0, 0.0) + PRIORITY_FLOOR
        torch.maximum(self._largest, priorities.amax(1, keepdim=True), out=self._largest)
        self._tree.set(indices, _power(priorities, self._alpha))

    def state(self) -> Mapping[str, Tensor]:
        """Return the priorities and the largest one."""
        return {"leaves": self._tree.leaves, "largest": self._largest}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned; the sums follow from the leaves."""
        self._largest.copy_(state["largest"])
        self._tree.load(state["leaves"])
