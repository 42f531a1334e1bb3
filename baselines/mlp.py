"""The one function that applies a target network, whoever its weights belong to, and its gradients.

Inside, activations lie with their features as rows and the batch as columns: then every product of
the backward pass finds its large operand laid out as it needs it, narrow outputs are as fast as
wide ones, and agents that share a layer are merged into its columns without a copy.

Shapes: R replicas, N agents, B rows of a batch, F features, G 1 or N; K = R G matrices of a layer,
each of which sees N B / G columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from baselines.products import large, product
from bench.interfaces import Weights

threshold_backward = torch.ops.aten.threshold_backward.grad_input
ALL = slice(None)
"""All replicas: what is theirs is what there is, and needs no view."""


def mlp(layers: Weights, x: Tensor, pooled: int | None = None) -> Tensor:
    """Apply a ReLU network, the last layer without.

    Args:
        layers: the network.
        x: [R, N, B, in].
        pooled: the layer that sees the mean over the agents of what the one below it makes of each.
            All share the layers up to it.

    Returns:
        [R, N, B, out], or [R, 1, B, out] of a network that pools.
    """
    if not torch.is_grad_enabled():
        return _forward(layers, x, pooled, _parts(layers, x))[1]
    parts = itertools.chain.from_iterable(layers)
    output: Tensor = _MLP.apply(x, pooled, *parts)  # type: ignore[no-untyped-call]
    return output


def pull_back(layers: Weights, x: Tensor, gradient: Tensor) -> Tensor:
    """Differentiate something with respect to x, given its gradient with respect to mlp(x).

    Args:
        layers: the network.
        x: [R, N, B, in].
        gradient: [R, N, B, out].

    Returns:
        [R, N, B, in].
    """
    wanted = [True] + [False] * (2 * len(layers))
    found = []
    for part in _parts(layers, x):
        own = _of(layers, part)
        g = _backward(own, _inputs(own, _own(x, part)), None, _own(gradient, part), wanted)[0]
        assert g is not None
        found.append(g)
    return _agents(_joined(found), *x.shape[:2]).mT


def pull_back_own(
    layers: Weights, x: Tensor, rows: Tensor, change: Tensor, gradient: Tensor
) -> Tensor:
    """Differentiate by each agent's part, at N inputs that differ from x in that part only.

    The first layer is linear, so x is multiplied once and each difference added.

    Args:
        layers: the network, of two layers or more.
        x: [R, G, B, in].
        rows: [R, N, A, H], the rows of each agent's first matrix that see its own part.
        change: [R, N, B, A], what each agent changes of its part.
        gradient: [R, N, B, out], as in `pull_back`.

    Returns:
        [R, N, B, A].
    """
    found = [
        _pull_back_own(
            _of(layers, part), *(_own(each, part) for each in (x, rows, change, gradient))
        )
        for part in _parts(layers, x)
    ]
    return _joined(found).view(*rows.shape[:3], -1).mT


def _pull_back_own(
    layers: Weights, x: Tensor, rows: Tensor, change: Tensor, gradient: Tensor
) -> Tensor:
    """Do so for one part: [R, N, A, B]."""
    (weight, bias), *rest = layers
    shared = weight.shape[1] == 1
    y = _layer(weight, bias, _matrices(x.mT, weight.shape[1]), *x.shape[:2])
    R, N, A, H = rows.shape
    # With one matrix for all, in the order in which the next layer merges its columns.
    hidden = y.new_empty((R, H, N, y.shape[-1]) if shared else (R, N, H, y.shape[-1]))
    y = y.unsqueeze(2) if shared else y.view_as(hidden)
    for part in range(A):
        row, moved = rows[:, :, part], change[..., part]
        row, moved = (row.mT, moved.unsqueeze(1)) if shared else (row, moved.unsqueeze(2))
        y = torch.addcmul(y, row.unsqueeze(3), moved, out=hidden)
    hidden.relu_()
    active = hidden.transpose(1, 2) if shared else hidden
    g = pull_back(rest, active.mT, gradient).mT
    threshold_backward(g, active, 0, grad_input=g)
    return product(rows.flatten(0, 1), g.flatten(0, 1)).view(R, N, A, -1)


def _parts(layers: Weights, x: Tensor) -> list[slice]:
    """Say which replicas to go through the network with together, part after part.

    Where products are large, one replica at a time: what it makes stays in the cache until it is
    needed.
    """
    R, N, B = x.shape[:3]
    sizes = ((w.shape[3], w.shape[2], N * B // w.shape[1]) for w, _ in layers)
    alone = R > 1 and any(large(x, *size) for size in sizes)
    return [slice(r, r + 1) for r in range(R)] if alone else [ALL]


def _paired(flat: Sequence[Tensor]) -> Weights:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _own(x: Tensor, part: slice) -> Tensor:
    return x if part is ALL else x[part]


def _of(layers: Weights, part: slice) -> Weights:
    return layers if part is ALL else [(weight[part], bias[part]) for weight, bias in layers]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _matrices(x: Tensor, groups: int) -> Tensor:
    """Merge the agents who share a matrix into its columns: [R, N, F, B] -> [K, F, N B / G]."""
    if groups == 1 and x.shape[1] > 1:
        return x.transpose(1, 2).reshape(len(x), x.shape[2], -1)
    return x.flatten(0, 1)


def _agents(y: Tensor, replicas: int, agents: int) -> Tensor:
    """Tell the agents apart again: [K, F, N B / G] -> [R, N, F, B]."""
    if len(y) == replicas:
        return y.view(replicas, y.shape[1], agents, -1).transpose(1, 2)
    return y.view(replicas, agents, *y.shape[1:])


def _layer(weight: Tensor, bias: Tensor, x: Tensor, replicas: int, agents: int) -> Tensor:
    """Apply one layer: [K, in, N B / G] -> [K, out, N B / G]."""
    y = product(weight.flatten(0, 1).mT, x)
    if bias.shape[1] == weight.shape[1]:
        y.add_(bias.reshape(len(y), -1, 1))
    else:
        _agents(y, replicas, agents).add_(bias.mT)
    return y


def _inputs(layers: Weights, x: Tensor, pooled: int | None = None) -> list[Tensor]:
    """Return what every layer sees, as its matrices want it: [K, F, N B / G] each.

    And, where there is a pooled layer, what was averaged for it: [R, F, N, B].
    """
    R, N = x.shape[:2]
    groups = layers[0][0].shape[1]
    inputs, averaged = [_matrices(x.mT, groups)], []
    for layer, ((weight, bias), (above, _)) in enumerate(itertools.pairwise(layers), start=1):
        y = _layer(weight, bias, inputs[-1], R, N).relu_()
        if layer == pooled:
            averaged = [y.unflatten(2, (N, -1))]
            y, N = averaged[0].mean(2), 1
        elif above.shape[1] != groups:
            groups = above.shape[1]
            y = _matrices(_agents(y, R, N), groups)
        inputs.append(y)
    return inputs + averaged


def _forward(
    layers: Weights, x: Tensor, pooled: int | None, parts: Sequence[slice]
) -> tuple[list[list[Tensor]], Tensor]:
    """Return what `_inputs` does of every part, and the output of all."""
    inputs, outputs = [], []
    for part in parts:
        own, seen = _of(layers, part), _own(x, part)
        inputs.append(_inputs(own, seen, pooled))
        R, N = seen.shape[:2]
        outputs.append(_layer(*own[-1], inputs[-1][len(layers) - 1], R, N if pooled is None else 1))
    R, N = x.shape[:2]
    return inputs, _agents(_joined(outputs), R, N if pooled is None else 1).mT


def _backward(
    layers: Weights,
    inputs: Sequence[Tensor],
    pooled: int | None,
    gradient: Tensor,
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """Return the gradients of x, W0, b0, W1, ..., those that are wanted, of one part.

    That of x as its matrices are: [K, F, N B / G].
    """
    gradients: list[Tensor | None] = [None] * len(wanted)
    R, N = gradient.shape[:2]
    groups = layers[-1][0].shape[1]
    g = _matrices(gradient.mT, groups).contiguous()
    for layer in reversed(range(len(layers))):
        (weight, bias), x = layers[layer], inputs[layer]
        if weight.shape[1] != groups:
            groups = weight.shape[1]
            g = _matrices(_agents(g, R, N), groups)
        if wanted[2 * layer + 2]:
            if bias.shape[1] == groups:
                gradients[2 * layer + 2] = g.sum(-1).view(bias.shape)
            else:  # one for all agents where each has weights of its own, or the other way round
                by_agent = _agents(g, R, N).sum(-1).unsqueeze(2)
                gradients[2 * layer + 2] = by_agent.sum_to_size(bias.shape)
        if wanted[2 * layer + 1]:
            gradients[2 * layer + 1] = product(x, g.mT).view(weight.shape)
        if layer or wanted[0]:
            g = product(weight.flatten(0, 1), g)
        if layer == pooled:
            active = inputs[-1]
            N = active.shape[2]
            g = g.div_(N).unsqueeze(2).expand_as(active)
            g = threshold_backward(g, active, 0, grad_input=torch.empty_like(active)).flatten(2)
        elif layer:
            threshold_backward(g, x, 0, grad_input=g)
    if wanted[0]:
        gradients[0] = g
    return gradients


class _MLP(torch.autograd.Function):
    """The whole network as one node of the graph.

    At these sizes the bookkeeping of a node per operation costs as much as the products; the
    backward pass is the textbook's, does no product that nobody asked for, and is checked against
    finite differences.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, pooled: int | None, *flat: Tensor) -> Tensor:
        layers = _paired(flat)
        parts = _parts(layers, x)
        inputs, y = _forward(layers, x, pooled, parts)
        ctx.depth, ctx.pooled, ctx.parts, ctx.agents = len(layers), pooled, parts, x.shape[:2]
        ctx.save_for_backward(*flat, *itertools.chain.from_iterable(inputs))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        flat, saved = ctx.saved_tensors[: 2 * ctx.depth], ctx.saved_tensors[2 * ctx.depth :]
        layers, wanted = _paired(flat), [ctx.needs_input_grad[0], *ctx.needs_input_grad[2:]]
        found, size = [], len(saved) // len(ctx.parts)
        for number, part in enumerate(ctx.parts):
            inputs = saved[number * size : (number + 1) * size]
            own = _own(gradient, part)
            found.append(_backward(_of(layers, part), inputs, ctx.pooled, own, wanted))
        x, *rest = (
            _joined(each) if asked else None
            for asked, each in zip(wanted, zip(*found, strict=True), strict=True)
        )
        return x if x is None else _agents(x, *ctx.agents).mT, None, *rest
