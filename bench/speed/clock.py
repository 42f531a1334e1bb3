"""Time of the training loop by part, taken inside the real loop: nothing of it is written twice.

While a run is watched, the functions that its loop calls are shadowed, on its own objects, by ones
that tell a clock which part they belong to.  What no function claims is `bookkeeping`, so the parts
always add up to the whole.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.train import Trainer

REST = "bookkeeping"

SCOPES = {"_learn": "learn", "_take_stock": "stock"}
"""Methods of the run, and the scope that holds inside them; `play` holds everywhere else."""

PARTS = {
    ("play", "task.observe"): "acting",
    ("play", "algorithm.act"): "acting",
    ("play", "task.reset"): "stepping",
    ("play", "task.step"): "stepping",
    ("play", "replay.begin"): "storing",
    ("play", "replay.add"): "storing",
    ("play", "sampler.evict"): "storing",
    ("play", "sampler.extend"): "storing",
    ("learn", "sampler.sample"): "sampling",
    ("learn", "replay.transitions"): "reading transitions",
    ("learn", "task.observe"): "re-observing",
    ("learn", "task.reward"): "reward",
    ("learn", "algorithm.update"): "targets",
    ("learn", "sampler.update"): "priorities",
}
"""The part that a call belongs to, by scope and function."""

STAGES = {
    "_critics._estimates": ("targets", "critic"),
    "_learn_actions": ("critic", "actor"),
    "_track": ("actor", "averaging"),
}
"""Functions within an update at whose first call one part ends and the next begins.

Algorithms without them are one part: `targets` is then the whole update.
"""

NETWORK = ("targets", "critic", "actor", "averaging")
"""The parts of the network update."""


class Clock:
    """Attributes time to one part at a time.

    Args:
        now: seconds, monotone; CPU time of the process unless said otherwise.
    """

    def __init__(self, now: Callable[[], float] = time.process_time) -> None:
        self._now = now
        self._seconds: dict[str, float] = {}
        self._last = now()
        self.scope, self.part = "play", REST

    def switch(self, part: str) -> str:
        """Attribute what follows to `part`; return the part that it interrupts."""
        now = self._now()
        before, self.part = self.part, part
        self._seconds[before] = self._seconds.get(before, 0.0) + now - self._last
        self._last = now
        return before

    def lap(self) -> dict[str, float]:
        """Return the seconds by part since the last lap, and begin a new one."""
        self.switch(self.part)
        seconds, self._seconds = self._seconds, {}
        return seconds


@contextlib.contextmanager
def watched(run: Trainer, clock: Clock) -> Iterator[None]:
    """Tell `clock` what `run` does, until the end of the block."""
    fleet = run._fleet
    with contextlib.ExitStack() as stack:
        for method, scope in SCOPES.items():
            stack.enter_context(_shadowed(run, method, _scoped(clock, scope)))
        for name in dict.fromkeys(name for _, name in PARTS):
            owner, _, method = name.partition(".")
            around = _timed(clock, name)
            stack.enter_context(_shadowed(getattr(fleet, owner), method, around))
        for name, (before, after) in STAGES.items():
            *path, method = name.split(".")
            stage_owner: Any = fleet.algorithm
            for step in path:
                stage_owner = getattr(stage_owner, step, None)
            if hasattr(stage_owner, method):
                around = _stage(clock, before, after)
                stack.enter_context(_shadowed(stage_owner, method, around))
        clock.lap()
        yield


Around = Callable[[Callable[..., Any]], Callable[..., Any]]


@contextlib.contextmanager
def _shadowed(owner: Any, method: str, around: Around) -> Iterator[None]:
    """Let the instance's attribute hide the class's method."""
    setattr(owner, method, around(getattr(owner, method)))
    try:
        yield
    finally:
        delattr(owner, method)


def _scoped(clock: Clock, scope: str) -> Around:
    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            before, clock.scope = clock.scope, scope
            try:
                return function(*arguments)
            finally:
                clock.scope = before

        return call

    return around


def _timed(clock: Clock, name: str) -> Around:
    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            part = PARTS.get((clock.scope, name))
            if part is None:
                return function(*arguments, **options)
            before = clock.switch(part)
            try:
                return function(*arguments, **options)
            finally:
                clock.switch(before)

        return call

    return around


def _stage(clock: Clock, before: str, after: str) -> Around:
    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if clock.part == before:
                clock.switch(after)
            return function(*arguments)

        return call

    return around
