"""Records to JSON and back: rounded to six significant digits, keys in a fixed order, no NaN."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
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
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    return round6(float(value))


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
    return _layout(plain(record), 0, sort_keys) + "\n"


def _layout(value: Any, depth: int, sort_keys: bool) -> str:
    if not isinstance(value, (dict, list)) or not value or _is_flat(value):
        return json.dumps(value, sort_keys=sort_keys, allow_nan=False, ensure_ascii=False)
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        keys = sorted(value) if sort_keys else list(value)
        rows = [f"{json.dumps(key, ensure_ascii=False)}: {_layout(value[key], depth + 1, sort_keys)}" for key in keys]
        return "{" + pad + ("," + pad).join(rows) + pad[:-1] + "}"
    return "[" + pad + ("," + pad).join(_layout(item, depth + 1, sort_keys) for item in value) + pad[:-1] + "]"


def _is_flat(value: dict[str, Any] | list[Any]) -> bool:
    if isinstance(value, dict):
        return all(not isinstance(item, (dict, list)) or item in ([], {}) for item in value.values())
    return all(
        not isinstance(item, dict)
        and (not isinstance(item, list) or not any(isinstance(i, (dict, list)) for i in item))
        for item in value
    )


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
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is not a readable JSON file: {error}") from error
