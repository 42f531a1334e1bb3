"""Strict models of what users write, and one line for what is wrong with it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from bench.errors import RequestError, nearest


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


Positive = Annotated[int, BeforeValidator(_not_bool), Field(gt=0, lt=2**31)]
Seed = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, lt=2**31)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Noise = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*$", max_length=200)]

ModelT = TypeVar("ModelT", bound=BaseModel)


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


PLAIN: Mapping[str, str] = {
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("dict_type", "model_type"), "must map names to values"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "must be a whole number"
    ),
    "invalid_key": "must be text, as all names",
    "list_type": "must be a list, such as [1, 2]",
    "string_too_long": "must have at most {max_length} characters",
    "string_type": "must be text",
    "too_short": "must hold at least {min_length}",
}
"""What pydantic's types of errors ask for; of others its own message says so."""


def validate(model: type[ModelT], values: Any, where: str) -> ModelT:
    """Build ``model`` from plain values.

    Raises:
        RequestError: one line naming the first wrong key, where it stands and what is right.
    """
    try:
        return model.model_validate(values)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error
    except ValidationError as error:
        raise RequestError(f"{where}: {_reason(model, error)}") from error


def validate_each(model: type[BaseModel], values: Any, where: str) -> None:
    """Check values that others will be laid over: each by itself, and not whether they go together.

    Raises:
        RequestError: as :func:`validate`.
    """
    try:
        model.model_validate(values)
    except RequestError:
        return  # by what checks them together
    except ValidationError as error:
        if error.errors()[0]["loc"]:
            raise RequestError(f"{where}: {_reason(model, error)}") from error


def _reason(model: type[BaseModel], error: ValidationError) -> str:
    """Say what is wrong first, and what is right."""
    # A misspelt key explains the missing one, not the other way round.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        *parents, last = first["loc"]
        return f"unknown key '{key}'; {nearest(str(last), _keys_at(model, parents))}"
    if not key and first["input"] is None:
        return "is empty"
    if first["type"] == "missing":
        return f"missing key '{key}'"
    message = _words(first)
    # Shortened: YAML's aliases make small files with enormous values.
    return f"{key} = {reprlib.repr(first['input'])}: {message}" if key else message


def _words(error: ErrorDetails) -> str:
    """Say what would be right, for those who do not know what a pattern or a valid list is."""
    if error["type"] in PLAIN:
        return PLAIN[error["type"]].format(**error.get("ctx", {}))
    if error["type"] == "string_pattern_mismatch":  # one of names
        pattern = error["ctx"]["pattern"]
        letters = "letters" if "A-Z" in pattern else "lower-case letters"
        signs = [sign for sign in "._:-" if sign in re.sub("[a-zA-Z0-9]-[a-zA-Z0-9]", "", pattern)]
        return f"must be of {letters}, digits and {' '.join(signs)}, with a letter or digit first"
    return error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)


def _keys_at(model: Any, location: Sequence[str | int]) -> list[str]:
    """List the keys that the model at a location inside `model` knows."""
    for step in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(step)].annotation
        else:  # an item of list[X] or dict[_, X]
            model = get_args(model)[-1]
        if isinstance(model, UnionType):  # X | None
            model = get_args(model)[0]
    return list(model.model_fields)


class _Loader(yaml.SafeLoader):
    """YAML's, but that of two equal keys the second does not silently replace the first."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping as it is written: what `<<` will bring in may be overruled.

        Raises:
            ComposerError: if a key is there twice.
        """
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if (name := (key.tag, str(key.value))) in seen:
                words = f"key {key.value!r} is there twice"
                raise yaml.composer.ComposerError(None, None, words, key.start_mark)
            seen.add(name)
        return node


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        RequestError: if the file is missing or is not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # 2001-99-99 is a ValueError
        raise RequestError(f"{path} is not YAML: {_problem(error)}") from error


def _problem(error: Exception) -> str:
    """Say in one line what is wrong, and in which line it is."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem}, line {error.problem_mark.line + 1}"
    return str(error).partition("\n")[0]
