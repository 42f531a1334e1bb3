"""Layers on the table of agents by targets that know neither's order (Hartford et al. 2018).

Shapes: M tables of I rows and J columns, F features of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from baselines.networks import LAST_GAIN
from baselines.symmetry.parts import apply, draw
from bench.random import Random


def draw_layer(random: Random, name: str, sizes: Sequence[int]) -> dict[str, Tensor]:
    """Draw one layer from F to F' features: a map of a cell, its row, its column and the table."""
    maps = (draw(random, f"{name}.{part}", sizes) for part in ("cell", "row", "column", "table"))
    return {key: value / 2 for part in maps for key, value in part.items()}


def layer(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Apply one layer and its ReLU: [R, F, M, I, J, B] -> [R, F', M, I, J, B].

    In memory with the batch last, as `mlp` has it, so that means are sums of long rows.
    """
    row, column = x.mean(4, keepdim=True), x.mean(3, keepdim=True)
    table = row.mean(3, keepdim=True)

    def mapped(part: str, cells: Tensor) -> Tensor:
        things = cells.flatten(2, 4).transpose(1, 2).mT
        found = apply(parameters, f"{name}.{part}", things).mT.transpose(1, 2)
        return found.unflatten(2, cells.shape[2:5])

    whole = mapped("row", row) + mapped("table", table)
    return torch.relu(mapped("cell", x) + whole + mapped("column", column))


class ExchangeableCritic:
    """Q = rho(mean of the cells), a cell being an agent, its action, and its way to a target.

    Args:
        own: numbers of an observation that are the agent's own.
        entities: number and width of each kind of what follows, the targets first.
        actions: A.
        hidden: widths of the embedding's layers.
    """

    def __init__(
        self, own: int, entities: Sequence[tuple[int, int]], actions: int, hidden: Sequence[int]
    ) -> None:
        self._own, (self._count, self._way) = own, entities[0]
        self._actions, self._hidden = actions, hidden

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw the layers and rho."""
        sizes = [self._own + self._way + self._actions, *self._hidden]
        values = draw(random, "rho", [sizes[-1], sizes[-1], 1], LAST_GAIN)
        for depth in range(len(self._hidden)):
            values |= draw_layer(random, f"layer{depth}", sizes[depth : depth + 2])
        return values

    def value(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Evaluate x [R, N, B, O + A] of all agents, targets listed alike: [R, 1, B, 1]."""
        (R, N, B), rows = x.shape[:3], x.mT.transpose(1, 2)  # [R, O + A, N, B]
        size = self._count * self._way
        rest = rows.shape[1] - self._own - size - self._actions
        own, ways, _, action = rows.split([self._own, size, rest, self._actions], 1)
        ways = ways.unflatten(1, (self._count, self._way)).movedim(1, 3)  # [R, 2, N, J, B]
        each = torch.cat([own, action], 1).unsqueeze(3).expand(R, -1, N, self._count, B)
        cells = torch.cat([each, ways], 1).unsqueeze(2)
        for depth in range(len(self._hidden)):
            cells = layer(parameters, f"layer{depth}", cells)
        return apply(parameters, "rho", cells.mean((3, 4)).squeeze(2).mT.unsqueeze(1))


class ExchangeableView:
    """What an agent is fed: itself, and its own row of a table of who goes how far to which target.

    Args:
        own: numbers of an observation that are the agent's own.
        entities: the number of targets and of other agents, each a point relative to the agent.
        features: F.
    """

    def __init__(self, own: int, entities: Sequence[tuple[int, int]], features: int) -> None:
        self._own, self._entities, self._features = own, entities, features
        self.width = own + features

    def init(self, random: Random) -> dict[str, Tensor]:
        """Draw two layers."""
        first = draw_layer(random, "layer0", [self._own + 3, self._features])
        return {**first, **draw_layer(random, "layer1", [self._features, self._features])}

    def __call__(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Read observations: [R, N, B, O] -> [R, N, B, own + F]."""
        (R, N, B), rows = x.shape[:3], x.mT.transpose(1, 2)  # [R, O, N, B]
        sizes = [count * width for count, width in self._entities]
        own, targets, others = rows.split([self._own, *sizes], 1)
        goals = targets.unflatten(1, (-1, 2)).movedim(1, 3).unsqueeze(3)  # [R, 2, N, 1, J, B]
        places = others.unflatten(1, (self._entities[1][0], 2)).movedim(1, 3).unsqueeze(4)
        me = torch.zeros_like(goals[:, :, :, :, :1])
        ways = goals - torch.cat([me, places], 3)  # [R, 2, N, I, J, B], the agent's own row first
        mine = torch.zeros_like(ways[:, :1])
        mine[:, :, :, 0] = 1
        seer = own[:, :, :, None, None].expand(R, -1, N, *ways.shape[3:5], B)
        cells = torch.cat([ways, mine, seer], 1)
        for depth in range(2):
            cells = layer(parameters, f"layer{depth}", cells)
        seen = torch.cat([own, cells[:, :, :, 0].mean(3)], 1)
        return seen.transpose(1, 2).mT
