"""Records to JSON and back: rounded to six significant digits, keys in a fixed order, no NaN."""

from __future__ import annotations

import json
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
from shiftaudit.records.metric import Shift

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
    are_plain = _AT_ONCE.get(kind)

    def take(value: Any, _: Any) -> Any:
        if type(value) not in (list, tuple):
            raise TypeError(f"expected a list, got {_shown(value)}")
        if are_plain is not None and are_plain(value):
            return tuple(map(tuple, value)) if value and type(value[0]) is list else tuple(value)
        if arguments[-1] is Ellipsis:
            hook, hint = hooks[0]
            return tuple([hook(item, hint) for item in value])
        if len(value) != len(hooks):
            raise TypeError(f"expected a list of {len(hooks)}, got {_shown(value)}")
        return tuple(hook(item, hint) for item, (hook, hint) in zip(value, hooks, strict=True))

    return take


# Nearly all that a report holds is rows of numbers. These tell of a whole row that it is as it should be, without a step a
# number; a row that is not goes through the hooks, which say what is wrong.
_INTEGERS, _FLOATS, _LISTS, _PAIR = {int}, {float}, {list}, {2}


def _are_integers(row: Any) -> bool:
    return _INTEGERS.issuperset(map(type, row)) and (not row or (min(row) > -MAX_INTEGER and max(row) < MAX_INTEGER))


_AT_ONCE: dict[Any, Callable[[Any], bool]] = {
    tuple[int, ...]: _are_integers,
    tuple[float, ...]: lambda row: _FLOATS.issuperset(map(type, row)) and all(map(math.isfinite, row)),
    tuple[Shift, ...]: lambda rows: (
        _LISTS.issuperset(map(type, rows))
        and _PAIR.issuperset(map(len, rows))
        and _are_integers(list(chain.from_iterable(rows)))
    ),
}


_converter.register_structure_hook_factory(_is_tuple, _row)
_converter.register_structure_hook(int, _integer)
_converter.register_structure_hook(str, _exactly(str, "a text"))
_converter.register_structure_hook(bool, _exactly(bool, "true or false"))
_converter.register_structure_hook(float, _number)


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
    if kind in _LEAVES:
        return value
    if kind is tuple or kind is list:
        kinds = set(map(type, value))
        if kinds <= _LEAVES:
            return list(value)
        return [round6(item) for item in value] if kinds == _FLOATS else [plain(item) for item in value]
    if kind is dict:
        return {str(key): plain(item) for key, item in value.items()}
    names = _field_names(kind)  # type: ignore[arg-type]  # classes are hashable, whatever their instances
    if names is not None:
        return {name: plain(getattr(value, name)) for name in names}
    return _plain_subclass(value)


_LEAVES = frozenset({int, str, bool, type(None)})


@lru_cache(maxsize=256)
def _field_names(kind: Any) -> tuple[str, ...] | None:
    """The fields of a record in order; None for what is no record."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None


def _plain_subclass(value: Any) -> Any:
    """Subclasses of the plain types, and numbers of other libraries."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (int, str)) else round6(float(value))


def dumps(record: Any, *, sort_keys: bool = False) -> str:
    """The record as JSON text, ending in a newline; a container of plain values, or of short lists of them, stays on one line.

    >>> print(dumps({"shifts": [[1, 2], [3, 4]], "metric": {"value": 0.5, "inner": {"n": 1}}}), end="")
    {
     "shifts": [[1, 2], [3, 4]],
     "metric": {
      "value": 0.5,
      "inner": {"n": 1}
     }
    }
    """
    # One encoder for all lines: json.dumps makes a new one each time it is given options.
    encoder = json.JSONEncoder(sort_keys=sort_keys, allow_nan=False, ensure_ascii=False)
    return _layout(plain(record), "\n", encoder.encode, sort_keys) + "\n"


def _layout(value: Any, indent: str, encode: Callable[[Any], str], sort_keys: bool) -> str:
    """`indent` is the line break before the container's closing bracket, with the blanks after it."""
    if not isinstance(value, (dict, list)) or not value or _is_flat(value):
        return encode(value)
    pad = indent + " "
    if isinstance(value, dict):
        keys = sorted(value) if sort_keys else list(value)
        rows = [f"{encode(key)}: {_layout(value[key], pad, encode, sort_keys)}" for key in keys]
        return "{" + pad + ("," + pad).join(rows) + indent + "}"
    return "[" + pad + ("," + pad).join([_layout(item, pad, encode, sort_keys) for item in value]) + indent + "]"


def _is_flat(value: dict[str, Any] | list[Any]) -> bool:
    if isinstance(value, dict):
        # An empty container is as good as a plain value.
        return not any(item and isinstance(item, (dict, list)) for item in value.values())
    kinds = set(map(type, value))
    if dict in kinds:
        return False
    return list not in kinds or not any(_CONTAINERS & set(map(type, item)) for item in value if type(item) is list)


_CONTAINERS = {dict, list}


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
