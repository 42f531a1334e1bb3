"""Checks that run on any method and any parameter scheme, ours or not.

Each check raises an AssertionError that says what is wrong; `examine` runs them all.
"""

from __future__ import annotations

import functools
import traceback
from pathlib import Path

import torch

from bench import registry, versions
from bench.config import RunConfig
from bench.conformance.method import METHOD_CHECKS, THOROUGH_CHECKS, spec_of
from bench.conformance.scheme import SCHEME_CHECKS, N, misbuilt
from bench.errors import RequestError
from bench.methods import MethodEntry, load_methods, method_entry
from bench.team import scheme_factory
from bench.validation import validate_each

FEATURES = torch.linspace(0, 5, 4 * N).view(N, 4).sin()
"""[N, F] of a task whose agents have roles."""


def candidates(name: str) -> dict[str, MethodEntry]:
    """Return what to examine: a method, or a scheme under every algorithm of the method table.

    Args:
        name: of a method in the table; or MODULE:NAME of a method entry or of a scheme.

    Raises:
        RequestError: if there is no such thing, or it is neither.
    """
    methods = load_methods()
    path = name not in methods and ":" in name
    if path and callable(registry.load(name)):
        if wrong := misbuilt(registry.load(name)):
            raise RequestError(
                f"{name} is no parameter scheme, which is built as Scheme(sizes, agents) and has "
                f"init and weights: {wrong}; name a scheme, or the method entry that puts an "
                "algorithm together with one"
            )
        found = {}
        for entry in (entry for entry in methods.values() if entry.scheme):
            algorithm, options = entry.algorithm.rpartition(":")[2], entry.algorithm_options
            label = " ".join(map(str, filter(None, (algorithm, options, entry.actions))))
            found[label] = entry.model_copy(update={"scheme": name, "scheme_options": {}})
        return found
    entry = method_entry(name)
    if entry.scheme is None:
        raise RequestError(f"method '{name}' has no parameter scheme to check")
    return {name: entry}


def declares_its_behaviour_versions(entry: MethodEntry) -> None:
    """Check what records name a method's behaviour by."""
    for path in filter(None, (entry.algorithm, entry.scheme)):
        versions.version(path)


def has_settings_that_there_are(entry: MethodEntry) -> None:
    """Check what an entry says of runs: its own settings, those tuned, and its samplers."""
    for layer in (entry.settings, entry.tuned):
        validate_each(RunConfig, layer, "settings")
    for sampler in entry.samplers:
        registry.look_up(registry.SAMPLERS, "sampler", sampler)


def examine(entry: MethodEntry, thorough: bool = False) -> dict[str, str | None]:
    """Run every check on a method, or all but the longest.

    Returns:
        what each found wrong, by name, or None.
    """
    spec = spec_of(entry, FEATURES)
    make = scheme_factory(entry, spec)
    checks = [
        functools.partial(declares_its_behaviour_versions, entry),
        functools.partial(has_settings_that_there_are, entry),
        *(functools.partial(check, make) for check in SCHEME_CHECKS),
        *(
            functools.partial(check, entry, spec)
            for check in (THOROUGH_CHECKS if thorough else METHOD_CHECKS)
        ),
    ]
    found: dict[str, str | None] = {}
    for check in checks:
        try:
            check()
            found[check.func.__name__] = None
        except AssertionError as error:
            found[check.func.__name__] = str(error) or _place(error)
        except Exception as error:  # a scheme from outside may fail in any way
            found[check.func.__name__] = f"{error} ({_place(error)})"
    return found


def _place(error: Exception) -> str:
    """Name an error and the line that raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}, {Path(last.filename).name}:{last.lineno}"
