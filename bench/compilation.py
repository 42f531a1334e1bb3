"""Machine code for what an update does on a CPU: torch's compiler, fed with the operations.

They are recorded on their way to the device, those of gradients among them, so that what is
compiled is what is done; the compiler fuses what lies between the matrix products.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from bench.errors import RequestError

aten = torch.ops.aten
PLACES = {"out", "grad_input"}
"""Arguments that say where to write a result."""


def has_compiler() -> bool:
    """Say whether there is a C++ compiler, which torch's needs."""
    from torch._inductor import config

    return any(name and shutil.which(name) for name in config.cpp.cxx)


class Stateful(Protocol):
    """What a function changes when it is called."""

    def state(self) -> Mapping[str, Tensor]:
        """Return every tensor that it changes, by name."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state` returned."""
        ...


class Compiled:
    """A function of tensors that is compiled when it is first called.

    It must not look at a number on the host, nor keep anything that changes out of tensors that it
    changes in place, and the shapes must stay the same.

    Args:
        function: takes tensors, and returns tensors in dicts and tuples.
        changes: what it changes.
    """

    def __init__(self, function: Callable[..., Any], *changes: Stateful) -> None:
        self._function, self._changes = function, changes
        self._made: Callable[..., Any] | None = None

    def __call__(self, *tensors: Tensor) -> Any:
        """Do what the function does.

        Raises:
            RequestError: if it cannot be recorded or compiled, or there is no compiler.
        """
        with torch.no_grad():
            if self._made is None:
                self._made = self._make(*tensors)
            outputs = self._made(*tensors)
        # Machine code does not count changes, as operations do: what is made of these tensors and
        # kept until they change would go stale.
        for each in self._changes:
            torch.autograd.graph.increment_version(each.state().values())
        return outputs

    def _make(self, *tensors: Tensor) -> Callable[..., Any]:
        print("compiling the update: some seconds, the first time a minute", file=sys.stderr)
        kept = [
            {name: tensor.clone() for name, tensor in each.state().items()}
            for each in self._changes
        ]
        try:
            with torch.enable_grad():
                module, spec = recorded(self._function, *tensors)
            for each, state in zip(self._changes, kept, strict=True):
                each.load(state)
            made = compiled(module, tensors)
        except (RuntimeError, AssertionError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RequestError(f"--compile: {reason}; train without it") from error
        return lambda *tensors: tree_unflatten(made(*tensors), spec)


def recorded(function: Callable[..., Any], *tensors: Tensor) -> tuple[fx.GraphModule, TreeSpec]:
    """Call a function and record its operations.

    Returns:
        what repeats them on other tensors of these shapes, and on the tensors that it held, and
        returns a list; and how what the function returns is made of that.

    Raises:
        RuntimeError: if it looks at a number.
    """
    specs: list[TreeSpec] = []

    def listed(*tensors: Tensor) -> list[Any]:
        leaves, spec = tree_flatten(function(*tensors))
        specs.append(spec)
        return leaves

    module = make_fx(listed)(*tensors)
    assert isinstance(module, fx.GraphModule)
    return module, specs[0]


def compiled(module: fx.GraphModule, tensors: Sequence[Tensor]) -> Callable[..., list[Any]]:
    """Return the machine code of recorded operations on tensors of these shapes.

    Raises:
        RuntimeError: if something cannot be compiled, or there is no C++ compiler.
    """
    import torch._inductor

    _name_anew(module.graph)
    _write_by_copying(module.graph)
    _tell_of_aliases(module)
    module.recompile()
    one_core = {"compile_threads": 1}
    made: Callable[..., list[Any]] = torch._inductor.compile(module, list(tensors), one_core)
    return made


_OWN = torch.library.Library("hypercoop", "DEF")
_OWN.define("linear(Tensor left, Tensor right) -> Tensor")


@torch.library.impl(_OWN, "linear", "CPU")
def _linear(left: Tensor, right: Tensor) -> Tensor:
    """Multiply [1, m, k] by [n, k] transposed, by oneDNN: to the compiler a thing of its own.

    It knows oneDNN's products itself, but not of operands that are yet to be computed.
    """
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return result


@torch.library.impl(_OWN, "linear", "Meta")
def _shape(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(*left.shape[:-1], right.shape[0])


def _name_anew(graph: fx.Graph) -> None:
    """Put operations that are compiled in place of those that mean the same and are not."""
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    for node in graph.nodes:
        if node.target in (aten.view.default, aten._unsafe_view.default):
            node.target = aten.reshape.default  # compiled code may lie in memory in other ways
        elif onednn is not None and node.target is onednn.default:
            node.target, node.args = torch.ops.hypercoop.linear.default, node.args[:2]


def _write_by_copying(graph: fx.Graph) -> None:
    """Copy what was written into a given tensor there, which is compiled to the same."""
    for node in list(graph.nodes):
        place = next((name for name in node.kwargs if name in PLACES), None)
        if node.op == "call_function" and place is not None:
            rest = {name: value for name, value in node.kwargs.items() if name != place}
            with graph.inserting_before(node):
                result = graph.call_function(_without(place, node.target), node.args, rest)
                copied = graph.call_function(aten.copy_.default, (node.kwargs[place], result))
            node.replace_all_uses_with(copied)
            graph.erase_node(node)


def _without(place: str, operation: Any) -> Any:
    """Find the form of an operation that makes a tensor for its result."""
    wanted = [each.name for each in operation._schema.arguments if each.name != place]
    packet = operation.overloadpacket
    forms = [getattr(packet, name) for name in packet.overloads()]
    return next(f for f in forms if [each.name for each in f._schema.arguments] == wanted)


def _tell_of_aliases(module: fx.GraphModule) -> None:
    """Make tensors that share memory, such as a network and its layers, views of one."""
    sharing = defaultdict(list)
    for node in module.graph.nodes:
        if node.op == "get_attr":
            memory = getattr(module, node.target).untyped_storage()
            sharing[memory.data_ptr()].append(node)
    for number, nodes in enumerate(sharing.values()):
        tensors = [getattr(module, node.target) for node in nodes]
        if all(tensor is tensors[0] for tensor in tensors):
            continue
        name = f"memory{number}"
        whole = torch.empty(0, dtype=tensors[0].dtype).set_(tensors[0].untyped_storage())
        module.register_buffer(name, whole)
        with module.graph.inserting_before(nodes[0]):
            base = module.graph.get_attr(name)
        for node, tensor in zip(nodes, tensors, strict=True):
            where = list(tensor.shape), list(tensor.stride()), tensor.storage_offset()
            with module.graph.inserting_before(node):
                view = module.graph.call_function(aten.as_strided.default, (base, *where))
            node.replace_all_uses_with(view)
            module.graph.erase_node(node)
        for name in {node.target for node in nodes}:
            delattr(module, name)
