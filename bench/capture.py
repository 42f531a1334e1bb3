"""Replaying a function of tensors as one CUDA graph: one launch for its hundreds of operations."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

WARM_UP = 3
"""Plain calls before a capture, so that every cache and library handle exists."""


class Captured:
    """A function of tensors that is captured on a CUDA device and plain elsewhere.

    The function may change tensors in place, its own state among them, but must not look at a
    number on the host, and its shapes must stay the same.  One that cannot be captured goes on
    plain, saying so.

    Args:
        function: takes tensors, and returns tensors in dicts and tuples.
        device: where the tensors live.
    """

    def __init__(self, function: Callable[..., Any], device: torch.device) -> None:
        self._function = function
        self._plain = device.type != "cuda"
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *tensors: Tensor) -> Any:
        """Do what the function does; what is returned is the caller's to keep."""
        if self._plain:
            return self._function(*tensors)
        if self._graph is None:
            self._calls += 1
            if self._calls <= WARM_UP:
                return self._warm_up(*tensors)
            if not self._capture(*tensors):
                return self._function(*tensors)
        assert self._graph is not None
        for static, tensor in zip(self._inputs, tensors, strict=True):
            static.copy_(tensor)
        self._graph.replay()
        return pytree.tree_map(torch.clone, self._outputs)

    def _warm_up(self, *tensors: Tensor) -> Any:
        """Call on a stream of its own, as captures ask for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            outputs = self._function(*tensors)
        torch.cuda.current_stream().wait_stream(stream)
        return outputs

    def _capture(self, *tensors: Tensor) -> bool:
        """Record the graph, without doing anything yet."""
        self._inputs = [tensor.clone() for tensor in tensors]
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._outputs = self._function(*self._inputs)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            print(f"training without a CUDA graph, which is slower: {reason}", file=sys.stderr)
            self._plain = True
            return False
        self._graph = graph
        return True
