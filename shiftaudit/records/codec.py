"""JSON to records, strictly typed; and back, as `shiftaudit.records.plain` and `shiftaudit.records.layout` write it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import cattrs

from shiftaudit.errors import InputError
from shiftaudit.records.layout import dumps
from shiftaudit.records.metric import Shift
from shiftaudit.records.plain import plain, round6

__all__ = ["MAX_INTEGER", "dumps", "plain", "round6", "structure"]

T = TypeVar("T")

MAX_INTEGER: Final = 2**64
"""Integers are below this, or a float could not hold them."""

# Without cattrs' detailed errors, which keep one for every row: the first is enough, and `_where` finds its place.
_converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=False)


def _exactly(kind: type, expected: str) -> Callable[[Any, Any], Any]:
    """A hook that takes what JSON gives for this type and changes nothing: a text is no number, and 1 is not true."""

    def take(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {expected}, got {_shown(value)}")
        return value

    return take


def _integer(value: Any, _: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"expected a whole number, got {_shown(value)}")
    if abs(value) >= MAX_INTEGER:
        raise TypeError(f"expected a whole number below 2^64, got one of {len(str(abs(value)))} digits")
    return value


def _number(value: Any, _: Any) -> float:
    if type(value) is int:
        return float(_integer(value, int))
    if type(value) is not float or not math.isfinite(value):
        raise TypeError(f"expected a number, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    """Short, and safe for what is large or deep."""
    text = reprlib.repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _is_tuple(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is tuple


def _row(kind: Any) -> Callable[[Any, Any], Any]:
    """A hook for a tuple type, that takes a list and nothing else that can be walked through."""
    arguments = get_args(kind)
    hooks = [(_converter.get_structure_hook(hint), hint) for hint in arguments if hint is not Ellipsis]

    def take(value: Any, _: Any) -> Any:
        if type(value) not in (list, tuple):
            raise TypeError(f"expected a list, got {_shown(value)}")
        if arguments[-1] is Ellipsis:
            hook, hint = hooks[0]
            return tuple([hook(item, hint) for item in value])
        if len(value) != len(hooks):
            raise TypeError(f"expected a list of {len(hooks)}, got {_shown(value)}")
        return tuple(hook(item, hint) for item, (hook, hint) in zip(value, hooks, strict=True))

    return take if kind not in _AT_ONCE else _at_once(*_AT_ONCE[kind], take)


def _at_once(
    are_plain: Callable[[Any], bool], made: Callable[[Any], Any], one_by_one: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], Any]:
    return lambda value, _: made(value) if type(value) is list and are_plain(value) else one_by_one(value, _)


# Nearly all that a report holds is rows of numbers. These tell of a whole row that it is as it should be, without a step a
# number; a row that is not goes through the hooks, which say what is wrong.
_INTEGERS, _FLOATS, _LISTS, _PAIR = {int}, {float}, {list}, {2}


def _are_integers(row: Any) -> bool:
    return _INTEGERS.issuperset(map(type, row)) and (not row or (min(row) > -MAX_INTEGER and max(row) < MAX_INTEGER))


def _are_shifts(rows: Any) -> bool:
    return (
        _LISTS.issuperset(map(type, rows))
        and _PAIR.issuperset(map(len, rows))
        and _are_integers(list(chain.from_iterable(rows)))
    )


@lru_cache(maxsize=2**14)
def _same_shift(shift: Shift) -> Shift:
    """One object for all views under a shift: there are as many views as images have shifts, but few different ones."""
    return shift


_AT_ONCE: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    tuple[int, ...]: (_are_integers, tuple),
    # A sum of numbers is finite only if all are.
    tuple[float, ...]: (lambda row: _FLOATS.issuperset(map(type, row)) and math.isfinite(sum(row)), tuple),
    tuple[Shift, ...]: (_are_shifts, lambda rows: tuple(map(_same_shift, map(tuple, rows)))),
}


_converter.register_structure_hook_factory(_is_tuple, _row)
_converter.register_structure_hook(int, _integer)
_converter.register_structure_hook(str, _exactly(str, "a text"))
_converter.register_structure_hook(bool, _exactly(bool, "true or false"))
_converter.register_structure_hook(float, _number)


def structure(data: Any, cls: type[T], what: str) -> T:
    """Plain data as a record.

    Raises:
        InputError: a key is missing, unknown or of the wrong type; `what` names the file in the message.
    """
    try:
        return _converter.structure(data, cls)
    except Exception as error:
        raise InputError(f"{what} is not a valid {cls.__name__}: {_where(data, cls, 'the file', error)}") from error


def _where(data: Any, kind: Any, path: str, error: Exception) -> str:
    """The first place that does not fit its type, and why: each level is tried part by part."""
    for name, value, inner in _parts(data, kind):
        try:
            _converter.structure(value, inner)
        except Exception as problem:
            return _where(value, inner, f"{path}{name}", problem)
    if is_dataclass(kind):
        if not isinstance(data, dict):
            return f"{path}: expected an object, got {_shown(data)}"
        known = {field.name: field for field in fields(kind)}
        missing = [
            n for n, f in known.items() if n not in data and f.default is MISSING and f.default_factory is MISSING
        ]
        unknown = [name for name in data if name not in known]
        if missing:
            return f"{path}: {missing[0]} is missing"
        if unknown:
            return f"{path}: {_shown(unknown[0])} is unknown"
    return f"{path}: {error}"


def _parts(data: Any, kind: Any) -> list[tuple[str, Any, Any]]:
    """The parts of a value that has any, with their place and the type each should have."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        records = [a for a in arguments if a is not NoneType]
        return _parts(data, records[0]) if data is not None and len(records) == 1 else []
    if is_dataclass(kind) and isinstance(data, dict):
        hints = get_type_hints(kind)
        return [(f".{name}", data[name], hint) for name, hint in hints.items() if name in data]
    if origin is dict and isinstance(data, dict):
        return [(f"[{_shown(key)}]", value, arguments[1]) for key, value in data.items()]
    if origin is tuple and isinstance(data, list):
        inner = [arguments[0]] * len(data) if arguments[-1] is Ellipsis else arguments
        return [(f"[{place}]", value, hint) for place, (value, hint) in enumerate(zip(data, inner, strict=False))]
    return []
