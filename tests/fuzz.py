"""Hostile values, shared by tests."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FUZZ = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([2**31, 2**63, 10**400, -1, 0, 1e308, float("nan"), float("inf"), True]),
)
LEAVES = st.one_of(NUMBERS, st.none(), st.text(max_size=20), st.just([]), st.just({}))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def one_line(error: Exception) -> None:
    text = " ".join(str(error).split())
    assert text and len(text) < 5_000


def change_at(values: Any, place: int, value: Any) -> None:
    """Put a value in place of the n-th one, counted through all nested values."""
    spots: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        pairs = inner.items() if isinstance(inner, dict) else enumerate(inner)
        for key, item in list(pairs):
            spots.append((inner, key))
            if isinstance(item, dict | list):
                walk(item)

    walk(values)
    holder, key = spots[place * 7919 % len(spots)]
    holder[key] = value
