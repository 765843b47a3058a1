"""Records as plain values, rounded to six significant digits, without NaN."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin


def round6(value: float) -> float | None:
    """Round to six significant digits; a number that is not finite becomes None, since JSON has no word for it.

    >>> round6(0.123456789), round6(1234567.0), round6(float("nan"))
    (0.123457, 1234570.0, None)
    """
    return float(f"{value:.6g}") if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """A record as plain dicts, lists, strings, numbers and None, floats rounded by `round6`."""
    kind = type(value)
    # By exact type, the most frequent first: a report of many images is millions of leaves.
    if kind is float:
        return round6(value)
    if kind in LEAVES:
        return value
    if kind is tuple or kind is list:
        kinds = set(map(type, value))
        if kinds <= LEAVES:
            return list(value)
        return [round6(item) for item in value] if kinds == {float} else [plain(item) for item in value]
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    names = field_names(kind)  # type: ignore[arg-type]  # classes are hashable, whatever their instances
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    return _plain_subclass(value)


LEAVES = frozenset({int, str, bool, type(None)})


@lru_cache(maxsize=256)
def field_names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a record in order; None for what is no record."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def without_none(kind: Any) -> Any:
    """The type of what is there: `T` of `T | None`."""
    if get_origin(kind) not in (Union, UnionType):
        return kind
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return kinds[0] if len(kinds) == 1 else kind


def _plain_subclass(value: Any) -> Any:
    """Subclasses of the plain types, and numbers of other libraries."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else round6(float(value))
