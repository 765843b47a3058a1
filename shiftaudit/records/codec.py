"""Records to JSON and back: rounded to six significant digits, keys in a fixed order, no NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from shiftaudit.errors import InputError

T = TypeVar("T")

_converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)


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
        return [plain(item) for item in value]
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
    for item in value:
        if isinstance(item, dict):
            return False
        if isinstance(item, list):
            for inner in item:
                if isinstance(inner, (dict, list)):
                    return False
    return True


def structure(data: Any, cls: type[T], what: str) -> T:
    """Plain data as a record.

    Raises:
        InputError: a key is missing, unknown or of the wrong type; `what` names the file in the message.
    """
    try:
        return _converter.structure(data, cls)
    except Exception as error:
        details = "; ".join(cattrs.transform_error(error)[:3])
        raise InputError(f"{what} is not a valid {cls.__name__}: {details}") from error


def read_json(path: Path) -> Any:
    """The parsed JSON of a file.

    Raises:
        InputError: the file is missing, unreadable or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # what json and the decoder of UTF-8 raise are ValueErrors
        raise InputError(f"{path} is not a readable JSON file: {error}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON; expected null")
