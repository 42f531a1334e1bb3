"""What a module says of itself, read from its source text: the versions of its behaviour.

Nothing is imported, so that planning a grid of thousands of runs stays fast.  A **behaviour
version** (``VERSION = 3`` at a module's top level) moves when, and only when, a change alters the
numbers that a run produces.  It is what makes a record stale; ``tests/golden.json`` holds the
versions to the numbers.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.errors import RequestError


@functools.cache
def source(path: str) -> Path:
    """Return the file that ``package.module:Name`` lives in, without importing that module.

    Raises:
        RequestError: if there is none, or the package that it is in cannot be imported.
    """
    module = path.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no module named '{module}'", name=module)
    except Exception as error:  # a package from outside may fail in any way
        raise RequestError(f"cannot find '{path}': {error}{remedy(path, error)}") from error
    return Path(spec.origin)


def remedy(path: str, error: Exception) -> str:
    """Say how ``module:Name`` is to be written, or found, if that is what is wrong with it."""
    module, _, name = path.partition(":")
    if module.endswith(".py"):
        return f"; write {Path(module).stem}:{name}, without .py"
    if isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]:
        return "; put its folder on PYTHONPATH, or install it"
    return ""


def outside(paths: Iterable[str]) -> str:
    """Hash the sources of what does not come with the harness: 16 hex digits, or ''.

    Of a package all modules; of a module by itself its file.
    """
    own = Path(__file__).resolve().parents[1]
    files: set[Path] = set()
    for found in {source(path).resolve() for path in paths}:
        if found.is_relative_to(own / "bench") or found.is_relative_to(own / "baselines"):
            continue
        packaged = (found.parent / "__init__.py").exists()
        files |= set(found.parent.rglob("*.py")) if packaged else {found}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16] if files else ""


@functools.cache
def _body(module: str) -> list[ast.stmt]:
    """Read what stands at the top level of a module."""
    try:
        return ast.parse(source(module).read_text(encoding="utf-8")).body
    except (SyntaxError, ValueError, OSError) as error:
        raise RequestError(f"cannot read '{module}': {error}") from error


@functools.cache
def _declared(module: str) -> Mapping[str, Any]:
    """Read the versions that a module declares."""
    found = {}
    for node in _body(module):
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Dict)):
            names = {target.id for target in node.targets if isinstance(target, ast.Name)}
            for name in names & {"VERSION", "OPTION_VERSIONS"}:
                found[name] = ast.literal_eval(node.value)
    return found


@functools.cache
def _bases(path: str) -> list[str]:
    """List the classes of other modules that the class at ``path`` derives from: ours, or its own.

    Where theirs are is not asked of modules of other packages: that could import these.
    """
    module, _, name = path.partition(":")
    body, packages = _body(module), {"bench", "baselines", module.partition(".")[0]}
    classes = {node.name: node for node in body if isinstance(node, ast.ClassDef)}
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in body
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in packages
        for alias in node.names
    }
    found: list[str] = []
    for base in classes[name].bases if name in classes else ():
        head, _, rest = ast.unparse(base).partition("[")[0].partition(".")
        if head in classes:
            found += _bases(f"{module}:{head}")
        elif head in imported:  # rest: of a module that is imported whole
            found.append(f"{imported[head].replace(':', '.')}:{rest}" if rest else imported[head])
    return found


def version(path: str, options: Mapping[str, Any] = {}) -> int:
    """Return the behaviour version of ``path``: what its module declares as ``VERSION = <int>``.

    It is the higher by as much as those of the classes that it derives from have been raised.  A
    module that changed what some options do, and nothing else, declares ``OPTION_VERSIONS``
    besides, which maps ``option`` or ``option=value`` to a higher version: runs with that option
    have it.

    Raises:
        RequestError: if the module declares none.
    """
    if not isinstance(_declared(path.partition(":")[0]).get("VERSION"), int):
        raise RequestError(
            f"{source(path)} declares no behaviour version: write VERSION = 1 at its top"
        )
    return 1 + _raised(path, options)


def _raised(path: str, options: Mapping[str, Any]) -> int:
    """Say by how much the versions of a class and of those that it derives from exceed 1."""
    declared = _declared(path.partition(":")[0])
    higher = declared.get("OPTION_VERSIONS", {})
    named = {*options, *(f"{name}={value}" for name, value in options.items())}
    own = max(declared.get("VERSION", 1), *(higher[name] for name in named & higher.keys()), 1)
    return int(own) - 1 + sum(_raised(base, options) for base in _bases(path))
