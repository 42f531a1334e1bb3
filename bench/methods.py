"""The table of methods, ``config/methods.yaml``.  Nothing here imports torch."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from bench import registry
from bench.errors import RequestError, nearest
from bench.validation import Strict, read_yaml, validate

if TYPE_CHECKING:
    from bench.config import RunConfig

_OWN = Path(__file__).resolve().parents[1] / "config" / "methods.yaml"


class MethodEntry(Strict):
    """One method: an algorithm times a parameter scheme (or a scripted controller)."""

    summary: str
    """One line for tables."""
    algorithm: str
    """Import path of the algorithm, or of a scripted controller."""
    scheme: str | None = None
    """Import path of the parameter scheme of the acting network; none for controllers."""
    algorithm_options: dict[str, Any] = {}
    """Keyword options of the algorithm."""
    scheme_options: dict[str, Any] = {}
    """Keyword options of the scheme."""
    actions: Literal["continuous", "discrete"] = "continuous"
    """Action space that the method acts in."""
    samplers: Annotated[list[str], Field(min_length=1)] = list(registry.SAMPLERS)
    """Samplers that the method supports; a grid that asks for another is refused."""
    settings: dict[str, Any] = {}
    """RunConfig values that are this method's defaults."""
    tuned: dict[str, Any] = {}
    """RunConfig values that config/tuning.yaml chose, for experiments that ask for them."""
    any_size: bool = False
    """Whether its policy acts in a team of any size, whatever size it was trained in."""

    @property
    def wants_features(self) -> bool:
        """Whether its scheme is conditioned on features of the agents' roles."""
        return self.scheme_options.get("conditioning") == "features"


def methods_file() -> Path:
    """Return the method table: $HYPERCOOP_METHODS, or config/methods.yaml of this checkout."""
    return Path(os.environ.get("HYPERCOOP_METHODS", _OWN))


def load_methods(path: Path | None = None) -> Mapping[str, MethodEntry]:
    """Read the method table, a file once.

    Raises:
        RequestError: if the table is missing or an entry is wrong.
    """
    return _read(path or methods_file())


@functools.cache
def _read(path: Path) -> Mapping[str, MethodEntry]:
    table = read_yaml(path)
    if not isinstance(table, dict):
        raise RequestError(f"{path}: must map method names to entries")
    return {name: validate(MethodEntry, entry, f"{path}: {name}") for name, entry in table.items()}


def method_entry(name: str) -> MethodEntry:
    """Return the entry of a method by its name in the table, or by import path.

    ``module:NAME`` names a :class:`MethodEntry` (or a dict of its values) elsewhere, in a package
    or not.

    Raises:
        RequestError: if there is no such method.
    """
    methods = load_methods()
    if name in methods:
        return methods[name]
    if ":" in name:
        entry = registry.load(name)
        return entry if isinstance(entry, MethodEntry) else validate(MethodEntry, entry, name)
    if "/" in name or name.endswith(".py"):
        raise RequestError(f"unknown method '{name}': one of your own is named MODULE:NAME")
    raise RequestError(f"unknown method '{name}'; {nearest(name, list(methods))}")


def choose_actions(actions: str) -> str:
    """Say how to have `continuous` or `discrete` actions: by which learners, or in an entry."""
    listed = load_methods().items()
    fitting = [name for name, entry in listed if entry.scheme and entry.actions == actions]
    return (
        f"choose a {actions} method ({', '.join(fitting)}), or say `actions: {actions}` in the "
        "method's entry"
    )


def check_options(entry: MethodEntry, config: RunConfig, moves: int | None) -> None:
    """Check a method's options, and whether it can serve the world and the run, without torch.

    Raises:
        RequestError: naming the first wrong option, or saying why the world is refused.
    """
    for part, path in (("scheme", entry.scheme), ("algorithm", entry.algorithm)):
        if path and (model := registry.options_model(path)) is not None:
            options = validate(model, getattr(entry, f"{part}_options"), f"{part}_options")
            if moves is not None and hasattr(options, "check_world"):
                options.check_world(config.agents, moves)
            if hasattr(options, "check_run"):
                options.check_run(config)
